"""What a step of the LM must move and do at least, whatever the software."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from services.common.lm_tensors import lm_tensors


@dataclass(frozen=True)
class Floor:
    """Of one step: bytes read from memory, and multiplications with their additions counted as two operations."""

    weight_bytes: float
    cache_bytes: int
    operations: int


def lm_floor(config: dict[str, Any], rows: int, context: int, weight_bytes: float, cache_bytes: int) -> Floor:
    """rows: sessions stepped, each with `context` positions. weight_bytes, cache_bytes: a number's size.

    Embeddings are gathered: a step reads one entry a table and row, which is left out.
    """
    tensors = lm_tensors(config)
    weights = sum(prod(shape) for name, shape in tensors.items() if "emb." not in name)
    cached = 2 * int(config["num_layers"]) * int(config["dim"]) * context * rows
    return Floor(weights * weight_bytes, cached * cache_bytes, 2 * (weights * rows + cached))
