"""Seconds since a session's first sample: what audio is paced by and latency is measured with."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Stands at 0 until it is started."""

    def __init__(self) -> None:
        self._zero: float | None = None

    def start(self) -> None:
        """Call when the first sample is heard."""
        self._zero = time.perf_counter()

    def now_s(self) -> float:
        """Return the seconds since the start."""
        return 0.0 if self._zero is None else time.perf_counter() - self._zero

    async def sleep_until(self, moment_s: float) -> None:
        """Wait, at least for the other tasks to have their turn."""
        await asyncio.sleep(max(0.0, moment_s - self.now_s()))
