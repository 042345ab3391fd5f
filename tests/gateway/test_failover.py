"""Workers die, hang and drain in the middle of sessions; callers hear the same words at the same times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.checkpoint import Checkpoint
from services.common.worker_serve import MAX_MESSAGE_BYTES
from tests.fakes.delayed import DAY, GO, NO, STOP, TO, YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.gateway.audio.signals import speech_like
from tests.real_stack import RealStack, pcm16
from tests.speech import Conversation, Request, as_s, chunks, config, flush, names, reason, saying, transcribe, words
from tests.stack import FakeModel, FakeStack, RunningWorker, Stack, fake_codec, fake_lm

SCRIPT = dict(zip(range(1, 120, 6), [[YES], [TO, DAY], [NO], [STOP], [GO]] * 4, strict=True))
AUDIO = saying(124, SCRIPT)


def stack_of_two(slots: int = 4, **gateway: object) -> Stack:
    """Make a stack of two codec and two LM workers with fake engines."""
    codecs = [fake_codec(FakeCodecEngine(slots)) for _ in range(2)]
    lms = [fake_lm(DelayedLmEngine(slots)) for _ in range(2)]
    return Stack(codecs, lms, **gateway)


KILLED: set[RunningWorker] = set()


async def in_use(workers: list[RunningWorker]) -> RunningWorker:
    """Return the worker that has sessions; waits for one, as a session may be on its way between two."""
    while True:
        for worker in workers:
            if worker.slots_free < worker.worker.loop.slots.total and worker not in KILLED:
                return worker
        await asyncio.sleep(0.01)


async def kill(worker: RunningWorker) -> None:
    """End a worker as kill -9 does: its connections break at once."""
    KILLED.add(worker)
    await worker.process.server.server.stop(0)
    worker.worker.loop.stop()


async def talk(
    stack: Stack, requests: list[Request], at: dict[int, Callable[[], Awaitable[None]]]
) -> list[pb.StreamingRecognizeResponse]:
    """Send requests, and do things before some of them, by their index."""
    call = Conversation(stack.stub)
    await call.send(requests[0])
    await call.until("session_started")
    for index, request in enumerate(requests[1:], start=1):
        if index in at:
            await at[index]()
        await call.send(request)
        # Time for answers to be on their way in every state.
        await asyncio.sleep(0.001)
    return await call.finish(timeout_s=30)


async def kill_in_use(workers: list[RunningWorker]) -> None:
    await kill(await in_use(workers))


REQUESTS = [config(), *chunks(AUDIO[: 60 * 3840]), flush("middle"), *chunks(AUDIO[60 * 3840 :])]


async def undisturbed() -> list[tuple[str, float, float]]:
    async with FakeStack() as stack:
        return words(await transcribe(stack.stub, REQUESTS))


@pytest.mark.parametrize("kind", ["codecs", "lms"])
@pytest.mark.parametrize("at", [1, 2, 9, 40, 61, 62, 63, 100, len(REQUESTS) - 1])
async def test_a_worker_that_is_killed_costs_no_word(kind: str, at: int) -> None:
    async with stack_of_two() as stack:
        responses = await talk(stack, REQUESTS, {at: lambda: kill_in_use(getattr(stack, kind))})
    assert words(responses) == await undisturbed()
    assert names(responses)[-1] == "session_ended"
    assert sum(name == "flush_done" for name in names(responses)) == 1


async def test_another_codec_hears_as_much_again_as_codecs_say_they_reach() -> None:
    codecs = [fake_codec(FakeCodecEngine(4, reach_frames=5)) for _ in range(2)]
    async with Stack(codecs, [fake_lm(DelayedLmEngine(4))]) as stack:
        responses = await talk(stack, REQUESTS, {40: lambda: kill_in_use(stack.codecs)})
        (other,) = [codec for codec in stack.codecs if codec not in KILLED]
        ((_, warmup),) = other.engine.opened
        assert warmup.shape == (5, 1920)
    assert words(responses) == await undisturbed()


async def test_both_workers_killed_at_once_cost_no_word() -> None:
    async with stack_of_two() as stack:

        async def both() -> None:
            await asyncio.gather(kill_in_use(stack.codecs), kill_in_use(stack.lms))

        responses = await talk(stack, REQUESTS, {50: both})
    assert words(responses) == await undisturbed()


async def test_a_worker_killed_during_a_flush_that_resets_the_context_costs_no_word() -> None:
    requests = [config(), *chunks(AUDIO[: 60 * 3840]), flush("r", reset_context=True), *chunks(AUDIO[60 * 3840 :])]
    async with FakeStack() as stack:
        expected = words(await transcribe(stack.stub, requests))
    for kind in ("codecs", "lms"):
        for at in (61, 62, 63):
            async with stack_of_two() as stack:
                responses = await talk(stack, requests, {at: lambda: kill_in_use(getattr(stack, kind))})  # noqa: B023
            assert words(responses) == expected, (kind, at)


async def test_a_worker_whose_step_hangs_counts_as_lost() -> None:
    async with stack_of_two(hung_after_s=0.2) as stack:

        async def hang() -> None:
            (await in_use(stack.lms)).engine.hang()

        responses = await talk(stack, REQUESTS, {30: hang})
        for worker in stack.lms:
            worker.engine.resume()
    assert words(responses) == await undisturbed()


async def test_an_engine_that_fails_costs_no_word() -> None:
    async with stack_of_two() as stack:

        async def fail() -> None:
            engine = (await in_use(stack.lms)).engine
            engine.fail_at_step = len(engine.steps)

        responses = await talk(stack, REQUESTS, {30: fail})
    assert words(responses) == await undisturbed()


@pytest.mark.parametrize("kind", ["codecs", "lms"])
async def test_a_draining_worker_hands_its_sessions_over_and_ends_empty(kind: str) -> None:
    async with stack_of_two(slots=8) as stack:
        drained: list[RunningWorker] = []

        async def drain() -> None:
            worker = await in_use(getattr(stack, kind))
            if worker not in drained:
                drained.append(worker)
                worker.stopping.set()

        one = talk(stack, REQUESTS, {20: drain})
        responses = await asyncio.gather(one, *(talk(stack, REQUESTS, {}) for _ in range(3)))
        assert await drained[0].task == 0
    expected = await undisturbed()
    for heard in responses:
        assert words(heard) == expected


async def test_a_session_waits_for_a_worker_to_come_back() -> None:
    async with FakeStack(failover_wait_s=20) as stack:
        address = stack.lms[0].address

        async def restart() -> None:
            await kill(stack.lms[0])
            engine = DelayedLmEngine(4)
            await stack.start_lm(engine, FakeModel().facts(engine), address).listening()

        responses = await talk(stack, REQUESTS, {30: restart})
    assert words(responses) == await undisturbed()


async def test_no_other_worker_in_time_is_worker_lost() -> None:
    async with FakeStack(failover_wait_s=0.2) as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(saying(20, {2: [YES]})))
        await call.until("result")
        await kill(stack.lms[0])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.until("session_ended")
        assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "WORKER_LOST")
        assert "not replaced within 0.2 s" in (raised.value.details() or "")
        while stack.codecs[0].slots_free < 4:
            await asyncio.sleep(0.01)


async def test_a_caller_that_leaves_during_a_failover_takes_no_slot() -> None:
    async with stack_of_two(slots=1) as stack:
        holder, caller = Conversation(stack.stub), Conversation(stack.stub)
        for call in (caller, holder):
            await call.send(config())
            await call.until("session_started")
        # Both LM workers are full, so the session that loses its own has to wait.
        await kill(stack.lms[0])
        await asyncio.sleep(0.05)
        for call in (caller, holder):
            call.call.cancel()
        while stack.lms[1].slots_free < 1 or any(codec.slots_free < 1 for codec in stack.codecs):
            await asyncio.sleep(0.01)


async def test_with_real_engines_the_tokens_after_a_failover_are_those_of_a_session_left_alone(
    mini_checkpoint: Checkpoint,
) -> None:
    audio = pcm16(speech_like(6.0, 24_000, seed=21))
    requests = [config(), *chunks(audio)]
    async with RealStack(mini_checkpoint, slots=2) as stack:
        expected = words(await transcribe(stack.stub, requests))
    assert len(expected) > 4
    chance = random.Random(3)
    async with RealStack(mini_checkpoint, slots=2, workers=4) as stack:
        faults = {}
        for index, kind in enumerate(["codecs", "lms", "lms", "codecs", "lms"]):
            faults[chance.randrange(12 * index + 3, 12 * index + 14)] = lambda kind=kind: kill_in_use(
                getattr(stack, kind)
            )
        responses = await talk(stack, requests, faults)
    assert words(responses) == expected


async def test_many_sessions_with_long_histories_move_at_once() -> None:
    """Their histories went in one message, which no worker accepts: it was lost too, and none of them ever arrived."""
    sessions, frames = 8, 400
    script = dict(zip(range(1, frames - 8, 6), [[YES], [TO, DAY], [NO], [STOP], [GO]] * 14, strict=False))
    requests = [config(), *chunks(saying(frames, script), 10 * 3840)]
    async with stack_of_two(sessions, failover_wait_s=60.0) as stack:
        expected = words(await transcribe(stack.stub, requests))
        assert len(expected) == len(script)
        calls = [Conversation(stack.stub) for _ in range(sessions)]
        for call in calls:
            await call.send(*requests)
            while call.responses[-1:] == [] or as_s(call.responses[-1].cursors.processed) < 30.5:
                await call.until("result")
        victim = await in_use(stack.codecs)
        moving = sessions - victim.slots_free
        # All their windows of audio together, 30 s each.
        assert moving * 30 * 24_000 * 4 > MAX_MESSAGE_BYTES
        await kill(victim)
        for call in calls:
            assert words(await call.finish(timeout_s=60)) == expected
