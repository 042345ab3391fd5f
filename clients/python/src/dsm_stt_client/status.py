"""From the status of a failed call to an error of ours: one table.

The reason in the status's ErrorInfo decides; without one (a proxy answered, or nobody did) the code has to do.
"""

from __future__ import annotations

from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from dsm_stt_client import errors
from dsm_stt_client.durations import to_seconds

DOMAIN = "dsm-stt"
_DETAILS_KEY = "grpc-status-details-bin"

BY_REASON: dict[str, type[errors.SpeechError]] = {
    "BAD_CONFIG": errors.InvalidRequest,
    "MALFORMED_AUDIO": errors.MalformedAudio,
    "UNKNOWN_MODEL": errors.UnknownModel,
    "API_KEY_INVALID": errors.ApiKeyInvalid,
    "API_KEY_NOT_ALLOWED": errors.ApiKeyNotAllowed,
    "NO_CAPACITY": errors.NoCapacity,
    "QUOTA_EXCEEDED": errors.QuotaExceeded,
    "WORKER_LOST": errors.Unavailable,
    "DRAINING": errors.Unavailable,
    "IDLE_TIMEOUT": errors.IdleTimeout,
    "MAX_DURATION": errors.MaxDuration,
    "INTERNAL": errors.ServiceFault,
}
BY_CODE: dict[grpc.StatusCode, type[errors.SpeechError]] = {
    grpc.StatusCode.CANCELLED: errors.Cancelled,
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: errors.ApiKeyInvalid,
    grpc.StatusCode.PERMISSION_DENIED: errors.ApiKeyNotAllowed,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Overloaded,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
}


class FailedCall(Protocol):
    """What `grpc.RpcError` of a call and `grpc.aio.AioRpcError` have in common."""

    def code(self) -> grpc.StatusCode: ...  # noqa: D102
    def details(self) -> str | None: ...  # noqa: D102
    def trailing_metadata(self) -> Any: ...  # noqa: D102


def error_of(call: FailedCall, request_id: str) -> errors.SpeechError:
    """Make the error that a status means."""
    code, message = call.code(), call.details() or "the service gave no message"
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in _status(call.trailing_metadata()).details:
        detail.Unpack(info)
        detail.Unpack(retry)
    reason = info.reason if info.domain == DOMAIN else ""
    kind = BY_REASON.get(reason) or BY_CODE.get(code, errors.ServiceFault)
    retry_after_s = to_seconds(retry.retry_delay) if retry.HasField("retry_delay") else None
    return kind(
        _readable(code, reason, message),
        reason=reason,
        code=code,
        request_id=request_id,
        retry_after_s=retry_after_s,
        temporary=_is_temporary(code, message, retry_after_s),
    )


def _status(trailing_metadata: Any) -> status_pb2.Status:
    for key, value in trailing_metadata or ():
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _is_temporary(code: grpc.StatusCode, message: str, retry_after_s: float | None) -> bool:
    """Tell whether to try again: a full service says when; a quota or a message that is too large names no time."""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return retry_after_s is not None
    return code is grpc.StatusCode.UNAVAILABLE and "CERTIFICATE_VERIFY_FAILED" not in message


def _readable(code: grpc.StatusCode, reason: str, message: str) -> str:
    if code is not grpc.StatusCode.UNAVAILABLE or reason:
        return message
    # grpc's text lists every attempt; what matters stands last.
    last = message.rpartition(": ")[2]
    if "CERTIFICATE_VERIFY_FAILED" in message:
        return f"the service's certificate is not trusted: {last}"
    return f"the service cannot be reached: {last}"
