"""Checkpoints with random weights, in exactly the real format: for tests, benchmarks, and the demo without weights.

The text they speak is made up, but it depends on the audio, has words with times, and stops where the audio is
silent. `python -m training.seeded FOLDER --architecture tiny` writes one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import sentencepiece
import torch
import typer

from services.common.lm_tensors import lm_tensors
from training.safetensors_writer import write_safetensors
from training.seeded_architectures import ARCHITECTURES
from training.seeded_lm import seeded_lm
from training.seeded_mimi import seeded_mimi
from training.seeded_tokenizer import train_tokenizer

Architecture = Literal["mini", "tiny", "1b", "2.6b"]
Dtype = Literal["float32", "bfloat16"]


def write_seeded_checkpoint(folder: Path, architecture: Architecture, seed: int = 0, dtype: Dtype = "float32") -> None:
    """Write a checkpoint with random weights; the same bytes for the same seed on the same kind of machine.

    folder: made if need be; its name is the model's name. dtype: of the LM weights, Mimi's are always float32.
    config.json comes last, so that a folder with one is whole.
    """
    shapes = ARCHITECTURES[architecture]
    label = f"seeded-{architecture}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "model_type": "stt",
        # Not the published Mimi's name: it is what tells an LM worker's codes from those of another codec.
        "mimi_name": f"mimi-{label}.safetensors",
        "moshi_name": "model.safetensors",
        "tokenizer_name": f"tokenizer_seeded_{shapes.lm['text_card']}.model",
        "model_id": {"sig": label, "epoch": 0},
        "lm_gen_config": {"temp": 0.0, "temp_text": 0.0, "top_k": 250, "top_k_text": 50},
        "stt_config": shapes.stt,
        **shapes.lm,
    }
    if shapes.mimi is not None:
        config["mimi_config_name"] = "mimi_config.json"
        _write_json(folder / "mimi_config.json", shapes.mimi)

    tokenizer = train_tokenizer(shapes.lm["text_card"], seed)
    (folder / config["tokenizer_name"]).write_bytes(tokenizer)
    vocabulary = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    pieces = [vocabulary.id_to_piece(token) for token in range(vocabulary.get_piece_size())]

    mimi = seeded_mimi(shapes.mimi, seed)
    mimi_shapes = {name: tuple(tensor.shape) for name, tensor in mimi.items()}
    write_safetensors(folder / config["mimi_name"], mimi_shapes, mimi.items(), torch.float32)
    write_safetensors(
        folder / config["moshi_name"], lm_tensors(config), seeded_lm(config, pieces, seed), getattr(torch, dtype)
    )
    _write_json(folder / "config.json", config)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write the checkpoint.")],
    architecture: Annotated[Architecture, typer.Option(help="How large: mini for tests, tiny as embedded.")] = "tiny",
    seed: Annotated[int, typer.Option(help="The same seed gives the same weights.")] = 0,
    dtype: Annotated[Dtype, typer.Option(help="Type of the LM weights.")] = "float32",
) -> None:
    """Write a checkpoint with random weights, which never saw speech."""
    write_seeded_checkpoint(folder, architecture, seed, dtype)
    print(f"{folder}: untrained {architecture} model, seed {seed}")


if __name__ == "__main__":
    typer.run(main)
