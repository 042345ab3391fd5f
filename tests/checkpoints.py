"""Small checkpoints for tests, and ways to spoil them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.common.checkpoint import Checkpoint
from services.common.registry import resolve


def write_mini_checkpoint(folder: Path, seed: int = 0) -> Checkpoint:
    """Write a seeded mini checkpoint: 6 codebooks of 64 (of Mimi's 8), 120 text tokens, 4 pause heads, delay 6 frames,
    contexts of 24 frames (LM) and 10 frames (Mimi); its text depends on the audio and is padding in silence.
    """
    from training.seeded import write_seeded_checkpoint  # noqa: PLC0415  # torch, which most tests do without

    write_seeded_checkpoint(folder, "mini", seed)
    return resolve(str(folder))


def copy_of(checkpoint: Checkpoint, folder: Path) -> Path:
    """Copy a local checkpoint's files to a folder, to be changed there."""
    shutil.copytree(checkpoint.origin, folder)
    return folder


def edit_config(
    folder: Path, *, without: tuple[str, ...] = (), stt: dict[str, Any] | None = None, **values: Any
) -> None:
    """Change keys of config.json; stt: keys of its stt_config."""
    file = folder / "config.json"
    config = {key: value for key, value in (json.loads(file.read_text()) | values).items() if key not in without}
    config["stt_config"] = config.get("stt_config", {}) | (stt or {})
    file.write_text(json.dumps(config))


def edit_tensors(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Replace the tensors of a safetensors file by what a function makes of them."""
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    save_file(change(load_file(file)), file)
