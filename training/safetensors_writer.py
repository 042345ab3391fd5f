"""Writes a safetensors file tensor by tensor, so that a file larger than the memory can be made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}


def write_safetensors(
    path: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Iterable[tuple[str, torch.Tensor]], dtype: torch.dtype
) -> None:
    """Write tensors of one type to a file.

    shapes: of all tensors, in the order in which `tensors` gives them. dtype: float32 or bfloat16; they are converted.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        start, end = end, end + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for (name, shape), (given, tensor) in zip(shapes.items(), tensors, strict=True):
            assert (name, shape) == (given, tuple(tensor.shape))
            # numpy knows no bfloat16: the bytes are what counts.
            file.write(tensor.to(dtype).contiguous().view(torch.uint8).numpy().tobytes())
