"""What every engine checks of its calls before its model sees them: wrong rows are our bug, not a caller's.

A model given a wrong row does not fail, it mixes up sessions; so the checks stay on in production. They take
microseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class SlotGuard:
    """Knows which slots of an engine are open, and what a step's input must look like."""

    def __init__(self, slots: int, width: int, dtype: DTypeLike, burst: int = 1) -> None:
        """slots: rows of the batch, numbered from 0. width, dtype: of one row of a step's input.

        burst: rows that one slot may have in a step.
        """
        if slots < 1:
            raise ValueError(f"wanted at least one slot, got {slots}")
        self._open = np.zeros(slots, np.bool_)
        self._width = width
        self._dtype = np.dtype(dtype)
        self._burst = burst

    def open(self, slot: int) -> None:
        """Note that a slot is in use; an open one may be opened again. Raises ValueError for no such slot."""
        self._check(slot)
        self._open[slot] = True

    def close(self, slot: int) -> None:
        """Note that a slot is free; a free one may be closed again. Raises ValueError for no such slot."""
        self._check(slot)
        self._open[slot] = False

    def check_step(self, slots: NDArray[np.int64], rows: NDArray[Any]) -> None:
        """Raise ValueError unless the slots are open and, but for bursts, distinct, and the rows fit them."""
        if slots.ndim != 1 or slots.dtype != np.int64:
            raise ValueError(f"slots: wanted one dimension of int64, got {slots.ndim} of {slots.dtype}")
        if rows.shape != (len(slots), self._width) or rows.dtype != self._dtype:
            raise ValueError(
                f"rows: wanted {(len(slots), self._width)} of {self._dtype}, got {rows.shape} of {rows.dtype}"
            )
        if not len(slots):
            return
        if slots.min() < 0 or slots.max() >= len(self._open):
            raise ValueError(f"slots: wanted 0 to {len(self._open) - 1}, got {slots.min()} to {slots.max()}")
        if np.bincount(slots).max() > self._burst:
            often = "once" if self._burst == 1 else f"{self._burst} times"
            raise ValueError(f"slots: wanted each at most {often}, got {slots.tolist()}")
        if not self._open[slots].all():
            raise ValueError(f"slots: {slots[~self._open[slots]].tolist()} are not open")

    def _check(self, slot: int) -> None:
        if not 0 <= slot < len(self._open):
            raise ValueError(f"slot: wanted 0 to {len(self._open) - 1}, got {slot}")
