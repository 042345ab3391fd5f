"""Matrices of a network, prepared once for the device and the precision they are used in.

float32 on a CPU    oneDNN's blocked layout for many products, where it is twice as fast; plain for few
bfloat16 on a CPU   oneDNN's blocked layout; between the matrices everything stays float32
int8 on a CPU       weights rounded a row at a time, products in bfloat16: half the bytes of bfloat16 to read
CUDA                plain
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch
from torch.nn import functional

from services.common.errors import ConfigError

Linear = Callable[[torch.Tensor], torch.Tensor]

# From so many multiplications, and rows, on, oneDNN's blocked product makes up for its dearer call: measured on one
# AVX-512 core. With one row it takes one and a half times as long as the plain one, which only reads.
_BLOCKED_PRODUCTS = 2**18
_BLOCKED_ROWS = 8
# Small matrices are kept in both layouts; a large one would double the memory of the model.
_BOTH_LAYOUTS_ELEMENTS = 2**20
# oneDNN chooses the blocks for a number of rows.
_BLOCKED_FOR_ROWS = 32


class Precision(StrEnum):
    """How the weights of an engine are kept."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"

    def activations(self, device: torch.device) -> torch.dtype:
        """Return the type of what flows between the matrices, and of the cache."""
        return torch.bfloat16 if self is Precision.BFLOAT16 and device.type == "cuda" else torch.float32


def prepare(weight: torch.Tensor, precision: Precision, bias: torch.Tensor | None = None) -> Linear:
    """Make the function x [rows, in] -> [rows, out] of a weight [out, in] of float32, on the weight's device.

    bias: [out]. Raises ConfigError for int8 on CUDA, which is not there.
    """
    if weight.device.type == "cpu" and torch._C._has_mkldnn:
        if precision is Precision.INT8:
            return Int8Linear(weight, bias)
        if precision is Precision.BFLOAT16:
            return BlockedBfloat16Linear(weight, bias)
        return BlockedLinear(weight, bias)
    if precision is Precision.INT8:
        raise ConfigError("dtype: int8 is for CPUs")
    dtype = precision.activations(weight.device)
    return PlainLinear(weight.to(dtype), None if bias is None else bias.to(dtype))


class PlainLinear:
    """The weight as it is."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._weight = weight.contiguous()
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, in]. Returns [rows, out]."""
        return functional.linear(x, self._weight, self._bias)


class BlockedLinear:
    """A float32 weight in oneDNN's blocked layout, and as it is for few rows."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._weight = weight.contiguous()
        self._bias = bias
        self._blocked: torch.Tensor | None = None
        if weight.numel() <= _BOTH_LAYOUTS_ELEMENTS:
            self._blocked = torch.ops.mkldnn._reorder_linear_weight(self._weight, _BLOCKED_FOR_ROWS)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, in]. Returns [rows, out]."""
        rows = len(x)
        if self._blocked is None or rows < _BLOCKED_ROWS or rows * self._weight.numel() < _BLOCKED_PRODUCTS:
            return functional.linear(x, self._weight, self._bias)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._blocked, self._bias, "none", [], "")
        return product


class BlockedBfloat16Linear:
    """A bfloat16 weight in oneDNN's blocked layout, for float32 activations."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._blocked = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16).contiguous(), 1)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, in]. Returns [rows, out]."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(torch.bfloat16), self._blocked, None, "none", [], ""
        )
        wide = product.to(x.dtype)
        return wide if self._bias is None else wide.add_(self._bias)


class Int8Linear:
    """Weights rounded to 8 bits, one scale a row of the matrix, for float32 activations.

    Source: weight-only quantisation, absmax a row, as in LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339).
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12) / 127
        self._weight = (weight / scale).round_().to(torch.int8).contiguous()
        self._scale = scale[:, 0].to(torch.bfloat16)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, in]. Returns [rows, out]."""
        # torch's kernel is fast for bfloat16 and up to four rows alone.
        parts = [
            torch._weight_int8pack_mm(part, self._weight, self._scale)
            for part in x.to(torch.bfloat16).split_with_sizes(_fours(len(x)))
        ]
        product = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(x.dtype)
        return product if self._bias is None else product.add_(self._bias)


def _fours(rows: int) -> list[int]:
    return [min(4, rows - start) for start in range(0, rows, 4)]
