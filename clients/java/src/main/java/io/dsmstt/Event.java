package io.dsmstt;

import java.time.Duration;
import java.util.List;
import java.util.OptionalDouble;

/** Something that a session tells. Every event says how far the audio had come when it was sent. */
public sealed interface Event {
  /** Returns how far the audio had come. */
  Cursors cursors();

  /**
   * Words. Final ones never change and are not sent again; others are replaced by the next result.
   *
   * @param isFinal whether the words are final
   */
  record Result(Cursors cursors, int turnIndex, boolean isFinal, List<Word> words) implements Event {}

  /** What happens to a turn, in this order. */
  enum TurnKind {
    /** Its first word has begun. */
    START,
    /** It has probably ended. */
    EAGER_END,
    /** After EAGER_END: it goes on. */
    RESUMED,
    /** It has ended. */
    END
  }

  /**
   * A speaker's turn started or ended.
   *
   * @param probability of the pause head that decided; empty if none did
   */
  record Turn(Cursors cursors, TurnKind kind, int turnIndex, Duration offset, OptionalDouble probability)
      implements Event {}

  /**
   * The probabilities that the speaker pauses.
   *
   * @param pauseProbabilities one for each of {@link Session#pauseHorizons}
   */
  record Vad(Cursors cursors, Duration offset, List<Float> pauseProbabilities) implements Event {}

  /**
   * Every word of the audio before a flush has come.
   *
   * @param offset the end of the audio that the flush covers
   */
  record Flushed(Cursors cursors, Duration offset) implements Event {}

  /** An update has taken effect. */
  record Updated(Cursors cursors, String updateId) implements Event {}

  /** The gateway stops soon; a session that resumes then goes on elsewhere by itself. */
  record GoAway(Cursors cursors, Duration timeLeft) implements Event {}

  /**
   * Something that the caller may want to act on.
   *
   * @param code from speech.proto, without its prefix: LAGGING, STALLED, UNTRAINED_MODEL
   * @param message for people
   */
  record Warning(Cursors cursors, String code, String message) implements Event {}

  /** The connection broke and the session goes on over another. Words that were not final are void. */
  record Resumed(Cursors cursors, Session session, DsmSttException cause) implements Event {}

  /**
   * The last event: the transcript is complete.
   *
   * @param words how many final words the session had
   */
  record Ended(Cursors cursors, Duration audioDuration, long words) implements Event {}
}
