"""Rows of the next step on their way to the device while the present one computes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from services.neural.cuda_runtime import Runtime


class Staging:
    """Two buffers on each side, used in turns: one may still be read by the present step while the other fills.

    count: rows in the buffer that fills.
    """

    def __init__(self, rows: int, width: int, dtype: torch.dtype, runtime: Runtime) -> None:
        self._runtime = runtime
        self._host = [runtime.pinned(rows, width, dtype) for _ in range(2)]
        self._device = [torch.zeros(rows, width, dtype=dtype, device=runtime.device) for _ in range(2)]
        self._filling = 0
        self.count = 0

    def add(self, rows: NDArray[np.generic]) -> None:
        """Send rows behind those in the buffer. rows: [n, width], of a type that fits the buffer's."""
        if not len(rows):
            return
        place = slice(self.count, self.count + len(rows))
        host = self._host[self._filling][place]
        host.numpy()[:] = rows
        self._runtime.copy_ahead(self._device[self._filling][place], host)
        self.count = place.stop

    def take_back(self) -> None:
        """Forget the rows in the buffer, once they have arrived: their memory on this side is about to change."""
        self._runtime.join()
        self._runtime.finish()()
        self.count = 0

    def take(self) -> torch.Tensor:
        """Return the rows in the buffer, on the device, and begin to fill the other one."""
        taken = self._device[self._filling][: self.count]
        self._filling, self.count = 1 - self._filling, 0
        return taken
