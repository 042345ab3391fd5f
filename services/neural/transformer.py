"""A streaming transformer over slots: one frame of many sessions, or many frames of one.

Plain functions of tensors: no module tree, no hooks, nothing per step that grows with the sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch

from services.neural.linear import Linear
from services.neural.ring import ChunkPlan, Ring, Run
from services.neural.rotary import Rotary, pairs, turn

Norm = Callable[[torch.Tensor], torch.Tensor]


class Branch(Protocol):
    """What a layer adds to the residual, layer scale and all."""

    def add_to(self, residual: torch.Tensor, x: torch.Tensor, /) -> None:
        """Add what is made of x to the residual [rows, dim], in place."""


@dataclass(frozen=True)
class Layer:
    """One layer, pre-norm; everything in it works on [rows, width].

    qkv: to 3 * dim, the queries already scaled by 1 / sqrt(head_dim).
    """

    norm_1: Norm
    qkv: Linear
    output: Branch
    norm_2: Norm
    feed_forward: Branch


class Plan(Protocol):
    """What a step needs to know of its rows; an attention of one kind may want more.

    positions: [rows * positions] of int64. writes: where their keys and values go; see Ring.write.
    """

    @property
    def positions(self) -> torch.Tensor:  # noqa: D102
        ...

    @property
    def writes(self) -> torch.Tensor:  # noqa: D102
        ...


PlanT = TypeVar("PlanT", bound=Plan)


class Transformer(Generic[PlanT]):
    """Layers over a ring; the caller plans with the ring and advances it.

    attend: (layer, query [rows * positions, heads, head_dim], plan) -> [rows * positions, dim], of a step.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        ring: Ring,
        heads: int,
        rotary: Rotary,
        attend: Callable[[int, torch.Tensor, PlanT], torch.Tensor],
    ) -> None:
        self._layers = tuple(layers)
        self._ring = ring
        self._heads = heads
        self._rotary = rotary
        self._attend = attend

    def step(self, x: torch.Tensor, plan: PlanT) -> torch.Tensor:
        """x: [rows * positions, dim], rows in the plan's order, overwritten. Returns the same shape."""
        turns, qkv = self._rotary.turns(plan.positions), _Qkv(x, self._heads)
        for index, layer in enumerate(self._layers):
            qkv.compute(layer, x, turns)
            self._ring.write(index, plan.writes, qkv.keys_values)
            layer.output.add_to(x, self._attend(index, qkv.query, plan))
            layer.feed_forward.add_to(x, layer.norm_2(x))
        return x

    def chunk(self, x: torch.Tensor, plan: ChunkPlan) -> torch.Tensor:
        """x: [positions, dim] of one slot, overwritten. Returns the same shape."""
        turns, qkv = self._rotary.turns(plan.positions), _Qkv(x, self._heads)
        for index, layer in enumerate(self._layers):
            qkv.compute(layer, x, turns)
            query, key, value = qkv.all.permute(1, 2, 0, 3)
            old_key, old_value = self._ring.read(index, Run(plan.slot, 1), plan.old)
            # New ones as later steps will see them, rounded if the ring rounds.
            key = torch.cat([old_key, self._ring.rounded(key)], 1)
            value = torch.cat([old_value, self._ring.rounded(value)], 1)
            scores = torch.bmm(query, key.transpose(1, 2)).add_(plan.mask)
            attended = torch.bmm(torch.softmax(scores, -1), value)
            # After the old keys were read: the new ones take their places.
            self._ring.write(index, plan.writes, qkv.keys_values[plan.kept :])
            layer.output.add_to(x, attended.transpose(0, 1).flatten(1))
            layer.feed_forward.add_to(x, layer.norm_2(x))
        return x


class _Qkv:
    """Queries, keys and values of one layer after the other in the same memory: its views are made once a step.

    all: [rows, 3, heads, head_dim]; query: [rows, heads, head_dim]; keys_values: [rows, 2, heads, head_dim].
    """

    def __init__(self, x: torch.Tensor, heads: int) -> None:
        rows, dim = x.shape
        self._rows = x.new_empty(rows, 3 * dim)
        self.all = self._rows.view(rows, 3, heads, -1)
        self.query, self.keys_values = self.all[:, 0], self.all[:, 1:]
        self._turned = pairs(self._rows[:, : 2 * dim].view(rows, 2 * heads, -1))

    def compute(self, layer: Layer, x: torch.Tensor, turns: torch.Tensor) -> None:
        layer.qkv.write_to(self._rows, layer.norm_1(x))
        turn(self._turned, turns)
