"""Callers that take more than their share, or give nothing: what they hold is bounded, and others are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.common.framing import FRAME_S
from services.gateway.outbox import ROOM
from tests.fakes.delayed import YES
from tests.speech import Conversation, Request, chunks, config, flush, reason, saying, seconds, transcribe, words
from tests.stack import FakeStack

YES_AUDIO = saying(9, {2: [YES]})
BACKLOG_S = 1.0


async def others_are_served(stack: FakeStack) -> None:
    heard = words(await transcribe(stack.stub, [config(), *chunks(YES_AUDIO)]))
    assert [word for word, _, _ in heard] == ["yes"]


def update(update_id: str) -> Request:
    return Request(update=pb.Update(update_id=update_id))


MARKS: dict[str, Callable[[int], Request]] = {
    "flushes": lambda number: flush(f"{number:0>100}"),
    "updates": lambda number: update(f"{number:0>100}"),
}


@pytest.mark.parametrize("kind", MARKS)
async def test_a_flood_of_messages_without_audio_is_slowed_by_flow_control(kind: str) -> None:
    """Flushes and updates once went into the backlog however long it was: a caller could fill the gateway's memory."""
    async with FakeStack(slots=2, backlog_s=BACKLOG_S) as stack:
        options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
        async with grpc.aio.insecure_channel(stack.address, options=options) as channel:
            call = speech_pb2_grpc.SpeechServiceStub(channel).StreamingRecognize()
            await call.write(config())
            await call.read()

            # More than the gateway may hold, though less than fits into the buffers of the connection.
            async def flood() -> None:
                for number in range(3_000):
                    await call.write(MARKS[kind](number))

            writer = asyncio.create_task(flood())
            # Nothing is read, so the gateway must stop taking more.
            (session,) = stack.gateway.sessions._open
            before = -1
            while session.outbox._sequence <= 1 or before != session.outbox._sequence + len(session.pipeline._queue):
                before = session.outbox._sequence + len(session.pipeline._queue)
                await asyncio.sleep(0.3)
            assert len(session.pipeline._queue) <= BACKLOG_S / FRAME_S + 2
            assert len(session.outbox._responses) <= ROOM + BACKLOG_S / FRAME_S + 2
            await others_are_served(stack)
            writer.cancel()
            call.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await stack.all_slots_free()


async def test_streams_that_say_nothing_take_no_slot_and_are_ended() -> None:
    async with FakeStack(slots=1, idle_timeout_s=0.5) as stack:
        silent = [Conversation(stack.stub) for _ in range(50)]
        await asyncio.gather(*(call.call.wait_for_connection() for call in silent))
        assert stack.slots_free == ([1], [1])
        await others_are_served(stack)
        for call in silent:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.until("session_started")
            assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CONFIG")


async def test_a_session_that_says_nothing_more_gives_its_slot_back() -> None:
    async with FakeStack(slots=1, admission_wait_s=20) as stack:
        call = Conversation(stack.stub)
        await call.send(config(idle_timeout=seconds(1)), *chunks(YES_AUDIO))
        await call.until("session_started")
        await others_are_served(stack)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.until("session_ended")
        assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.ABORTED, "IDLE_TIMEOUT")


async def test_audio_that_comes_a_byte_at_a_time_is_heard_like_any_other() -> None:
    async with FakeStack(slots=2) as stack:
        dripping = transcribe(stack.stub, [config(), *chunks(YES_AUDIO[: 4 * 3840], 1), *chunks(YES_AUDIO[4 * 3840 :])])
        responses, _ = await asyncio.gather(dripping, others_are_served(stack))
        assert words(responses) == words(await transcribe(stack.stub, [config(), *chunks(YES_AUDIO)]))
        await stack.all_slots_free()


async def test_signs_of_life_alone_keep_a_session_and_leave_nothing_behind() -> None:
    async with FakeStack(slots=2) as stack:
        call = Conversation(stack.stub)
        await call.send(config())
        await call.until("session_started")
        await call.send(*[Request(keep_alive=pb.KeepAlive())] * 5_000)
        (session,) = stack.gateway.sessions._open
        assert not session.pipeline._queue
        await others_are_served(stack)
        await call.finish()


async def test_a_caller_that_never_reads_gives_its_slots_back_when_it_leaves() -> None:
    async with FakeStack(slots=1, heads=4, backlog_s=BACKLOG_S) as stack:
        call = stack.stub.StreamingRecognize()
        await call.write(config(results=pb.ResultOptions(vad_interval=seconds(0.08))))
        for request in chunks(saying(60)):
            await call.write(request)
        await call.done_writing()
        while stack.slots_free != ([0], [0]):
            await asyncio.sleep(0.01)
        call.cancel()
        await stack.all_slots_free()
        await others_are_served(stack)
