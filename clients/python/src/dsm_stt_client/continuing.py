"""Whether a stream that broke is worth continuing elsewhere."""

from __future__ import annotations

import grpc

from dsm_stt_client.errors import Cancelled, Incomplete, SpeechError

# Without a reason of the service's own, a proxy or the connection ended the call.
_FOREIGN = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED)


def worth_continuing(error: SpeechError) -> bool:
    """Tell whether another call may go where this one could not."""
    if error.temporary or isinstance(error, Incomplete):
        return True
    return not error.reason and error.code in _FOREIGN


def incomplete(request_id: str) -> Incomplete:
    """Make the error of a call that ended well without session_ended."""
    return Incomplete("the service ended the stream before the transcript was complete", request_id=request_id)


def silent(request_id: str, timeout_s: float) -> SpeechError:
    """Make the error of a call whose session did not start in time."""
    return SpeechError(
        f"the session did not start within {timeout_s:g} s",
        code=grpc.StatusCode.DEADLINE_EXCEEDED,
        request_id=request_id,
        temporary=True,
    )


def cancelled(request_id: str) -> Cancelled:
    """Make the error of a call that this side cancelled."""
    return Cancelled("the call was cancelled", code=grpc.StatusCode.CANCELLED, request_id=request_id)
