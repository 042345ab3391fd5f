"""How much of a session's past to compute at once, when other sessions wait for their steps in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

# Between two chunks every session with a frame is stepped: a chunk must leave most of a frame's 80 ms to that.
_BUDGET_S = 0.03


class Pace:
    """Finds a size of chunk that takes a third of a frame: times what runs inside `with pace`, and adapts `size`."""

    def __init__(self, *, first: int, largest: int, clock: Callable[[], float] = time.perf_counter) -> None:
        """first, largest: sizes. clock: seconds."""
        self._clock = clock
        self._next = self.size = first
        self._largest = largest
        self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = self._clock()
        self.size = self._next

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Choose the next size; the present one stays readable until the next `with`."""
        spent_s = self._clock() - self._began_s
        if spent_s > _BUDGET_S:
            self._next = max(1, self.size // 2)
        elif spent_s < _BUDGET_S / 3:
            self._next = min(self._largest, self.size * 2)
