package io.dsmstt;

import io.dsmstt.speech.v1.FlushDone;
import io.dsmstt.speech.v1.RecognitionConfig;
import io.dsmstt.speech.v1.Result;
import io.dsmstt.speech.v1.SessionEnded;
import io.dsmstt.speech.v1.SessionStarted;
import io.dsmstt.speech.v1.StreamingRecognizeRequest;
import io.dsmstt.speech.v1.StreamingRecognizeResponse;
import io.dsmstt.speech.v1.Turn;
import io.dsmstt.speech.v1.TurnEvent;
import io.dsmstt.speech.v1.UpdateApplied;
import io.dsmstt.speech.v1.Word;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.time.Duration;

/**
 * A service that hears the audio of {@link #say}, with the order, the cursors and the resuming of the real one. One call
 * each; a script of {@link FakeService}.
 */
final class Hearing implements FakeService.Script, StreamObserver<StreamingRecognizeRequest> {
  static final int RATE = 8000;
  static final int FRAME_MS = 80;
  static final int FRAME_BYTES = RATE * 2 * FRAME_MS / 1000;
  /** How many frames after its own a word is said. */
  private static final int DELAY = 6;

  private final int breakAfter;
  private final Throwable broken;
  private final int shift;
  private final int turnSilence;
  private Runnable atBreak = () -> {};

  private StreamObserver<StreamingRecognizeResponse> responses;
  private volatile RecognitionConfig config;
  private final ByteArrayOutputStream audio = new ByteArrayOutputStream();
  private Duration base = Duration.ZERO;
  private Duration wordsFrom = Duration.ZERO;
  private long sequence;
  private int heard;
  private int told;
  private long words;
  private int turn;
  private boolean turnOpen;
  private int lastWord;
  private boolean over;

  /**
   * Hears until `breakAfter` frames (0: to the end) and then ends the call with `broken`, null for good order.
   *
   * @param shift how many frames late every word is heard, as by a model without the context of before
   * @param turnSilence a turn ends so many frames after its last word; 0: no turns
   */
  Hearing(int breakAfter, Throwable broken, int shift, int turnSilence) {
    this.breakAfter = breakAfter;
    this.broken = broken;
    this.shift = shift;
    this.turnSilence = turnSilence;
  }

  static Hearing all() {
    return new Hearing(0, null, 0, 0);
  }

  /** Returns audio in which a word begins in each of the given frames; that of frame n is "wn". */
  static byte[] say(int frames, int... wordsAt) {
    byte[] samples = new byte[frames * FRAME_BYTES];
    for (int at : wordsAt) {
      for (int index = at * FRAME_BYTES; index < (at + 1) * FRAME_BYTES; index += 2) {
        samples[index] = (byte) at;
      }
    }
    return samples;
  }

  Hearing atBreak(Runnable action) {
    atBreak = action;
    return this;
  }

  RecognitionConfig config() {
    return config;
  }

  @Override
  public StreamObserver<StreamingRecognizeRequest> apply(StreamObserver<StreamingRecognizeResponse> caller) {
    responses = caller;
    return this;
  }

  @Override
  public void onNext(StreamingRecognizeRequest request) {
    if (over) {
      return;
    }
    switch (request.getRequestCase()) {
      case CONFIG -> begin(request.getConfig());
      case AUDIO -> hear(request.getAudio().toByteArray());
      case SILENCE -> {
        long frames = Times.of(request.getSilence().getDuration()).toMillis() / FRAME_MS;
        hear(new byte[(int) frames * FRAME_BYTES]);
      }
      case FLUSH -> {
        tellUntil(heard);
        FlushDone.Builder done =
            FlushDone.newBuilder().setFlushId(request.getFlush().getFlushId()).setAudioOffset(Times.proto(at(heard)));
        send(StreamingRecognizeResponse.newBuilder().setFlushDone(done));
      }
      case UPDATE ->
          send(
              StreamingRecognizeResponse.newBuilder()
                  .setUpdateApplied(UpdateApplied.newBuilder().setUpdateId(request.getUpdate().getUpdateId())));
      default -> {}
    }
  }

  @Override
  public void onError(Throwable error) {
    over = true;
  }

  @Override
  public void onCompleted() {
    if (over) {
      return;
    }
    tellUntil(heard);
    if (turnOpen) {
      endTurn(heard);
    }
    Duration duration = at(heard).minus(base);
    send(
        StreamingRecognizeResponse.newBuilder()
            .setSessionEnded(SessionEnded.newBuilder().setAudioDuration(Times.proto(duration)).setWords(words)));
    responses.onCompleted();
  }

  private void begin(RecognitionConfig wanted) {
    config = wanted;
    if (wanted.hasResume()) {
      base = Times.of(wanted.getResume().getAudioOffset());
      wordsFrom = Times.of(wanted.getResume().getWordsFrom());
      turn = wanted.getResume().getTurnIndex();
      if (base.toNanos() % Duration.ofMillis(FRAME_MS).toNanos() != 0) {
        throw new IllegalStateException("wanted to resume at a frame's edge, got " + base);
      }
    }
    send(
        StreamingRecognizeResponse.newBuilder().setSessionStarted(SessionStarted.newBuilder().setSessionId("fake")));
  }

  private void hear(byte[] more) {
    audio.writeBytes(more);
    while (!over && (heard + 1) * FRAME_BYTES <= audio.size()) {
      if (breakAfter > 0 && heard == breakAfter) {
        over = true;
        atBreak.run();
        if (broken == null) {
          responses.onCompleted();
        } else {
          responses.onError(broken);
        }
        return;
      }
      heard++;
      tellUntil(heard - DELAY);
    }
  }

  private void tellUntil(int frame) {
    byte[] samples = audio.toByteArray();
    for (; told < frame; told++) {
      tell(told, told < shift ? 0 : samples[(told - shift) * FRAME_BYTES + FRAME_BYTES / 2]);
    }
  }

  private void tell(int frame, int word) {
    if (word != 0 && at(frame).compareTo(wordsFrom) >= 0) {
      words++;
      lastWord = frame;
      if (turnSilence > 0 && !turnOpen) {
        turnOpen = true;
        tellTurn(TurnEvent.TURN_EVENT_START, frame);
      }
      Word.Builder heardWord =
          Word.newBuilder()
              .setText("w" + word)
              .setStartOffset(Times.proto(at(frame)))
              .setEndOffset(Times.proto(at(frame + 1)));
      send(
          StreamingRecognizeResponse.newBuilder()
              .setResult(Result.newBuilder().setTurnIndex(turn).setIsFinal(true).addWords(heardWord)));
    } else if (turnOpen && frame - lastWord >= turnSilence) {
      endTurn(frame);
    }
  }

  private void endTurn(int frame) {
    tellTurn(TurnEvent.TURN_EVENT_END, frame);
    turn++;
    turnOpen = false;
  }

  private void tellTurn(TurnEvent event, int frame) {
    Turn.Builder told = Turn.newBuilder().setEvent(event).setTurnIndex(turn).setAudioOffset(Times.proto(at(frame)));
    send(StreamingRecognizeResponse.newBuilder().setTurn(told));
  }

  private Duration at(int frame) {
    return base.plusMillis((long) frame * FRAME_MS);
  }

  private void send(StreamingRecognizeResponse.Builder response) {
    var cursors =
        io.dsmstt.speech.v1.Cursors.newBuilder()
            .setReceived(Times.proto(at(heard)))
            .setProcessed(Times.proto(at(heard)))
            // A result must not claim that words sent after it are final, so its own word is not covered yet.
            .setFinalized(Times.proto(at(told)));
    responses.onNext(response.setSequence(++sequence).setCursors(cursors).build());
  }
}
