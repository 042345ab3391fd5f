"""The transformer's step where the host must not wait: all it needs of its rows is computed on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from services.neural.cuda_attention import ring_attention
from services.neural.ring import Ring
from services.neural.rotary import Rotary
from services.neural.transformer import Layer, Transformer


@dataclass(frozen=True)
class DevicePlan:
    """One frame each of some slots, as tensors of the device.

    slots: [rows] of int64. positions, writes: see Plan.
    """

    slots: torch.Tensor
    positions: torch.Tensor
    writes: torch.Tensor


def device_plan(ring: Ring, slots: torch.Tensor, first_positions: torch.Tensor) -> DevicePlan:
    """slots, first_positions: [rows] of int64, where each row's frame begins."""
    frame = torch.arange(ring.frame_positions, device=slots.device)
    positions = (first_positions[:, None] + frame).flatten()
    return DevicePlan(slots, positions, ring.places(slots, positions))


def device_transformer(layers: Sequence[Layer], ring: Ring, heads: int, rotary: Rotary) -> Transformer[DevicePlan]:
    """Make a transformer whose step is planned on the device."""

    def attend(layer: int, query: torch.Tensor, plan: DevicePlan) -> torch.Tensor:
        return ring_attention(query, ring.memory(layer), plan.slots, plan.positions, ring.frame_positions)

    return Transformer(layers, ring, heads, rotary, attend)
