"""Full servers, slow and vanishing callers: nothing is lost, nothing stays taken, nothing grows."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import AsyncIterator

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.common.framing import FRAME_S
from services.gateway.outbox import ROOM
from tests.fakes.delayed import DAY, GO, NO, STOP, TO, YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.speech import Conversation, Request, chunks, config, flush, names, saying, seconds, transcribe, words
from tests.stack import FakeModel, FakeStack, Stack, fake_codec, fake_lm

WORDS = {"yes": [YES], "no": [NO], "today": [TO, DAY], "stop": [STOP], "go": [GO]}


def random_script(seed: int) -> tuple[int, dict[int, list[int]], list[str]]:
    """Make up what a speaker says: frames, the pieces of each word by its start, and the words."""
    chance = random.Random(seed)
    starts = range(1, 60, 4)
    said = {start: chance.choice(list(WORDS)) for start in starts if chance.random() < 0.6}
    return 64, {start: WORDS[word] for start, word in said.items()}, list(said.values())


async def test_200_sessions_over_16_slots_each_get_their_own_words() -> None:
    async with FakeStack(slots=16, admission_wait_s=60, admission_queue=300) as stack:

        async def one(seed: int) -> None:
            frames, script, said = random_script(seed)
            requests = [config(), *chunks(saying(frames, script), 16 * 3840)]
            if seed % 3 == 0:
                requests.insert(3, flush())
            heard = words(await transcribe(stack.stub, requests))
            assert [word for word, _, _ in heard] == said
            assert [start for _, start, _ in heard] == pytest.approx([start * FRAME_S for start in script])
            if seed % 3:
                assert [start for _, start, _ in heard] == pytest.approx([start * FRAME_S for start in script])

        await asyncio.gather(*(one(seed) for seed in range(200)))
        await stack.all_slots_free()


async def test_sessions_wait_their_turn_in_order() -> None:
    async with FakeStack(slots=1, admission_wait_s=60) as stack:
        order: list[int] = []

        async def one(number: int) -> None:
            await transcribe(stack.stub, [config(), *chunks(saying(8))])
            order.append(number)

        holder = Conversation(stack.stub)
        await holder.send(config())
        await holder.until("session_started")
        tasks = []
        for number in range(8):
            tasks.append(asyncio.create_task(one(number)))
            while stack.gateway.workers._lms._waiting <= number:
                await asyncio.sleep(0.001)
        await holder.finish()
        await asyncio.gather(*tasks)
    assert order == sorted(order)


async def test_a_full_model_does_not_hold_up_another() -> None:
    full, other = DelayedLmEngine(1), DelayedLmEngine(1)
    lms = [fake_lm(full, FakeModel(name="full")), fake_lm(other, FakeModel(name="other"))]
    async with Stack([fake_codec(FakeCodecEngine(4))], lms, admission_wait_s=60) as stack:
        holder, waiter = Conversation(stack.stub), Conversation(stack.stub)
        await holder.send(config(model="full"))
        await holder.until("session_started")
        await waiter.send(config(model="full"))
        while not stack.gateway.workers._lms._waiting:
            await asyncio.sleep(0.005)
        assert names(await transcribe(stack.stub, [config(model="other")])) == ["session_started", "session_ended"]
        await holder.finish()
        await waiter.finish()


async def test_sessions_spread_over_workers_the_least_loaded_first() -> None:
    engines = [DelayedLmEngine(4) for _ in range(2)]
    lms = [fake_lm(engine) for engine in engines]
    async with Stack([fake_codec(FakeCodecEngine(2)), fake_codec(FakeCodecEngine(6))], lms) as stack:
        calls = [Conversation(stack.stub) for _ in range(4)]
        for call in calls:
            await call.send(config())
            await call.until("session_started")
        codecs, lm_slots = stack.slots_free
        assert lm_slots == [2, 2]
        assert codecs == [1, 3]
        for call in calls:
            await call.finish()
        await stack.all_slots_free()


async def test_a_caller_that_vanishes_frees_its_slots_in_both_workers() -> None:
    async with FakeStack(slots=2) as stack:
        for how in ("cancel", "cancel while audio is under way", "close the connection"):
            call = Conversation(stack.stub)
            await call.send(config())
            await call.until("session_started")
            assert stack.slots_free == ([1], [1])
            if how == "cancel while audio is under way":
                await call.send(*chunks(saying(300)))
            if how == "close the connection":
                await stack.channel.close()
            else:
                call.call.cancel()
            await stack.all_slots_free()


async def test_a_caller_that_gives_up_while_waiting_takes_no_slot() -> None:
    async with FakeStack(slots=1, admission_wait_s=60) as stack:
        holder, waiter = Conversation(stack.stub), Conversation(stack.stub)
        await holder.send(config())
        await holder.until("session_started")
        await waiter.send(config())
        while not stack.gateway.workers._lms._waiting:
            await asyncio.sleep(0.005)
        waiter.call.cancel()
        while stack.gateway.workers._lms._waiting:
            await asyncio.sleep(0.005)
        await holder.finish()
        await stack.all_slots_free()


async def test_a_slow_reader_slows_only_itself_and_loses_nothing() -> None:
    vad = pb.ResultOptions(vad_interval=seconds(0.08))
    async with FakeStack(slots=2, heads=4, backlog_s=1.0) as stack:
        # A client library reads ahead for its caller; this one as little as it can.
        options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024)]
        channel = grpc.aio.insecure_channel(stack.address, options=options)
        slow = speech_pb2_grpc.SpeechServiceStub(channel).StreamingRecognize()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            await slow.write(config(results=vad))
            for request in chunks(saying(4000)):
                await slow.write(request)
                sent += 1
            await slow.done_writing()

        writer = asyncio.create_task(flood())
        before = -1
        # Nothing is read: the writer must come to a halt, long before all is sent.
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 3000
        (session,) = stack.gateway.sessions._open
        assert len(session.outbox._responses) <= ROOM + 2 * 16
        assert len(session.pipeline._queue) <= 1.0 / FRAME_S + 1
        # Meanwhile others are served.
        assert [
            word for word, _, _ in words(await transcribe(stack.stub, [config(), *chunks(saying(9, {2: [YES]}))]))
        ] == ["yes"]
        responses = [response async for response in slow]
        await writer
        assert sum(response.HasField("vad") for response in responses) == 4000
        assert responses[-1].HasField("session_ended")
        assert [response.sequence for response in responses] == list(range(1, len(responses) + 1))
        await channel.close()


async def test_a_flood_is_slowed_by_flow_control_and_memory_stays_flat() -> None:
    async with FakeStack(slots=2, backlog_s=2.0) as stack:
        audio = saying(500, {start: [YES] for start in range(1, 490, 10)})

        async def flood(times: int) -> int:
            async def send() -> AsyncIterator[Request]:
                yield config()
                for _ in range(times):
                    for request in chunks(audio, 100_000):
                        yield request

            heard = [response async for response in stack.stub.StreamingRecognize(send())]
            return len(words(heard))

        assert await flood(2) == 2 * 49
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert await flood(20) == 20 * 49
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    # 20 times the audio is 38 MB as it is sent and 77 MB as float32; the engines' own records grow by little.
    assert grown_kib < 20_000


async def test_a_session_opens_on_another_worker_when_the_first_has_filled_up() -> None:
    """Two gateways share workers, so one's idea of a free slot can be wrong; it must then try the next worker."""
    engines = [DelayedLmEngine(1), DelayedLmEngine(1)]
    lms = [fake_lm(engine) for engine in engines]
    async with Stack([fake_codec(FakeCodecEngine(4))], lms) as stack:
        calls = [Conversation(stack.stub) for _ in range(2)]
        await asyncio.gather(*(call.send(config()) for call in calls))
        await asyncio.gather(*(call.until("session_started") for call in calls))
        assert stack.slots_free[1] == [0, 0]
        for call in calls:
            await call.finish()


async def test_a_worker_that_comes_back_is_used_again() -> None:
    async with FakeStack() as stack:
        lm = stack.lms[0]
        address = lm.address
        await lm.stop()
        while stack.gateway.workers.models():
            await asyncio.sleep(0.01)
        engine = DelayedLmEngine(4)
        again = stack.start_lm(engine, FakeModel().facts(engine), address)
        await again.listening()
        while not stack.gateway.workers.models():
            await asyncio.sleep(0.01)
        assert words(await transcribe(stack.stub, [config(), *chunks(saying(9, {2: [YES]}))])) == [("yes", 0.16, 0.4)]
