"""Looks at processes again and again: memory, file descriptors, processor time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.resources import Usage, usage
from benchmarks.results import slope

_EVERY_S = 2.0
# Points of a series, at most: enough to see whether something grows, comes and goes, or stands still.
_POINTS = 60


class Watch:
    """Looks at processes for as long as the block."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        """processes: ids by name."""
        self._processes = processes
        self._looks: dict[str, list[tuple[float, Usage]]] = {name: [] for name in processes}

    async def __aenter__(self) -> Watch:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._look()

    def figures(self) -> dict[str, dict[str, Any]]:
        """Sum up what each process used. Slopes are over the second half, once everything is warm."""
        return {name: _figures(looks) for name, looks in self._looks.items()}

    async def _run(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(_EVERY_S)

    def _look(self) -> None:
        for name, process in self._processes.items():
            self._looks[name].append((time.monotonic(), usage(process)))


def _figures(looks: list[tuple[float, Usage]]) -> dict[str, Any]:
    (began_s, first), (ended_s, last) = looks[0], looks[-1]
    half = looks[len(looks) // 2 :]
    return {
        "rss_mib": {"first": first.rss_mib, "half": half[0][1].rss_mib, "last": last.rss_mib},
        "rss_series": series(looks),
        "rss_slope_mib_per_h": round(3600 * slope([(at_s, look.rss_mib) for at_s, look in half]), 2),
        "files": {"first": first.files, "half": half[0][1].files, "last": last.files},
        "threads": {"first": first.threads, "last": last.threads},
        "cores": round((last.cpu_s - first.cpu_s) / max(0.001, ended_s - began_s), 4),
    }


def series(looks: list[tuple[float, Usage]]) -> list[tuple[float, float]]:
    """Thin out to (seconds, MiB): the most of each stretch of time."""
    began_s = looks[0][0]
    stretch = -(-len(looks) // _POINTS)
    stretches = (looks[first : first + stretch] for first in range(0, len(looks), stretch))
    return [(round(some[-1][0] - began_s, 1), max(look.rss_mib for _, look in some)) for some in stretches]
