"""Every error a caller can meet. Code raises these; the interceptor alone turns them into a gRPC status.

    DsmError
    ├── InvalidRequest        the caller's request is at fault
    │   ├── BadConfig
    │   └── MalformedAudio
    ├── UnknownModel
    ├── ApiKeyInvalid
    ├── ApiKeyNotAllowed
    ├── NoCapacity            carries retry_after_s
    ├── QuotaExceeded         carries the quota's subject
    ├── WorkerLost
    ├── Draining
    ├── NotReady              a worker that still loads its model
    ├── IdleTimeout
    ├── MaxDuration
    ├── ProtocolViolation     a gateway and a worker disagree: a bug on one side
    ├── UpstreamFault         a worker refused what the gateway sent it: a bug of ours
    ├── EngineFailed          the model raised; the worker process ends
    ├── CheckpointError       a checkpoint cannot be found or does not fit, at start
    └── ConfigError           settings of the process are wrong, at start

Messages say what was wanted and what came, without audio, text or secrets: they reach callers and logs.
"""

from __future__ import annotations


class DsmError(Exception):
    """Base of the errors that have a meaning for somebody outside; the text is the message for people."""


class InvalidRequest(DsmError):
    """The caller's request is at fault."""


class BadConfig(InvalidRequest):
    """A message out of order, or an option, rate, encoding or language that is not offered."""


class MalformedAudio(InvalidRequest):
    """Audio bytes that cannot be decoded as what the config says they are."""


class UnknownModel(DsmError):
    """No LM worker serves a model of that name."""


class ApiKeyInvalid(DsmError):
    """No API key, or a wrong one."""


class ApiKeyNotAllowed(DsmError):
    """The key is good, but not for this."""


class NoCapacity(DsmError):
    """No slot became free within the admission wait."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QuotaExceeded(DsmError):
    """The key's quota is used up."""

    def __init__(self, message: str, subject: str) -> None:
        super().__init__(message)
        self.subject = subject


class WorkerLost(DsmError):
    """A worker went away and none took over in time."""


class Draining(DsmError):
    """The process is stopping."""


class NotReady(DsmError):
    """The worker still loads its model."""


class IdleTimeout(DsmError):
    """The caller sent nothing for the idle timeout."""


class MaxDuration(DsmError):
    """The session has more audio than the longest session allowed."""


class ProtocolViolation(DsmError):
    """A gateway or a worker sent what the internal protocol does not allow: a bug, not a caller's fault."""


class UpstreamFault(DsmError):
    """A worker refused what the gateway sent it; the caller is not at fault and learns no detail."""


class EngineFailed(DsmError):
    """The model raised while stepping; its state is lost and the process ends."""


class CheckpointError(DsmError):
    """A checkpoint is missing a file, has wrong shapes, or its parts do not fit each other."""


class ConfigError(DsmError):
    """An environment variable or a flag has a value that cannot be used."""
