"""Attention of a step's rows on a host that knows every length: in the groups that the ring's plan has made."""

from __future__ import annotations

from collections.abc import Sequence

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
        if len(plan.groups) == 1:
            attended = self._attend(layer, queries, plan.groups[0])
        else:
            parts = queries.split_with_sizes([(group.stop - group.start) * heads for group in plan.groups])
            attended = torch.cat([self._attend(layer, *part) for part in zip(parts, plan.groups, strict=True)])
        return attended.view(len(query), -1) if positions == 1 else _swapped(attended, heads).flatten(1)

    def _attend(self, layer: int, query: torch.Tensor, group: Group) -> torch.Tensor:
        """Two products and a softmax; for one position a row this takes half the time of torch's own attention."""
        read = [self._ring.read(layer, run, group.keys) for run in group.runs]
        scores = _products(query, [keys.transpose(1, 2) for keys, _ in read])
        if group.mask is not None:
            scores.view(len(group.mask), self._heads, *scores.shape[1:]).add_(group.mask)
        return _products(torch.softmax(scores, -1), [values for _, values in read])


def _products(x: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply each of x [batch, n, m] with its own of the matrices [some of batch, m, k], which come in parts."""
    if len(matrices) == 1:
        return torch.bmm(x, matrices[0])
    parts = x.split_with_sizes([len(part) for part in matrices])
    return torch.cat([torch.bmm(part, matrix) for part, matrix in zip(parts, matrices, strict=True)])


def _swapped(x: torch.Tensor, inner: int) -> torch.Tensor:
    """[rows * inner, n, …] -> [rows * n, inner, …], dense."""
    return x.view(-1, inner, *x.shape[1:]).transpose(1, 2).flatten(0, 1)
