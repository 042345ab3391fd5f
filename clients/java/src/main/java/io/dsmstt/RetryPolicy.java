package io.dsmstt;

import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.ThreadLocalRandom;

/**
 * How often and how soon a call is tried again that the service refused for now: UNAVAILABLE, or RESOURCE_EXHAUSTED with
 * a delay. Before a session has started and for unary calls; for sessions that resume, also when a connection breaks.
 *
 * @param maxAttempts the first one included; 1 never tries again
 * @param initialBackoff doubles with each attempt, and is jittered; a delay that the service names is kept, and up to a
 *     fifth of it added
 * @param maxBackoff also the longest delay of the service that is waited for; with a longer one the call fails at once
 */
public record RetryPolicy(int maxAttempts, Duration initialBackoff, Duration maxBackoff) {
  /** What a client does that was told nothing else. */
  public static final RetryPolicy DEFAULT = new RetryPolicy(5, Duration.ofMillis(250), Duration.ofSeconds(10));

  /** Tries once. */
  public static final RetryPolicy NONE = new RetryPolicy(1, Duration.ZERO, Duration.ZERO);

  /** Refuses what cannot work. */
  public RetryPolicy {
    if (maxAttempts < 1 || initialBackoff.isNegative() || maxBackoff.compareTo(initialBackoff) < 0) {
      throw new IllegalArgumentException("wanted at least 1 attempt and 0 <= initialBackoff <= maxBackoff");
    }
  }

  /** Returns how long to wait after an attempt, counted from 1; empty if it was the last. */
  Optional<Duration> delay(int attempt, DsmSttException failure) {
    Duration asked = failure.retryAfter().orElse(Duration.ZERO);
    if (!failure.retryable() || attempt >= maxAttempts || asked.compareTo(maxBackoff) > 0) {
      return Optional.empty();
    }
    double chance = ThreadLocalRandom.current().nextDouble();
    if (!asked.isZero()) {
      return Optional.of(asked.plusNanos((long) (chance * asked.toNanos() / 5)));
    }
    Duration backoff = initialBackoff;
    for (int doubled = 1; doubled < attempt && backoff.compareTo(maxBackoff) < 0; doubled++) {
      backoff = Times.min(backoff.multipliedBy(2), maxBackoff);
    }
    return Optional.of(Duration.ofNanos((long) ((1 + chance) * backoff.toNanos() / 2)));
  }
}
