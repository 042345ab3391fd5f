"""A device without a device: it does what it is asked as late as it may, so that whoever does not wait is found out."""

from __future__ import annotations

from collections.abc import Callable

import torch


class LateRuntime:
    """A Runtime on the CPU. Nothing is copied or computed before somebody waits; pinned memory is read only then.

    recorded: how many functions were recorded. replayed: their numbers, in the order in which they were done.
    """

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.recorded = 0
        self.replayed: list[int] = []
        self._copies: list[Callable[[], object]] = []
        self._steps: list[Callable[[], object]] = []

    def pinned(self, rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.zeros(rows, width, dtype=dtype)

    def copy_ahead(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self._copies.append(lambda: target.copy_(source))

    def join(self) -> None:
        self._steps += self._copies
        self._copies = []

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        self._steps.append(lambda: target.copy_(source))

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        number = self.recorded
        self.recorded += 1

        def replay() -> None:
            self.replayed.append(number)
            body()

        # As a capture does.
        body()
        return lambda: self._steps.append(replay)

    def finish(self) -> Callable[[], None]:
        mark = len(self._steps)

        def wait() -> None:
            due, self._steps = self._steps[:mark], self._steps[mark:]
            for work in due:
                work()

        return wait
