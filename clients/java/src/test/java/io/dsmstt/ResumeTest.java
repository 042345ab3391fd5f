package io.dsmstt;

import static io.dsmstt.Support.CONFIG;
import static io.dsmstt.Support.told;
import static io.dsmstt.Support.with;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.Code;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(120)
class ResumeTest {
  private static final int[] SPOKEN = {3, 7, 11, 40, 44, 47, 50, 53, 56, 59, 90, 94};
  private static final StreamConfig RESUMING = CONFIG.withResume(Duration.ofSeconds(60));

  private final List<Duration> slept = new ArrayList<>();

  private static Throwable broken() {
    return FakeService.refusal(Code.UNAVAILABLE, "WORKER_LOST", null);
  }

  /** Wherever the connection breaks, and whether the model then hears a word a frame later or not. */
  @Test
  void noWordIsLostOrDoubledWhenTheConnectionBreaks() throws IOException {
    List<String> want = with(Arrays.stream(SPOKEN).mapToObj(frame -> "w" + frame).toList(), "ended 8000, 12");
    for (int shift = 0; shift <= 1; shift++) {
      for (int breakAfter = 1; breakAfter < 100; breakAfter += 3) {
        try (FakeService service =
                new FakeService(new Hearing(breakAfter, broken(), 0, 0), new Hearing(0, null, shift, 0));
            DsmSttClient client = Support.client(service, slept);
            Stream stream = client.stream(RESUMING)) {
          var sent = Support.send(stream, Hearing.say(100, SPOKEN));
          List<String> told = told(stream);
          assertTrue(told.remove("resumed"));
          assertEquals(
              want, told.stream().map(line -> line.split("@")[0]).toList(), "after " + breakAfter + ", late " + shift);
          sent.join();
        }
      }
    }
  }

  /** The end once came between the start of the session and its taking over, and nobody heard of it. */
  @Test
  void aConnectionThatBreaksAtOnceIsNotWaitedForForEver() throws IOException {
    FakeService.Script brief =
        responses -> {
          Hearing hearing = Hearing.all();
          hearing.apply(responses);
          return new io.grpc.stub.StreamObserver<>() {
            @Override
            public void onNext(io.dsmstt.speech.v1.StreamingRecognizeRequest request) {
              if (request.hasConfig()) {
                hearing.onNext(request);
                responses.onError(broken());
              }
            }

            @Override
            public void onError(Throwable error) {}

            @Override
            public void onCompleted() {}
          };
        };
    try (FakeService service = new FakeService(brief, brief, Hearing.all());
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(RESUMING)) {
      var sent = Support.send(stream, Hearing.say(20, 3));
      assertEquals(List.of("resumed", "resumed", "w3@240", "ended 1600, 1"), told(stream));
      sent.join();
    }
  }

  @Test
  void turnsGoOnWhenTheConnectionBreaks() throws IOException {
    List<String> want =
        List.of("start 0", "w3@240", "w7@560", "end 0", "start 1", "w40@3200", "end 1", "ended 8000, 3");
    for (int breakAfter = 1; breakAfter < 100; breakAfter += 2) {
      try (FakeService service =
              new FakeService(new Hearing(breakAfter, broken(), 0, 12), new Hearing(0, null, 0, 12));
          DsmSttClient client = Support.client(service, slept);
          Stream stream = client.stream(RESUMING.withTurns(TurnOptions.DEFAULT))) {
        var sent = Support.send(stream, Hearing.say(100, 3, 7, 40));
        List<String> told = told(stream);
        told.remove("resumed");
        assertEquals(want, told, "after " + breakAfter);
        sent.join();
      }
    }
  }

  @Test
  void aFlushAndAnUpdateOutliveTheConnection() throws IOException {
    Hearing third = Hearing.all();
    try (FakeService service =
            new FakeService(new Hearing(9, broken(), 0, 0), new Hearing(30, broken(), 0, 0), third);
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(RESUMING)) {
      stream.send(Hearing.say(10, 8));
      stream.update("u", new TurnOptions(null, null, null, null, Duration.ofSeconds(3), false));
      stream.flush().join();
      var sent = Support.send(stream, Hearing.say(50, 20));

      assertEquals(
          List.of(
              "resumed", "updated u", "w8@640", "flushed@800", "resumed", "w20@2400", "ended 4800, 2"),
          told(stream));
      sent.join();
      assertEquals(3, third.config().getTurns().getMaxSilence().getSeconds());
    }
  }

  @Test
  void theBufferOfALongSilenceStaysSmall() throws IOException {
    // Nobody speaks for two minutes, so the service tells nothing by itself; the buffer would be full after 20 s.
    try (FakeService service = new FakeService(Hearing.all());
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(CONFIG.withResume(Duration.ofSeconds(20)))) {
      var sent = Support.send(stream, Hearing.say(1500));
      assertEquals(List.of("ended 120000, 0"), told(stream));
      sent.join();
    }
  }

  @Test
  void aConnectionThatIsCutIsTriedAgainAsOftenAsThePolicySays() throws IOException {
    FakeService[] first = new FakeService[1];
    Hearing cut = new Hearing(30, broken(), 0, 0).atBreak(() -> first[0].close());
    try (FakeService service = new FakeService(cut)) {
      first[0] = service;
      // Nobody is there any more: the policy bounds how often that is tried.
      try (DsmSttClient client = Support.client(service, slept);
          Stream stream = client.stream(RESUMING)) {
        Support.send(stream, Hearing.say(100, SPOKEN));
        DsmSttException failure = assertThrows(DsmSttException.class, () -> told(stream));
        assertEquals(io.grpc.Status.Code.UNAVAILABLE, failure.code());
        assertEquals(4, slept.size());
      }
    }
  }

  @Test
  void aSessionThatGetsNowhereGivesUp() throws IOException {
    FakeService.Script[] scripts = new FakeService.Script[12];
    Arrays.setAll(scripts, index -> new Hearing(20, broken(), 0, 0));
    try (FakeService service = new FakeService(scripts);
        DsmSttClient client = Support.client(service, slept);
        Stream stream = client.stream(RESUMING)) {
      Support.send(stream, Hearing.say(100, SPOKEN));
      assertEquals("WORKER_LOST", assertThrows(DsmSttException.class, () -> told(stream)).reason());
      assertTrue(service.calls.size() <= 8, () -> "made " + service.calls.size() + " connections");
    }
  }

  @Test
  void withoutResumeOrForAMistakeTheSessionEnds() throws IOException {
    Throwable tooLong = FakeService.refusal(Code.OUT_OF_RANGE, "MAX_DURATION", null);
    try (FakeService service = new FakeService(new Hearing(20, broken(), 0, 0), new Hearing(20, tooLong, 0, 0));
        DsmSttClient client = Support.client(service, slept)) {
      for (var expected : List.of(List.of(CONFIG, "WORKER_LOST"), List.of(RESUMING, "MAX_DURATION"))) {
        try (Stream stream = client.stream((StreamConfig) expected.get(0))) {
          Support.send(stream, Hearing.say(100, SPOKEN));
          List<String> heard = new ArrayList<>();
          DsmSttException failure =
              assertThrows(
                  DsmSttException.class,
                  () -> {
                    for (Event event : stream.events()) {
                      heard.add(((Event.Result) event).words().get(0).text());
                    }
                  });
          assertEquals(List.of("w3", "w7", "w11"), heard);
          assertEquals(expected.get(1), failure.reason());
        }
      }
    }
  }
}
