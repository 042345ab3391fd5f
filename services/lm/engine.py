"""What the LM service needs of a language model: a batch of slots, each one stream of codes. No torch here.

`lm_engine.load` makes the one for production, `tests.fakes.engines` one whose tokens can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class History(NamedTuple):
    """What a session was before it came to this engine."""

    # [frames, codebooks]; frames may be 0.
    codes: NDArray[np.uint16]
    # [frames + 1], the one of the initial tokens first.
    text_tokens: NDArray[np.int32]


class LmStep(NamedTuple):
    """The answers of n slots to one step, in the order in which they were given."""

    # [n], below the engine's text_cardinality.
    text_tokens: NDArray[np.int32]
    # [n, heads], each the probability in [0, 1] that the speaker pauses, at longer and longer horizons.
    pauses: NDArray[np.float32]


class LmEngine(Protocol):
    """Turns one frame of codes of any of its slots into one text token; all calls come from one thread.

    slots: rows of the batch, numbered from 0.
    burst: frames of one slot that a step takes: 1, as each needs the text of the one before.
    codebooks: codes a frame has.
    cardinality: entries of a codebook; codes are below it.
    text_cardinality: entries of the text vocabulary; text tokens are below it.
    heads: pause heads, 0 for a model without.

    Slots do not see each other. What is wrong with the arguments is a bug of ours and raises ValueError before the
    model sees any of it.
    """

    slots: int
    burst: int
    codebooks: int
    cardinality: int
    text_cardinality: int
    heads: int

    def open(self, slot: int, history: History | None = None, /) -> Iterator[None] | None:
        """Start a session in a slot, or start it again, with nothing left of what was in it.

        Without a history the first step takes no audio: its codes are ignored (but must be below `cardinality`), the
        model sees its initial tokens and answers text[0]. With one, the slot is brought to the state after those
        frames with exactly those text tokens, and the next step is the next frame.
        Returns what is left to do of that, for the caller to do between the steps of other slots: each `next` is a
        piece of at most a third of a frame's time, where the machine allows. What is left by the slot's own next step
        is done then.
        Raises EngineFailed if the device reports an error; the engine is then unusable.
        """

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        """Advance some slots by one frame each; the others stay as they are.

        slots: [n], distinct and open. codes: [n, codebooks]; row i is the frame of slots[i].
        Raises EngineFailed if the device reports an error; the engine is then unusable.
        """

    def close(self, slot: int, /) -> None:
        """End the session in a slot; closing a free one does nothing."""
