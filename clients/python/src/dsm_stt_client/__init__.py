"""Client of dsm-stt, streaming speech to text over gRPC.

    with Client("127.0.0.1:50051") as client:
        print(client.transcribe("speech.wav").text)

`Client` is synchronous, `AsyncClient` the same for asyncio.
"""

from dsm_stt_client.async_client import AsyncClient
from dsm_stt_client.async_stream import AsyncStream
from dsm_stt_client.client import Client
from dsm_stt_client.errors import (
    ApiKeyInvalid,
    ApiKeyNotAllowed,
    CallerMistake,
    Cancelled,
    DeadlineExceeded,
    IdleTimeout,
    Incomplete,
    InvalidRequest,
    MalformedAudio,
    MaxDuration,
    NoCapacity,
    Overloaded,
    QuotaExceeded,
    ServiceFault,
    SpeechError,
    Unavailable,
    UnknownModel,
)
from dsm_stt_client.events import (
    Cursors,
    Event,
    FlushDone,
    GoAway,
    Model,
    Result,
    SessionEnded,
    SessionStarted,
    Transcript,
    Turn,
    TurnKind,
    TurnMark,
    UpdateApplied,
    Vad,
    Warning,
    WarningCode,
    Word,
)
from dsm_stt_client.options import AudioFormat, Encoding, ResumePoint, StreamConfig, TurnOptions
from dsm_stt_client.requests import KEEP
from dsm_stt_client.retry import NO_RETRIES, RetryPolicy
from dsm_stt_client.stream import Stream
from dsm_stt_client.target import Tls

__version__ = "0.1.0"

__all__ = [
    "KEEP",
    "NO_RETRIES",
    "ApiKeyInvalid",
    "ApiKeyNotAllowed",
    "AsyncClient",
    "AsyncStream",
    "AudioFormat",
    "CallerMistake",
    "Cancelled",
    "Client",
    "Cursors",
    "DeadlineExceeded",
    "Encoding",
    "Event",
    "FlushDone",
    "GoAway",
    "IdleTimeout",
    "Incomplete",
    "InvalidRequest",
    "MalformedAudio",
    "MaxDuration",
    "Model",
    "NoCapacity",
    "Overloaded",
    "QuotaExceeded",
    "Result",
    "ResumePoint",
    "RetryPolicy",
    "ServiceFault",
    "SessionEnded",
    "SessionStarted",
    "SpeechError",
    "Stream",
    "StreamConfig",
    "Tls",
    "Transcript",
    "Turn",
    "TurnKind",
    "TurnMark",
    "TurnOptions",
    "Unavailable",
    "UnknownModel",
    "UpdateApplied",
    "Vad",
    "Warning",
    "WarningCode",
    "Word",
    "__version__",
]
