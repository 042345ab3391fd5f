package io.dsmstt;

import com.google.protobuf.Any;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.dsmstt.speech.v1.ListModelsRequest;
import io.dsmstt.speech.v1.ListModelsResponse;
import io.dsmstt.speech.v1.SpeechServiceGrpc;
import io.dsmstt.speech.v1.StreamingRecognizeRequest;
import io.dsmstt.speech.v1.StreamingRecognizeResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;

/** A service that answers each call with the next of its scripts; the last one stays. */
final class FakeService extends SpeechServiceGrpc.SpeechServiceImplBase implements AutoCloseable {
  /** A script of StreamingRecognize. */
  interface Script
      extends Function<StreamObserver<StreamingRecognizeResponse>, StreamObserver<StreamingRecognizeRequest>> {}

  /** A script of ListModels: a status, or null for an answer. */
  final ArrayDeque<StatusRuntimeException> refusals = new ArrayDeque<>();

  final List<Metadata> calls = new CopyOnWriteArrayList<>();
  private final ArrayDeque<Script> scripts;
  private final Server server;

  FakeService(Script... scripts) throws IOException {
    this.scripts = new ArrayDeque<>(List.of(scripts));
    ServerInterceptor noting =
        new ServerInterceptor() {
          @Override
          public <Q, R> ServerCall.Listener<Q> interceptCall(
              ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
            calls.add(headers);
            return next.startCall(call, headers);
          }
        };
    server =
        Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(this)
            .intercept(noting)
            .build()
            .start();
  }

  String address() {
    return "127.0.0.1:" + server.getPort();
  }

  String header(int call, String name) {
    return calls.get(call).get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
  }

  /** Ends every connection at once. */
  @Override
  public void close() {
    server.shutdownNow();
  }

  @Override
  public synchronized StreamObserver<StreamingRecognizeRequest> streamingRecognize(
      StreamObserver<StreamingRecognizeResponse> responses) {
    Script script = scripts.size() > 1 ? scripts.removeFirst() : scripts.getFirst();
    return script.apply(responses);
  }

  @Override
  public synchronized void listModels(ListModelsRequest request, StreamObserver<ListModelsResponse> responses) {
    if (!refusals.isEmpty()) {
      responses.onError(refusals.size() > 1 ? refusals.removeFirst() : refusals.getFirst());
      if (refusals.size() == 1 && refusals.getFirst() == ANSWER_NEXT) {
        refusals.clear();
      }
      return;
    }
    responses.onNext(
        ListModelsResponse.newBuilder()
            .addModels(io.dsmstt.speech.v1.Model.newBuilder().setName("one").setIsDefault(true))
            .build());
    responses.onCompleted();
  }

  /** As the last refusal: the calls after those before it are answered. */
  static final StatusRuntimeException ANSWER_NEXT = refusal(Code.INTERNAL, "never sent", null);

  /** Returns a status as the service makes it. */
  static StatusRuntimeException refusal(Code code, String reason, Duration retryAfter) {
    var status =
        com.google.rpc.Status.newBuilder()
            .setCode(code.getNumber())
            .setMessage("as the script says")
            .addDetails(Any.pack(ErrorInfo.newBuilder().setReason(reason).setDomain("dsm-stt").build()));
    if (retryAfter != null) {
      status.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(Times.proto(retryAfter)).build()));
    }
    return StatusProto.toStatusRuntimeException(status.build());
  }

  /** Returns a script that refuses. */
  static Script refusing(Code code, String reason, Duration retryAfter) {
    return responses -> {
      responses.onError(refusal(code, reason, retryAfter));
      return new Ignoring();
    };
  }

  private static final class Ignoring implements StreamObserver<StreamingRecognizeRequest> {
    @Override
    public void onNext(StreamingRecognizeRequest request) {}

    @Override
    public void onError(Throwable error) {}

    @Override
    public void onCompleted() {}
  }
}
