"""Random LM weights that speak: greedy decoding gives boundaries, words of one to three pieces, and padding.

Plain random weights repeat one token for ever. Here four coordinates of the residual stream say what the previous text
token was and one says that the frame is silent; no layer writes to them, so they reach the head as they were
embedded. The head's rows carry, on these coordinates, how likely a token is after each kind of token, and elsewhere
noise, so that which token wins depends on the codes, on what was heard before and on the text so far.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from statistics import NormalDist
from typing import Any

import torch

from services.common.lm_tensors import lm_tensors

# Coordinates of the residual stream: the previous text token was a boundary, padding (or the initial token), a piece
# that starts a word, another piece; and the frame is digital silence.
_BOUNDARY, _PADDING, _START, _CONTINUATION, _SILENCE = range(5)
_STATES = 5

_BOUNDARY_TOKEN, _PADDING_TOKEN, _FIRST_PIECE = 0, 3, 4

# Everything below is in deviations of the noise of a logit.
_NEVER = -12.0
_SILENT = 12.0
# What the coordinates of the state amount to, as a share of the residual stream's variance without them.
_STATE_SHARE = 0.25
# Deviation of a text embedding, all codes together having 1; variance that all layers together add, about.
_TEXT_DEVIATION = 0.5
_LAYERS_VARIANCE = 0.5
# Sharp attention, so that single frames of the past matter and a wrong cache shows.
_QUERY_KEY_GAIN = 1.6
_HEAD_GAIN = 2.0


def seeded_lm(config: Mapping[str, Any], pieces: list[str], seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Make the tensors of an LM one after the other, as the big ones do not fit in memory together.

    pieces: the tokenizer's pieces, text_card of them. Yields name and float32 tensor; the same for the same seed.
    """
    for name, shape in lm_tensors(config).items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        yield name, _tensor(name, shape, config, pieces, generator)


def _tensor(
    name: str, shape: tuple[int, ...], config: Mapping[str, Any], pieces: list[str], generator: torch.Generator
) -> torch.Tensor:
    if name.endswith(".alpha"):
        return torch.ones(shape)
    dim = int(config["dim"])
    weights = torch.randn(shape, generator=generator)
    layer_gain = math.sqrt(_LAYERS_VARIANCE / int(config["num_layers"]))
    if name.startswith("emb."):
        weights /= math.sqrt(int(config["n_q"]))
        weights[:, :_STATES] = 0
        if name == "emb.0.weight":
            weights[0, _SILENCE] = _amplitude(dim)
    elif name == "text_emb.weight":
        weights *= _TEXT_DEVIATION
        weights[:, :_STATES] = 0
        # Without noise of their own, which would be a bias on every logit of the frame that follows them.
        weights[[_BOUNDARY_TOKEN, _PADDING_TOKEN, len(pieces)]] = 0
        for token, state in enumerate([*_states(pieces), _PADDING]):
            weights[token, state] = _amplitude(dim)
    elif name == "text_linear.weight":
        weights[:, :_STATES] = _preferences(pieces) * _per_deviation(dim)
        weights *= _HEAD_GAIN / math.sqrt(dim)
    elif name.startswith("extra_heads."):
        weights[:, :_STATES] = 0
        weights[0, :_STATES] = torch.tensor([-8.0, -4.0, -8.0, -8.0, 12.0]) * _per_deviation(dim)
        weights *= 1 / math.sqrt(dim)
    elif name.endswith("in_projs.0.weight"):
        weights /= math.sqrt(dim)
        weights[: 2 * dim] *= _QUERY_KEY_GAIN
    elif name.endswith("linear_in.weight"):
        weights /= math.sqrt(dim)
    else:
        # What a layer adds to the residual stream; the gate's product has about half the deviation of its inputs.
        gain = 2 * layer_gain if name.endswith("linear_out.weight") else layer_gain
        weights *= gain / math.sqrt(shape[1])
        weights[:_STATES] = 0
    return weights


def _states(pieces: list[str]) -> list[int]:
    """Return the coordinate that each token of the vocabulary switches on as the previous token."""
    states = [_START if _starts_word(piece) else _CONTINUATION for piece in pieces]
    states[_BOUNDARY_TOKEN] = _BOUNDARY
    states[1:_FIRST_PIECE] = [_PADDING] * (_FIRST_PIECE - 1)
    return states


def _preferences(pieces: list[str]) -> torch.Tensor:
    """Return how much each token is preferred in each state, [text_card, states], in deviations of a logit's noise."""
    starts = torch.tensor([_starts_word(piece) for piece in pieces])
    # The longest piece without a letter, "▁", would be a word without text.
    letters = torch.tensor([piece.strip("▁") != "" for piece in pieces])
    letters[:_FIRST_PIECE] = False
    table = torch.full((len(pieces), _STATES), _NEVER)
    table[:, _SILENCE] = 0
    table[starts & letters, _BOUNDARY] = -_NEVER
    continuations = ~starts & letters
    table[continuations, _START] = 0
    table[continuations, _CONTINUATION] = 0
    # The largest of n draws is about this; padding competes with it, so words end after one to three pieces.
    best = NormalDist().inv_cdf(0.5 ** (1 / int(continuations.sum())))
    table[_PADDING_TOKEN] = torch.tensor([_NEVER, 0, best + 0.2, best + 0.9, _SILENT])
    # After padding a boundary comes once in four frames, right after a word once in eight or so.
    table[_BOUNDARY_TOKEN] = torch.tensor([_NEVER, -0.95, best - 1.0, best - 0.5, 0])
    return table


def _starts_word(piece: str) -> bool:
    return piece.startswith("▁")


def _amplitude(dim: int) -> float:
    """Return the value of a coordinate that is on."""
    return math.sqrt(_STATE_SHARE * dim)


def _per_deviation(dim: int) -> float:
    """Return the weight on a coordinate that shifts a logit by one deviation of its noise, noise weights being 1."""
    noise = math.sqrt(1 + _TEXT_DEVIATION**2 + _LAYERS_VARIANCE)
    return noise * math.sqrt(dim) / _amplitude(dim)
