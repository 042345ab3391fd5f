"""The average of the weights of a run."""

import pytest

pytest.importorskip("torch")

import torch

from training.averaging import Average


def module(value: float) -> "torch.nn.Module":
    linear = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(linear.weight, value)
    torch.nn.init.constant_(linear.bias, value)
    return linear


def test_an_average_moves_towards_the_weights_by_its_decay() -> None:
    average = Average(module(0.0), decay=0.75)
    average.update(module(4.0))
    assert torch.equal(average.state["weight"], torch.full((2, 2), 1.0))
    average.update(module(1.0))
    assert torch.equal(average.state["bias"], torch.full((2,), 1.0))


def test_an_average_does_not_follow_the_weights_by_itself() -> None:
    weights = module(1.0)
    average = Average(weights)
    torch.nn.init.constant_(weights.weight, 5.0)
    assert torch.equal(average.state["weight"], torch.full((2, 2), 1.0))


def test_an_average_goes_on_from_a_saved_one() -> None:
    saved = Average(module(3.0)).state
    average = Average(module(0.0))
    average.load(saved)
    assert torch.equal(average.state["weight"], torch.full((2, 2), 3.0))
