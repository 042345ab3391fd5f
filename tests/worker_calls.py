"""A gateway's side of one stream to a worker, message by message, for tests that break the protocol.

    async with codec_call(running) as call:
        await call.open(7)
        await call.send_audio({7: [1, 2]})
        await call.until(lambda: len(call.codes[7]) == 2)

Everything received is kept, sorted by session.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np

from dsm_stt.codec.v1 import codec_pb2, codec_pb2_grpc
from dsm_stt.lm.v1 import lm_pb2, lm_pb2_grpc
from dsm_stt.worker.v1 import worker_pb2
from tests.fakes.engines import frame_saying
from tests.stack import RunningWorker

TIMEOUT_S = 20


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that will not be said on the stream."""
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def serving(running: RunningWorker) -> AsyncIterator[RunningWorker]:
    """Wait until a worker serves, and end it after the block."""
    try:
        await running.listening()
        await until(lambda: running.worker.ready)
        yield running
    finally:
        if running.engine is not None:
            running.engine.resume()
        running.stopping.set()
        await running.task


class WorkerCall:
    """One stream, whatever the protocol."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.responses: list[Any] = []
        self.opened: list[int] = []
        self.closed: list[int] = []
        self.failures: dict[int, worker_pb2.SessionFailure] = {}

    async def send(self, request: Any) -> None:
        await self.call.write(request)

    async def read(self) -> Any:
        """Read one response."""
        async with asyncio.timeout(TIMEOUT_S):
            response = await self.call.read()
        assert response is not grpc.aio.EOF, "the worker ended the stream"
        self.responses.append(response)
        self.opened.extend(opened.session for opened in response.opened)
        self.closed.extend(response.closed)
        self.failures.update({failure.session: failure for failure in response.failures})
        self.take(response)
        return response

    def take(self, response: Any) -> None:
        """Sort what only this protocol has."""

    async def until(self, condition: Callable[[], Any]) -> None:
        """Read responses until something is true."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await self.read()

    async def failure(self, number: int) -> tuple[Any, str]:
        """Wait for a session to fail; returns why and the message."""
        await self.until(lambda: number in self.failures)
        return self.failures[number].reason, self.failures[number].message

    async def error(self) -> grpc.aio.AioRpcError:
        """Read up to the error that ends the call."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                while True:
                    response = await self.call.read()
                    assert response is not grpc.aio.EOF, "the worker ended the stream without an error"
                    self.failures.update({failure.session: failure for failure in response.failures})
            except grpc.aio.AioRpcError as error:
                return error


class CodecCall(WorkerCall):
    """A call of Encode."""

    def __init__(self, call: Any) -> None:
        super().__init__(call)
        # Frames of codes of each session, with their numbers.
        self.codes: dict[int, list[tuple[int, list[int]]]] = defaultdict(list)

    def take(self, response: codec_pb2.EncodeResponse) -> None:
        batch = response.codes
        rows = np.frombuffer(batch.codes, "<u2").reshape(sum(batch.frames), -1) if batch.codes else []
        row = iter(rows)
        for number, first, frames in zip(batch.sessions, batch.first_frames, batch.frames, strict=True):
            self.codes[number].extend((first + offset, next(row).tolist()) for offset in range(frames))
        assert next(row, None) is None

    async def open(self, *numbers: int) -> None:
        """Open sessions, and wait for it."""
        await self.send(codec_pb2.EncodeRequest(opens=[codec_pb2.SessionOpen(session=number) for number in numbers]))
        await self.until(lambda: set(numbers) <= {*self.opened, *self.failures})

    async def send_audio(self, values: Mapping[int, Sequence[int]]) -> None:
        """Send frames that say these values, for each session."""
        await self.send(codec_pb2.EncodeRequest(audio=audio(values)))

    async def close(self, *numbers: int) -> None:
        await self.send(codec_pb2.EncodeRequest(closes=numbers))


def audio(values: Mapping[int, Sequence[int]]) -> codec_pb2.AudioBatch:
    """Make a batch of frames that say these values, for each session."""
    frames = [frame_saying(value) for said in values.values() for value in said]
    return codec_pb2.AudioBatch(
        sample_format=codec_pb2.SAMPLE_FORMAT_F32,
        sessions=list(values),
        frames=[len(said) for said in values.values()],
        samples=b"".join(frame.astype("<f4").tobytes() for frame in frames),
    )


class LmCall(WorkerCall):
    """A call of Generate."""

    def __init__(self, call: Any) -> None:
        super().__init__(call)
        self.initial_tokens: dict[int, int] = {}
        # Of each session: (frame, token, final frame).
        self.tokens: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self.pauses: dict[int, list[list[float]]] = defaultdict(list)
        # Of each session: (frame, text, start, end, final).
        self.words: dict[int, list[tuple[int, str, int, int, bool]]] = defaultdict(list)
        self.finished: list[int] = []
        self.heads = 0

    def take(self, response: lm_pb2.GenerateResponse) -> None:
        if response.HasField("info"):
            self.heads = len(response.info.pause_horizons_ms)
        self.initial_tokens.update({opened.session: opened.initial_text_token for opened in response.opened})
        batch = response.tokens
        answers = zip(batch.text_tokens, batch.final_frames, strict=True)
        pauses = iter(batch.pause_probabilities)
        for number, first, frames in zip(batch.sessions, batch.first_frames, batch.frames, strict=True):
            for offset in range(frames):
                token, final_frame = next(answers)
                self.tokens[number].append((first + offset, token, final_frame))
                self.pauses[number].append([next(pauses) for _ in range(self.heads)])
        assert next(answers, None) is None
        assert next(pauses, None) is None
        words = response.words
        for number, *word in zip(
            words.sessions, words.frames, words.texts, words.start_frames, words.end_frames, words.finals, strict=True
        ):
            self.words[number].append(tuple(word))
        self.finished.extend(response.finished)

    async def open(self, *numbers: int, **fields: Any) -> None:
        """Open sessions, and wait for it."""
        opens = [lm_pb2.SessionOpen(session=number, **fields) for number in numbers]
        await self.send(lm_pb2.GenerateRequest(opens=opens))
        await self.until(lambda: set(numbers) <= {*self.opened, *self.failures})

    async def send_codes(self, values: Mapping[int, Sequence[int]]) -> None:
        """Send frames whose first code is one of these values, for each session."""
        await self.send(lm_pb2.GenerateRequest(codes=codes(values)))

    async def close(self, *numbers: int) -> None:
        await self.send(lm_pb2.GenerateRequest(closes=numbers))


def code_rows(values: Sequence[int], codebooks: int = 4) -> bytes:
    """Make frames of codes; the first code of each says its value, the others 1, 2, 3."""
    rows = np.tile(np.arange(codebooks, dtype="<u2"), (len(values), 1))
    rows[:, 0] = values
    return rows.tobytes()


def codes(values: Mapping[int, Sequence[int]]) -> lm_pb2.CodesBatch:
    """Make a batch of frames of codes, for each session."""
    return lm_pb2.CodesBatch(
        sessions=list(values),
        frames=[len(said) for said in values.values()],
        codes=b"".join(code_rows(said) for said in values.values()),
    )


@asynccontextmanager
async def codec_call(running: RunningWorker) -> AsyncIterator[CodecCall]:
    """Call a codec worker as a gateway does."""
    async with grpc.aio.insecure_channel(running.address, options=CHANNEL_OPTIONS) as channel:
        call = CodecCall(codec_pb2_grpc.CodecServiceStub(channel).Encode())
        try:
            yield call
        finally:
            call.call.cancel()


@asynccontextmanager
async def lm_call(running: RunningWorker) -> AsyncIterator[LmCall]:
    """Call an LM worker as a gateway does."""
    async with grpc.aio.insecure_channel(running.address, options=CHANNEL_OPTIONS) as channel:
        call = LmCall(lm_pb2_grpc.LmServiceStub(channel).Generate())
        try:
            yield call
        finally:
            call.call.cancel()


# A connection of its own for each channel, so that one can be cut alone.
CHANNEL_OPTIONS = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
