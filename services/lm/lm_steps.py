"""One frame of many sessions through the LM: the steps of an engine, and the text that each slot's next step sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from moshi.utils.sampling import sample_token
from numpy.typing import NDArray

from services.lm.engine import LmStep
from services.lm.lm_network import LmNetwork

# moshi samples among as many, see LMGen.
_LIKELIEST = 25


class LmSteps(Protocol):
    """Steps of a network's slots; the engine has checked all that they are given.

    overlap: whether it is worth while to `stage` rows of the next step between `start` and its answer.
    """

    overlap: bool

    def begin(self, slot: int, text_token: int) -> None:
        """Let a slot's next step see a text token; a slot without positions sees the initial tokens whatever it is."""

    def stage(self, codes: NDArray[np.uint16]) -> None:
        """Send rows of the next step ahead, behind those already sent. codes: [n, codebooks]."""

    def start(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], staged: int) -> Callable[[], LmStep]:
        """Begin a step; returns what waits for its answer. staged: rows, the first ones, that have been sent ahead."""


class HostLmSteps:
    """LmSteps planned on the host, for each step anew: what a CPU does best."""

    overlap = False

    def __init__(self, network: LmNetwork, slots: int, temperature: float) -> None:
        """temperature: 0 takes the likeliest token. Takes the first step here."""
        self._network = network
        self._temperature = temperature
        self._text: NDArray[np.int64] = np.zeros(slots, np.int64)
        everyone = np.arange(slots)
        self._step(everyone, np.zeros((slots, network.weights.codebooks), np.uint16))
        for slot in everyone.tolist():
            network.ring.reset(slot)

    def begin(self, slot: int, text_token: int) -> None:
        """See LmSteps."""
        self._text[slot] = text_token

    def stage(self, codes: NDArray[np.uint16]) -> None:
        """See LmSteps: the step takes them from where they are."""

    def start(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], staged: int) -> Callable[[], LmStep]:
        """See LmSteps."""
        del staged
        step = self._step(slots, codes)
        return lambda: step

    def _step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16]) -> LmStep:
        tokens = np.empty((len(slots), 1 + codes.shape[1]), np.int64)
        tokens[:, 0] = self._text[slots]
        tokens[:, 1:] = codes
        # A session's first step takes no audio.
        tokens[self._network.ring.ends[slots] == 0] = self._network.initial
        logits, pauses = self._network.step(slots, tokens)
        text_tokens: NDArray[np.int64] = choose(logits, self._temperature).cpu().numpy()
        self._text[slots] = text_tokens
        return LmStep(text_tokens.astype(np.int32), pauses.cpu().numpy())


def choose(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """logits: [rows, text_cardinality]. Returns text tokens [rows]."""
    if temperature > 0:
        tokens: torch.Tensor = sample_token(logits, True, temperature, _LIKELIEST)
        return tokens
    return logits.argmax(dim=1)
