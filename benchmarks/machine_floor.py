"""What this machine moves and computes at most, measured: the floors of a step are said against these."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_REPEATS = 5
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.bfloat16}


@dataclass(frozen=True)
class MachineFloor:
    """bytes_per_s: read from memory, in one array far larger than a cache's share, by the faster of a sum and a product
    with a vector. operations_per_s: in a matrix product; of bfloat16 for int8 weights, which are computed in it."""

    bytes_per_s: float
    operations_per_s: float

    def least_ms(self, moved_bytes: float, operations: float) -> float:
        """Return the time that neither the one nor the other can be done in."""
        return 1e3 * max(moved_bytes / self.bytes_per_s, operations / self.operations_per_s)


def measure(device: str, dtype: str) -> MachineFloor:
    """Measure with the threads that torch has. Takes a second or two."""
    # 1 GiB.
    array = torch.ones(2**14, 2**14, device=device)
    row = torch.ones(1, 2**14, device=device)
    size = 2048
    matrix = torch.ones(size, size, device=device, dtype=_DTYPES[dtype])
    # An element read back: on a GPU nothing has happened before.
    read_s = min(_least_s(lambda: float(array.sum())), _least_s(lambda: float((row @ array)[0, 0])))
    multiply_s = _least_s(lambda: float((matrix @ matrix)[0, 0]))
    return MachineFloor(array.numel() * 4 / read_s, 2 * size**3 / multiply_s)


def _least_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPEATS):
        began_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - began_s)
    return min(times)
