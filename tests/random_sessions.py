"""Sessions that join, pause, start again and leave at random, over any engine: slots must not see each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class AnyEngine(Protocol):
    slots: int

    def open(self, slot: int, /) -> None: ...
    def step(self, slots: NDArray[np.int64], rows: NDArray[Any], /) -> Any: ...
    def close(self, slot: int, /) -> None: ...


def run_at_random(
    engine: AnyEngine, sessions: Sequence[NDArray[Any]], seed: int, *, restart: float = 0.01, burst: int = 1
) -> list[list[Any]]:
    """Feed every session's rows, [frames, width], to some slot, in order.

    restart: the probability, per step and session, that a session starts again from its first row in its slot.
    burst: rows of a session that a step may have.
    Returns, per session, the answers of its last start: one row of what `step` returns for each row fed.
    """
    random = np.random.default_rng(seed)
    waiting = deque(range(len(sessions)))
    free = list(range(engine.slots))
    slot_of: dict[int, int] = {}
    answers: list[list[Any]] = [[] for _ in sessions]
    while waiting or slot_of:
        while waiting and free and random.random() < 0.3:
            session = waiting.popleft()
            slot_of[session] = free.pop(int(random.integers(len(free))))
            engine.open(slot_of[session])
        for session, slot in slot_of.items():
            if random.random() < restart:
                engine.open(slot)
                answers[session].clear()
        chosen: list[int] = []
        rows = []
        for session in random.permutation([session for session in slot_of if random.random() < 0.7]).astype(np.int64):
            done = len(answers[session])
            for row in sessions[session][done : done + (1 if burst == 1 else int(random.integers(1, burst + 1)))]:
                chosen.append(int(session))
                rows.append(row)
        if chosen:
            result = engine.step(np.array([slot_of[session] for session in chosen], np.int64), np.stack(rows))
            parts = zip(*result, strict=True) if isinstance(result, tuple) else result
            for session, answer in zip(chosen, parts, strict=True):
                answers[session].append(answer)
        for session in [session for session in slot_of if len(answers[session]) == len(sessions[session])]:
            slot = slot_of.pop(session)
            engine.close(slot)
            free.append(slot)
    return answers
