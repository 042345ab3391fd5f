package io.dsmstt;

import java.time.Duration;

/**
 * What was said, and where in the audio.
 *
 * @param text the word
 * @param start where the model heard it begin
 * @param end where it probably ended; pauses are not in it
 */
public record Word(String text, Duration start, Duration end) {}
