package io.dsmstt;

import com.google.protobuf.ByteString;
import io.dsmstt.speech.v1.Flush;
import io.dsmstt.speech.v1.RecognitionConfig;
import io.dsmstt.speech.v1.Resume;
import io.dsmstt.speech.v1.StreamingRecognizeRequest;
import io.dsmstt.speech.v1.StreamingRecognizeResponse;
import io.dsmstt.speech.v1.Update;
import io.grpc.Status;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A session under way. Its methods may be called by any thread; what is sent keeps the order of the calls. Close it when
 * it is done with, finished or not.
 */
public final class Stream implements AutoCloseable {
  /** The service takes at most 1 MiB a message; smaller ones let it begin sooner. */
  private static final int MESSAGE_BYTES = 32 << 10;

  private final DsmSttClient client;
  private final String requestId = DsmSttClient.newRequestId();
  private final StreamListener listener;
  private final boolean resumes;
  private final CompletableFuture<Void> ended = new CompletableFuture<>();
  private final ConnectionEvents connectionEvents = new ConnectionEvents();
  private final Session session;

  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final Tape tape;
  private final Map<String, CompletableFuture<Void>> flushes = new HashMap<>();
  private long flushCount;
  /** Null while there is none. */
  private Connection current;
  /** One that is being made. */
  private Connection opening;
  private boolean over;

  // Of the connections' callbacks, which come one at a time.
  private final Progress progress = new Progress();
  private RecognitionConfig config;
  private Duration base = Duration.ZERO;
  private boolean complete;
  private int fruitless;
  private Duration processedBefore = Duration.ZERO;

  Stream(DsmSttClient client, StreamConfig config, StreamListener listener) {
    this.client = client;
    this.listener = listener;
    this.config = config.proto();
    this.resumes = config.resumes();
    this.tape = new Tape(config);
    Connection first = connect(this.config);
    this.session = begin(first);
    first.activate();
    connectionEvents.onReady();
  }

  /** Returns what the service said when it took the session. */
  public Session session() {
    return session;
  }

  /**
   * Returns the events of a session that was opened without a listener, to be iterated over once. Iterating waits for
   * events, and throws {@link DsmSttException} when the session fails.
   */
  public Iterable<Event> events() {
    if (listener instanceof EventQueue queue) {
      return () -> queue;
    }
    throw new IllegalStateException("the events of this session go to its listener");
  }

  /** Sends audio in pieces of any size, and waits when the service is behind. The bytes may be reused afterwards. */
  public void send(byte[] audio) {
    send(audio, 0, audio.length);
  }

  /** Sends a part of an array; see {@link #send(byte[])}. */
  public void send(byte[] audio, int offset, int length) {
    for (int at = 0; at < length; at += MESSAGE_BYTES) {
      add(Requests.audio(ByteString.copyFrom(audio, offset + at, Math.min(MESSAGE_BYTES, length - at))));
    }
  }

  /** Stands for silent audio that the caller does not send, up to 60 s. */
  public void silence(Duration duration) {
    add(Requests.silence(duration));
  }

  /** Restarts the idle timeout. */
  public void keepAlive() {
    add(Requests.keepAlive());
  }

  /** Asks for every word of the audio sent so far; see {@link #flush(boolean, boolean)}. */
  public CompletableFuture<Void> flush() {
    return flush(false, false);
  }

  /**
   * Asks for every word of the audio sent so far. The future completes behind them: when the listener has taken them, or,
   * without one, when they wait in {@link #events}, of which somebody must take them.
   *
   * @param endTurn end the turn under way
   * @param resetContext let the model forget what it heard
   */
  public CompletableFuture<Void> flush(boolean endTurn, boolean resetContext) {
    CompletableFuture<Void> flushed = new CompletableFuture<>();
    lock.lock();
    try {
      String id = Long.toString(++flushCount);
      flushes.put(id, flushed);
      add(Requests.flush(Flush.newBuilder().setFlushId(id).setEndTurn(endTurn).setResetContext(resetContext)));
    } finally {
      lock.unlock();
    }
    return flushed;
  }

  /** Changes the turn options behind the audio sent so far; {@link Event.Updated} with this id tells when. */
  public void update(String id, TurnOptions turns) {
    if (id.equals(Tape.PROBE_ID)) {
      throw DsmSttException.badConfig("id: " + id + " is the client's own");
    }
    add(Requests.update(Update.newBuilder().setUpdateId(id).setTurns(turns.proto())));
  }

  /** Ends the audio. The words still due follow, then {@link Event.Ended}. */
  public void finish() {
    add(null);
  }

  /** Waits for the end of the session. Throws DsmSttException if it fails. */
  public void join() {
    try {
      ended.join();
    } catch (java.util.concurrent.CompletionException failed) {
      throw (DsmSttException) failed.getCause();
    }
  }

  /** Ends the session at once, finished or not. */
  @Override
  public void close() {
    end(DsmSttException.cancelled(requestId, "the session was closed"));
    if (listener instanceof EventQueue queue) {
      queue.abandon();
    }
  }

  private void add(StreamingRecognizeRequest request) {
    lock.lock();
    try {
      while (!over && !tape.closed() && !tape.hasRoom(request)) {
        changed.await();
      }
      if (over && ended.isCompletedExceptionally()) {
        join();
      }
      if (over || tape.closed()) {
        throw new DsmSttException(Status.Code.FAILED_PRECONDITION, "CLOSED", "nothing more can be sent", null, requestId);
      }
      tape.add(request);
      write();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw DsmSttException.cancelled(requestId, "interrupted while waiting for room");
    } finally {
      lock.unlock();
    }
  }

  /** Writes what waits, as far as the connection takes it. Under the lock. */
  private void write() {
    while (current != null && tape.hasNext() && current.isReady()) {
      current.write(tape.take());
    }
    changed.signalAll();
  }

  /** Opens a call that the service takes, with retries. Throws DsmSttException. */
  private Connection connect(RecognitionConfig wanted) {
    return client.retrying(
        client.deadline(),
        requestId,
        deadline -> {
          Connection connection =
              Connection.open(client.stub(requestId), Requests.config(wanted), connectionEvents, requestId);
          lock.lock();
          try {
            opening = connection;
            if (over) {
              connection.cancel();
            }
          } finally {
            lock.unlock();
          }
          return client.await(connection.started(), deadline, requestId, connection::cancel).hasSessionStarted()
              ? connection
              : null;
        });
  }

  private Session begin(Connection connection) {
    StreamingRecognizeResponse first = connection.started().join();
    progress.advance(first.getCursors());
    lock.lock();
    try {
      current = connection;
      opening = null;
      if (over) {
        connection.cancel();
      }
    } finally {
      lock.unlock();
    }
    return Responses.session(first.getSessionStarted());
  }

  /** Goes on over another connection, or ends the session. In a thread of its own, as it waits. */
  private void resume(DsmSttException cause) {
    try {
      if (fruitless > 0) {
        client.pauseAfter(fruitless, cause);
      }
      lock.lock();
      try {
        base = tape.rewind(progress.keepFrom());
      } finally {
        lock.unlock();
      }
      Resume from =
          Resume.newBuilder()
              .setAudioOffset(Times.proto(base))
              .setWordsFrom(Times.proto(Times.max(base, progress.wordsFrom())))
              .setTurnIndex(progress.turn())
              .build();
      Connection connection = connect(config.toBuilder().setResume(from).build());
      progress.resume();
      Session resumed = begin(connection);
      listener.onEvent(new Event.Resumed(progress.cursors(), resumed, cause));
      connection.activate();
      connectionEvents.onReady();
    } catch (RuntimeException failed) {
      end(DsmSttException.of(failed, requestId));
    }
  }

  private void end(DsmSttException failure) {
    List<CompletableFuture<Void>> waiting;
    lock.lock();
    try {
      if (over) {
        return;
      }
      over = true;
      waiting = List.copyOf(flushes.values());
      flushes.clear();
      for (Connection connection : new Connection[] {current, opening}) {
        if (connection != null && failure != null) {
          connection.cancel();
        }
      }
      current = null;
      if (failure == null) {
        ended.complete(null);
      } else {
        ended.completeExceptionally(failure);
      }
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    DsmSttException unanswered =
        failure == null ? DsmSttException.cancelled(requestId, "the session ended before the flush") : failure;
    waiting.forEach(flush -> flush.completeExceptionally(unanswered));
    listener.onClosed(failure);
  }

  /** What the connections tell. */
  private final class ConnectionEvents implements Connection.Owner {
    @Override
    public void onReady() {
      lock.lock();
      try {
        write();
      } finally {
        lock.unlock();
      }
    }

    @Override
    public void onResponse(StreamingRecognizeResponse response) {
      Cursors cursors = progress.advance(response.getCursors());
      Event event = event(response, cursors);
      CompletableFuture<Void> flushed = null;
      lock.lock();
      try {
        if (over) {
          return;
        }
        if (resumes) {
          tape.forget(progress.keepFrom());
          changed.signalAll();
        }
        if (response.hasFlushDone()) {
          flushed = flushes.remove(response.getFlushDone().getFlushId());
        }
      } finally {
        lock.unlock();
      }
      if (event != null) {
        listener.onEvent(event);
      }
      if (flushed != null) {
        flushed.complete(null);
      }
    }

    @Override
    public void onOver(Connection connection, Throwable error) {
      lock.lock();
      try {
        if (connection != current) {
          return;
        }
        current = null;
      } finally {
        lock.unlock();
      }
      if (error == null && complete) {
        end(null);
        return;
      }
      DsmSttException cause = error == null ? DsmSttException.incomplete(requestId) : DsmSttException.of(error, requestId);
      if (!resumes || !cause.resumable()) {
        end(cause);
        return;
      }
      Duration processed = progress.cursors().processed();
      fruitless = processed.compareTo(processedBefore) > 0 ? 0 : fruitless + 1;
      processedBefore = processed;
      client.execute(() -> resume(cause));
    }

    private Event event(StreamingRecognizeResponse response, Cursors cursors) {
      switch (response.getEventCase()) {
        case RESULT:
          return Responses.result(response.getResult(), cursors, progress);
        case TURN:
          Event.Turn turn = Responses.turn(response.getTurn(), cursors);
          return progress.newTurn(turn) ? turn : null;
        case VAD:
          Event.Vad vad = Responses.vad(response.getVad(), cursors);
          return progress.newVad(vad.offset()) ? vad : null;
        case FLUSH_DONE:
          String flushId = response.getFlushDone().getFlushId();
          answered(request -> request.hasFlush() && request.getFlush().getFlushId().equals(flushId));
          return new Event.Flushed(cursors, Times.of(response.getFlushDone().getAudioOffset()));
        case UPDATE_APPLIED:
          return updated(response.getUpdateApplied().getUpdateId(), cursors);
        case SESSION_ENDED:
          complete = true;
          Duration audio = base.plus(Times.of(response.getSessionEnded().getAudioDuration()));
          return new Event.Ended(cursors, audio, progress.words());
        default:
          return Responses.other(response, cursors);
      }
    }

    /** Lets a session that resumes later do so with the options that it has now. */
    private Event updated(String id, Cursors cursors) {
      StreamingRecognizeRequest request =
          answered(sent -> sent.hasUpdate() && sent.getUpdate().getUpdateId().equals(id));
      if (request != null && request.getUpdate().hasTurns()) {
        config = config.toBuilder().setTurns(request.getUpdate().getTurns()).build();
      }
      return id.equals(Tape.PROBE_ID) ? null : new Event.Updated(cursors, id);
    }

    private StreamingRecognizeRequest answered(
        java.util.function.Predicate<StreamingRecognizeRequest> matches) {
      lock.lock();
      try {
        return tape.answered(matches).orElse(null);
      } finally {
        lock.unlock();
      }
    }
  }
}
