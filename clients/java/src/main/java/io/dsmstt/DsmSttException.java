package io.dsmstt;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;

/** Why a call failed. */
public final class DsmSttException extends RuntimeException {
  private static final long serialVersionUID = 1L;
  private static final String DOMAIN = "dsm-stt";
  static final String INCOMPLETE = "INCOMPLETE";

  private final Status.Code code;
  private final String reason;
  private final Duration retryAfter;
  private final String requestId;

  DsmSttException(Status.Code code, String reason, String message, Duration retryAfter, String requestId) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.retryAfter = retryAfter;
    this.requestId = requestId;
  }

  static DsmSttException of(Throwable error, String requestId) {
    if (error instanceof DsmSttException known) {
      return known;
    }
    Status status = Status.fromThrowable(error);
    String reason = "";
    Duration retryAfter = null;
    com.google.rpc.Status details = StatusProto.fromThrowable(error);
    if (details != null) {
      for (Any detail : details.getDetailsList()) {
        try {
          if (detail.is(ErrorInfo.class) && detail.unpack(ErrorInfo.class).getDomain().equals(DOMAIN)) {
            reason = detail.unpack(ErrorInfo.class).getReason();
          } else if (detail.is(RetryInfo.class)) {
            retryAfter = Times.of(detail.unpack(RetryInfo.class).getRetryDelay());
          }
        } catch (InvalidProtocolBufferException malformed) {
          // A detail that cannot be read tells nothing; the code and the message remain.
          continue;
        }
      }
    }
    String description = status.getDescription() == null ? "" : status.getDescription();
    DsmSttException failure = new DsmSttException(status.getCode(), reason, description, retryAfter, requestId);
    failure.initCause(error);
    return failure;
  }

  static DsmSttException badConfig(String message) {
    return new DsmSttException(Status.Code.INVALID_ARGUMENT, "BAD_CONFIG", message, null, "");
  }

  static DsmSttException incomplete(String requestId) {
    String message = "the stream ended before the transcript was complete";
    return new DsmSttException(Status.Code.DATA_LOSS, INCOMPLETE, message, null, requestId);
  }

  static DsmSttException cancelled(String requestId, String message) {
    return new DsmSttException(Status.Code.CANCELLED, "", message, null, requestId);
  }

  /** Returns the status code of gRPC. */
  public Status.Code code() {
    return code;
  }

  /** Returns the stable reason from speech.proto, such as NO_CAPACITY; empty where the service did not speak. */
  public String reason() {
    return reason;
  }

  /** Returns when the service asked to be tried again. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(retryAfter);
  }

  /** Returns what names the call in the service's logs. */
  public String requestId() {
    return requestId;
  }

  /** Says whether the same call may succeed later: the service is not there, or it said when to come again. */
  boolean retryable() {
    return code == Status.Code.UNAVAILABLE || (code == Status.Code.RESOURCE_EXHAUSTED && retryAfter != null);
  }

  /** Says whether a session that nobody closed may go on over another connection. Servers that stop cancel calls. */
  boolean resumable() {
    return retryable() || reason.equals(INCOMPLETE) || code == Status.Code.CANCELLED;
  }

  @Override
  public String toString() {
    String text = "dsm-stt: " + code + (reason.isEmpty() ? "" : " " + reason) + ": " + getMessage();
    return requestId.isEmpty() ? text : text + " (request " + requestId + ")";
  }
}
