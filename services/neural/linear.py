"""Matrices of a network, prepared once for the device and the precision they are used in.

float32 on a CPU    as MKL multiplies fastest, see PlainLinear
bfloat16 on a CPU   oneDNN's blocked layout; between the matrices everything stays float32
int8 on a CPU       weights rounded a row at a time, products in bfloat16: half the bytes of bfloat16 to read
CUDA                plain
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

import torch

from services.common.errors import ConfigError


class Precision(StrEnum):
    """How the weights of an engine are kept."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"

    def activations(self, device: torch.device) -> torch.dtype:
        """Return the type of what flows between the matrices, and of the cache."""
        return torch.bfloat16 if self is Precision.BFLOAT16 and device.type == "cuda" else torch.float32


class Linear(ABC):
    """A matrix, with or without a bias: x [rows, in] -> [rows, out]."""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, in]. Returns [rows, out], memory of its own."""

    def write_to(self, out: torch.Tensor, x: torch.Tensor) -> None:
        """Write the product for x to out [rows, out], dense."""
        out.copy_(self(x))

    def add_to(self, sums: torch.Tensor, x: torch.Tensor) -> None:
        """Add the product for x to sums [rows, out], in place."""
        sums.add_(self(x))


def prepare(weight: torch.Tensor, precision: Precision, bias: torch.Tensor | None = None) -> Linear:
    """Make the function x [rows, in] -> [rows, out] of a weight [out, in] of float32, on the weight's device.

    bias: [out]. Raises ConfigError for int8 on CUDA, which is not there.
    """
    if weight.device.type == "cpu" and torch._C._has_mkldnn:
        if precision is Precision.INT8:
            return Int8Linear(weight, bias)
        if precision is Precision.BFLOAT16:
            return BlockedBfloat16Linear(weight, bias)
    if precision is Precision.INT8:
        raise ConfigError("dtype: int8 is for CPUs")
    dtype = precision.activations(weight.device)
    return PlainLinear(weight.to(dtype), None if bias is None else bias.to(dtype))


class PlainLinear(Linear):
    """The weight as it is; on a CPU [in, out] in memory.

    Torch's own [out, in] takes up to one and a half times as long there, whatever the number of rows, and oneDNN's
    blocked layout for float32 up to twice, when other work has pushed the weights out of the cache.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """weight: [out, in]."""
        self._weight = weight.t().contiguous() if weight.device.type == "cpu" else weight.contiguous().t()
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See Linear."""
        return torch.mm(x, self._weight) if self._bias is None else torch.addmm(self._bias, x, self._weight)

    def write_to(self, out: torch.Tensor, x: torch.Tensor) -> None:
        """See Linear."""
        if self._bias is None:
            torch.mm(x, self._weight, out=out)
        else:
            torch.addmm(self._bias, x, self._weight, out=out)

    def add_to(self, sums: torch.Tensor, x: torch.Tensor) -> None:
        """See Linear: the product adds as it goes."""
        sums.addmm_(x, self._weight)
        if self._bias is not None:
            sums.add_(self._bias)


class BlockedBfloat16Linear(Linear):
    """A bfloat16 weight in oneDNN's blocked layout, for float32 activations."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._blocked = torch.ops.mkldnn._reorder_linear_weight(weight.to(torch.bfloat16).contiguous(), 1)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See Linear."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(torch.bfloat16), self._blocked, None, "none", [], ""
        )
        wide = product.to(x.dtype)
        return wide if self._bias is None else wide.add_(self._bias)


class Int8Linear(Linear):
    """Weights rounded to 8 bits, one scale a row of the matrix, for float32 activations.

    Source: weight-only quantisation, absmax a row, as in LLM.int8() (Dettmers et al. 2022, arXiv:2208.07339).
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12) / 127
        self._weight = (weight / scale).round_().to(torch.int8).contiguous()
        self._scale = scale[:, 0].to(torch.bfloat16)
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See Linear."""
        # torch's kernel is fast for bfloat16 and up to four rows alone.
        parts = [
            torch._weight_int8pack_mm(part, self._weight, self._scale)
            for part in x.to(torch.bfloat16).split_with_sizes(_fours(len(x)))
        ]
        product = (parts[0] if len(parts) == 1 else torch.cat(parts)).to(x.dtype)
        return product if self._bias is None else product.add_(self._bias)


def _fours(rows: int) -> list[int]:
    return [min(4, rows - start) for start in range(0, rows, 4)]
