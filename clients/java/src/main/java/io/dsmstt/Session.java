package io.dsmstt;

import java.time.Duration;
import java.util.List;

/**
 * What the service said when it took a session.
 *
 * @param id for logs and questions
 * @param model the model's name
 * @param delay the time between a sound and its word
 * @param frameDuration the model's step
 * @param pauseHorizons empty for models without pause heads
 * @param idleTimeout how long the session may go without anything being sent
 * @param maxDuration the longest session, in audio
 */
public record Session(
    String id,
    String model,
    Duration delay,
    Duration frameDuration,
    List<Duration> pauseHorizons,
    Duration idleTimeout,
    Duration maxDuration) {}
