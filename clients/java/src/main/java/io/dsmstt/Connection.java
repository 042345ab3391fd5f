package io.dsmstt;

import io.dsmstt.speech.v1.SpeechServiceGrpc.SpeechServiceStub;
import io.dsmstt.speech.v1.StreamingRecognizeRequest;
import io.dsmstt.speech.v1.StreamingRecognizeResponse;
import io.grpc.Status;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.concurrent.CompletableFuture;

/** One call of StreamingRecognize; a session that resumes has several. */
final class Connection implements ClientResponseObserver<StreamingRecognizeRequest, StreamingRecognizeResponse> {
  /** Where a connection's news go, one at a time. */
  interface Owner {
    void onReady();

    void onResponse(StreamingRecognizeResponse response);

    /** The call is over; error is null if its status is OK. */
    void onOver(Connection connection, Throwable error);
  }

  private final Owner owner;
  private final String requestId;
  private final CompletableFuture<StreamingRecognizeResponse> started = new CompletableFuture<>();
  private ClientCallStreamObserver<StreamingRecognizeRequest> requests;
  private boolean active;
  private Runnable ending;

  private Connection(Owner owner, String requestId) {
    this.owner = owner;
    this.requestId = requestId;
  }

  /** Begins a call; its first response completes {@link #started}, and nothing more is read until {@link #activate}. */
  static Connection open(SpeechServiceStub stub, StreamingRecognizeRequest config, Owner owner, String requestId) {
    Connection connection = new Connection(owner, requestId);
    stub.streamingRecognize(connection);
    connection.requests.onNext(config);
    return connection;
  }

  CompletableFuture<StreamingRecognizeResponse> started() {
    return started;
  }

  boolean isReady() {
    return requests.isReady();
  }

  /** Writes a request, the half-close if it is null. */
  void write(StreamingRecognizeRequest request) {
    if (request == null) {
      requests.onCompleted();
    } else {
      requests.onNext(request);
    }
  }

  /** Lets the owner hear of what follows the first response; an end that came meanwhile is told now. */
  void activate() {
    Runnable missed;
    synchronized (this) {
      active = true;
      missed = ending;
    }
    if (missed == null) {
      requests.request(1);
    } else {
      missed.run();
    }
  }

  void cancel() {
    requests.cancel("the session is over", null);
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<StreamingRecognizeRequest> stream) {
    requests = stream;
    stream.disableAutoRequestWithInitial(1);
    stream.setOnReadyHandler(owner::onReady);
  }

  @Override
  public void onNext(StreamingRecognizeResponse response) {
    if (started.isDone()) {
      owner.onResponse(response);
      requests.request(1);
    } else if (response.hasSessionStarted()) {
      started.complete(response);
    } else {
      String message = "wanted session_started as the first response";
      started.completeExceptionally(new DsmSttException(Status.Code.INTERNAL, "", message, null, requestId));
      cancel();
    }
  }

  @Override
  public void onError(Throwable error) {
    over(error);
  }

  @Override
  public void onCompleted() {
    over(null);
  }

  private void over(Throwable error) {
    Throwable reason = error == null ? DsmSttException.incomplete(requestId) : error;
    if (started.completeExceptionally(DsmSttException.of(reason, requestId))) {
      return;
    }
    Runnable told = () -> owner.onOver(this, error);
    synchronized (this) {
      if (!active) {
        ending = told;
        return;
      }
    }
    told.run();
  }
}
