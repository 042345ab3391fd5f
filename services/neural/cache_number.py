"""The numbers that a cache keeps: as they are computed, or shorter, for more sessions in the same memory."""

from __future__ import annotations

from enum import StrEnum

import torch

# Beyond its largest number torch's own conversion gives no number.
_LARGEST_FLOAT8 = 448.0


class CacheDtype(StrEnum):
    """How keys and values are kept."""

    # As what flows between the matrices.
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    # e4m3: 4 bits of exponent, 3 of mantissa, no scale.
    FLOAT8 = "float8"

    def of(self, activations: torch.dtype) -> torch.dtype:
        """Return the type for activations of a type."""
        return {
            CacheDtype.AUTO: activations,
            CacheDtype.FLOAT32: torch.float32,
            CacheDtype.BFLOAT16: torch.bfloat16,
            CacheDtype.FLOAT8: torch.float8_e4m3fn,
        }[self]


class CacheNumber:
    """Converts between what is computed and what is kept.

    raw: the type of the cache's memory: bytes for float8, as torch can hardly index that.
    """

    def __init__(self, computed: torch.dtype, kept: torch.dtype) -> None:
        self.computed = computed
        self.kept = kept
        self.raw = torch.uint8 if kept == torch.float8_e4m3fn else kept

    def narrow(self, x: torch.Tensor) -> torch.Tensor:
        """Return what to keep of computed numbers, in the raw type."""
        if self.kept == self.computed:
            return x
        if self.raw != torch.uint8:
            return x.to(self.kept)
        return x.clamp(-_LARGEST_FLOAT8, _LARGEST_FLOAT8).to(self.kept).view(torch.uint8)

    def widen(self, raw: torch.Tensor) -> torch.Tensor:
        """Return numbers to compute with from raw ones."""
        return raw if self.kept == self.computed else raw.view(self.kept).to(self.computed)

    def rounded(self, x: torch.Tensor) -> torch.Tensor:
        """Return computed numbers as they come back from the cache."""
        return self.widen(self.narrow(x.contiguous()))
