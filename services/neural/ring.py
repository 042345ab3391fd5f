"""Keys and values of every slot: rings that keep the last `context` positions, and the plan of who attends to what.

A step is planned once, on the host, and the plan serves every layer. Rows are sorted so that each group of the plan
has rows of similar length: attention then costs what the sessions have heard, not what the rings can hold. Rings are
read in place, without a copy, by one call for all slots that follow each other.

    position p of a slot  ->  ring index p % context        ends[slot] = positions so far
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from services.neural.cache_number import CacheDtype, CacheNumber

# Lengths up to this are not told apart; above, a group's shortest row has more than half of its longest.
_SHORTEST_CLASS = 16
# Padding, in keys, that is cheaper than one more group.
_FREE_PADDING = 512


class Run(NamedTuple):
    """Slots that follow each other, from `first` on."""

    first: int
    slots: int


@dataclass(frozen=True)
class Group:
    """Rows of a step that attend together.

    start, stop: which rows of the sorted step. runs: their slots. keys: ring entries to look at.
    mask: [rows, 1, positions, keys] of 0 and -inf, or None if every entry counts.
    """

    start: int
    stop: int
    runs: tuple[Run, ...]
    keys: int
    mask: torch.Tensor | None


@dataclass(frozen=True)
class StepPlan:
    """One frame each of some slots.

    order: [rows], where row i of the plan was in the caller's arrays. positions: [rows * positions] of int64.
    writes: [rows * positions, 2, heads], where their keys and values go; see Ring.write.
    """

    order: NDArray[np.int64]
    positions: torch.Tensor
    writes: torch.Tensor
    groups: tuple[Group, ...]

    @property
    def sorted(self) -> bool:
        """Return whether the caller's rows came in the plan's order."""
        return len(self.order) == 1 or bool((self.order[1:] > self.order[:-1]).all())


@dataclass(frozen=True)
class ChunkPlan:
    """Many frames of one slot.

    old: ring entries to look at. mask: [positions, old + positions]. kept: the first new position that stays.
    """

    slot: int
    old: int
    positions: torch.Tensor
    mask: torch.Tensor
    kept: int
    writes: torch.Tensor


class Ring:
    """The rings of all layers and slots.

    dtype: of what is written and read; kept: of what is in memory.
    frame_positions: positions that enter together, which push out as many: the last of them sees the whole context
    and each one before it one position less, whether a frame comes alone or among many.
    """

    def __init__(
        self,
        *,
        layers: int,
        slots: int,
        heads: int,
        context: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        frame_positions: int = 1,
        kept: CacheDtype = CacheDtype.AUTO,
    ) -> None:
        self.context = context
        self.frame_positions = frame_positions
        self.ends: NDArray[np.int64] = np.zeros(slots, np.int64)
        self._heads = heads
        self._slots = slots
        self._device = device
        self._number = CacheNumber(dtype, kept.of(dtype))
        self.rounded = self._number.rounded
        # Never garbage: attention multiplies what it must not see by zero, and garbage may be no number.
        self._rings = [
            torch.zeros(2, slots, heads, context, head_dim, dtype=self._number.raw, device=device)
            for _ in range(layers)
        ]
        # From where a slot begins to the keys and the values of its heads, for `write`.
        self._offsets = (np.arange(2)[:, None] * slots * heads + np.arange(heads)).reshape(-1) * context
        # The same memory as steps want it: made once, as every view costs a call.
        self._flat = [ring.view(-1, head_dim) for ring in self._rings]
        self._by_head = [(ring[0].flatten(0, 1), ring[1].flatten(0, 1)) for ring in self._rings]

    def reset(self, slot: int) -> None:
        """Forget a slot, values that are not numbers included."""
        for ring in self._rings:
            ring[:, slot, :, : min(self.context, int(self.ends[slot]))] = 0
        self.ends[slot] = 0

    def skip(self, slot: int, positions: int) -> None:
        """Let a slot, newly reset, begin at a later position; what it attends to before that counts as zeros."""
        self.ends[slot] = positions

    def plan_step(self, slots: NDArray[np.int64]) -> StepPlan:
        """Plan one frame of each of these distinct slots."""
        count = self.frame_positions
        lengths = np.minimum(self.ends[slots] + count, self.context)
        classes = _classes(lengths, self.context)
        order = np.lexsort((slots, classes))
        slots, classes, lengths = slots[order], classes[order], lengths[order]
        positions = self.ends[slots, None] + np.arange(count)
        groups = tuple(
            self._group(start, stop, slots[start:stop], positions[start:stop], int(lengths[start:stop].max()))
            for start, stop in _stretches(classes, 0)
        )
        return StepPlan(order, self._tensor(positions.reshape(-1)), self._writes(slots[:, None], positions), groups)

    def plan_chunk(self, slot: int, frames: int) -> ChunkPlan:
        """Plan several frames of one slot."""
        end, count = int(self.ends[slot]), frames * self.frame_positions
        old = min(end, self.context)
        positions = np.arange(end, end + count)
        held = end - 1 - (end - 1 - np.arange(old)) % self.context
        distances = positions[:, None] - np.concatenate([held, positions])
        # A frame's last position reaches `context` back, itself included.
        reach = self.context - (self.frame_positions - 1 - positions % self.frame_positions)
        mask = _minus_infinity((distances < 0) | (distances >= reach[:, None]))
        kept = max(0, count - self.context)
        writes = self._writes(np.array([[slot]]), positions[None, kept:])
        return ChunkPlan(slot, old, self._tensor(positions), self._tensor(mask), kept, writes)

    def advance(self, slots: NDArray[np.int64], frames: int = 1) -> None:
        """Note that the planned frames are in the rings of every layer."""
        self.ends[slots] += frames * self.frame_positions

    def write(self, layer: int, writes: torch.Tensor, keys_values: torch.Tensor) -> None:
        """keys_values: [rows * positions, 2, heads, head_dim]."""
        self._flat[layer].index_put_((writes,), self._number.narrow(keys_values))

    def read(self, layer: int, run: Run, keys: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return keys and values, [slots * heads, keys, head_dim] each, in place."""
        key, value = self._by_head[layer]
        heads = slice(run.first * self._heads, (run.first + run.slots) * self._heads)
        return self._number.widen(key[heads, :keys]), self._number.widen(value[heads, :keys])

    def memory(self, layer: int) -> torch.Tensor:
        """Return keys and values as they are kept, [2, slots, heads, context, head_dim], for a kernel to read."""
        return self._rings[layer].view(self._number.kept)

    def places(self, slots: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Return what `write` wants for positions [rows * positions] of slots [rows], computed where they are."""
        rows = slots.repeat_interleave(self.frame_positions, output_size=len(positions))
        heads = rows[:, None] * self._heads + torch.arange(self._heads, device=slots.device)
        keys = heads * self.context + (positions % self.context)[:, None]
        return torch.stack([keys, keys + self._slots * self._heads * self.context], 1)

    def _group(self, start: int, stop: int, slots: NDArray[np.int64], positions: NDArray[np.int64], keys: int) -> Group:
        last = positions[:, -1:]
        mask = None
        if self.frame_positions > 1 or int(last.min()) + 1 < keys:
            # Which position each ring entry holds once this frame is in; below 0: nothing yet.
            held = last - (last - np.arange(keys)) % self.context
            hidden = (held[:, None] < 0) | (held[:, None] > positions[:, :, None])
            mask = self._tensor(_minus_infinity(hidden)[:, None])
        return Group(start, stop, tuple(_runs(slots)), keys, mask)

    def _writes(self, slots: NDArray[np.int64], positions: NDArray[np.int64]) -> torch.Tensor:
        """Return the flat indices of positions [rows, positions] of slots [rows, 1]: a key and a value a head each."""
        places = slots * (self._heads * self.context) + positions % self.context
        return self._tensor((places[:, :, None] + self._offsets).reshape(-1, 2, self._heads))

    def _tensor(self, array: NDArray[np.int64] | NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


def _classes(lengths: NDArray[np.int64], context: int) -> NDArray[np.int64]:
    """Return each row's group: rows of one group have lengths within a factor of two."""
    if len(lengths) == 1 or len(lengths) * int(lengths.max()) - int(lengths.sum()) <= _FREE_PADDING:
        return np.zeros(len(lengths), np.int64)
    halvings: NDArray[np.int64] = np.floor(np.log2(context / np.maximum(lengths, _SHORTEST_CLASS))).astype(np.int64)
    return -halvings


def _runs(slots: NDArray[np.int64]) -> Iterator[Run]:
    return (Run(int(slots[start]), stop - start) for start, stop in _stretches(slots, 1))


def _stretches(numbers: NDArray[np.int64], step: int) -> Iterator[tuple[int, int]]:
    """Return where stretches of rising numbers, each by `step` larger than the one before it, start and stop."""
    if int(numbers[-1] - numbers[0]) == step * (len(numbers) - 1):
        return iter([(0, len(numbers))])
    return pairwise([0, *(np.flatnonzero(np.diff(numbers) != step) + 1).tolist(), len(numbers)])


def _minus_infinity(hidden: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(hidden, np.float32(-np.inf), np.float32(0))
