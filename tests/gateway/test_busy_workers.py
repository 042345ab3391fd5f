"""Workers whose steps take too long take no new session, before those that are live suffer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import grpc
import pytest
from google.rpc import error_details_pb2

from dsm_stt.speech.v1 import speech_pb2 as pb
from tests.fakes.delayed import YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.speech import Conversation, chunks, config, detail, reason, saying, transcribe, words
from tests.stack import SETTINGS, FakeModel, Stack, StartWorker, fake_codec, lm_worker

# Every step takes longer than a nanosecond.
SLOW = replace(SETTINGS, step_budget_s=1e-9)


def lm(*, slow: bool, slots: int = 4) -> StartWorker:
    engine = DelayedLmEngine(slots)
    return partial(lm_worker, engine, FakeModel().facts(engine), SLOW if slow else SETTINGS)


@asynccontextmanager
async def live(stack: Stack) -> AsyncIterator[Conversation]:
    """Hold a session that says "yes" and then sends silence all the time, so that its workers step."""
    call = Conversation(stack.stub)
    await call.send(config(), *chunks(saying(9, {2: [YES]})))
    await call.until("result")

    enough = asyncio.Event()

    async def speak() -> None:
        while not enough.is_set():
            await call.send(*chunks(saying(3)))
            await asyncio.sleep(0.02)

    speaking = asyncio.create_task(speak())
    try:
        yield call
    finally:
        # Not cancelled: that would end the call with it.
        enough.set()
        await speaking


async def told(stack: Stack) -> None:
    """Wait until the gateway has heard of a worker over its budget."""
    while not any(link.over_budget for link in stack.gateway.workers._lms.links):
        await asyncio.sleep(0.005)


async def test_a_worker_over_its_budget_takes_no_new_session_although_it_has_slots() -> None:
    async with Stack([fake_codec(FakeCodecEngine(4))], [lm(slow=True)], admission_wait_s=0.05) as stack:
        async with live(stack) as first:
            await told(stack)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await transcribe(stack.stub, [config()])
            error = raised.value
            assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_CAPACITY")
            assert "could keep up with one more session" in (error.details() or "")
            assert detail(error, error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds() >= 0.5
            models = await stack.stub.ListModels(pb.ListModelsRequest())
            assert [model.slots_free for model in models.models] == [0]
            assert stack.slots_free == ([3], [3])
        assert words(await first.finish()) == [("yes", 0.16, 0.4)]


async def test_new_sessions_go_to_the_worker_that_keeps_up_however_many_it_has() -> None:
    async with Stack([fake_codec(FakeCodecEngine(8))], [lm(slow=True), lm(slow=False, slots=3)]) as stack:
        async with live(stack) as first, live(stack) as second:
            assert stack.slots_free[1] == [3, 2]
            await told(stack)
            others = [Conversation(stack.stub) for _ in range(2)]
            for call in others:
                await call.send(config())
                await call.until("session_started")
            assert stack.slots_free[1] == [3, 0]
        for call in (first, second, *others):
            await call.finish()


async def test_a_worker_that_has_nothing_to_do_any_more_takes_sessions_again() -> None:
    async with Stack([fake_codec(FakeCodecEngine(4))], [lm(slow=True)], admission_wait_s=60) as stack:
        async with live(stack) as first:
            await told(stack)
            second = asyncio.create_task(transcribe(stack.stub, [config(), *chunks(saying(9, {2: [YES]}))]))
            while not stack.gateway.workers._lms._waiting:
                await asyncio.sleep(0.005)
        # Nobody speaks now: the one that waits is let in though the first is still open.
        assert words(await second) == [("yes", 0.16, 0.4)]
        await first.finish()


async def test_a_session_whose_worker_is_lost_goes_on_at_one_over_its_budget() -> None:
    async with Stack([fake_codec(FakeCodecEngine(4))], [lm(slow=True), lm(slow=True)], admission_wait_s=0.05) as stack:
        async with live(stack) as first, live(stack) as second:
            await told(stack)
            lost = next(running for running in stack.lms if running.slots_free == 3)
            await lost.process.server.server.stop(0)
            lost.worker.loop.stop()
            other = next(running for running in stack.lms if running is not lost)
            while other.slots_free != 2:
                await asyncio.sleep(0.005)
        for call in (first, second):
            assert words(await call.finish()) == [("yes", 0.16, 0.4)]
