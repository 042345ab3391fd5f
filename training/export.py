"""Writes a trained network as a checkpoint in moshi's format: `python -m training.export --run tiny`."""

import io
import json
import os
from pathlib import Path
from typing import Annotated

os.environ.setdefault("NO_TORCH_COMPILE", "1")

import sentencepiece
import torch
import typer
from safetensors.torch import save_file
from torch import Tensor

from training.mixing import mixed
from training.network import Network
from training.quantizer import Codebooks
from training.shape import DELAY_FRAMES, LM_CONFIG, MIMI_CONFIG, TEXT_CARD, WORD_ENDS_MS
from training.train import RUNS
from training.vocabulary import BOUNDARY, PADDING, WORDS
from training.warm_start import load_exported

TARGET = Path("models/dsm-tiny-en")
NAMES = {
    "moshi_name": "model.safetensors",
    "mimi_name": "mimi.safetensors",
    "mimi_config_name": "mimi_config.json",
    "tokenizer_name": "tokenizer.model",
}


def tokenizer() -> bytes:
    """Return a sentencepiece model whose ids are those of `vocabulary`: whole words, then letters."""
    letters = "abcdefghijklmnopqrstuvwxyz'"
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{letter} {letters}" for letter in letters] * 4),
        model_writer=out, model_type="char", vocab_size=TEXT_CARD, hard_vocab_limit=False,
        unk_id=0, bos_id=1, eos_id=2, pad_id=PADDING, character_coverage=1.0,
        normalization_rule_name="identity", minloglevel=2,
        user_defined_symbols=[f"\u2581{word}" for word in WORDS],
    )  # fmt: skip
    return out.getvalue()


def embedding_tables(network: Network) -> list[Tensor]:
    """Return the language model's table of each codebook: [bins + 1, dim], the last row initial.

    Row c of table k is what the trained network adds to its input for code c of codebook k, so the
    exported model computes the same sums. The initial row of the first table is the learned
    initial vector; those of the others are 0, since the model adds them all.
    """
    quantizer = network.mimi.quantizer
    tables = []
    for books, rvq in ((network.first, quantizer.rvq_first), (network.rest, quantizer.rvq_rest)):
        outward = network.to_lm.weight @ rvq.output_proj.weight[:, :, 0]
        for centroids in books.centroids:
            rows = centroids @ outward.T
            initial = network.audio_initial if not tables else torch.zeros_like(rows[0])
            tables.append(torch.cat([rows, initial[None]]))
    return tables


@torch.no_grad()
def moshi_states(network: Network) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the state dictionaries of Mimi and of the language model, float32."""
    quantizer = network.mimi.quantizer
    for books, rvq in ((network.first, quantizer.rvq_first), (network.rest, quantizer.rvq_rest)):
        _fill(rvq, books)
    for embedding, table in zip(network.lm.emb, embedding_tables(network), strict=True):
        embedding.weight.copy_(table)
    return dict(network.mimi.state_dict()), dict(network.lm.state_dict())


def _fill(rvq: torch.nn.Module, books: Codebooks) -> None:
    for layer, centroids in zip(rvq.vq.layers, books.centroids, strict=True):  # type: ignore[union-attr]
        codebook = layer._codebook
        codebook.embedding_sum.copy_(centroids)
        codebook.cluster_usage.fill_(1.0)
        codebook._initialized.fill_(1.0)


def rounded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights in bfloat16, as they are stored."""
    return {key: value.to(torch.bfloat16).contiguous() for key, value in state.items()}


def export(  # noqa: PLR0917 - options of a command, given by name
    run: Annotated[str, typer.Option()] = "tiny",
    target: Annotated[Path, typer.Option()] = TARGET,
    last: Annotated[bool, typer.Option(help="the last weights instead of their average")] = False,
    boundary_bias: Annotated[float, typer.Option(help="chosen by `python -m training.calibrate`")] = 0.0,
    mix_with: Annotated[Path | None, typer.Option(help="exported checkpoint that the run started from")] = None,
    share: Annotated[float, typer.Option(help="of the run's weights in the mix")] = 1.0,
) -> None:
    """Write config.json, the weights, the tokenizer and mimi_config.json."""
    state = torch.load(RUNS / run / "checkpoint.pt", map_location="cpu", weights_only=True)
    network = Network(MIMI_CONFIG, LM_CONFIG)
    weights = state["network" if last else "average"]
    if mix_with is not None:
        load_exported(network, mix_with)
        weights = mixed(network.state_dict(), weights, share)
    network.load_state_dict(weights)
    target.mkdir(parents=True, exist_ok=True)
    mimi, lm = moshi_states(network)
    if boundary_bias:
        lm["text_linear.bias"] = torch.zeros(TEXT_CARD)
        lm["text_linear.bias"][BOUNDARY] = boundary_bias
    save_file(rounded(mimi), target / NAMES["mimi_name"])
    save_file(rounded(lm), target / NAMES["moshi_name"])
    (target / NAMES["tokenizer_name"]).write_bytes(tokenizer())
    (target / NAMES["mimi_config_name"]).write_text(json.dumps(MIMI_CONFIG, indent=1) + "\n")
    base_ms, per_character_ms, apart_ms = WORD_ENDS_MS
    config = {
        **NAMES,
        "model_type": "stt",
        "stt_config": {
            "audio_delay_seconds": DELAY_FRAMES / 12.5,
            "audio_silence_prefix_seconds": 0.0,
            "delay_frames": DELAY_FRAMES,
            "word_end_base_ms": base_ms,
            "word_end_per_character_ms": per_character_ms,
            "word_end_apart_ms": apart_ms,
        },
        **LM_CONFIG,
        **({"bias_proj": True} if boundary_bias else {}),
    }
    (target / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    typer.echo(f"{target}: {size / 1e6:.1f} MB after {state['step']} steps")


if __name__ == "__main__":
    typer.run(export)
