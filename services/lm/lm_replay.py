"""Replays under way: a session's history runs through the model in chunks, between the steps of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.lm.engine import History
from services.lm.lm_network import LmNetwork

# Between two chunks every session with a frame is stepped: a chunk must leave most of a frame's 80 ms to that.
_CHUNK_BUDGET_S = 0.03
_FIRST_CHUNK = 64
_LARGEST_CHUNK = 512


def replay(network: LmNetwork, slot: int, history: History) -> Iterator[None]:
    """Bring a slot, newly reset, to the state after a history; each `next` is one chunk.

    What the next step depends on is the last `context` positions of every layer, and so layers * context positions
    in all: of a longer history all is replayed, as positions count from its beginning.
    """
    tokens = history_tokens(network.initial, history)
    size, done = _FIRST_CHUNK, 0
    while done < len(tokens):
        began_s = time.perf_counter()
        network.chunk(slot, tokens[done : done + size])
        done += size
        spent_s = time.perf_counter() - began_s
        if spent_s > _CHUNK_BUDGET_S:
            size = max(1, size // 2)
        elif spent_s < _CHUNK_BUDGET_S / 3:
            size = min(_LARGEST_CHUNK, size * 2)
        yield


def history_tokens(initial: NDArray[np.int64], history: History) -> NDArray[np.int64]:
    """Return the model's inputs [frames + 1, 1 + codebooks]: the initial tokens, then each text with the next codes."""
    tokens = np.repeat(initial[None], len(history.text_tokens), axis=0)
    tokens[1:, 0] = history.text_tokens[:-1]
    tokens[1:, 1:] = history.codes
    return tokens
