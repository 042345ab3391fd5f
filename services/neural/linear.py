"""Matrices of a network, prepared once for the device and the precision they are used in.

float32 on a CPU    oneDNN's blocked layout from a few rows on, where it is twice as fast; plain below
bfloat16, CUDA      plain
int8 on a CPU       weights rounded a row at a time, activations untouched: a quarter of the bytes to read
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import torch
from torch.nn import functional

Linear = Callable[[torch.Tensor], torch.Tensor]

# From so many multiplications on, oneDNN's blocked product makes up for its dearer call: measured on one AVX-512 core.
_BLOCKED_PRODUCTS = 2**18
# Small matrices are kept in both layouts; a large one would double the memory of the model.
_BOTH_LAYOUTS_ELEMENTS = 2**20
# oneDNN chooses the blocks for a number of rows.
_BLOCKED_FOR_ROWS = 32


class Precision(StrEnum):
    """How the weights of an engine are kept; the rest of it is float32 where the weights are int8."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"

    @property
    def activations(self) -> torch.dtype:
        """Return the type of what flows between the matrices, and of the cache."""
        return torch.bfloat16 if self is Precision.BFLOAT16 else torch.float32


def prepare(weight: torch.Tensor, precision: Precision, bias: torch.Tensor | None = None) -> Linear:
    """Make the function x [rows, in] -> [rows, out] of a weight [out, in] of float32, on the weight's device.

    bias: [out].
    """
    if precision is Precision.INT8:
        return Int8Linear(weight, bias)
    if precision is Precision.FLOAT32 and weight.device.type == "cpu" and torch._C._has_mkldnn:
        return BlockedLinear(weight, bias)
    return PlainLinear(weight.to(precision.activations), None if bias is None else bias.to(precision.activations))


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
        if self._blocked is None or len(x) * self._weight.numel() < _BLOCKED_PRODUCTS:
            return functional.linear(x, self._weight, self._bias)
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._blocked, self._bias, "none", [], "")
        return product


class Int8Linear:
    """Weights rounded to 8 bits, one scale a row of the matrix; the products are made in float32.

    Source: weight-only quantisation, absmax a row, as in LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339).
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._bias = bias
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12) / 127
        self._weight = (weight / scale).round_().to(torch.int8).contiguous()
        self._scale = scale[:, 0].contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, in]. Returns [rows, out]."""
        product = torch._weight_int8pack_mm(x, self._weight, self._scale)
        return product if self._bias is None else product.add_(self._bias)
