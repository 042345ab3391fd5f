"""A link to a worker, without a worker: what it sends, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest

from dsm_stt.codec.v1 import codec_pb2
from services.common.errors import DsmError, WorkerLost
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.gateway.upstream.codec_link import CodecLink
from services.gateway.upstream.link import LinkLimits


class UnfinishedWrite:
    """A call whose worker is lost while a request is being written, and whose write takes its time to end."""

    def __init__(self) -> None:
        self.writing = asyncio.Event()
        self.write_may_end = asyncio.Event()
        self.ending = asyncio.Event()

    async def wait_for_connection(self) -> None:
        await self.writing.wait()

    async def write(self, request: Any) -> None:
        self.writing.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.write_may_end.wait()

    def __aiter__(self) -> UnfinishedWrite:
        return self

    async def __anext__(self) -> Any:
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "reset")

    def cancel(self) -> bool:
        return True


class TalkingWorker:
    """A call whose worker says so many things, some time apart, and takes whatever it is sent."""

    def __init__(self, responses: int = 1, every_s: float = 0.0) -> None:
        self.said = asyncio.Event()
        self.requests: asyncio.Queue[codec_pb2.EncodeRequest] = asyncio.Queue()
        self._responses = responses
        self._every_s = every_s

    async def wait_for_connection(self) -> None: ...

    async def write(self, request: codec_pb2.EncodeRequest) -> None:
        self.requests.put_nowait(request)

    async def __aiter__(self) -> AsyncIterator[codec_pb2.EncodeResponse]:
        info = codec_pb2.CodecInfo(codebooks=8, frame_samples=FRAME_SAMPLES, sample_rate_hertz=SAMPLE_RATE_HZ)
        for _ in range(self._responses):
            await asyncio.sleep(self._every_s)
            yield codec_pb2.EncodeResponse(info=info)
        self.said.set()
        await asyncio.Event().wait()

    def cancel(self) -> bool:
        return True


class OneCallLink(CodecLink):
    """A link whose calls are all that one."""

    gather_s = 1.0

    def __init__(self, call: UnfinishedWrite | TalkingWorker, heartbeat_timeout_s: float = 60.0) -> None:
        limits = LinkLimits(heartbeat_timeout_s, hung_after_s=60.0)
        super().__init__("127.0.0.1:1", limits, lambda: None)
        self._call = call

    def start_call(self, channel: grpc.aio.Channel) -> Any:
        return self._call


class Nobody:
    """A listener that is told nothing."""

    def on_codes(self, codes: Any) -> None: ...
    def on_codec_reset(self) -> None: ...
    def on_failed(self, error: Any) -> None: ...
    def on_draining(self) -> None: ...


class Loser(Nobody):
    """A listener that waits to be told of its loss."""

    def __init__(self) -> None:
        self.loss: asyncio.Future[DsmError] = asyncio.get_running_loop().create_future()

    def on_failed(self, error: DsmError) -> None:
        self.loss.set_result(error)


async def test_a_link_ends_when_it_is_cancelled_in_the_moment_its_worker_is_lost() -> None:
    """It took its own end for that of its writer, connected again for ever, and the gateway never ended."""
    call = UnfinishedWrite()
    link = OneCallLink(call)
    session = link.open(Nobody(), None)
    running = asyncio.create_task(link.run())
    # The stream is lost, and the link waits for its writer.
    await call.ending.wait()
    running.cancel()
    await asyncio.sleep(0)
    call.write_may_end.set()
    async with asyncio.timeout(30):
        await asyncio.wait([running])
    assert running.cancelled()
    session.opening.cancel()


@pytest.mark.parametrize("lost", [False, True])
async def test_a_link_ends_when_it_is_cancelled_while_it_connects(lost: bool) -> None:
    """asyncio.wait_for of Python 3.11 forgets a cancellation that comes with the result."""
    call = UnfinishedWrite()
    call.write_may_end.set()
    link = OneCallLink(call)
    running = asyncio.create_task(link.run())
    while not link._sessions and len(asyncio.all_tasks()) < 3:
        await asyncio.sleep(0)
    if lost:
        call.writing.set()
    running.cancel()
    async with asyncio.timeout(30):
        await asyncio.wait([running])
    assert running.cancelled()


@pytest.mark.parametrize("sessions", [8, 9])
async def test_frames_of_many_sessions_share_a_message(sessions: int) -> None:
    call = TalkingWorker()
    link = OneCallLink(call)
    opened = [link.open(Nobody(), None) for _ in range(sessions)]
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(30):
        await call.requests.get()
        for session in opened:
            session.send(np.zeros(FRAME_SAMPLES, np.float32))
            await asyncio.sleep(0)
        requests = [await call.requests.get()]
        while not any(opened[-1].number in request.audio.sessions for request in requests):
            requests.append(await call.requests.get())
    assert [number for request in requests for number in request.audio.sessions] == [one.number for one in opened]
    assert sum(len(request.audio.samples) for request in requests) == 4 * FRAME_SAMPLES * sessions
    assert (len(requests) == 1) == (sessions > 8)
    running.cancel()
    await asyncio.wait([running])


async def test_a_worker_that_is_heard_of_often_enough_is_kept() -> None:
    call = TalkingWorker(responses=16, every_s=0.05)
    link = OneCallLink(call, heartbeat_timeout_s=0.5)
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(30):
        await call.said.wait()
    assert link.connected
    running.cancel()
    await asyncio.wait([running])


async def test_a_worker_that_is_not_heard_of_is_lost() -> None:
    link = OneCallLink(TalkingWorker(), heartbeat_timeout_s=0.1)
    loser = Loser()
    running = asyncio.create_task(link.run())
    async with asyncio.timeout(30):
        session = link.open(loser, None)
        session.opening.set_result(None)
        assert isinstance(await loser.loss, WorkerLost)
    running.cancel()
    await asyncio.wait([running])
