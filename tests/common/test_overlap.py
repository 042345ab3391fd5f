"""Rows sent ahead while a step runs, in the loop over an engine whose device is slow, and by themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.overlap import RowsAhead
from services.common.step_loop import StepLoop, StepSession

TIMEOUT_S = 10


class SlowDevice:
    """An OverlappingEngine that answers each row with itself; each step waits until it is let go.

    Rows that were sent ahead are answered as they were sent, whatever `start` is given in their places.
    """

    slots = 4
    burst = 1
    overlaps = True

    def __init__(self) -> None:
        self.steps: list[tuple[list[int], int]] = []
        self.started = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self._staged: list[NDArray[Any]] = []

    def open(self, slot: int, history: None = None) -> None: ...

    def close(self, slot: int) -> None: ...

    def step(self, slots: NDArray[np.int64], rows: NDArray[Any]) -> NDArray[Any]:
        raise AssertionError("wanted start")

    def stage(self, rows: NDArray[Any]) -> None:
        self._staged = list(rows)

    def start(self, slots: NDArray[np.int64], rows: NDArray[Any], staged: int) -> Callable[[], NDArray[Any]]:
        assert staged in {0, len(self._staged)}
        answer = np.stack([*self._staged[:staged], *rows[staged:]])
        self._staged = []
        self.steps.append((slots.tolist(), staged))

        def finish() -> NDArray[Any]:
            self.started.release()
            assert self.go.acquire(timeout=TIMEOUT_S)
            return answer

        return finish


class Running:
    """A loop over a SlowDevice, and what each slot was answered."""

    def __init__(self) -> None:
        self.engine = SlowDevice()
        self.answers: list[tuple[int, int]] = []
        self.loop: StepLoop[StepSession, NDArray[Any]] = StepLoop(lambda: self.engine, self._deliver, print, "test")

    def _deliver(self, sessions: Sequence[StepSession], rows: NDArray[Any]) -> None:
        self.answers += [(session.slot, int(row[0])) for session, row in zip(sessions, rows, strict=True)]

    def open(self) -> StepSession:
        session = self.loop.open(StepSession)
        assert session is not None
        return session

    def submit(self, session: StepSession, *values: int) -> None:
        self.loop.submit(session, [np.array([value]) for value in values])

    async def step_runs(self) -> None:
        """Wait until a step is under way, and what waits for the next one has been sent."""
        assert await asyncio.to_thread(self.engine.started.acquire, timeout=TIMEOUT_S)

    async def answered(self, count: int) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.answers) < count:
                await asyncio.sleep(0.001)


async def test_frames_that_wait_are_sent_ahead_and_those_that_come_meanwhile_are_in_the_next_step_too():
    run = Running()
    await run.loop.start()
    backlog, live, other = run.open(), run.open(), run.open()
    run.submit(backlog, 10, 11, 12)
    await run.step_runs()
    run.submit(live, 20)
    run.submit(other, 30)
    for _ in range(3):
        run.engine.go.release()
    await run.answered(5)
    # 11 was sent ahead; 20 and 30 came while the first step ran and are in the second all the same.
    assert run.engine.steps == [([0], 0), ([0, 1, 2], 1), ([0], 1)]
    assert sorted(run.answers) == [(0, 10), (0, 11), (0, 12), (1, 20), (2, 30)]
    run.loop.stop()


async def test_a_frame_sent_ahead_goes_with_its_session():
    run = Running()
    await run.loop.start()
    gone, stays = run.open(), run.open()
    run.submit(gone, 1, 2)
    await run.step_runs()
    run.submit(stays, 5, 6)
    run.loop.close(gone)
    heir = run.open()
    assert heir.slot == gone.slot
    run.submit(heir, 7)
    for _ in range(3):
        run.engine.go.release()
    await run.answered(4)
    # The 2 that was sent ahead is nobody's, and not its heir's.
    assert sorted(run.answers) == [(0, 1), (0, 7), (1, 5), (1, 6)]
    assert [staged for _, staged in run.engine.steps][:2] == [0, 0]
    run.loop.stop()


def test_rows_sent_ahead_come_first_in_the_order_in_which_they_were_sent():
    ahead: RowsAhead[str] = RowsAhead()
    a, b, c = (np.array([value]) for value in (1, 2, 3))
    ahead.send(SlowDevice(), [("a", a), ("b", b)])
    rows, staged = ahead.order([("c", c), ("b", b), ("a", a)])
    assert ([session for session, _ in rows], staged) == (["a", "b", "c"], 2)
    # Once: they are on the device no longer.
    assert ahead.order([("a", a)])[1] == 0


def test_if_one_of_the_rows_sent_ahead_is_not_taken_none_counts():
    ahead: RowsAhead[str] = RowsAhead()
    a, b = np.array([1]), np.array([2])
    ahead.send(SlowDevice(), [("a", a), ("b", b)])
    assert ahead.order([("b", b)]) == ([("b", b)], 0)
