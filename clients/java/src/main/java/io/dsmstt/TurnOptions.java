package io.dsmstt;

import java.time.Duration;

/**
 * When a speaker is taken to have ended a turn. Null is the service's default; for limits see speech.proto.
 *
 * @param endThreshold pause probability that ends a turn, (0, 1]
 * @param eagerEndThreshold probability for EAGER_END; none without
 * @param pauseHorizon which pause head to look at
 * @param minSilence how long the pause must be
 * @param maxSilence how long without a word ends a turn anyway
 * @param flushOnEnd flush when the end is heard
 */
public record TurnOptions(
    Float endThreshold,
    Float eagerEndThreshold,
    Duration pauseHorizon,
    Duration minSilence,
    Duration maxSilence,
    boolean flushOnEnd) {
  /** The service's defaults. */
  public static final TurnOptions DEFAULT = new TurnOptions(null, null, null, null, null, false);

  io.dsmstt.speech.v1.TurnOptions proto() {
    var options = io.dsmstt.speech.v1.TurnOptions.newBuilder().setEnabled(true).setFlushOnEnd(flushOnEnd);
    if (endThreshold != null) {
      options.setEndThreshold(endThreshold);
    }
    if (eagerEndThreshold != null) {
      options.setEagerEndThreshold(eagerEndThreshold);
    }
    if (pauseHorizon != null) {
      options.setPauseHorizon(Times.proto(pauseHorizon));
    }
    if (minSilence != null) {
      options.setMinSilence(Times.proto(minSilence));
    }
    if (maxSilence != null) {
      options.setMaxSilence(Times.proto(maxSilence));
    }
    return options.build();
  }
}
