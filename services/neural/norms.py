"""Norms before the matrices, in float32 whatever the activations are."""

from __future__ import annotations

import torch
from torch.nn import functional


class RmsNorm:
    """x / sqrt(mean(x²) + eps) * alpha; alpha is None where it was multiplied into the matrix behind."""

    def __init__(self, dim: int, eps: float, alpha: torch.Tensor | None, device: torch.device) -> None:
        self._alpha = alpha
        self._root = dim**0.5
        self._eps = torch.full((1, 1), dim * eps, device=device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, dim]."""
        wide = x.float()
        norm = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        inverse = torch.addcmul(self._eps, norm, norm).rsqrt_().mul_(self._root)
        normed = wide * (inverse if self._alpha is None else self._alpha * inverse)
        return normed.to(x.dtype)


class LayerNorm:
    """Layer norm with a weight and a bias."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> None:
        self._weight, self._bias, self._eps = weight, bias, eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, dim]."""
        return functional.layer_norm(x, self._weight.shape, self._weight, self._bias, self._eps)
