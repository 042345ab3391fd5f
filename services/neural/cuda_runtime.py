"""What captured steps ask of CUDA: pinned memory, two queues of work, graphs. Tests bring their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

# Before the capture: kernels are compiled and libraries make their workspaces when first called.
_WARM_UPS = 2


class Runtime(Protocol):
    """A device with a queue for steps and one for copies ahead of them. No call waits for the device, but `finish`'s.

    A tensor of the host that is the source of a copy must stay as it is until a `finish` behind the copy has returned.
    """

    device: torch.device

    def pinned(self, rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        """Return memory of the host, zeros, that the device can copy from and to by itself."""

    def copy_ahead(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy in the queue of copies."""

    def join(self) -> None:
        """Let what comes next in the queue of steps wait for the copies ahead so far."""

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Copy in the queue of steps."""

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        """Return a function that does what `body` does now, with the same tensors, in the queue of steps."""

    def finish(self) -> Callable[[], None]:
        """Mark this point of the queue of steps; returns a function that waits until the device is past it."""


class CudaRuntime:
    """A Runtime on the current CUDA device: the current stream for steps, a stream of its own for copies ahead."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        # The graphs of all batch sizes never run at once, so they share their memory.
        self._pool = torch.cuda.graph_pool_handle()

    def pinned(self, rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        """See Runtime."""
        return torch.zeros(rows, width, dtype=dtype, pin_memory=True)

    def copy_ahead(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """See Runtime."""
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)

    def join(self) -> None:
        """See Runtime."""
        torch.cuda.current_stream().wait_stream(self._copies)

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """See Runtime."""
        target.copy_(source, non_blocking=True)

    def record(self, body: Callable[[], None]) -> Callable[[], None]:
        """See Runtime."""
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                body()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            body()
        return graph.replay

    def finish(self) -> Callable[[], None]:
        """See Runtime."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()  # type: ignore[no-untyped-call]
        return event.synchronize
