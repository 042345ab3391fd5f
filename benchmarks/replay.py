"""A replay against stepping, and what live sessions notice of one; `benchmarks.step` calls it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_S
from services.common.step_loop import StepLoop, StepSession
from services.lm.engine import History, LmEngine, LmStep

FRAMES = 750
LIVE = 8
# Of live audio, the replay in the middle.
_LIVE_FRAMES = 75


class _Live(StepSession):
    """A session whose frames come in real time, and how long each waited for its answer."""

    __slots__ = ("delays_ms", "fed_s")

    def __init__(self, slot: int) -> None:
        super().__init__(slot)
        self.fed_s: list[float] = []
        self.delays_ms: list[float] = []


def replay_figures(checkpoint: Checkpoint, engine: LmEngine, rounds: int) -> dict[str, Any]:
    """engine: with at least LIVE + 1 slots, none of them in use."""
    random = np.random.default_rng(0)
    codes = random.integers(0, checkpoint.card, (FRAMES, checkpoint.codebooks)).astype(np.uint16)
    stepped_ms, replayed_ms = [], []
    for _ in range(rounds):
        engine.open(0)
        began_s = time.perf_counter()
        # The first one takes no audio.
        steps = [engine.step(np.array([0]), frame[None]) for frame in (codes[0], *codes)]
        stepped_ms.append((time.perf_counter() - began_s) * 1e3)
        history = History(codes, np.array([step.text_tokens[0] for step in steps], np.int32))
        began_s = time.perf_counter()
        chunks = sum(1 for _ in engine.open(0, history) or ())
        replayed_ms.append((time.perf_counter() - began_s) * 1e3)
    engine.close(0)
    undisturbed, disturbed = (asyncio.run(_live(engine, each)) for each in (None, history))
    ratio = median(one / other for one, other in zip(stepped_ms, replayed_ms, strict=True))
    figures = {
        "frames": FRAMES,
        "stepped_ms": round(median(stepped_ms), 2),
        "replayed_ms": round(median(replayed_ms), 2),
        "speedup": round(ratio, 1),
        "chunks": chunks,
        "live_sessions": LIVE,
        "longest_live_delay_ms": {"without": round(undisturbed, 1), "with": round(disturbed, 1)},
    }
    print(
        f"replay of {FRAMES} frames  {figures['replayed_ms']:9.1f} ms  stepping {figures['stepped_ms']:9.1f} ms  "
        f"{ratio:6.1f} ×; longest delay of {LIVE} live sessions {disturbed:.1f} ms, {undisturbed:.1f} ms without"
    )
    return figures


async def _live(engine: LmEngine, history: History | None) -> float:
    """Run live sessions for a while, with a replay in the middle. Returns the longest delay, ms."""

    def deliver(sessions: Sequence[_Live], _: LmStep) -> None:
        now_s = time.perf_counter()
        for session in sessions:
            session.delays_ms.append((now_s - session.fed_s[len(session.delays_ms)]) * 1e3)

    loop: StepLoop[_Live, LmStep] = StepLoop(lambda: engine, deliver, print, "replay")
    await loop.start()
    sessions = [session for session in (loop.open(_Live) for _ in range(LIVE)) if session is not None]
    frame = np.zeros(engine.codebooks, np.uint16)
    replayed: _Live | None = None
    for number in range(_LIVE_FRAMES):
        if number == _LIVE_FRAMES // 3 and history is not None:
            replayed = loop.open(_Live, history)
        for session in sessions:
            session.fed_s.append(time.perf_counter())
            loop.submit(session, [frame])
            # Callers are not in step with each other.
            await asyncio.sleep(FRAME_S / LIVE)
    while any(len(session.delays_ms) < _LIVE_FRAMES for session in sessions):
        await asyncio.sleep(0.01)
    for session in (*sessions, *([replayed] if replayed else [])):
        loop.close(session)
    await asyncio.sleep(FRAME_S)
    loop.stop()
    while loop.alive():
        await asyncio.sleep(0.01)
    return max(max(session.delays_ms) for session in sessions)
