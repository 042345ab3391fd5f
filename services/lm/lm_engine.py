"""The LM engine for production: every step computes the rows that take part, and nothing else.

Text in one place, per slot: the token that its next step sees. All else a session is made of is in the ring.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from moshi.utils.sampling import sample_token
from numpy.typing import NDArray

from services.common.checkpoint import Checkpoint
from services.common.errors import EngineFailed
from services.common.slot_guard import SlotGuard
from services.lm.engine import History, LmStep
from services.lm.lm_network import LmNetwork
from services.lm.lm_replay import replay
from services.lm.lm_weights import LmWeights, load_weights
from services.neural.device import choose_device
from services.neural.linear import Precision

# moshi samples among as many, see LMGen.
_LIKELIEST = 25


class BatchedLmEngine:
    """An LmEngine; see there for what its methods take and return."""

    burst = 1

    def __init__(self, weights: LmWeights, slots: int, temperature: float = 0.0) -> None:
        """temperature: 0 takes the likeliest token, the lowest of equals; above, samples among the 25 likeliest.

        Takes its first steps here.
        """
        self.slots = slots
        self.codebooks = weights.codebooks
        self.cardinality = weights.cardinality
        self.text_cardinality = weights.text_cardinality
        self.heads = weights.heads
        self._temperature = temperature
        self._guard = SlotGuard(slots, self.codebooks, np.uint16)
        self._replays: dict[int, Iterator[None]] = {}
        with torch.inference_mode():
            self._network = LmNetwork(weights, slots)
            self._text: NDArray[np.int64] = np.full(slots, weights.text_cardinality)
            everyone = np.arange(slots)
            self._generate(everyone, np.zeros((slots, self.codebooks), np.uint16))
            for slot in everyone:
                self._network.ring.reset(int(slot))

    def open(self, slot: int, history: History | None = None, /) -> Iterator[None] | None:
        """Start a session in a slot, or start it again; see LmEngine."""
        if history is not None:
            self._check(history)
        self._guard.open(slot)
        self._replays.pop(slot, None)
        try:
            with torch.inference_mode():
                self._network.ring.reset(slot)
        except Exception as error:
            raise EngineFailed(f"the LM raised {type(error).__name__} while opening a slot") from error
        if history is None:
            return None
        self._text[slot] = history.text_tokens[-1]
        self._replays[slot] = self._replay(slot, history)
        return self._replays[slot]

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        """Advance some slots by one frame each; see LmEngine."""
        self._guard.check_step(slots, codes)
        if not len(slots):
            return LmStep(np.empty(0, np.int32), np.empty((0, self.heads), np.float32))
        if codes.max() >= self.cardinality:
            raise ValueError(f"codes: wanted below {self.cardinality}, got {codes.max()}")
        for slot in self._replays.keys() & set(slots.tolist()):
            for _ in self._replays[slot]:
                pass
            self._replays.pop(slot, None)
        try:
            with torch.inference_mode():
                return self._generate(slots, codes)
        except Exception as error:  # whatever it is, the state may be half advanced
            raise EngineFailed(f"the LM raised {type(error).__name__} while stepping {len(slots)} slots") from error

    def close(self, slot: int, /) -> None:
        """End the session in a slot; see LmEngine."""
        self._guard.close(slot)
        self._replays.pop(slot, None)

    def _generate(self, slots: NDArray[np.int64], codes: NDArray[np.uint16]) -> LmStep:
        tokens = np.empty((len(slots), 1 + self.codebooks), np.int64)
        tokens[:, 0] = self._text[slots]
        tokens[:, 1:] = codes
        # A session's first step takes no audio.
        tokens[self._network.ring.ends[slots] == 0] = self._network.initial
        logits, pauses = self._network.step(slots, tokens)
        if self._temperature > 0:
            chosen = sample_token(logits, True, self._temperature, _LIKELIEST)
        else:
            chosen = logits.argmax(dim=1)
        text_tokens: NDArray[np.int64] = chosen.cpu().numpy()
        self._text[slots] = text_tokens
        return LmStep(text_tokens.astype(np.int32), pauses.cpu().numpy())

    def _replay(self, slot: int, history: History) -> Iterator[None]:
        chunks = replay(self._network, slot, history)
        while True:
            try:
                with torch.inference_mode():
                    next(chunks)
            except StopIteration:
                break
            except Exception as error:  # whatever it is, the state may be half written
                raise EngineFailed(f"the LM raised {type(error).__name__} while opening a slot") from error
            yield
        self._replays.pop(slot, None)

    def _check(self, history: History) -> None:
        codes, text_tokens = history
        if codes.shape[1:] != (self.codebooks,) or text_tokens.shape != (len(codes) + 1,):
            raise ValueError(
                f"history: wanted codes [frames, {self.codebooks}] and frames + 1 text tokens, "
                f"got {codes.shape} and {text_tokens.shape}"
            )
        if codes.size and codes.max() >= self.cardinality:
            raise ValueError(f"history: wanted codes below {self.cardinality}, got {codes.max()}")
        if text_tokens.min() < 0 or text_tokens.max() >= self.text_cardinality:
            raise ValueError(
                f"history: wanted text tokens from 0 to {self.text_cardinality - 1}, "
                f"got {text_tokens.min()} to {text_tokens.max()}"
            )


def load(
    checkpoint: Checkpoint,
    slots: int,
    *,
    device: str = "auto",
    dtype: str = "auto",
    temperature: float = 0.0,
    threads: int = 0,
) -> BatchedLmEngine:
    """Load the engine and take its first steps, so that no session pays for them.

    device: "cpu", "cuda" (or "cuda:1"); "auto" is cuda if there is one. dtype: "float32", "bfloat16" or "int8" (of
    the weights); "auto" is bfloat16 on cuda and float32 on cpu. threads: CPU threads of torch, of the whole process;
    0 leaves them.
    Raises CheckpointError if the weights do not fit, ConfigError if there is no such device, EngineFailed if the
    device has not enough memory.
    """
    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    try:
        return BatchedLmEngine(load_weights(checkpoint, place, Precision(dtype)), slots, temperature)
    except torch.OutOfMemoryError as error:
        raise EngineFailed(f"{place} has not enough memory for the LM with {slots} slots") from error
