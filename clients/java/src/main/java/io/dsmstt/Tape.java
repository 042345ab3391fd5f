package io.dsmstt;

import io.dsmstt.speech.v1.StreamingRecognizeRequest;
import io.dsmstt.speech.v1.Update;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * What a session sends, in order: what waits to be written, and, if the session may resume, what may have to be written
 * again. Bounded: its owner looks at {@link #hasRoom} before it adds. Not thread-safe; the session's lock guards it.
 *
 * <p>Positions are bytes of audio; silence counts as the bytes it would have had.
 */
final class Tape {
  /** What may wait to be written, of a session that does not resume. */
  private static final long WAITING_BYTES = 64 << 10;
  /** Beside its audio, what an entry is taken to cost. */
  private static final long ENTRY_BYTES = 64;
  /**
   * The service tells its cursors only beside events, and a silent speaker causes none. An update that changes nothing is
   * answered behind the audio before it, so one is sent with so much audio.
   */
  private static final Duration PROBE_EVERY = Duration.ofSeconds(5);

  static final String PROBE_ID = "dsm-stt-client-probe";

  /** A request at its position; null stands for the half-close. */
  private record Entry(StreamingRecognizeRequest request, long start, long length) {
    long end() {
      return start + length;
    }

    long cost() {
      return ENTRY_BYTES + (request == null ? 0 : request.getAudio().size());
    }
  }

  private final AudioFormat format;
  private final boolean resumes;
  private final long limit;
  private final List<Entry> entries = new ArrayList<>();
  private int next;
  private long cost;
  private long position;
  private long sinceProbe;
  private boolean closed;

  Tape(StreamConfig config) {
    format = config.audio();
    resumes = config.resumes();
    limit = resumes ? format.bytesOf(config.resumeBuffer()) : WAITING_BYTES;
  }

  boolean hasRoom(StreamingRecognizeRequest request) {
    return cost == 0 || cost + new Entry(request, 0, 0).cost() <= limit;
  }

  boolean closed() {
    return closed;
  }

  void add(StreamingRecognizeRequest request) {
    closed = request == null;
    long length = lengthOf(request);
    push(request, length);
    sinceProbe += length;
    if (resumes && sinceProbe >= format.bytesOf(PROBE_EVERY)) {
      sinceProbe = 0;
      push(Requests.update(Update.newBuilder().setUpdateId(PROBE_ID)), 0);
    }
  }

  boolean hasNext() {
    return next < entries.size();
  }

  /** Returns the next request to write, null for the half-close. */
  StreamingRecognizeRequest take() {
    StreamingRecognizeRequest request = entries.get(next++).request();
    if (!resumes || (request != null && request.hasKeepAlive())) {
      remove(next - 1);
    }
    return request;
  }

  /** Lets go what ends before a time and is written. */
  void forget(Duration before) {
    long until = format.bytesOf(before);
    while (next > 0 && entries.get(0).end() <= until) {
      remove(0);
    }
  }

  /** Lets a flush or an update go that the service has answered. */
  Optional<StreamingRecognizeRequest> answered(Predicate<StreamingRecognizeRequest> matches) {
    for (int index = 0; index < next; index++) {
      StreamingRecognizeRequest request = entries.get(index).request();
      if (request != null && matches.test(request)) {
        remove(index);
        return Optional.of(request);
      }
    }
    return Optional.empty();
  }

  /** Lets everything from a time on be written once more, and returns where that really begins. */
  Duration rewind(Duration to) {
    long begin = Math.min(format.bytesOf(to), position);
    next = entries.size();
    while (next > 0 && entries.get(0).end() <= begin && entries.get(0).start() < begin) {
      remove(0);
    }
    next = 0;
    if (!entries.isEmpty()) {
      begin = Math.max(begin, entries.get(0).start());
      cut(begin);
    }
    return format.durationOf(begin);
  }

  /** Shortens the first entry to what follows a position. */
  private void cut(long begin) {
    Entry first = entries.get(0);
    long gone = begin - first.start();
    if (gone <= 0) {
      return;
    }
    long left = first.length() - gone;
    StreamingRecognizeRequest rest =
        first.request().hasAudio()
            ? Requests.audio(first.request().getAudio().substring((int) gone))
            : Requests.silence(format.durationOf(left));
    Entry shorter = new Entry(rest, begin, left);
    cost += shorter.cost() - first.cost();
    entries.set(0, shorter);
  }

  private void push(StreamingRecognizeRequest request, long length) {
    Entry entry = new Entry(request, position, length);
    position += length;
    cost += entry.cost();
    entries.add(entry);
  }

  private void remove(int index) {
    cost -= entries.remove(index).cost();
    next--;
  }

  private long lengthOf(StreamingRecognizeRequest request) {
    if (request == null || !format.timed()) {
      return 0;
    }
    return request.hasSilence()
        ? format.bytesOf(Times.of(request.getSilence().getDuration()))
        : request.getAudio().size();
  }
}
