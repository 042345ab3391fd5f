"""Norms before the matrices, in float32 whatever the activations are."""

from __future__ import annotations

import torch
from torch.nn import functional


class RmsNorm:
    """x / sqrt(mean(x²) + eps) * alpha.

    Where alpha is None, the matrix behind has been multiplied by alpha and by sqrt(dim), and this leaves both out.
    """

    def __init__(self, dim: int, eps: float, alpha: torch.Tensor | None, device: torch.device) -> None:
        self._scale = None if alpha is None else alpha * dim**0.5
        self._eps = torch.full((1, 1), dim * eps, device=device)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, dim]."""
        wide = x if x.dtype == torch.float32 else x.float()
        norm = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        normed = wide * torch.addcmul(self._eps, norm, norm, out=norm).rsqrt_()
        if self._scale is not None:
            normed *= self._scale
        return normed if x.dtype == torch.float32 else normed.to(x.dtype)


class LayerNorm:
    """Layer norm with a weight and a bias."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> None:
        self._weight, self._bias, self._eps = weight, bias, eps

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, dim]."""
        return functional.layer_norm(x, self._weight.shape, self._weight, self._bias, self._eps)
