"""Weights between those that a training started from and those that it reached; used by `export --mix-with`.

What is learned from new speech costs some of what was learned from the old. On the way between the two, both are kept,
at no cost when it runs (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv:2109.01903).
"""

import torch
from torch import Tensor

USAGE, SUMS = ".usage", ".sums"

State = dict[str, Tensor]


@torch.no_grad()
def mixed(start: State, reached: State, share: float) -> State:
    """Return (1 - share) of the start and share of what was reached, of two states of one network.

    Codebooks are mixed entry by entry: a training that starts from codebooks moves their entries and swaps none.
    """
    out = {key: torch.lerp(value, reached[key], share) for key, value in start.items() if not key.endswith(SUMS)}
    for key in (key for key in start if key.endswith(SUMS)):
        usage = key.removesuffix(SUMS) + USAGE
        out[usage] = torch.ones_like(start[usage])
        out[key] = torch.lerp(_entries(start, key, usage), _entries(reached, key, usage), share)
    return out


def _entries(state: State, sums: str, usage: str) -> Tensor:
    return state[sums] / state[usage].clamp(min=1e-5)[..., None]
