"""Rotary positions, computed from the position itself: a stream without end needs positions without a bound."""

from __future__ import annotations

import math

import torch


class Rotary:
    """Turns pairs of neighbouring components by an angle that grows with the position.

    Source: RoPE (Su et al. 2021, arXiv:2104.09864), interleaved, with moshi's frequencies.
    """

    def __init__(self, head_dim: int, max_period: float, device: torch.device) -> None:
        pairs = torch.arange(head_dim // 2, device=device, dtype=torch.float32)
        self._frequencies = torch.exp(pairs * (-math.log(max_period) * 2 / head_dim))

    def turns(self, positions: torch.Tensor) -> torch.Tensor:
        """positions: [rows] of int64. Returns [rows, 1, head_dim / 2] of complex64, for `turn`; once for all layers."""
        angles = positions.to(torch.float32)[:, None, None] * self._frequencies
        return torch.complex(torch.cos(angles), torch.sin(angles))


def pairs(heads: torch.Tensor) -> torch.Tensor:
    """heads: [rows, heads, head_dim], the last dimension dense. Returns a view of them for `turn`."""
    apart = heads.view(*heads.shape[:-1], -1, 2)
    return torch.view_as_complex(apart) if heads.dtype == torch.float32 else apart


def turn(heads: torch.Tensor, turns: torch.Tensor) -> None:
    """Turn heads in place. heads: see `pairs`; turns: see Rotary.turns."""
    if heads.is_complex():
        heads.mul_(turns)
    else:
        turned = torch.view_as_complex(heads.float()) * turns
        heads.copy_(torch.view_as_real(turned))
