"""Times two engines in turns, so that whatever else the machine does meets both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Times:
    """Of one engine, in milliseconds."""

    median_ms: float
    least_ms: float
    # Of the cores, so without the time in which others had them; of all threads together.
    cpu_ms: float


def times_in_turns(calls: list[Callable[[], object]], rounds: int) -> list[Times]:
    """Call each function once a round, in turns; returns the times of each."""
    wall_ms: list[list[float]] = [[] for _ in calls]
    cpu_ms: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, wall, cpu in zip(calls, wall_ms, cpu_ms, strict=True):
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            call()
            cpu.append((time.process_time() - cpu_began_s) * 1e3)
            wall.append((time.perf_counter() - began_s) * 1e3)
    return [
        Times(round(median(wall), 4), round(min(wall), 4), round(median(cpu), 4))
        for wall, cpu in zip(wall_ms, cpu_ms, strict=True)
    ]
