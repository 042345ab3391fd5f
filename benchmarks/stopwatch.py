"""Times two engines in turns, so that whatever else the machine does meets both alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True)
class Times:
    """Of one engine, in milliseconds."""

    median_ms: float
    least_ms: float
    # Of the cores, so without the time in which others had them; of all threads together.
    cpu_ms: float
    rounds_ms: tuple[float, ...] = ()


def times_in_turns(
    calls: list[Callable[[], object]], rounds: int, *, warm_up: int = 2, limit_s: float = float("inf")
) -> list[Times]:
    """Call each function once a round, in turns, after rounds that do not count; returns the times of each.

    limit_s: no round begins later than this; there is always one.
    """
    wall_ms: list[list[float]] = [[] for _ in calls]
    cpu_ms: list[list[float]] = [[] for _ in calls]
    for _ in range(warm_up):
        for call in calls:
            call()
    until_s = time.perf_counter() + limit_s
    for number in range(rounds):
        if number and time.perf_counter() > until_s:
            break
        for call, wall, cpu in zip(calls, wall_ms, cpu_ms, strict=True):
            began_s, cpu_began_s = time.perf_counter(), time.process_time()
            call()
            cpu.append((time.process_time() - cpu_began_s) * 1e3)
            wall.append((time.perf_counter() - began_s) * 1e3)
    return [
        Times(round(median(wall), 4), round(min(wall), 4), round(median(cpu), 4), tuple(wall))
        for wall, cpu in zip(wall_ms, cpu_ms, strict=True)
    ]


def ratio(slow: Times, fast: Times) -> dict[str, float]:
    """Return the quartiles of how many times as fast one is as the other, round by round."""
    ratios = [one / other for one, other in zip(slow.rounds_ms, fast.rounds_ms, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"q1": round(low, 3), "median": round(middle, 3), "q3": round(high, 3)}
