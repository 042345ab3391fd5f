"""The header of a safetensors file: what is in it, without reading the weights. Used by the checks at start.

The format: 8 bytes of little-endian length, that many bytes of JSON, then the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.common.errors import CheckpointError

_LONGEST_HEADER_BYTES = 100_000_000  # the safetensors library's own limit


@dataclass(frozen=True)
class SafetensorsHeader:
    """Names, shapes and types of the tensors of one file."""

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    # As the format spells them: "F32", "BF16", …
    dtypes: frozenset[str]
    size_bytes: int


def read_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file.

    Raises CheckpointError if the file is not safetensors or is shorter than its header says.
    """
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if first == b"version ":
            raise CheckpointError(f"{path} is a Git LFS pointer, not the weights: run `git lfs pull` in its folder")
        length = int.from_bytes(first, "little")
        if len(first) < 8 or not 2 <= length <= min(_LONGEST_HEADER_BYTES, size_bytes - 8):
            raise CheckpointError(f"{path} is not a safetensors file: its first 8 bytes are no header length")
        text = file.read(length)
    try:
        entries = json.loads(text)
        tensors = {name: entry for name, entry in entries.items() if name != "__metadata__"}
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in tensors.items()}
        dtypes = frozenset(str(entry["dtype"]) for entry in tensors.values())
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise CheckpointError(f"{path} is not a safetensors file: its header cannot be read") from None
    if size_bytes < end:
        raise CheckpointError(
            f"{path} is cut short: {size_bytes} bytes where its header speaks of {end}; fetch or copy it again"
        )
    return SafetensorsHeader(path, shapes, dtypes, size_bytes)
