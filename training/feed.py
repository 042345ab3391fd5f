"""Batches for a training: made by the process that trains on a CPU, by processes of their own for a GPU."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from training.shape import DELAY_FRAMES
from training.windows import Window, WindowMaker

REOPEN_EVERY_S = 240.0
AHEAD = 4
"""Batches that each process makes before they are asked for."""

Batch = dict[str, Tensor]


def collated(windows: list[Window]) -> Batch:
    """Return a batch of windows as tensors."""
    return {
        "pcm": torch.from_numpy(np.stack([w.pcm for w in windows]))[:, None],
        "text": torch.from_numpy(np.stack([w.text for w in windows])),
        "phones": torch.from_numpy(np.stack([w.phones for w in windows])),
        "pauses": torch.from_numpy(np.stack([w.pauses for w in windows])),
    }


@dataclass(frozen=True)
class Batches(IterableDataset):  # type: ignore[type-arg]
    """An endless, seeded supply; speech that was added to the cache meanwhile joins in.

    size: windows of a batch. frames: of a window, 80 ms each.
    """

    cache: Path
    size: int
    frames: int
    seed: int

    def __iter__(self) -> Iterator[Batch]:
        """Yield batches; every process that does so draws others."""
        worker = get_worker_info()
        seed = self.seed + (0 if worker is None else 7919 * worker.id)
        while True:
            maker = WindowMaker(self.cache, seed, self.frames, DELAY_FRAMES)
            opened = time.monotonic()
            while time.monotonic() - opened < REOPEN_EVERY_S:
                yield collated([maker.window() for _ in range(self.size)])
            seed += 1009


def feed(batches: Batches, device: str, processes: int | None = None) -> Iterator[Batch]:
    """Yield the batches on the device.

    processes: that make them; by default none of their own for a CPU, which has better things to do, and for a GPU all
    cores but one: a batch of 64 windows takes a core 2 s and a GPU a tenth of one.
    """
    if processes is None:
        processes = 0 if device == "cpu" else max(1, (os.cpu_count() or 2) - 1)
    loader = DataLoader(
        batches, batch_size=None, num_workers=processes, pin_memory=device != "cpu",
        prefetch_factor=AHEAD if processes else None,
        # A forked copy of a process that holds a GPU cannot be used.
        multiprocessing_context="spawn" if processes else None,
    )  # fmt: skip
    for batch in loader:
        yield {key: value.to(device, non_blocking=True) for key, value in batch.items()}
