"""The step loop over a fake engine: who is stepped with what, in which thread, and who hears of it."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from services.common.errors import CheckpointError, EngineFailed
from services.common.step_loop import StepLoop, StepSession
from tests.fakes.engines import FakeCodecEngine, fake_codes, frame_saying

TIMEOUT_S = 20


class Session(StepSession):
    """Keeps its answers."""

    __slots__ = ("answers", "sent")

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.sent: list[int] = []
        self.answers: list[list[int]] = []


class Loop:
    """A StepLoop over a FakeCodecEngine, and what it reported."""

    def __init__(self, engine: Any, build: Callable[[], Any] | None = None) -> None:
        self.engine = engine
        self.failures: list[EngineFailed] = []
        # The sessions of each delivery, and the event loop's thread that it came in.
        self.delivered: list[list[Session]] = []
        self.delivery_threads: set[int] = set()
        self.loop: StepLoop[Session, NDArray[np.uint16]] = StepLoop(
            build or (lambda: engine), self._deliver, self.failures.append, "test"
        )

    def _deliver(self, sessions: Sequence[Session], codes: NDArray[np.uint16]) -> None:
        self.delivery_threads.add(threading.get_ident())
        self.delivered.append(list(sessions))
        for session, row in zip(sessions, codes, strict=True):
            session.answers.append(row.tolist())

    def open(self, history: Any | None = None) -> Session:
        session = self.loop.open(Session, history)
        assert session is not None
        return session

    def submit(self, session: Session, *values: int) -> None:
        session.sent.extend(values)
        self.loop.submit(session, [frame_saying(value) for value in values])

    async def answered(self, *sessions: Session) -> None:
        await until(lambda: all(len(session.answers) == len(session.sent) for session in sessions))


def expected(values: Sequence[int], first_frame: int = 0) -> list[list[int]]:
    """Work out what the fake codec answers to a session's frames."""
    return [fake_codes(value, first_frame + frame, 4, 64).tolist() for frame, value in enumerate(values)]


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.001)


async def in_thread(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, TIMEOUT_S)


@asynccontextmanager
async def running(slots: int = 4, engine: Any | None = None) -> AsyncIterator[Loop]:
    """Run a loop over an engine, and end it."""
    loop = Loop(engine or FakeCodecEngine(slots))
    await loop.loop.start()
    try:
        yield loop
    finally:
        loop.engine.resume()
        loop.loop.stop()
        await until(lambda: not loop.loop.alive())


async def test_every_engine_call_is_made_by_one_thread_and_every_delivery_by_the_event_loops() -> None:
    engine = FakeCodecEngine()

    def build() -> FakeCodecEngine:
        engine.threads.add(threading.get_ident())
        return engine

    loop = Loop(engine, build)
    await loop.loop.start()
    for _ in range(3):
        session = loop.open()
        loop.submit(session, 1, 2)
        await loop.answered(session)
        session = loop.loop.reset(session, Session)
        loop.submit(session, 3)
        await loop.answered(session)
        loop.loop.close(session)
    await until(lambda: len(engine.closed) == 3)
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads
    assert loop.delivery_threads == {threading.get_ident()}
    loop.loop.stop()


class WakeUps(FakeCodecEngine):
    """Knows how often the operating system let the loop's thread go to sleep."""

    thread = 0

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> None:
        super().open(slot, warmup_pcm)
        self.thread = threading.get_native_id()

    def count(self) -> int:
        status = Path(f"/proc/self/task/{self.thread}/status").read_text()
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", status, re.MULTILINE)
        assert found is not None
        return int(found[1])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts wake-ups as Linux tells them")
async def test_an_idle_loop_neither_steps_nor_wakes_up() -> None:
    engine = WakeUps()
    async with running(engine=engine) as loop:
        session = loop.open()
        loop.submit(session, 5)
        await loop.answered(session)
        before = -1
        while before != engine.count():  # until it has gone to sleep
            before = engine.count()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.4)
        assert engine.count() == before
        assert len(engine.steps) == 1
        assert loop.loop.stuck_for_s() == 0


async def test_a_step_takes_one_frame_of_each_ready_session() -> None:
    async with running() as loop:
        sessions = [loop.open() for _ in range(3)]
        loop.engine.hang()
        loop.submit(sessions[0], 0)
        await in_thread(loop.engine.hanging)
        loop.submit(sessions[0], 1, 2, 3)
        loop.submit(sessions[1], 10)
        loop.submit(sessions[2], 20, 21)
        loop.engine.resume()
        await loop.answered(*sessions)
        assert [sorted(slots.tolist()) for slots in loop.engine.steps] == [[0], [0, 1, 2], [0, 2], [0]]
        assert [session.answers for session in sessions] == [expected(session.sent) for session in sessions]


async def test_frames_that_come_while_a_step_runs_wait_for_the_next() -> None:
    async with running() as loop:
        first, second = loop.open(), loop.open()
        loop.engine.hang()
        loop.submit(first, 1)
        await in_thread(loop.engine.hanging)
        loop.submit(second, 2)
        assert loop.loop.stuck_for_s() > 0
        assert not loop.delivered
        loop.engine.resume()
        await loop.answered(first, second)
        assert loop.delivered == [[first], [second]]


async def test_results_go_to_the_session_that_was_stepped_not_to_the_slots_next_holder() -> None:
    async with running(slots=1) as loop:
        before = loop.open()
        loop.engine.hang()
        loop.submit(before, 1, 2)
        await in_thread(loop.engine.hanging)
        loop.loop.close(before)
        after = loop.open()
        assert after.slot == before.slot
        loop.submit(after, 7)
        loop.engine.resume()
        await loop.answered(after)
        assert loop.delivered == [[before], [after]]
        assert before.answers == expected([1])
        assert after.answers == expected([7])


async def test_a_step_under_way_does_not_answer_a_session_that_starts_again() -> None:
    # A reset used to keep the session object, so the answer to a frame of its former life came as its first.
    async with running() as loop:
        before = loop.open()
        loop.engine.hang()
        loop.submit(before, 1, 2)
        await in_thread(loop.engine.hanging)
        after = loop.loop.reset(before, Session)
        loop.submit(after, 7)
        loop.engine.resume()
        await loop.answered(after)
        assert not before.open
        assert after.slot == before.slot
        assert before.answers == expected([1])
        assert after.answers == expected([7])
        assert loop.loop.slots.free == 3


async def test_a_session_starts_again_with_nothing_left_of_its_former_life() -> None:
    async with running() as loop:
        session = loop.open(np.stack([frame_saying(0)] * 3))
        loop.submit(session, 1, 2)
        await loop.answered(session)
        assert session.answers == expected([1, 2], first_frame=3)
        session = loop.loop.reset(session, Session)
        loop.submit(session, 1, 2)
        await loop.answered(session)
        assert session.answers == expected([1, 2])


async def test_opens_resets_and_closes_reach_the_engine_in_their_order() -> None:
    class Ordered(FakeCodecEngine):
        order: list[str]

        def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> None:
            super().open(slot, warmup_pcm)
            self.order.append(f"open {slot}" + (" again" if warmup_pcm is not None else ""))

        def close(self, slot: int, /) -> None:
            super().close(slot)
            self.order.append(f"close {slot}")

        def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
            self.order.append("step " + " ".join(map(str, slots)))
            return super().step(slots, pcm)

    engine = Ordered(2)
    engine.order = []
    async with running(engine=engine) as loop:
        busy = loop.open()
        engine.hang()
        loop.submit(busy, 0)
        await in_thread(engine.hanging)
        # All of this is one turn of the loop.
        gone = loop.open()
        loop.submit(gone, 1)
        loop.loop.close(gone)
        heir = loop.open(np.stack([frame_saying(0)]))
        heir = loop.loop.reset(heir, Session)
        loop.submit(heir, 2)
        engine.resume()
        await loop.answered(busy, heir)
    assert engine.order == ["open 0", "step 0", "open 1", "close 1", "open 1 again", "open 1", "step 1"]
    assert gone.answers == []
    assert heir.answers == expected([2])


async def test_frames_of_a_closed_session_are_dropped() -> None:
    async with running() as loop:
        session, other = loop.open(), loop.open()
        loop.engine.hang()
        loop.submit(other, 0)
        await in_thread(loop.engine.hanging)
        loop.submit(session, 1, 2, 3)
        loop.loop.close(session)
        loop.engine.resume()
        loop.submit(other, 1)
        await loop.answered(other)
        assert [slots.tolist() for slots in loop.engine.steps] == [[1], [1]]
        assert session.answers == []


async def test_no_slot_is_given_out_that_is_taken() -> None:
    async with running(slots=2) as loop:
        first, second = loop.open(), loop.open()
        assert {first.slot, second.slot} == {0, 1}
        assert loop.loop.open(Session) is None
        loop.loop.close(first)
        assert loop.open().slot == first.slot
        assert loop.loop.open(Session) is None


class Exploding(FakeCodecEngine):
    """Raises what it was given, in a step or when a slot is opened."""

    error: BaseException
    when = "step"

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> None:
        super().open(slot, warmup_pcm)
        if self.when == "open":
            raise self.error

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        self.steps.append(slots)
        raise self.error


@pytest.mark.parametrize("when", ["step", "open"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EngineFailed("the device is lost"), "the device is lost"),
        (CheckpointError("no such thing here"), "no such thing here"),
        (RuntimeError("CUDA error: 1234"), "test engine raised RuntimeError"),
        (SystemExit("a library gives up"), "test engine raised SystemExit"),
    ],
)
async def test_an_engine_that_raises_is_reported_once_and_never_stepped_again(
    error: BaseException, message: str, when: str
) -> None:
    engine = Exploding()
    engine.error, engine.when = error, when
    async with running(engine=engine) as loop:
        session, other = loop.open(), loop.open()
        loop.submit(session, 1, 2, 3)
        await until(lambda: loop.failures)
        await until(lambda: not loop.loop.alive())
        loop.submit(other, 4)
        loop.loop.close(other)
        await asyncio.sleep(0.05)
        assert [str(failure) for failure in loop.failures] == [message]
        assert len(engine.steps) == (when == "step")
        assert not loop.delivered
        # The operator's log shows what it was.
        assert isinstance(error, EngineFailed | CheckpointError) or loop.failures[0].__cause__ is error


@pytest.mark.parametrize("error", [CheckpointError("no weights"), RuntimeError("no memory"), KeyError("cfg")])
async def test_what_loading_raises_reaches_whoever_waits_for_the_start(error: Exception) -> None:
    def build() -> FakeCodecEngine:
        raise error

    loop = Loop(FakeCodecEngine(), build)
    with pytest.raises(type(error)) as raised:
        await loop.loop.start()
    assert raised.value is error
    await until(lambda: not loop.loop.alive())
    assert not loop.failures


async def test_stop_while_loading_ends_the_thread_without_a_step(caplog: pytest.LogCaptureFixture) -> None:
    # The result of a loading that nobody waits for any more used to end as an error in the event loop's log.
    engine, loading, go_on = FakeCodecEngine(), threading.Event(), threading.Event()

    def build() -> FakeCodecEngine:
        loading.set()
        go_on.wait()
        return engine

    loop = Loop(engine, build)
    start = asyncio.create_task(loop.loop.start())
    await in_thread(loading)
    start.cancel()
    loop.loop.stop()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert loop.loop.alive()
    go_on.set()
    await until(lambda: not loop.loop.alive())
    await asyncio.sleep(0)
    assert not caplog.records
    assert not engine.opened
    assert not engine.steps


async def test_stop_during_a_hung_step_returns_and_delivers_what_comes_at_last() -> None:
    async with running() as loop:
        session = loop.open()
        loop.engine.hang()
        loop.submit(session, 1, 2)
        await in_thread(loop.engine.hanging)
        loop.loop.stop()
        assert loop.loop.alive()
        loop.engine.resume()
        await until(lambda: not loop.loop.alive())
        assert len(loop.engine.steps) == 1
        await until(lambda: session.answers)
        assert session.answers == expected([1])


async def test_it_knows_for_how_long_a_step_has_been_running() -> None:
    async with running() as loop:
        assert loop.loop.stuck_for_s() == 0
        assert loop.loop.budget.average_s == 0
        session = loop.open()
        loop.engine.hang()
        loop.submit(session, 1)
        await in_thread(loop.engine.hanging)
        seen_s = loop.loop.stuck_for_s()
        await until(lambda: loop.loop.stuck_for_s() > seen_s + 0.05)
        loop.engine.resume()
        await loop.answered(session)
        await until(lambda: loop.loop.stuck_for_s() == 0)
        assert loop.loop.budget.average_s > 0.05


class RandomSessions(RuleBasedStateMachine):
    """Sessions that come, speak, start again and go in any order, while the loop's thread steps as it pleases."""

    def __init__(self) -> None:
        super().__init__()
        self.events = asyncio.new_event_loop()
        self.loop = Loop(FakeCodecEngine(3))
        self.events.run_until_complete(self.loop.loop.start())
        self.live: list[Session] = []
        self.ended: list[Session] = []

    def teardown(self) -> None:
        self.events.run_until_complete(self.loop.answered(*self.live))
        self._check_answers()
        self.loop.loop.stop()
        self.events.run_until_complete(until(lambda: not self.loop.loop.alive()))
        self.events.close()
        assert not self.loop.failures

    @rule()
    def open(self) -> None:
        session = self.loop.loop.open(Session)
        assert (session is None) == (len(self.live) == 3)
        if session is not None:
            self.live.append(session)

    @precondition(lambda self: self.live)
    @rule(data=st.data(), values=st.lists(st.integers(0, 60), min_size=1, max_size=4))
    def submit(self, data: st.DataObject, values: list[int]) -> None:
        self.loop.submit(data.draw(st.sampled_from(self.live)), *values)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        session = self.live.pop(data.draw(st.integers(0, len(self.live) - 1)))
        self.loop.loop.close(session)
        self.ended.append(session)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.live) - 1))
        self.ended.append(self.live[index])
        self.live[index] = self.loop.loop.reset(self.live[index], Session)

    @rule()
    def let_answers_in(self) -> None:
        self.events.run_until_complete(asyncio.sleep(0))

    @rule()
    def wait_for_every_answer(self) -> None:
        self.events.run_until_complete(self.loop.answered(*self.live))

    @invariant()
    def no_slot_is_lost_or_doubled(self) -> None:
        held = [session.slot for session in self.live]
        assert len(set(held)) == len(held)
        assert self.loop.loop.slots.free == 3 - len(held)

    @invariant()
    def _check_answers(self) -> None:
        for session in (*self.live, *self.ended):
            assert session.answers == expected(session.sent)[: len(session.answers)]


RandomSessions.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
TestRandomSessions = RandomSessions.TestCase
