"""From our errors to a gRPC status that clients can act on: one table.

Each status carries a google.rpc.ErrorInfo (domain "dsm-stt") whose reason is stable and documented in speech.proto;
NO_CAPACITY adds a RetryInfo, QUOTA_EXCEEDED a QuotaFailure. The interceptor is the only caller.
"""

from __future__ import annotations

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.common import errors

DOMAIN = "dsm-stt"
# A status travels in headers, of which clients take 8 KiB, and holds the message twice, a character in up to 12 bytes:
# a longer one, which quotes what a caller sent, would reach the caller as an error about headers.
MOST_MESSAGE_CHARACTERS = 300
INTERNAL_MESSAGE = "internal error; the operator's log has it under this request id"

CODE_AND_REASON: dict[type[errors.DsmError], tuple[grpc.StatusCode, str]] = {
    errors.BadConfig: (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CONFIG"),
    errors.MalformedAudio: (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_AUDIO"),
    errors.UnknownModel: (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL"),
    errors.ApiKeyInvalid: (grpc.StatusCode.UNAUTHENTICATED, "API_KEY_INVALID"),
    errors.ApiKeyNotAllowed: (grpc.StatusCode.PERMISSION_DENIED, "API_KEY_NOT_ALLOWED"),
    errors.NoCapacity: (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_CAPACITY"),
    errors.QuotaExceeded: (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    errors.WorkerLost: (grpc.StatusCode.UNAVAILABLE, "WORKER_LOST"),
    errors.Draining: (grpc.StatusCode.UNAVAILABLE, "DRAINING"),
    errors.NotReady: (grpc.StatusCode.UNAVAILABLE, "NOT_READY"),
    errors.IdleTimeout: (grpc.StatusCode.ABORTED, "IDLE_TIMEOUT"),
    errors.MaxDuration: (grpc.StatusCode.OUT_OF_RANGE, "MAX_DURATION"),
    errors.ProtocolViolation: (grpc.StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION"),
    errors.EngineFailed: (grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED"),
    errors.UpstreamFault: (grpc.StatusCode.INTERNAL, "INTERNAL"),
    # These two end a process at its start; should one reach a call all the same, it is a bug.
    errors.CheckpointError: (grpc.StatusCode.INTERNAL, "INTERNAL"),
    errors.ConfigError: (grpc.StatusCode.INTERNAL, "INTERNAL"),
}


def code_and_reason(error: BaseException) -> tuple[grpc.StatusCode, str]:
    """Look up the code and the ErrorInfo reason; whatever is not ours is INTERNAL."""
    return CODE_AND_REASON.get(type(error), (grpc.StatusCode.INTERNAL, "INTERNAL"))  # type: ignore[arg-type]


def message_of(error: BaseException) -> str:
    """Return an error's text for people, cut to a length that fits a status and a log line."""
    text = str(error)
    return text if len(text) <= MOST_MESSAGE_CHARACTERS else f"{text[:MOST_MESSAGE_CHARACTERS]} …"


def status_of(error: BaseException) -> status_pb2.Status:
    """Build the status for an error, details included; an error that is not ours shows no detail."""
    code, reason = code_and_reason(error)
    message = INTERNAL_MESSAGE if code is grpc.StatusCode.INTERNAL else message_of(error)
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)]
    if isinstance(error, errors.NoCapacity):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, errors.QuotaExceeded):
        violation = error_details_pb2.QuotaFailure.Violation(subject=error.subject, description=message)
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
