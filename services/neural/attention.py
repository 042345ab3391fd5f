"""Attention of a step's rows on a host that knows every length: in the groups that the ring's plan has made."""

from __future__ import annotations

import torch

from services.neural.ring import Group, Ring, StepPlan


class GroupedAttention:
    """Attends group by group; rows of one group have lengths within a factor of two."""

    def __init__(self, ring: Ring, heads: int) -> None:
        self._ring = ring
        self._heads = heads

    def __call__(self, layer: int, query: torch.Tensor, plan: StepPlan) -> torch.Tensor:
        """query: [rows * positions, heads, head_dim]. Returns [rows * positions, dim]."""
        heads, positions = self._heads, self._ring.frame_positions
        # [rows * heads, positions, head_dim], and so what comes of it.
        queries = query.reshape(-1, 1, query.shape[-1]) if positions == 1 else _swapped(query, positions)
        attended = torch.empty_like(queries)
        for group in plan.groups:
            rows = slice(group.start * heads, group.stop * heads)
            self._attend(layer, queries[rows], group, attended[rows])
        return attended.view(len(query), -1) if positions == 1 else _swapped(attended, heads).flatten(1)

    def _attend(self, layer: int, query: torch.Tensor, group: Group, attended: torch.Tensor) -> None:
        """Two products and a softmax; for one position a row this takes half the time of torch's own attention."""
        parts = []
        scores = query.new_empty(*query.shape[:2], group.keys)
        for run in group.runs:
            rows = slice(run.start * self._heads, run.stop * self._heads)
            keys, values = self._ring.read(layer, run.slot, run.stop - run.start, group.keys)
            torch.bmm(query[rows], keys.transpose(1, 2), out=scores[rows])
            parts.append((rows, values))
        if group.mask is not None:
            scores.view(len(group.mask), self._heads, *scores.shape[1:]).add_(group.mask)
        weights = torch.softmax(scores, -1)
        for rows, values in parts:
            torch.bmm(weights[rows], values, out=attended[rows])


def _swapped(x: torch.Tensor, inner: int) -> torch.Tensor:
    """[rows * inner, n, …] -> [rows * n, inner, …], dense."""
    return x.unflatten(0, (-1, inner)).transpose(1, 2).flatten(0, 1).contiguous()
