package io.dsmstt;

import static io.dsmstt.Support.CONFIG;
import static io.dsmstt.Support.told;
import static io.dsmstt.Support.with;
import static io.dsmstt.Support.words;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.Code;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class StreamTest {
  private final List<Duration> slept = new ArrayList<>();

  @Test
  void aSessionThatTheServiceRefusesForNowStartsLaterAndTellsWordsAndItsEnd() throws IOException {
    try (FakeService service =
            new FakeService(
                FakeService.refusing(Code.UNAVAILABLE, "WORKER_LOST", Duration.ofMillis(300)),
                FakeService.refusing(Code.RESOURCE_EXHAUSTED, "NO_CAPACITY", Duration.ofMillis(400)),
                Hearing.all());
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(CONFIG)) {
      var sent = Support.send(stream, Hearing.say(20, 3, 7));

      assertEquals(with(words(3, 7), "ended 1600, 2"), told(stream));
      sent.join();
      assertTrue(slept.size() == 2 && slept.get(0).toMillis() >= 300 && slept.get(1).toMillis() >= 400);
      DsmSttException closed = assertThrows(DsmSttException.class, () -> stream.send(new byte[2]));
      assertEquals("CLOSED", closed.reason());
    }
  }

  @Test
  void aFlushCompletesBehindItsWords() throws IOException {
    List<Event> events = new ArrayList<>();
    CompletableFuture<DsmSttException> closed = new CompletableFuture<>();
    StreamListener listener =
        new StreamListener() {
          @Override
          public void onEvent(Event event) {
            events.add(event);
          }

          @Override
          public void onClosed(DsmSttException failure) {
            closed.complete(failure);
          }
        };
    try (FakeService service = new FakeService(Hearing.all());
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(CONFIG, listener)) {
      stream.send(Hearing.say(5, 4));
      stream.flush(true, true).join();
      assertTrue(events.get(0) instanceof Event.Result && events.get(1) instanceof Event.Flushed, events::toString);
      stream.keepAlive();
      stream.silence(Duration.ofMillis(400));
      stream.finish();
      stream.join();
      assertNull(closed.join());
      assertTrue(events.get(2) instanceof Event.Ended ended && ended.audioDuration().toMillis() == 800);
    }
  }

  @Test
  void aStreamWithoutItsEndIsIncomplete() throws IOException {
    try (FakeService service = new FakeService(new Hearing(2, null, 0, 0));
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(CONFIG)) {
      stream.send(Hearing.say(5));
      DsmSttException failure = assertThrows(DsmSttException.class, () -> told(stream));
      assertEquals("INCOMPLETE", failure.reason());
    }
  }

  @Test
  void closingEndsASessionWhoseEventsNobodyTakes() throws IOException {
    try (FakeService service = new FakeService(Hearing.all());
        DsmSttClient client = Support.client(service, slept)) {
      Stream stream = client.stream(CONFIG);
      var sent = Support.send(stream, Hearing.say(2000, IntStream.range(1, 120).toArray()));
      CompletableFuture<Void> flushed = stream.flush();
      stream.close();

      assertEquals(
          Status.Code.CANCELLED, assertThrows(DsmSttException.class, stream::join).code());
      assertThrows(CompletionException.class, flushed::join);
      // It may have sent all it had before.
      sent.handle((nothing, error) -> nothing).join();
    }
  }

  @Test
  void aServiceThatDoesNotAnswerIsGivenUpAtTheDeadline() throws IOException {
    FakeService.Script silent =
        responses ->
            new io.grpc.stub.StreamObserver<>() {
              @Override
              public void onNext(io.dsmstt.speech.v1.StreamingRecognizeRequest request) {}

              @Override
              public void onError(Throwable error) {}

              @Override
              public void onCompleted() {}
            };
    try (FakeService service = new FakeService(silent);
        DsmSttClient client = DsmSttClient.builder(service.address()).deadline(Duration.ofMillis(300)).build()) {
      DsmSttException failure = assertThrows(DsmSttException.class, () -> client.stream(CONFIG));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, failure.code());
    }
  }

  @Test
  void aConfigThatCannotResumeIsRefused() {
    StreamConfig opus = StreamConfig.of(new AudioFormat(AudioFormat.Encoding.OGG_OPUS, 0, 0));
    assertThrows(DsmSttException.class, () -> opus.withResume(Duration.ofSeconds(60)));
    assertThrows(DsmSttException.class, () -> CONFIG.withResume(Duration.ofSeconds(1)));
  }
}
