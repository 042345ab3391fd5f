package io.dsmstt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.sound.sampled.AudioInputStream;
import javax.sound.sampled.AudioSystem;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Against the real service, which `make client-java` starts. */
@Timeout(120)
class ServiceIT {
  /** A frame is 80 ms; the model hears a beginning within one of it. */
  private static final double START_TOLERANCE_S = 0.2;
  private static final AudioFormat FORMAT = AudioFormat.linear16(16_000);

  private static String setting(String name) {
    String value = System.getenv(name);
    assertNotNull(value, name + " is not set: run these tests with `make client-java`, which starts the service");
    return value;
  }

  private static byte[] sample(String name) throws IOException {
    return Files.readAllBytes(Path.of(setting("DSM_TEST_SAMPLES"), name));
  }

  private static byte[] samples(String name) throws Exception {
    try (AudioInputStream wav =
        AudioSystem.getAudioInputStream(new File(setting("DSM_TEST_SAMPLES"), name))) {
      assertEquals(FORMAT.sampleRate(), Math.round(wav.getFormat().getSampleRate()));
      return wav.readAllBytes();
    }
  }

  private static DsmSttClient open() {
    return DsmSttClient.builder(setting("DSM_TEST_ADDRESS")).build();
  }

  private static DsmSttClient.Builder secure() throws IOException {
    return DsmSttClient.builder(setting("DSM_TEST_SECURE_ADDRESS"))
        .caFile(new File(setting("DSM_TEST_CA_FILE")))
        .apiKey(setting("DSM_TEST_API_KEY"));
  }

  private static void checkWords(List<Word> heard, String name) throws IOException {
    String references = Files.readString(Path.of(setting("DSM_TEST_SAMPLES"), "references.json"));
    String said = references.substring(references.indexOf(name), references.indexOf("]", references.indexOf(name)));
    Matcher word = Pattern.compile("\"word\": \"(\\w+)\",\\s*\"start_s\": ([0-9.]+)").matcher(said);
    int index = 0;
    for (; word.find(); index++) {
      assertTrue(index < heard.size(), heard::toString);
      assertEquals(word.group(1), heard.get(index).text());
      double off = heard.get(index).start().toMillis() / 1000.0 - Double.parseDouble(word.group(2));
      assertTrue(Math.abs(off) <= START_TOLERANCE_S, () -> heard.toString());
      assertTrue(heard.get(index).end().compareTo(heard.get(index).start()) > 0);
    }
    assertTrue(index > 0);
    assertEquals(index, heard.size());
  }

  private static List<Word> finalWords(Stream stream) {
    List<Word> words = new ArrayList<>();
    for (Event event : stream.events()) {
      if (event instanceof Event.Result result && result.isFinal()) {
        words.addAll(result.words());
      }
    }
    return words;
  }

  @Test
  void modelsAreListedAndRecordingsTranscribed() throws IOException {
    try (DsmSttClient client = open()) {
      List<Model> models = client.listModels();
      assertEquals("dsm-tiny-en", models.get(0).name());
      assertEquals(4, models.get(0).slotsTotal());
      for (String name : List.of("telephone.wav", "months.wav")) {
        Transcript transcript = client.recognize(sample(name));
        checkWords(transcript.words(), name);
        assertEquals(String.join(" ", transcript.words().stream().map(Word::text).toList()), transcript.text());
      }
    }
  }

  @Test
  void aStreamTranscribesWithTurnsAndAFlush() throws Exception {
    List<Word> words = new ArrayList<>();
    List<String> kinds = new ArrayList<>();
    StreamListener listener =
        event -> {
          if (event instanceof Event.Result result && result.isFinal()) {
            words.addAll(result.words());
          } else if (event instanceof Event.Turn turn) {
            kinds.add(turn.kind().name());
          } else if (event instanceof Event.Flushed || event instanceof Event.Ended) {
            kinds.add(event.getClass().getSimpleName());
          }
        };
    StreamConfig config = StreamConfig.of(FORMAT).withTurns(TurnOptions.DEFAULT).withInterimResults();
    try (DsmSttClient client = open();
        Stream stream = client.stream(config, listener)) {
      stream.send(samples("months.wav"));
      stream.flush(true, false).join();
      checkWords(words, "months.wav");
      stream.finish();
      stream.join();
      assertEquals("START", kinds.get(0));
      assertEquals(List.of("END", "Flushed", "Ended"), kinds.subList(kinds.size() - 3, kinds.size()));
    }
  }

  @Test
  void aResumableStreamTranscribesAsAnyOther() throws Exception {
    try (DsmSttClient client = open();
        Stream stream = client.stream(StreamConfig.of(FORMAT).withResume(Duration.ofSeconds(60)))) {
      var sent = Support.send(stream, samples("telephone.wav"));
      checkWords(finalWords(stream), "telephone.wav");
      sent.join();
    }
  }

  /** A process that is killed says nothing: its connections are reset, and the next one is to another gateway. */
  @Test
  void aSessionOutlivesAGatewayThatIsKilled() throws Exception {
    byte[] audio = samples("telephone.wav");
    // Four of six words have been said by then.
    int middle = 5 * FORMAT.sampleRate() * 2;
    String both = Addresses.oneAfterTheOther(setting("DSM_TEST_MORTAL_ADDRESS"), setting("DSM_TEST_ADDRESS"));
    ProcessHandle gateway = ProcessHandle.of(Long.parseLong(setting("DSM_TEST_MORTAL_PID"))).orElseThrow();
    List<Word> heard = new ArrayList<>();
    int resumed = 0;
    try (DsmSttClient client = DsmSttClient.builder(both).build();
        Stream stream = client.stream(StreamConfig.of(FORMAT).withResume(Duration.ofSeconds(60)))) {
      CountDownLatch killed = new CountDownLatch(1);
      var sent =
          CompletableFuture.runAsync(
              () -> {
                stream.send(audio, 0, middle);
                awaitQuietly(killed);
                stream.send(audio, middle, audio.length - middle);
                stream.finish();
              });
      for (Event event : stream.events()) {
        if (event instanceof Event.Result result) {
          heard.addAll(result.words());
          if (heard.size() >= 3 && killed.getCount() > 0) {
            assertTrue(gateway.destroyForcibly());
            killed.countDown();
          }
        } else if (event instanceof Event.Resumed) {
          resumed++;
        }
      }
      sent.join();
    }
    checkWords(heard, "telephone.wav");
    assertEquals(1, resumed);
  }

  private static void awaitQuietly(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException interrupted) {
      throw new IllegalStateException(interrupted);
    }
  }

  @Test
  void whatTheServiceRefusesIsTold() throws IOException {
    StreamConfig config = StreamConfig.of(FORMAT);
    try (DsmSttClient client = open();
        DsmSttClient wrongKey = secure().apiKey("dsm_wrong").build();
        DsmSttClient plain =
            DsmSttClient.builder(setting("DSM_TEST_SECURE_ADDRESS")).retry(RetryPolicy.NONE).build()) {
      assertRefused(Status.Code.UNAUTHENTICATED, "API_KEY_INVALID", wrongKey, config);
      assertRefused(Status.Code.NOT_FOUND, "UNKNOWN_MODEL", client, config.withModel("no such"));
      assertRefused(Status.Code.INVALID_ARGUMENT, "BAD_CONFIG", client, StreamConfig.of(AudioFormat.linear16(7)));
      assertRefused(Status.Code.UNAVAILABLE, "", plain, config);
    }
  }

  private static void assertRefused(Status.Code code, String reason, DsmSttClient client, StreamConfig config) {
    DsmSttException failure = assertThrows(DsmSttException.class, () -> client.stream(config));
    assertEquals(code, failure.code());
    assertEquals(reason, failure.reason());
    assertTrue(!failure.requestId().isEmpty());
  }

  @Test
  void aSlotThatIsTakenIsWaitedForAsTheServiceSays() throws Exception {
    StreamConfig config = StreamConfig.of(FORMAT);
    List<Duration> waited = new ArrayList<>();
    try (DsmSttClient holding = secure().build();
        DsmSttClient hasty = secure().retry(RetryPolicy.NONE).build()) {
      Stream holder = holding.stream(config);
      DsmSttException refusal = assertThrows(DsmSttException.class, () -> hasty.stream(config));
      assertEquals("NO_CAPACITY", refusal.reason());
      Duration asked = refusal.retryAfter().orElseThrow();
      // Refused the first time, the patient one waits; cancelled meanwhile, the first session frees its slot.
      DsmSttClient.Sleeper closing =
          duration -> {
            waited.add(duration);
            holder.close();
            Thread.sleep(duration.toMillis());
          };
      try (DsmSttClient patient = secure().sleeper(closing).build();
          Stream stream = patient.stream(config)) {
        var sent = Support.send(stream, samples("telephone.wav"));
        checkWords(finalWords(stream), "telephone.wav");
        sent.join();
      }
      assertTrue(waited.get(0).compareTo(asked.dividedBy(2)) >= 0, waited::toString);
      assertEquals(Status.Code.CANCELLED, assertThrows(DsmSttException.class, holder::join).code());
    }
  }
}
