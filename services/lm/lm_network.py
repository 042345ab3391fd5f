"""The LM over its slots: tokens in, logits and pauses out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from services.lm.lm_weights import LmWeights
from services.neural.ring import Ring
from services.neural.rotary import Rotary
from services.neural.transformer import Transformer


class LmNetwork:
    """The transformer with its embeddings and heads, and the state of every slot.

    A slot's position n + 1 sees the codes of frame n and text n; position 0 sees the initial tokens.
    Source: Delayed Streams Modeling (Zeghidour et al. 2025, arXiv:2509.08753).
    """

    def __init__(self, weights: LmWeights, slots: int) -> None:
        self._weights = weights
        self._device = weights.embeddings.device
        self.ring = Ring(
            layers=len(weights.layers),
            slots=slots,
            heads=weights.attention_heads,
            context=weights.context,
            head_dim=weights.head_dim,
            dtype=weights.embeddings.dtype,
            device=self._device,
        )
        self._transformer = Transformer(
            weights.layers,
            self.ring,
            weights.attention_heads,
            Rotary(weights.head_dim, weights.max_period, self._device),
        )
        # Where each table begins; the text's is the first.
        entries = [weights.text_cardinality + 1] + [weights.cardinality + 1] * weights.codebooks
        self._first: NDArray[np.int64] = np.concatenate([[0], np.cumsum(entries)[:-1]])
        self.initial: NDArray[np.int64] = np.array(
            [weights.text_cardinality] + [weights.cardinality] * weights.codebooks
        )

    def step(self, slots: NDArray[np.int64], tokens: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Advance some slots by one position each.

        slots: [rows], distinct. tokens: [rows, 1 + codebooks], the text's first.
        Returns text logits [rows, text_cardinality] and pauses [rows, heads], float32, in the order of `slots`.
        """
        plan = self.ring.plan_step(slots)
        hidden = self._transformer.step(self._embed(tokens[plan.order]), plan)
        self.ring.advance(slots)
        answer = self._weights.output(self._weights.output_norm(hidden)).float()
        if len(slots) > 1:
            back = torch.from_numpy(np.argsort(plan.order)).to(self._device)
            answer = answer.index_select(0, back)
        weights = self._weights
        logits, extra = answer[:, : weights.text_cardinality], answer[:, weights.text_cardinality :]
        if weights.heads:
            # The first class of each head is the pause.
            extra = torch.softmax(extra.reshape(len(slots), weights.heads, -1), -1)[..., 0]
        return logits, extra

    def chunk(self, slot: int, tokens: NDArray[np.int64]) -> None:
        """Advance one slot by many positions, for its state alone. tokens: [positions, 1 + codebooks]."""
        self._transformer.chunk(self._embed(tokens), plan := self.ring.plan_chunk(slot, len(tokens)))
        self.ring.advance(np.array([slot]), len(plan.positions))

    def _embed(self, tokens: NDArray[np.int64]) -> torch.Tensor:
        entries = torch.from_numpy(tokens + self._first).to(self._device)
        return functional.embedding_bag(entries, self._weights.embeddings, mode="sum")
