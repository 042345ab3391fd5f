package io.dsmstt;

import com.google.protobuf.ByteString;
import io.dsmstt.speech.v1.ListModelsRequest;
import io.dsmstt.speech.v1.RecognizeRequest;
import io.dsmstt.speech.v1.RecognizeResponse;
import io.dsmstt.speech.v1.SpeechServiceGrpc;
import io.dsmstt.speech.v1.SpeechServiceGrpc.SpeechServiceBlockingStub;
import io.dsmstt.speech.v1.SpeechServiceGrpc.SpeechServiceStub;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.Deadline;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;

/**
 * A connection to a service, for any number of threads and, by default, 256 sessions at once. Calls throw {@link
 * DsmSttException}.
 */
public final class DsmSttClient implements AutoCloseable {
  /** A recording may have 64 MiB, which its answer never reaches. */
  private static final int MAX_MESSAGE_BYTES = 65 << 20;
  /** Notices a connection that died in silence. The service allows pings every 5 s. */
  private static final Duration KEEP_ALIVE = Duration.ofSeconds(30);
  private static final Metadata.Key<String> API_KEY = Metadata.Key.of("x-api-key", Metadata.ASCII_STRING_MARSHALLER);
  private static final Metadata.Key<String> REQUEST_ID =
      Metadata.Key.of("x-request-id", Metadata.ASCII_STRING_MARSHALLER);

  /** Waits; tests count instead. */
  interface Sleeper {
    void sleep(Duration duration) throws InterruptedException;
  }

  private final ManagedChannel channel;
  private final String apiKey;
  private final RetryPolicy retry;
  private final Duration deadline;
  private final Sleeper sleeper;
  private final ExecutorService resumptions =
      Executors.newCachedThreadPool(
          task -> {
            Thread thread = new Thread(task, "dsm-stt-resume");
            thread.setDaemon(true);
            return thread;
          });

  private DsmSttClient(Builder builder) {
    channel =
        Grpc.newChannelBuilder(builder.target, builder.credentials)
            .keepAliveTime(KEEP_ALIVE.toSeconds(), TimeUnit.SECONDS)
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .userAgent("dsm-stt-java")
            .build();
    apiKey = builder.apiKey;
    retry = builder.retry;
    deadline = builder.deadline;
    sleeper = builder.sleeper;
  }

  /** Begins a client for host:port, or any name that gRPC resolves; in plain text until told otherwise. */
  public static Builder builder(String target) {
    return new Builder(target);
  }

  /** Asks which models are served now. */
  public List<Model> listModels() {
    String id = newRequestId();
    return retrying(
            deadline(), id, until -> blocking(id, until).listModels(ListModelsRequest.getDefaultInstance()))
        .getModelsList()
        .stream()
        .map(
            model ->
                new Model(
                    model.getName(),
                    List.copyOf(model.getLanguageCodesList()),
                    Times.of(model.getDelay()),
                    Times.of(model.getPauseHorizonsList()),
                    model.getIsDefault(),
                    model.getTrained(),
                    model.getSlotsTotal(),
                    model.getSlotsFree()))
        .toList();
  }

  /** Transcribes a WAV, FLAC, MP3 or Ogg Opus recording of at most 64 MiB. */
  public Transcript recognize(byte[] recording) {
    return recognize(recording, StreamConfig.of(AudioFormat.FROM_FILE));
  }

  /** Transcribes a recording; what only makes sense for streams is refused. */
  public Transcript recognize(byte[] recording, StreamConfig config) {
    String id = newRequestId();
    RecognizeRequest request =
        RecognizeRequest.newBuilder().setConfig(config.proto()).setAudio(ByteString.copyFrom(recording)).build();
    RecognizeResponse response = retrying(deadline(), id, until -> blocking(id, until).recognize(request));
    return new Transcript(
        response.getSessionId(),
        response.getModel(),
        response.getTranscript(),
        Responses.words(response.getWordsList()),
        Times.of(response.getAudioDuration()),
        response.getTurnsList().stream().map(turn -> Responses.turn(turn, Cursors.START)).toList());
  }

  /** Opens a session and returns once the service has taken it; its events are {@link Stream#events}. */
  public Stream stream(StreamConfig config) {
    return new Stream(this, config, new EventQueue());
  }

  /** Opens a session whose events go to a listener, and returns once the service has taken it. */
  public Stream stream(StreamConfig config, StreamListener listener) {
    return new Stream(this, config, listener);
  }

  /** Ends the connection and every call on it. */
  @Override
  public void close() {
    channel.shutdownNow();
    resumptions.shutdownNow();
    try {
      channel.awaitTermination(5, TimeUnit.SECONDS);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  static String newRequestId() {
    return UUID.randomUUID().toString();
  }

  SpeechServiceStub stub(String requestId) {
    return SpeechServiceGrpc.newStub(channel)
        .withInterceptors(headers(requestId))
        .withMaxOutboundMessageSize(MAX_MESSAGE_BYTES);
  }

  private SpeechServiceBlockingStub blocking(String requestId, Deadline until) {
    SpeechServiceBlockingStub stub = SpeechServiceGrpc.newBlockingStub(channel).withInterceptors(headers(requestId));
    return until == null ? stub : stub.withDeadline(until);
  }

  private ClientInterceptor headers(String requestId) {
    Metadata headers = new Metadata();
    headers.put(REQUEST_ID, requestId);
    if (apiKey != null && !apiKey.isEmpty()) {
      headers.put(API_KEY, apiKey);
    }
    return MetadataUtils.newAttachHeadersInterceptor(headers);
  }

  /** Returns when a call that begins now must be done; null: never. */
  Deadline deadline() {
    return deadline == null ? null : Deadline.after(deadline.toNanos(), TimeUnit.NANOSECONDS);
  }

  /** Tries until it succeeds, fails for good, or the deadline would pass before the next attempt. */
  <T> T retrying(Deadline until, String requestId, Function<Deadline, T> call) {
    for (int attempt = 1; ; attempt++) {
      try {
        return call.apply(until);
      } catch (RuntimeException error) {
        DsmSttException failure = DsmSttException.of(error, requestId);
        Duration pause = retry.delay(attempt, failure).orElseThrow(() -> failure);
        if (until != null && until.timeRemaining(TimeUnit.NANOSECONDS) < pause.toNanos()) {
          throw failure;
        }
        pause(pause, failure);
      }
    }
  }

  /** Waits before a session that got no further resumes once more. Throws the cause when it has done so too often. */
  void pauseAfter(int fruitless, DsmSttException cause) {
    DsmSttException refusal =
        new DsmSttException(Status.Code.UNAVAILABLE, "", "", cause.retryAfter().orElse(null), "");
    pause(retry.delay(fruitless, refusal).orElseThrow(() -> cause), cause);
  }

  private void pause(Duration duration, DsmSttException failure) {
    try {
      sleeper.sleep(duration);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw failure;
    }
    // gRPC waits by itself before it connects again; the waiting has just been done.
    channel.resetConnectBackoff();
  }

  /** Waits for a future; gives up, and calls `abandon`, at the deadline or an interrupt. */
  <T> T await(CompletableFuture<T> future, Deadline until, String requestId, Runnable abandon) {
    try {
      return until == null
          ? future.get()
          : future.get(until.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS);
    } catch (ExecutionException failed) {
      throw DsmSttException.of(failed.getCause(), requestId);
    } catch (TimeoutException late) {
      abandon.run();
      String message = "the session did not start before the deadline";
      throw new DsmSttException(Status.Code.DEADLINE_EXCEEDED, "", message, null, requestId);
    } catch (InterruptedException interrupted) {
      abandon.run();
      Thread.currentThread().interrupt();
      throw DsmSttException.cancelled(requestId, "interrupted while the session started");
    }
  }

  void execute(Runnable task) {
    resumptions.execute(task);
  }

  /** How a client connects. */
  public static final class Builder {
    private final String target;
    private ChannelCredentials credentials = InsecureChannelCredentials.create();
    private String apiKey;
    private RetryPolicy retry = RetryPolicy.DEFAULT;
    private Duration deadline;
    private Sleeper sleeper = duration -> TimeUnit.NANOSECONDS.sleep(duration.toNanos());

    private Builder(String target) {
      this.target = target;
    }

    /** Encrypts the connection and checks the service's certificate against the authorities of the Java runtime. */
    public Builder tls() {
      credentials = TlsChannelCredentials.create();
      return this;
    }

    /** Encrypts the connection and checks the service's certificate against the authorities in a PEM file. */
    public Builder caFile(File file) throws IOException {
      credentials = TlsChannelCredentials.newBuilder().trustManager(file).build();
      return this;
    }

    /** Sends a key with every call. Without TLS it can be read on its way. */
    public Builder apiKey(String key) {
      apiKey = key;
      return this;
    }

    /** Replaces {@link RetryPolicy#DEFAULT}. */
    public Builder retry(RetryPolicy policy) {
      retry = policy;
      return this;
    }

    /** Bounds unary calls and the start of sessions, attempts and waiting included; without it nothing does. */
    public Builder deadline(Duration most) {
      deadline = most;
      return this;
    }

    Builder sleeper(Sleeper replacement) {
      sleeper = replacement;
      return this;
    }

    /** Returns the client; it connects with the first call. */
    public DsmSttClient build() {
      return new DsmSttClient(this);
    }
  }
}
