package io.dsmstt;

import static io.dsmstt.FakeService.refusal;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.Code;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class RetryTest {
  private final List<Duration> slept = new ArrayList<>();

  @Test
  void aCallIsTriedAgainWhenTheServiceSaid() throws IOException {
    try (FakeService service = new FakeService();
        DsmSttClient client = Support.client(service, slept)) {
      service.refusals.add(refusal(Code.UNAVAILABLE, "DRAINING", Duration.ofMillis(700)));
      service.refusals.add(refusal(Code.RESOURCE_EXHAUSTED, "NO_CAPACITY", Duration.ofSeconds(2)));
      service.refusals.add(FakeService.ANSWER_NEXT);

      assertEquals("one", client.listModels().get(0).name());

      assertEquals(2, slept.size());
      assertBetween(700, 840, slept.get(0));
      assertBetween(2000, 2400, slept.get(1));
      assertEquals("secret", service.header(2, "x-api-key"));
      assertEquals(service.header(0, "x-request-id"), service.header(2, "x-request-id"));
    }
  }

  @Test
  void attemptsAreBoundedAndTheErrorTellsWhatTheServiceSaid() throws IOException {
    try (FakeService service = new FakeService();
        DsmSttClient client = Support.client(service, slept)) {
      service.refusals.add(refusal(Code.UNAVAILABLE, "DRAINING", null));

      DsmSttException failure = assertThrows(DsmSttException.class, client::listModels);

      assertEquals(4, slept.size());
      assertBetween(125, 250, slept.get(0));
      assertBetween(1000, 2000, slept.get(3));
      assertEquals(Status.Code.UNAVAILABLE, failure.code());
      assertEquals("DRAINING", failure.reason());
      assertEquals("as the script says", failure.getMessage());
      assertEquals(Optional.empty(), failure.retryAfter());
      assertEquals(service.header(0, "x-request-id"), failure.requestId());
    }
  }

  @Test
  void whatWillNotSucceedIsNotTriedAgain() throws IOException {
    for (var refusal :
        List.of(
            refusal(Code.UNAUTHENTICATED, "API_KEY_INVALID", null),
            refusal(Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", null),
            refusal(Code.RESOURCE_EXHAUSTED, "NO_CAPACITY", Duration.ofHours(1)),
            refusal(Code.RESOURCE_EXHAUSTED, "NO_CAPACITY", Duration.ofSeconds(9)))) {
      try (FakeService service = new FakeService();
          DsmSttClient client =
              DsmSttClient.builder(service.address()).deadline(Duration.ofSeconds(8)).sleeper(slept::add).build()) {
        service.refusals.add(refusal);
        assertThrows(DsmSttException.class, client::listModels);
        assertEquals(List.of(), slept);
      }
    }
  }

  @Test
  void aPolicyThatCannotWorkIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> new RetryPolicy(0, Duration.ZERO, Duration.ZERO));
    assertThrows(IllegalArgumentException.class, () -> new RetryPolicy(1, Duration.ofSeconds(2), Duration.ZERO));
  }

  private static void assertBetween(long leastMs, long mostMs, Duration waited) {
    assertTrue(waited.toMillis() >= leastMs && waited.toMillis() <= mostMs, waited::toString);
  }
}
