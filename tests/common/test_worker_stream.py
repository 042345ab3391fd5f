"""A worker's streams through real ports: capacity, credits, numbers, and gateways that misbehave or vanish.

The codec plays the worker; what is tested here is what both kinds have in common.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import grpc
import pytest

from dsm_stt.codec.v1 import codec_pb2, codec_pb2_grpc
from dsm_stt.worker.v1 import worker_pb2
from services.codec.serve import codec_process
from services.common.worker_stream import MOST_WAITING
from tests.fakes.engines import FakeCodecEngine, fake_codes
from tests.speech import reason
from tests.stack import SETTINGS, RunningWorker, codec_worker
from tests.worker_calls import CHANNEL_OPTIONS, CodecCall, audio, codec_call, serving, until

Request = codec_pb2.EncodeRequest
Open = codec_pb2.SessionOpen

NO_SLOT = worker_pb2.FAILURE_REASON_NO_SLOT
DRAINING = worker_pb2.FAILURE_REASON_DRAINING
PROTOCOL = worker_pb2.FAILURE_REASON_PROTOCOL
ENGINE = worker_pb2.FAILURE_REASON_ENGINE


@asynccontextmanager
async def codec(slots: int = 4, **settings: Any) -> AsyncIterator[RunningWorker]:
    """Run a codec worker with a fake engine."""
    async with serving(codec_worker(FakeCodecEngine(slots), replace(SETTINGS, **settings))) as running:
        yield running


def answers(values: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Work out a session's numbered frames of codes."""
    return [(frame, fake_codes(value, frame, 4, 64).tolist()) for frame, value in enumerate(values)]


async def test_a_session_from_open_to_closed() -> None:
    async with codec() as running, codec_call(running) as call:
        first = await call.read()
        assert first.info.codec_id == "fake-codec"
        await call.open(7)
        assert call.responses[-1].opened[0].credit_frames == SETTINGS.credit_frames
        await call.send_audio({7: [1, 2]})
        await call.send_audio({7: [3]})
        await call.until(lambda: len(call.codes[7]) == 3)
        assert call.codes[7] == answers([1, 2, 3])
        await call.close(7)
        await call.until(lambda: call.closed)
        assert call.closed == [7]
        assert running.slots_free == 4
        assert not any(response.HasField("info") for response in call.responses[1:])
        await call.call.done_writing()
        while await call.call.read() is not grpc.aio.EOF:
            pass
        assert await call.call.code() is grpc.StatusCode.OK


async def test_every_response_says_how_full_the_worker_is() -> None:
    async with codec() as running, codec_call(running) as call:
        first = (await call.read()).capacity
        assert (first.slots_total, first.slots_free, first.draining) == (4, 4, False)
        assert (first.step_time_us, first.step_budget_us) == (0, 80_000)
        await call.open(1, 2)
        assert call.responses[-1].capacity.slots_free == 2
        await call.send_audio({1: [1]})
        await call.until(lambda: call.codes[1])
        assert call.responses[-1].capacity.step_time_us > 0
        await call.close(1, 2)
        await call.until(lambda: len(call.closed) == 2)
        assert call.responses[-1].capacity.slots_free == 4
        assert all(response.HasField("capacity") for response in call.responses)


async def test_a_worker_with_nothing_to_say_says_so() -> None:
    async with codec() as running:
        running.worker.heartbeat_s = 0.01
        async with codec_call(running) as call:
            await call.read()
            for _ in range(3):
                response = await call.read()
                assert [field.name for field, _ in response.ListFields()] == ["capacity"]


async def test_a_worker_whose_step_hangs_still_says_so() -> None:
    async with codec() as running:
        running.worker.heartbeat_s = 0.01
        async with codec_call(running) as call:
            await call.open(1)
            running.engine.hang()
            await call.send_audio({1: [1]})
            await call.until(lambda: call.responses[-1].capacity.step_running_ms > 20)
            running.engine.resume()
            await call.until(lambda: call.codes[1] and not call.responses[-1].capacity.step_running_ms)


async def test_no_slot() -> None:
    async with codec(slots=1) as running, codec_call(running) as call:
        await call.open(1)
        await call.open(2)
        assert await call.failure(2) == (NO_SLOT, "all 1 slots are taken")
        assert call.responses[-1].capacity.slots_free == 0
        # Within a message closes come last; with the next there is room.
        await call.close(1)
        await call.open(3)
        assert call.opened == [1, 3]


async def test_a_session_with_more_frames_than_credits_fails_and_the_others_live() -> None:
    async with codec(credit_frames=2) as running, codec_call(running) as call:
        await call.open(1, 2, 3)
        running.engine.hang()
        await call.send_audio({1: [1, 2], 2: [1]})
        await call.send_audio({1: [3], 2: [2]})
        assert await call.failure(1) == (PROTOCOL, "3 frames on their way, at most 2 are allowed")
        assert running.slots_free == 2
        running.engine.resume()
        await call.until(lambda: len(call.codes[2]) == 2)
        # Credits come back with the answers.
        await call.send_audio({2: [3, 4], 3: [1, 2]})
        await call.until(lambda: len(call.codes[2]) == 4 and len(call.codes[3]) == 2)
        assert call.codes[2] == answers([1, 2, 3, 4])
        assert call.codes[3] == answers([1, 2])
        assert set(call.failures) == {1}
        # It is gone: its frames are dropped, a close is only answered.
        await call.send_audio({1: [9]})
        await call.close(1)
        await call.until(lambda: call.closed == [1])
        assert 1 not in [number for number, codes in call.codes.items() if codes and codes[-1][0] > 1]


@pytest.mark.parametrize("number", [5, 4], ids=["the same", "a lower one"])
async def test_a_number_of_a_session_that_has_ended_is_refused(number: int) -> None:
    async with codec() as running, codec_call(running) as call:
        await call.open(4, 5, 6)
        await call.close(4, 5)
        await call.until(lambda: len(call.closed) == 2)
        await call.open(number)
        assert await call.failure(number) == (PROTOCOL, f"session numbers must rise: got {number} after 6")
        await call.send_audio({6: [1]})
        await call.until(lambda: call.codes[6])
        assert running.slots_free == 3


async def test_a_number_that_is_in_use_ends_the_session_that_has_it_and_no_other() -> None:
    # It used to end the whole stream, and with it every other session of the gateway.
    async with codec() as running, codec_call(running) as call:
        await call.open(1, 2)
        await call.send(Request(opens=[Open(session=1)], audio=audio({1: [1], 2: [1]})))
        assert (await call.failure(1))[0] == PROTOCOL
        await call.until(lambda: call.codes[2])
        assert not call.codes[1]
        assert running.slots_free == 3


async def test_two_gateways_with_equal_numbers_do_not_meet() -> None:
    async with codec() as running, codec_call(running) as one, codec_call(running) as other:
        await one.open(1, 2)
        await other.open(1)
        running.engine.hang()
        await one.send_audio({1: [1, 2], 2: [5]})
        await other.send_audio({1: [11, 12, 13]})
        await asyncio.to_thread(running.engine.hanging.wait)
        running.engine.resume()
        await one.until(lambda: len(one.codes[1]) == 2 and one.codes[2])
        await other.until(lambda: len(other.codes[1]) == 3)
        assert one.codes[1] == answers([1, 2])
        assert other.codes[1] == answers([11, 12, 13])
        await one.close(1)
        await one.until(lambda: one.closed)
        await other.send_audio({1: [14]})
        await other.until(lambda: len(other.codes[1]) == 4)
        assert not other.closed


class Wire:
    """Carries a gateway's connection to a worker until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()
        self._server.close()
        await asyncio.gather(*self._tasks)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Pull the plug: no goodbye, in either direction."""
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, far_writer]
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            self._tasks.add(asyncio.create_task(self._carry(source, sink)))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()


@pytest.mark.parametrize("how", ["cancel", "close the channel", "cut the wire"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "in the middle of a step"])
async def test_a_gateway_that_is_gone_frees_all_its_slots_and_only_these(how: str, busy: bool) -> None:
    async with codec() as running, Wire(running.process.server.port) as wire, codec_call(running) as other:
        await other.open(1)
        async with grpc.aio.insecure_channel(wire.address, options=CHANNEL_OPTIONS) as channel:
            gone = CodecCall(codec_pb2_grpc.CodecServiceStub(channel).Encode())
            await gone.open(1, 2, 3)
            assert running.slots_free == 0
            if busy:
                running.engine.hang()
                await gone.send_audio({1: [1, 2], 2: [1]})
                await asyncio.to_thread(running.engine.hanging.wait)
            if how == "cancel":
                gone.call.cancel()
            elif how == "close the channel":
                await channel.close()
            else:
                wire.cut()
            await until(lambda: running.slots_free == 3)
            running.engine.resume()
        await until(lambda: len(running.engine.closed) == 3)
        await other.send_audio({1: [1]})
        await other.until(lambda: other.codes[1])


async def test_a_gateway_that_reads_nothing_is_not_read_either() -> None:
    # Answers used to pile up for as long as such a gateway went on opening and closing sessions.
    most, many = 0, 5_000
    async with codec() as running, codec_call(running) as call:
        await call.open(1)
        stream = next(iter(running.worker.streams))
        far = 2**32

        async def flood() -> None:
            for start in range(far, far + 400 * many, many):
                await call.send(Request(closes=range(start, start + many)))

        async def watch() -> None:
            nonlocal most
            while True:
                most = max(most, len(stream._closed))
                await asyncio.sleep(0)

        flooding, watching = asyncio.create_task(flood()), asyncio.create_task(watch())
        await until(lambda: not stream._room.is_set())
        # The wire is full, the outbox too: nothing moves any more, look as often as you like.
        before, looks = -1, 0
        while looks < 20 and not flooding.done():
            looks = looks + 1 if before == len(stream._closed) > MOST_WAITING else 0
            before = len(stream._closed)
            await asyncio.sleep(0.02)
        assert not flooding.done()
        assert MOST_WAITING < before <= most <= MOST_WAITING + many
        # What was not read in time is not lost.
        await call.until(lambda: len(call.closed) == 400 * many)
        await flooding
        watching.cancel()
        assert call.closed == list(range(far, far + 400 * many))
        await call.send_audio({1: [1]})
        await call.until(lambda: call.codes[1])


@pytest.mark.parametrize("how", ["cancel", "cut the wire"])
async def test_a_gateway_that_reads_nothing_frees_its_slots_when_it_goes(how: str) -> None:
    async with (
        codec() as running,
        Wire(running.process.server.port) as wire,
        grpc.aio.insecure_channel(wire.address, options=CHANNEL_OPTIONS) as channel,
    ):
        call = CodecCall(codec_pb2_grpc.CodecServiceStub(channel).Encode())
        await call.open(1, 2)

        async def flood() -> None:
            while True:
                await call.send(Request(closes=range(2**32, 2**32 + 5_000)))

        flooding = asyncio.create_task(flood())
        # The stream is held up in the middle of sending a response.
        await until(lambda: not any(stream._room.is_set() for stream in running.worker.streams))
        if how == "cancel":
            call.call.cancel()
        else:
            wire.cut()
        await until(lambda: running.slots_free == 4)
        assert not running.worker.streams
        with suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await flooding


async def test_a_draining_worker_takes_no_new_session_and_lets_the_present_ones_end() -> None:
    async with codec(drain_s=60) as running, codec_call(running) as call:
        await call.open(1)
        running.stopping.set()
        await call.until(lambda: call.responses[-1].capacity.draining)
        assert call.responses[-1].capacity.slots_free == 0
        await call.open(2)
        assert await call.failure(2) == (DRAINING, "the worker is draining")
        await call.send_audio({1: [1, 2]})
        await call.until(lambda: len(call.codes[1]) == 2)
        await call.close(1)
        await call.until(lambda: call.closed)
        error = await call.error()
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert await running.task == 0


async def test_a_worker_that_still_loads_is_not_ready() -> None:
    engine, go_on = FakeCodecEngine(), threading.Event()

    def load() -> tuple[FakeCodecEngine, codec_pb2.CodecInfo]:
        go_on.wait()
        return engine, codec_pb2.CodecInfo(codec_id="late")

    running = RunningWorker(codec_process(load, "127.0.0.1:0", SETTINGS), engine)
    await running.listening()
    async with codec_call(running) as call:
        error = await call.error()
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "NOT_READY")
    go_on.set()
    async with serving(running), codec_call(running) as call:
        assert (await call.read()).info.codec_id == "late"
        await call.open(1)
        assert call.opened == [1]


async def test_an_engine_that_fails_tells_every_session_of_every_gateway_and_ends_the_process() -> None:
    async with codec() as running, codec_call(running) as one, codec_call(running) as other:
        await one.open(1, 2)
        await other.open(1)
        running.engine.fail_at_step = 1
        await one.send_audio({1: [1]})
        await one.until(lambda: one.codes[1])
        await one.send_audio({1: [2]})
        for call, numbers in ((one, {1, 2}), (other, {1})):
            error = await call.error()
            assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED")
            assert set(call.failures) == numbers
            for failure in call.failures.values():
                assert (failure.reason, failure.message) == (ENGINE, "the fake was told to fail at step 1")
        assert await running.task == 1
        assert running.slots_free == 4
        assert len(running.engine.steps) == 2


async def test_an_engine_that_fails_while_draining_ends_the_process_as_failed() -> None:
    async with codec(drain_s=60) as running, codec_call(running) as call:
        await call.open(1)
        running.stopping.set()
        await call.until(lambda: call.responses[-1].capacity.draining)
        running.engine.fail_at_step = 0
        await call.send_audio({1: [1]})
        assert reason(await call.error()) == "ENGINE_FAILED"
        assert call.failures[1].reason == ENGINE
        assert await running.task == 1
