"""A streaming transformer over slots: one frame of many sessions, or many frames of one.

Plain functions of tensors: no module tree, no hooks, nothing per step that grows with the sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from services.neural.linear import Linear
from services.neural.ring import ChunkPlan, Ring, StepPlan
from services.neural.rotary import Rotary, turn

Norm = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Layer:
    """One layer, pre-norm; every function takes and returns [rows, width].

    qkv: to 3 * dim, the queries already scaled by 1 / sqrt(head_dim). output, feed_forward: what is added to the
    residual, layer scale and all.
    """

    norm_1: Norm
    qkv: Linear
    output: Linear
    norm_2: Norm
    feed_forward: Linear


class Transformer:
    """Layers over a ring; the caller plans with the ring and advances it."""

    def __init__(self, layers: Sequence[Layer], ring: Ring, heads: int, rotary: Rotary) -> None:
        self._layers = tuple(layers)
        self._ring = ring
        self._heads = heads
        self._rotary = rotary

    def step(self, x: torch.Tensor, plan: StepPlan) -> torch.Tensor:
        """x: [rows * positions, dim], rows in the plan's order. Returns the same shape."""
        turns = self._rotary.turns(plan.positions)
        for index, layer in enumerate(self._layers):
            qkv = self._qkv(layer, x, turns)
            self._ring.write(index, plan.writes, qkv[:, 1:])
            x = x + layer.output(self._attend(index, qkv[:, 0], plan))
            x = x + layer.feed_forward(layer.norm_2(x))
        return x

    def chunk(self, x: torch.Tensor, plan: ChunkPlan) -> torch.Tensor:
        """x: [positions, dim] of one slot. Returns the same shape."""
        turns = self._rotary.turns(plan.positions)
        for index, layer in enumerate(self._layers):
            qkv = self._qkv(layer, x, turns)
            query, key, value = qkv.permute(1, 2, 0, 3)
            old_key, old_value = self._ring.read(index, slice(plan.slot, plan.slot + 1), plan.old)
            key, value = torch.cat([old_key, key], 1), torch.cat([old_value, value], 1)
            attended = _attention(query, key, value, plan.mask)
            # After the old keys were read: the new ones take their places.
            self._ring.write(index, plan.writes, qkv[plan.kept :, 1:])
            x = x + layer.output(attended.transpose(0, 1).flatten(1))
            x = x + layer.feed_forward(layer.norm_2(x))
        return x

    def _qkv(self, layer: Layer, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
        """Return queries, keys and values, [rows, 3, heads, head_dim], the first two turned."""
        qkv = layer.qkv(layer.norm_1(x)).view(len(x), 3 * self._heads, -1)
        turn(qkv[:, : 2 * self._heads], turns)
        return qkv.view(len(x), 3, self._heads, -1)

    def _attend(self, index: int, query: torch.Tensor, plan: StepPlan) -> torch.Tensor:
        """query: [rows * positions, heads, head_dim]. Returns [rows * positions, dim]."""
        positions = self._ring.frame_positions
        # [rows, heads, positions, head_dim]
        rows = _unflatten(query, positions).transpose(1, 2)
        answers = []
        for group in plan.groups:
            queries = rows[group.start : group.stop].flatten(0, 1)
            keys, values = self._ring.read(index, group.slots, group.keys)
            attended = _attention(queries, keys, values, group.mask)
            answers.append(_unflatten(attended, self._heads))
        answer = answers[0] if len(answers) == 1 else torch.cat(answers)
        return answer.transpose(1, 2).reshape(len(query), -1)


def _unflatten(x: torch.Tensor, inner: int) -> torch.Tensor:
    """[rows * inner, …] -> [rows, inner, …], without a copy."""
    return x.view(len(x) // inner, inner, *x.shape[1:])


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """query: [batch, positions, head_dim], scaled; key, value: [batch, keys, head_dim]; mask: see Group and ChunkPlan.

    Two products and a softmax: on a CPU and for one position a row this takes half the time of torch's own attention.
    """
    scores = torch.bmm(query, key.transpose(1, 2))
    if mask is not None:
        scores = scores.view(mask.shape[0] if mask.dim() == 4 else 1, -1, *scores.shape[1:]).add_(mask).view_as(scores)
    return torch.bmm(torch.softmax(scores, -1), value)
