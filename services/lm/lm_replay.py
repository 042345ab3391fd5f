"""Replays under way: a session's history runs through the model in chunks, between the steps of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.lm.engine import History
from services.lm.lm_network import LmNetwork
from services.neural.pace import Pace


def replay(network: LmNetwork, slot: int, history: History) -> Iterator[None]:
    """Bring a slot, newly reset, to the state after a history; each `next` is one chunk.

    Only the end of a long history is computed. What is left of it are the keys and values of the last `context`
    positions; those of the first layer need nothing before them, those of each layer above the hidden states of
    context - 1 more positions. Whatever came before those reaches nothing that stays.
    """
    tokens = history_tokens(network.initial, history)
    done = max(0, len(tokens) - network.reach)
    network.ring.skip(slot, done)
    # Attention of a chunk costs its length times what it can see, and most of a very long one sees but itself.
    pace = Pace(first=64, largest=min(512, max(64, network.ring.context)))
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
