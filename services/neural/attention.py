"""Attention of a step's rows on a host that knows every length: in the groups that the ring's plan has made."""

from __future__ import annotations

import torch

from services.neural.ring import Ring, StepPlan


class GroupedAttention:
    """Attends group by group; rows of one group have lengths within a factor of two."""

    def __init__(self, ring: Ring, heads: int) -> None:
        self._ring = ring
        self._heads = heads

    def __call__(self, layer: int, query: torch.Tensor, plan: StepPlan) -> torch.Tensor:
        """query: [rows * positions, heads, head_dim]. Returns [rows * positions, dim]."""
        positions = self._ring.frame_positions
        # [rows, heads, positions, head_dim]
        rows = _unflatten(query, positions).transpose(1, 2)
        answers = []
        for group in plan.groups:
            queries = rows[group.start : group.stop].flatten(0, 1)
            keys, values = self._ring.read(layer, group.slots, group.keys)
            attended = attention(queries, keys, values, group.mask)
            answers.append(_unflatten(attended, self._heads))
        answer = answers[0] if len(answers) == 1 else torch.cat(answers)
        return answer.transpose(1, 2).reshape(len(query), -1)


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """query: [batch, positions, head_dim], scaled; key, value: [batch, keys, head_dim]; mask: see Group and ChunkPlan.

    Two products and a softmax: on a CPU and for one position a row this takes half the time of torch's own attention.
    """
    scores = torch.bmm(query, key.transpose(1, 2))
    if mask is not None:
        scores = scores.view(mask.shape[0] if mask.dim() == 4 else 1, -1, *scores.shape[1:]).add_(mask).view_as(scores)
    return torch.bmm(torch.softmax(scores, -1), value)


def _unflatten(x: torch.Tensor, inner: int) -> torch.Tensor:
    """[rows * inner, …] -> [rows, inner, …], without a copy."""
    return x.view(len(x) // inner, inner, *x.shape[1:])
