"""A replay under way in the step loop over the real engine: what the other sessions notice, and what comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.common.registry import resolve
from services.common.step_loop import StepLoop, StepSession
from services.lm.engine import History, LmStep
from services.lm.lm_engine import BatchedLmEngine, load

MODEL = Path(__file__).parents[2] / "models" / "dsm-tiny-en"
LIVE_FRAMES, HISTORY_FRAMES, GOES_ON_FRAMES = 30, 750, 10
TIMEOUT_S = 120


class NotingEngine:
    """The engine, and in what order its steps and chunks come: the slots of a step, or None for a chunk."""

    burst = 1

    def __init__(self, engine: BatchedLmEngine) -> None:
        self._engine = engine
        self.slots = engine.slots
        self.log: list[list[int] | None] = []

    def open(self, slot: int, history: History | None = None) -> Iterator[None] | None:
        rest = self._engine.open(slot, history)
        return None if rest is None else self._noting(rest)

    def step(self, slots: NDArray[np.int64], rows: NDArray[np.uint16]) -> LmStep:
        self.log.append(slots.tolist())
        return self._engine.step(slots, rows)

    def close(self, slot: int) -> None:
        self._engine.close(slot)

    def _noting(self, rest: Iterator[None]) -> Iterator[None]:
        for _ in rest:
            self.log.append(None)
            yield


@pytest.fixture(scope="module")
def engine() -> BatchedLmEngine:
    return load(resolve(str(MODEL)), slots=4, device="cpu", threads=1)


async def test_live_sessions_are_stepped_between_any_two_chunks_and_the_replayed_one_goes_on(engine: BatchedLmEngine):
    codes = np.random.default_rng(1).integers(0, engine.cardinality, (HISTORY_FRAMES + GOES_ON_FRAMES, 16))
    codes = codes.astype(np.uint16)
    engine.open(3)
    uninterrupted = [int(engine.step(np.array([3]), frame[None]).text_tokens[0]) for frame in [codes[0], *codes]]
    engine.close(3)
    text = np.array(uninterrupted[: HISTORY_FRAMES + 1], np.int32)

    noting = NotingEngine(engine)
    answers: dict[int, list[int]] = {slot: [] for slot in range(4)}
    everything = asyncio.Event()

    def deliver(sessions: Sequence[StepSession], step: LmStep) -> None:
        for session, token in zip(sessions, step.text_tokens.tolist(), strict=True):
            answers[session.slot].append(token)
        if sum(map(len, answers.values())) == 3 * LIVE_FRAMES + GOES_ON_FRAMES:
            everything.set()

    loop: StepLoop[StepSession, LmStep] = StepLoop(lambda: noting, deliver, print, "test")
    await loop.start()
    live = [loop.open(StepSession) for _ in range(3)]
    replayed = loop.open(StepSession, History(codes[:HISTORY_FRAMES], text))
    assert replayed is not None
    with loop._condition:  # held, so that the loop sees all at once
        loop.submit(replayed, list(codes[HISTORY_FRAMES:]))
        for session in live:
            assert session is not None
            loop.submit(session, [codes[0], *codes[: LIVE_FRAMES - 1]])
    async with asyncio.timeout(TIMEOUT_S):
        await everything.wait()
    loop.stop()

    # However slow the machine: 253 positions of the 751 have to be computed, by 512 a chunk at most and 64 at first.
    chunks = [index for index, entry in enumerate(noting.log) if entry is None]
    assert len(chunks) >= 2
    waiting = dict.fromkeys(range(3), LIVE_FRAMES)
    since_chunk: list[int] = []
    for entry in noting.log:
        if entry is not None:
            since_chunk += entry
            for slot in entry:
                waiting[slot] = waiting.get(slot, 0) - 1
        else:
            # One step before each chunk, of every session that had a frame for it: none waits for two chunks.
            had_a_frame = [slot for slot in range(3) if waiting[slot] + since_chunk.count(slot) > 0]
            assert sorted(since_chunk) == had_a_frame
            since_chunk = []
    assert answers[3] == uninterrupted[HISTORY_FRAMES + 1 :]
    assert answers[0] == answers[1] == answers[2] == uninterrupted[:LIVE_FRAMES]
