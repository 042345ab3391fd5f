"""Which batch rows are free."""

from __future__ import annotations

import heapq


class SlotTable:
    """Hands out the rows 0 … total - 1 of a batch, the lowest free one first."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total))  # a heap

    @property
    def free(self) -> int:
        """Rows that `acquire` could hand out now."""
        return len(self._free)

    def acquire(self) -> int | None:
        """Take a free row, or None when all are taken."""
        return heapq.heappop(self._free) if self._free else None

    def release(self, slot: int) -> None:
        """Give a row back. A row given back twice is a bug of ours."""
        assert 0 <= slot < self.total, slot
        assert slot not in self._free, f"slot {slot} released twice"
        heapq.heappush(self._free, slot)
