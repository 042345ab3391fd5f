"""What a failed call means for the person who made it: the service's reason, and the next step."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.common.grpc_status import DOMAIN

_NEXT_STEPS = {
    "BAD_CONFIG": "The service does not take these options: see dsm-stt transcribe --help.",
    "MALFORMED_AUDIO": "The service could not decode what it got. Does the file play?",
    "UNKNOWN_MODEL": "Leave out --model for the service's default one.",
    "API_KEY_INVALID": "Put the key that the operator gave you into the environment variable DSM_API_KEY.",
    "API_KEY_NOT_ALLOWED": "Ask the operator what your key is for.",
    "NO_CAPACITY": "Every slot is taken. Try again in {retry_s:.0f} s, or add workers.",
    "QUOTA_EXCEEDED": "Wait until the quota allows more, or ask the operator for a larger one.",
    "WORKER_LOST": "A worker process went away and none took over. Try again; its log says why.",
    "ENGINE_FAILED": "The model failed and its process starts again. Try again; its log says why.",
    "DRAINING": "This gateway is stopping. Try again: another one will answer.",
    "IDLE_TIMEOUT": "No audio came for too long.",
    "MAX_DURATION": "Split the recording, or raise the service's limit.",
    "INTERNAL": "A bug of the service: please give its operator the request id {request_id}.",
}
_NEXT_STEPS_WITHOUT_REASON = {
    grpc.StatusCode.UNAVAILABLE: "Does the service run there? `dsm-stt serve` starts one on this machine. "
    "If it speaks TLS, say --tls or --ca-file.",
    grpc.StatusCode.UNIMPLEMENTED: "Something else answers there. Is it the address of the gateway?",
    grpc.StatusCode.CANCELLED: "The connection was closed.",
}


@dataclass
class CallFailed(Exception):
    """A call ended with an error, told as a reason, a message and a next step."""

    reason: str
    message: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.message} ({self.reason})"


def explain(error: grpc.aio.AioRpcError, request_id: str) -> CallFailed:
    """Find the reason among the status's details; without one the code has to do."""
    status = rpc_status.from_call(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details if status is not None else ():
        detail.Unpack(info)
        detail.Unpack(retry)
    message = error.details() or "no message"
    if info.domain == DOMAIN and info.reason in _NEXT_STEPS:
        retry_s = max(1.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
        next_step = _NEXT_STEPS[info.reason].format(retry_s=retry_s, request_id=request_id)
        return CallFailed(info.reason, message, next_step)
    if error.code() is grpc.StatusCode.UNAVAILABLE and "CERTIFICATE_VERIFY_FAILED" in message:
        return CallFailed(
            "UNAVAILABLE",
            f"the service's certificate is not trusted: {message.rpartition(': ')[2]}",
            "--ca-file names the CAs to trust; without it, --tls trusts the system's.",
        )
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        # grpc's text lists every attempt; what matters stands last.
        message = f"the service cannot be reached: {message.rpartition(': ')[2]}"
    return CallFailed(error.code().name, message, _NEXT_STEPS_WITHOUT_REASON.get(error.code(), ""))
