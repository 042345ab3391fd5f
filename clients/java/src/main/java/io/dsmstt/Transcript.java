package io.dsmstt;

import java.time.Duration;
import java.util.List;

/**
 * What was said in a recording.
 *
 * @param sessionId for logs and questions
 * @param model the model's name
 * @param text the words joined by spaces
 * @param words the words with their times
 * @param audioDuration how long the recording is
 * @param turns where turns start and end, if asked for
 */
public record Transcript(
    String sessionId, String model, String text, List<Word> words, Duration audioDuration, List<Event.Turn> turns) {}
