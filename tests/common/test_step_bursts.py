"""Backlogs and openings in the step loop, over an engine that notes what it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.common.step_loop import StepLoop, StepSession


class NotingEngine:
    """Answers each row with itself; an opening with a history of n has n pieces."""

    slots = 4
    burst = 8

    def __init__(self) -> None:
        self.log: list[Any] = []

    def open(self, slot: int, history: int | None = None) -> Iterator[None] | None:
        return None if history is None else self._pieces(slot, history)

    def step(self, slots: NDArray[np.int64], rows: NDArray[Any]) -> NDArray[Any]:
        self.log.append(slots.tolist())
        return rows

    def close(self, slot: int) -> None:
        self.log.append(f"close {slot}")

    def _pieces(self, slot: int, count: int) -> Iterator[None]:
        for _ in range(count):
            self.log.append(f"piece of {slot}")
            yield


class Running:
    """A loop that has started, and what it delivered."""

    def __init__(self) -> None:
        self.engine = NotingEngine()
        self.delivered: list[tuple[int, int]] = []
        self._arrived = asyncio.Event()
        self.loop: StepLoop[StepSession, NDArray[Any]] = StepLoop(lambda: self.engine, self._deliver, print, "test")

    def _deliver(self, sessions: Sequence[StepSession], rows: NDArray[Any]) -> None:
        self.delivered += [(session.slot, int(row[0])) for session, row in zip(sessions, rows, strict=True)]
        self._arrived.set()

    async def until_delivered(self, count: int) -> None:
        while len(self.delivered) < count:
            self._arrived.clear()
            async with asyncio.timeout(10):
                await self._arrived.wait()


def rows(*values: int) -> list[NDArray[Any]]:
    return [np.array([value]) for value in values]


async def test_a_session_alone_with_a_backlog_gets_several_frames_a_step():
    run = Running()
    await run.loop.start()
    session = run.loop.open(StepSession)
    assert session is not None
    run.loop.submit(session, rows(*range(20)))
    await run.until_delivered(20)
    assert run.engine.log == [[0] * 8, [0] * 8, [0] * 4]
    assert run.delivered == [(0, value) for value in range(20)]
    run.loop.stop()


async def test_a_backlog_lets_every_session_with_a_frame_into_each_step():
    run = Running()
    sessions = []
    await run.loop.start()
    for count in (9, 1, 3):
        session = run.loop.open(StepSession)
        assert session is not None
        sessions.append((session, count))
    with run.loop._condition:  # held, so that the loop sees all at once
        for session, count in sessions:
            session.inbox.extend(rows(*range(count)))
            run.loop._ready[session] = None
        run.loop._condition.notify()
    await run.until_delivered(13)
    # 8 frames for three sessions: at most two each.
    assert run.engine.log[0] == [0, 0, 1, 2, 2]
    assert run.engine.log[1] == [0, 0, 0, 0, 2]
    assert run.engine.log[2] == [0, 0, 0]
    run.loop.stop()


async def test_an_opening_goes_on_between_the_steps_of_others_and_its_own_frames_wait():
    run = Running()
    await run.loop.start()
    live = run.loop.open(StepSession)
    replayed = run.loop.open(StepSession, history=3)
    assert live is not None
    assert replayed is not None
    run.loop.submit(replayed, rows(100))
    run.loop.submit(live, rows(*range(16)))
    await run.until_delivered(17)
    log = run.engine.log
    assert log.count("piece of 1") == 3
    # Its frame comes after its last piece.
    first = next(index for index, entry in enumerate(log) if isinstance(entry, list) and 1 in entry)
    assert "piece of 1" not in log[first:]
    assert [value for slot, value in run.delivered if slot == 0] == list(range(16))
    assert (1, 100) in run.delivered
    run.loop.stop()


async def test_an_opening_ends_with_its_session():
    run = Running()
    await run.loop.start()
    session = run.loop.open(StepSession, history=1_000_000)
    assert session is not None
    run.loop.close(session)
    other = run.loop.open(StepSession)
    assert other is not None
    run.loop.submit(other, rows(7))
    await run.until_delivered(1)
    assert "close 0" in run.engine.log
    assert run.engine.log.count("piece of 0") < 1_000_000
    run.loop.stop()
