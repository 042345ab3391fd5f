package io.dsmstt;

import java.time.Duration;

/**
 * How far the audio of a session has come; none ever runs backwards.
 *
 * @param received audio that the service has taken
 * @param processed audio that its model has heard
 * @param finalized every word that starts before this has been sent, final
 */
public record Cursors(Duration received, Duration processed, Duration finalized) {
  static final Cursors START = new Cursors(Duration.ZERO, Duration.ZERO, Duration.ZERO);

  Cursors advance(Cursors other) {
    return new Cursors(
        Times.max(received, other.received),
        Times.max(processed, other.processed),
        Times.max(finalized, other.finalized));
  }
}
