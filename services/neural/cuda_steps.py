"""Steps as CUDA graphs: one captured per batch size out of a few, replayed with whatever rows there are.

    rows of the next step ─▶ pinned ─(copies ahead)─▶ device ┐
    slots, positions      ─▶ pinned ────────────────▶ device ┴▶ graph of the bucket ─▶ answers ─▶ pinned

A graph is a fixed sequence of kernels over fixed memory, so the batch is filled up to the bucket's size with rows of a
slot that belongs to nobody. The host hands over and reads back; between that it waits for nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from services.neural.cuda_runtime import Runtime
from services.neural.cuda_staging import Staging

# header [bucket, 2] of int64: slot and position; rows [bucket, width]; answers [bucket, answer_width] of float32.
Body = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], None]


def bucket_sizes(slots: int) -> list[int]:
    """Return the batch sizes to capture: 1, 2, 3, 4, 6, 8, 12 … and the number of slots."""
    sizes, size = {slots}, 1
    while size < slots:
        sizes |= {size, min(slots, size + size // 2)}
        size *= 2
    return sorted(sizes)


class CapturedSteps:
    """Steps of a body over slots; one at a time may be under way, and the rows of the next one on their way."""

    def __init__(
        self, body: Body, *, slots: int, width: int, dtype: torch.dtype, answer_width: int, runtime: Runtime
    ) -> None:
        """slots: how many; the slot of that number is for filling up. width, dtype: of a row. Captures all buckets."""
        self._scratch = slots
        self._runtime = runtime
        self._buckets = bucket_sizes(slots)
        self._staging = Staging(slots, width, dtype, runtime)
        self._header_host = runtime.pinned(slots, 2, torch.int64)
        self._answers_host = runtime.pinned(slots, answer_width, torch.float32)
        self._header = torch.zeros(slots, 2, dtype=torch.int64, device=runtime.device)
        self._rows = torch.zeros(slots, width, dtype=dtype, device=runtime.device)
        self._answers = torch.zeros(slots, answer_width, dtype=torch.float32, device=runtime.device)
        self._header[:, 0] = slots
        self._under_way = False
        # The largest first: the smaller ones fit into the memory that its graph has taken.
        self._graphs = {size: runtime.record(self._bound(body, size)) for size in reversed(self._buckets)}

    def stage(self, rows: NDArray[np.generic]) -> None:
        """Send rows of the next step ahead, behind those already sent."""
        self._staging.add(rows)

    def start(
        self, slots: NDArray[np.int64], positions: NDArray[np.int64], rows: NDArray[np.generic], staged: int = 0
    ) -> Callable[[], NDArray[np.float32]]:
        """Begin a step. staged: how many of the rows, the first ones, have been sent ahead.

        Rows sent ahead that are not named so are taken back. Returns a function that waits for the answers
        [rows, answer_width]; it must be called before the next start.
        """
        assert not self._under_way, "the step before has not been waited for"
        self._under_way = True
        count = len(slots)
        bucket = self._buckets[bisect_left(self._buckets, count)]
        if staged != self._staging.count:
            self._staging.take_back()
            staged = 0
        self._staging.add(rows[staged:])
        header = self._header_host.numpy()
        header[:count, 0], header[:count, 1] = slots, positions
        header[count:bucket] = self._scratch, 0
        self._runtime.copy(self._header[:bucket], self._header_host[:bucket])
        self._runtime.join()
        self._runtime.copy(self._rows[:count], self._staging.take())
        self._graphs[bucket]()
        self._runtime.copy(self._answers_host[:count], self._answers[:count])
        wait = self._runtime.finish()

        def answers() -> NDArray[np.float32]:
            wait()
            self._under_way = False
            result: NDArray[np.float32] = self._answers_host[:count].numpy().copy()
            return result

        return answers

    def _bound(self, body: Body, size: int) -> Callable[[], None]:
        header, rows, answers = self._header[:size], self._rows[:size], self._answers[:size]
        return lambda: body(header, rows, answers)
