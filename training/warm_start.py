"""Starts a training from an exported checkpoint instead of from nothing: `python -m training.train --init FOLDER`.

An export holds less than the network that was trained: the projection into the language model is folded into its
embedding tables, and the two phone heads were only there for their losses. The first follows from the tables, the
others are learned again while everything else stands still.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from training.feed import Batch
from training.network import Network
from training.quantizer import Codebooks

EXPECTED_USAGE = 1.5
"""Vectors of a batch that an entry codes on average: where its moving average is started."""
HEADS_RATE = 1e-2

Rvq = torch.nn.Module


@torch.no_grad()
def load_exported(network: Network, folder: Path) -> None:
    """Set every weight that an export has; raises ValueError if it has another shape."""
    mimi = _float(load_file(folder / "mimi.safetensors"))
    lm = _float(load_file(folder / "model.safetensors"))
    # The bias against false words is chosen after a training, not learned.
    lm.pop("text_linear.bias", None)
    try:
        network.mimi.load_state_dict(mimi)
        network.lm.load_state_dict(lm)
    except RuntimeError as error:
        raise ValueError(f"wanted an export of this network in {folder}: {error}") from error
    quantizer = network.mimi.quantizer
    tables = [embedding.weight for embedding in network.lm.emb]
    inputs, outputs = [], []
    for books, rvq in ((network.first, quantizer.rvq_first), (network.rest, quantizer.rvq_rest)):
        _start(books, rvq)
        for centroids in books.centroids:
            inputs.append(centroids @ rvq.output_proj.weight[:, :, 0].T)
            outputs.append(tables[len(outputs)][:-1])
    # Every row of a table is the projection of a known vector, so the projection is their least-squares solution.
    network.to_lm.weight.copy_(torch.linalg.lstsq(torch.cat(inputs), torch.cat(outputs)).solution.T)
    network.audio_initial.copy_(tables[0][-1])
    network.quantise = True


def settle_heads(network: Network, batches: Iterator[Batch], steps: int = 60) -> float:
    """Train the phone heads alone on so many of the batches; returns the last loss."""
    heads = [network.phone_head, network.quantised_phone_head]
    optimizer = torch.optim.Adam([p for head in heads for p in head.parameters()], lr=HEADS_RATE)
    loss = torch.zeros(())
    for _ in range(steps):
        example = next(batches)
        with torch.no_grad():
            features, latents = network.latents(example["pcm"])
            quantised, _ = network.quantised(latents)
        loss = sum(
            functional.cross_entropy(logits.flatten(0, 1), example["phones"].flatten())
            for logits in network.phone_logits(features, quantised)
        )  # type: ignore[assignment]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def _float(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.float() for key, value in state.items()}


def _start(books: Codebooks, rvq: Rvq) -> None:
    for index, layer in enumerate(rvq.vq.layers):  # type: ignore[union-attr,arg-type]
        books.usage[index] = EXPECTED_USAGE
        books.sums[index] = layer._codebook.embedding * EXPECTED_USAGE
