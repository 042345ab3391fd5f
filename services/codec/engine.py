"""What the codec service needs of a codec: a batch of slots, each one stream of audio. No torch here.

`encoder_engine.load` makes the one for production, `tests.fakes.engines` one whose codes can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class CodecEngine(Protocol):
    """Encodes frames of any of its slots; all calls come from one thread.

    slots: rows of the batch, numbered from 0.
    burst: frames of one slot that a step takes.
    codebooks: codes a frame has, the semantic one first.
    cardinality: entries of a codebook; codes are below it.
    reach_frames: frames before a frame that its codes depend on.

    Slots do not see each other: a slot's codes are those of its audio encoded alone. What is wrong with the
    arguments is a bug of ours and raises ValueError before the model sees any of it.
    """

    slots: int
    burst: int
    codebooks: int
    cardinality: int
    reach_frames: int

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> Iterator[None] | None:
        """Start a session in a slot, or start it again, with nothing left of what was in it.

        warmup_pcm: [frames, 1920], 24 kHz mono in [-1, 1]; the slot continues as if it had encoded these frames.
        Returns what is left to do of that, for the caller to do between the steps of other slots: each `next` is a
        piece of at most a third of a frame's time, where the machine allows. What is left by the slot's own next step
        is done then.
        Raises EngineFailed if the device reports an error; the engine is then unusable.
        """

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        """Advance some slots; the others stay as they are.

        slots: [n], open; each as often as it has frames, at most `burst` times.
        pcm: [n, 1920], 24 kHz mono in [-1, 1]; row i is a frame of slots[i], those of one slot in their order.
        Returns codes [n, codebooks], the same as if each frame had come in a step of its own.
        Raises EngineFailed if the device reports an error; the engine is then unusable.
        """

    def close(self, slot: int, /) -> None:
        """End the session in a slot; closing a free one does nothing."""
