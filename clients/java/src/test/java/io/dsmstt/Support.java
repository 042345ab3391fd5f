package io.dsmstt;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** What several tests share. */
final class Support {
  static final StreamConfig CONFIG = StreamConfig.of(AudioFormat.linear16(Hearing.RATE));

  private Support() {}

  /** Returns a client that waits for nothing and notes how long it would have waited. */
  static DsmSttClient client(FakeService service, List<Duration> slept) {
    return DsmSttClient.builder(service.address()).apiKey("secret").sleeper(slept::add).build();
  }

  /** Sends audio in odd pieces, then finishes; in another thread. */
  static CompletableFuture<Void> send(Stream stream, byte[] audio) {
    return CompletableFuture.runAsync(
        () -> {
          for (int at = 0; at < audio.length; at += 777) {
            stream.send(audio, at, Math.min(777, audio.length - at));
          }
          stream.finish();
        });
  }

  /** Returns what a session told, in short: "w3@240" for a word and its start in ms, "start 0" for a turn. */
  static List<String> told(Stream stream) {
    List<String> lines = new ArrayList<>();
    for (Event event : stream.events()) {
      if (event instanceof Event.Result result) {
        result.words().forEach(word -> lines.add(word.text() + "@" + word.start().toMillis()));
      } else if (event instanceof Event.Turn turn) {
        lines.add(turn.kind().name().toLowerCase(java.util.Locale.ROOT) + " " + turn.turnIndex());
      } else if (event instanceof Event.Resumed) {
        lines.add("resumed");
      } else if (event instanceof Event.Flushed flushed) {
        lines.add("flushed@" + flushed.offset().toMillis());
      } else if (event instanceof Event.Updated updated) {
        lines.add("updated " + updated.updateId());
      } else if (event instanceof Event.Ended ended) {
        lines.add("ended " + ended.audioDuration().toMillis() + ", " + ended.words());
      }
    }
    return lines;
  }

  static List<String> words(int... frames) {
    return Arrays.stream(frames).mapToObj(frame -> "w" + frame + "@" + frame * Hearing.FRAME_MS).toList();
  }

  static List<String> with(List<String> lines, String... more) {
    List<String> all = new ArrayList<>(lines);
    all.addAll(List.of(more));
    return all;
  }
}
