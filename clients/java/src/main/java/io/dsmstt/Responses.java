package io.dsmstt;

import io.dsmstt.speech.v1.Result;
import io.dsmstt.speech.v1.SessionStarted;
import io.dsmstt.speech.v1.StreamingRecognizeResponse;
import io.dsmstt.speech.v1.Turn;
import io.dsmstt.speech.v1.Vad;
import java.util.List;
import java.util.OptionalDouble;

/** From the messages of the service to events. */
final class Responses {
  private Responses() {}

  static Session session(SessionStarted started) {
    return new Session(
        started.getSessionId(),
        started.getModel(),
        Times.of(started.getDelay()),
        Times.of(started.getFrameDuration()),
        Times.of(started.getPauseHorizonsList()),
        Times.of(started.getIdleTimeout()),
        Times.of(started.getMaxDuration()));
  }

  static List<Word> words(List<io.dsmstt.speech.v1.Word> words) {
    return words.stream()
        .map(word -> new Word(word.getText(), Times.of(word.getStartOffset()), Times.of(word.getEndOffset())))
        .toList();
  }

  /** Returns null for words that were all told before. */
  static Event result(Result result, Cursors cursors, Progress progress) {
    List<Word> heard = words(result.getWordsList());
    List<Word> fresh = progress.newWords(heard, result.getIsFinal());
    return fresh.isEmpty() && !heard.isEmpty()
        ? null
        : new Event.Result(cursors, result.getTurnIndex(), result.getIsFinal(), fresh);
  }

  static Event.Turn turn(Turn turn, Cursors cursors) {
    Event.TurnKind kind =
        switch (turn.getEvent()) {
          case TURN_EVENT_START -> Event.TurnKind.START;
          case TURN_EVENT_EAGER_END -> Event.TurnKind.EAGER_END;
          case TURN_EVENT_RESUMED -> Event.TurnKind.RESUMED;
          default -> Event.TurnKind.END;
        };
    OptionalDouble probability =
        turn.hasProbability() ? OptionalDouble.of(turn.getProbability()) : OptionalDouble.empty();
    return new Event.Turn(cursors, kind, turn.getTurnIndex(), Times.of(turn.getAudioOffset()), probability);
  }

  static Event.Vad vad(Vad vad, Cursors cursors) {
    return new Event.Vad(cursors, Times.of(vad.getAudioOffset()), List.copyOf(vad.getPauseProbabilitiesList()));
  }

  /** Returns null for an event of a newer service. */
  static Event other(StreamingRecognizeResponse response, Cursors cursors) {
    if (response.hasGoAway()) {
      return new Event.GoAway(cursors, Times.of(response.getGoAway().getTimeLeft()));
    }
    if (response.hasWarning()) {
      String code = response.getWarning().getCode().name().replace("WARNING_CODE_", "");
      return new Event.Warning(cursors, code, response.getWarning().getMessage());
    }
    return null;
  }
}
