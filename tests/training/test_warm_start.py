"""An exported checkpoint can be trained on: everything that was folded away comes back."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("moshi")
pytest.importorskip("scipy")
pytest.importorskip("soxr")

import torch
from safetensors.torch import save_file

from tests.training.small_network import BINS, DIMENSION, small
from training.export import moshi_states
from training.network import Network
from training.shape import TEXT_CARD
from training.vocabulary import BOUNDARY
from training.warm_start import load_exported, settle_heads


def exported(folder: Path, bias: float = 0.0) -> Network:
    """Write the two weight files of a network with random weights and return it."""
    torch.manual_seed(0)
    network = Network(*small()).eval()
    # As many vectors as have full rank, so that the projection is determined.
    network.first.start(torch.randn(200, DIMENSION))
    network.rest.start(torch.randn(200, DIMENSION))
    network.quantise = True
    torch.nn.init.normal_(network.audio_initial)
    with torch.no_grad():
        mimi, lm = moshi_states(network)
    if bias:
        lm["text_linear.bias"] = torch.zeros(TEXT_CARD)
        lm["text_linear.bias"][BOUNDARY] = bias
    save_file({key: value.contiguous() for key, value in mimi.items()}, folder / "mimi.safetensors")
    save_file({key: value.contiguous() for key, value in lm.items()}, folder / "model.safetensors")
    return network


def answers(network: Network) -> "torch.Tensor":
    random = torch.Generator().manual_seed(1)
    pcm = 0.1 * torch.randn(2, 1, 1920 * 6, generator=random)
    text = torch.randint(4, 100, (2, 7), generator=random)
    with torch.no_grad():
        quantised, _ = network.quantised(network.latents(pcm)[1])
        return network.lm.text_linear(network.hidden(quantised, text))


@pytest.mark.parametrize("bias", [0.0, -0.6])
def test_a_network_that_starts_from_an_export_answers_as_the_exported_one(tmp_path: Path, bias: float) -> None:
    before = exported(tmp_path, bias)
    after = Network(*small()).eval()
    load_exported(after, tmp_path)
    assert torch.allclose(answers(before), answers(after), atol=1e-3)


def test_an_export_of_another_shape_is_refused(tmp_path: Path) -> None:
    exported(tmp_path)
    mimi, lm = small()
    with pytest.raises(ValueError, match="wanted an export of this network"):
        load_exported(Network(mimi, {**lm, "dim": 64}), tmp_path)


def test_heads_settle_while_everything_else_stands_still(tmp_path: Path) -> None:
    exported(tmp_path)
    network = Network(*small())
    load_exported(network, tmp_path)
    before = answers(network.eval())
    batch = {"pcm": 0.1 * torch.randn(2, 1, 1920 * 6), "phones": torch.full((2, 12), 3)}
    losses = [settle_heads(network, iter([batch]), 1), settle_heads(network, iter([batch] * 30), 30)]
    assert losses[1] < 0.5 * losses[0]
    assert torch.equal(answers(network), before)


def test_frozen_layers_get_no_gradient_and_the_others_do(tmp_path: Path) -> None:
    exported(tmp_path)
    network = Network(*small())
    network.freeze_front(5)
    layers = network.mimi.encoder.model
    network.latents(0.1 * torch.randn(1, 1, 1920 * 6))[1].sum().backward()
    assert all(p.grad is None for layer in layers[:5] for p in layer.parameters())
    assert all(p.grad is not None for layer in layers[5:] for p in layer.parameters())
    trained = {id(p) for p in network.trained()["encoder"]}
    assert not any(id(p) in trained for layer in layers[:5] for p in layer.parameters())
    assert network.first.usage.shape[1] == BINS
