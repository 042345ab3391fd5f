"""Weights between two trainings."""

import pytest

pytest.importorskip("torch")

import torch

from training.mixing import mixed


def state(weight: float, usage: float, entry: float) -> dict[str, "torch.Tensor"]:
    """Return a weight and one codebook of two equal entries that stand for `usage` vectors each."""
    return {
        "layer.weight": torch.full((2, 2), weight),
        "books.usage": torch.full((1, 2), usage),
        "books.sums": torch.full((1, 2, 3), usage * entry),
    }


@pytest.mark.parametrize(("share", "weight", "entry"), [(0.0, 1.0, 2.0), (0.25, 2.0, 2.5), (1.0, 5.0, 4.0)])
def test_weights_and_entries_are_as_far_on_the_way_as_the_share_says(share: float, weight: float, entry: float) -> None:
    out = mixed(state(1.0, 10.0, 2.0), state(5.0, 0.5, 4.0), share)
    assert torch.allclose(out["layer.weight"], torch.full((2, 2), weight))
    assert torch.allclose(out["books.sums"] / out["books.usage"][..., None], torch.full((1, 2, 3), entry))


def test_neither_state_is_changed() -> None:
    start, reached = state(1.0, 10.0, 2.0), state(5.0, 0.5, 4.0)
    mixed(start, reached, 0.5)
    assert all(torch.equal(start[key], value) for key, value in state(1.0, 10.0, 2.0).items())
    assert all(torch.equal(reached[key], value) for key, value in state(5.0, 0.5, 4.0).items())
