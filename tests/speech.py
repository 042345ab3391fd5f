"""A caller's side for tests: audio that says words to the fake engines, requests, and reading what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from tests.fakes.delayed import BOUNDARY

Request = pb.StreamingRecognizeRequest
Response = pb.StreamingRecognizeResponse


def saying(frames: int, words: Mapping[int, Sequence[int]] | None = None, pauses: Iterable[int] = ()) -> bytes:
    """Make LINEAR16 audio at 24 kHz in which a word, given as pieces, starts at each of these frames.

    pauses: frames that the pause heads hear as a pause.
    """
    values = np.zeros(frames, np.int64)
    values[list(pauses)] = 60
    for start, pieces in (words or {}).items():
        values[start] = BOUNDARY
        values[start + 1 : start + 1 + len(pieces)] = pieces
    return np.repeat(np.round(values / 1000 * 32768).astype("<i2"), FRAME_SAMPLES).tobytes()


def config(**fields: Any) -> Request:
    """Make a config message for 24 kHz LINEAR16, with other fields as given."""
    audio_format = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ)
    return Request(config=pb.RecognitionConfig(**{"audio_format": audio_format, **fields}))


def chunks(audio: bytes, size: int = 3840) -> list[Request]:
    """Cut audio into messages of `size` bytes."""
    return [Request(audio=audio[start : start + size]) for start in range(0, len(audio), size)]


def flush(flush_id: str = "f", **fields: Any) -> Request:
    return Request(flush=pb.Flush(flush_id=flush_id, **fields))


def seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=round((value - int(value)) * 1e9))


def as_s(duration: Duration) -> float:
    return round(duration.seconds + duration.nanos / 1e9, 6)


async def transcribe(stub: Any, requests: Iterable[Request], **call: Any) -> list[Response]:
    """Send all requests and half-close; returns every response."""

    async def send() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    return [response async for response in stub.StreamingRecognize(send(), **call)]


class Conversation:
    """A call whose requests depend on its responses."""

    def __init__(self, stub: Any, **call: Any) -> None:
        self.call = stub.StreamingRecognize(**call)
        self.responses: list[Response] = []

    async def send(self, *requests: Request) -> None:
        for request in requests:
            await self.call.write(request)

    async def until(self, event: str, timeout_s: float = 20.0) -> Response:
        """Read up to the next response with this event."""
        async with asyncio.timeout(timeout_s):
            while True:
                response = await self.call.read()
                assert response is not grpc.aio.EOF, f"the stream ended before {event}"
                self.responses.append(response)
                if response.WhichOneof("event") == event:
                    return response

    async def finish(self, timeout_s: float = 20.0) -> list[Response]:
        """Half-close and read the rest; returns all responses of the call."""
        await self.call.done_writing()
        async with asyncio.timeout(timeout_s):
            while (response := await self.call.read()) is not grpc.aio.EOF:
                self.responses.append(response)
        assert await self.call.code() is grpc.StatusCode.OK
        return self.responses


def names(responses: Iterable[Response]) -> list[str]:
    """Name the event of each response."""
    return [response.WhichOneof("event") or "" for response in responses]


def words(responses: Iterable[Response]) -> list[tuple[str, float, float]]:
    """Gather the final words: text, start and end in seconds."""
    return [
        (word.text, as_s(word.start_offset), as_s(word.end_offset))
        for response in responses
        if response.WhichOneof("event") == "result" and response.result.is_final
        for word in response.result.words
    ]


def reason(error: grpc.RpcError) -> str:
    """Read the reason of the ErrorInfo that every error of ours carries."""
    info = detail(error, error_details_pb2.ErrorInfo)
    assert info.domain == "dsm-stt"
    return str(info.reason)


def detail(error: Any, kind: Any) -> Any:
    """Read one detail of a status."""
    status = rpc_status.from_call(_Trailers(error))
    assert status is not None, error
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            message = kind()
            packed.Unpack(message)
            return message
    raise AssertionError(f"no {kind.__name__} in {status}")


class _Trailers:
    """An error of grpc.aio in the shape that grpc_status reads."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self._error = error

    def trailing_metadata(self) -> Any:
        return list(self._error.trailing_metadata())

    def code(self) -> Any:
        return self._error.code()

    def details(self) -> Any:
        return self._error.details()
