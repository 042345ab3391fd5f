"""A link to a worker, without a worker: how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

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


class OneCallLink(CodecLink):
    """A link whose calls are all that one."""

    def __init__(self, call: UnfinishedWrite) -> None:
        limits = LinkLimits(heartbeat_timeout_s=60.0, hung_after_s=60.0)
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
