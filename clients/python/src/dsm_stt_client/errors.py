"""Every error of this package. All but CallerMistake come from a call; `reason` is the service's own, see speech.proto.

SpeechError                reason, code, request_id, retry_after_s, temporary
├── InvalidRequest         BAD_CONFIG: an option, a rate or an encoding that is not offered
│   └── MalformedAudio     MALFORMED_AUDIO
├── UnknownModel           UNKNOWN_MODEL
├── ApiKeyInvalid          API_KEY_INVALID
├── ApiKeyNotAllowed       API_KEY_NOT_ALLOWED
├── Overloaded             RESOURCE_EXHAUSTED, from a proxy or for a message that is too large
│   ├── NoCapacity         NO_CAPACITY: every slot is taken; retry_after_s
│   └── QuotaExceeded      QUOTA_EXCEEDED: the key's quota is used up
├── Unavailable            WORKER_LOST, DRAINING, or nobody answers at the address
├── IdleTimeout            IDLE_TIMEOUT: nothing was sent for too long
├── MaxDuration            MAX_DURATION: more audio than the longest session allowed
├── DeadlineExceeded       the caller's own time limit passed
├── Cancelled              the call was cancelled
├── ServiceFault           INTERNAL or anything else: a bug; ask the operator about request_id
├── Incomplete             the stream ended without session_ended: words may be missing
└── CallerMistake          this package was called in a way that it does not offer
"""

from __future__ import annotations

import grpc


class SpeechError(Exception):
    """Base of all; the text is for people."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode | None = None,
        request_id: str = "",
        retry_after_s: float | None = None,
        temporary: bool = False,
    ) -> None:
        """reason: of the service's ErrorInfo, "" without one. code: of the call's status, None without a call.

        retry_after_s: the delay that the service asks for. temporary: the same call may succeed a little later.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.temporary = temporary

    def __str__(self) -> str:
        name = self.reason or (self.code.name if self.code is not None else "")
        details = [name] if name else []
        if self.request_id:
            details.append(f"request {self.request_id}")
        return f"{self.message} ({', '.join(details)})" if details else self.message


class InvalidRequest(SpeechError):
    """The request asks for something that the service does not offer."""


class MalformedAudio(InvalidRequest):
    """The audio cannot be decoded as what the config says it is."""


class UnknownModel(SpeechError):
    """No model of that name is served."""


class ApiKeyInvalid(SpeechError):
    """The service wants an API key, and none or a wrong one was sent."""


class ApiKeyNotAllowed(SpeechError):
    """The key is good, but not for this."""


class Overloaded(SpeechError):
    """The service, or something before it, refuses for want of room."""


class NoCapacity(Overloaded):
    """No slot became free within the service's admission wait."""


class QuotaExceeded(Overloaded):
    """The quota of the API key is used up."""


class Unavailable(SpeechError):
    """The service cannot be reached, is stopping, or has lost a worker."""


class IdleTimeout(SpeechError):
    """Nothing was sent for longer than the session's idle timeout."""


class MaxDuration(SpeechError):
    """The session has more audio than the longest session allowed."""


class DeadlineExceeded(SpeechError):
    """A time limit that the caller set has passed."""


class Cancelled(SpeechError):
    """The call was cancelled, by this side or on the way."""


class ServiceFault(SpeechError):
    """The service failed in a way that it should not."""


class Incomplete(SpeechError):
    """The stream ended well, but without its end: words may be missing."""


class CallerMistake(SpeechError):
    """What was asked of this package it does not offer."""
