"""Replays under way: a session's history runs through the model in chunks, between the steps of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.lm.engine import History
from services.lm.lm_network import LmNetwork
from services.neural.pace import Pace


def replay(network: LmNetwork, slot: int, history: History) -> Iterator[None]:
    """Bring a slot, newly reset, to the state after a history; each `next` is one chunk."""
    tokens = history_tokens(network.initial, history)
    pace, done = Pace(first=64, largest=512), 0
    while done < len(tokens):
        with pace:
            network.chunk(slot, tokens[done : done + pace.size])
            done += pace.size
        yield


def history_tokens(initial: NDArray[np.int64], history: History) -> NDArray[np.int64]:
    """Return the model's inputs [frames + 1, 1 + codebooks]: the initial tokens, then each text with the next codes."""
    tokens = np.repeat(initial[None], len(history.text_tokens), axis=0)
    tokens[1:, 0] = history.text_tokens[:-1]
    tokens[1:, 1:] = history.codes
    return tokens
