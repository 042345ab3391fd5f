"""The LM over its slots: tokens in, logits and pauses out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from services.lm.lm_weights import LmWeights
from services.neural.attention import GroupedAttention
from services.neural.cache_number import CacheDtype
from services.neural.ring import Ring
from services.neural.rotary import Rotary
from services.neural.transformer import Transformer


class LmNetwork:
    """The transformer with its embeddings and heads, and the state of every slot.

    A slot's position n + 1 sees the codes of frame n and text n; position 0 sees the initial tokens.
    Source: Delayed Streams Modeling (Zeghidour et al. 2025, arXiv:2509.08753).
    """

    def __init__(self, weights: LmWeights, slots: int, cache: CacheDtype = CacheDtype.AUTO) -> None:
        self.weights = weights
        self._device = weights.embeddings.device
        self.ring = Ring(
            layers=len(weights.layers),
            slots=slots,
            heads=weights.attention_heads,
            context=weights.context,
            head_dim=weights.head_dim,
            dtype=weights.dtype,
            device=self._device,
            kept=cache,
        )
        self.rotary = Rotary(weights.head_dim, weights.max_period, self._device)
        self._transformer = Transformer(
            weights.layers,
            self.ring,
            weights.attention_heads,
            self.rotary,
            GroupedAttention(self.ring, weights.attention_heads),
        )
        # Where each table begins; the text's is the first.
        entries = [weights.text_cardinality + 1] + [weights.cardinality + 1] * weights.codebooks
        self.first: NDArray[np.int64] = np.concatenate([[0], np.cumsum(entries)[:-1]])
        self.initial: NDArray[np.int64] = np.array(
            [weights.text_cardinality] + [weights.cardinality] * weights.codebooks
        )

    @property
    def reach(self) -> int:
        """Return the last positions that a slot's state depends on."""
        return len(self.weights.layers) * (self.ring.context - 1) + 1

    def step(self, slots: NDArray[np.int64], tokens: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Advance some slots by one position each.

        slots: [rows], distinct. tokens: [rows, 1 + codebooks], the text's first.
        Returns text logits [rows, text_cardinality] and pauses [rows, heads], float32, in the order of `slots`.
        """
        plan = self.ring.plan_step(slots)
        hidden = self._transformer.step(self._embed_tokens(tokens[plan.order]), plan)
        self.ring.advance(slots)
        logits, pauses = self.answer(hidden)
        if plan.sorted:
            return logits, pauses
        back = torch.from_numpy(np.argsort(plan.order)).to(self._device)
        return logits.index_select(0, back), pauses.index_select(0, back)

    def chunk(self, slot: int, tokens: NDArray[np.int64]) -> None:
        """Advance one slot by many positions, for its state alone. tokens: [positions, 1 + codebooks]."""
        self._transformer.chunk(self._embed_tokens(tokens), plan := self.ring.plan_chunk(slot, len(tokens)))
        self.ring.advance(np.array([slot]), len(plan.positions))

    def embed(self, entries: torch.Tensor) -> torch.Tensor:
        """entries: [rows, 1 + codebooks] of the one table, see `first`. Returns [rows, dim]."""
        return functional.embedding_bag(entries, self.weights.embeddings, mode="sum").to(self.weights.dtype)

    def answer(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """hidden: [rows, dim]. Returns text logits [rows, text_cardinality] and pauses [rows, heads], float32."""
        weights = self.weights
        outputs = weights.output(weights.output_norm(hidden)).float()
        logits, extra = outputs[:, : weights.text_cardinality], outputs[:, weights.text_cardinality :]
        if weights.heads:
            # The first class of each head is the pause.
            extra = torch.softmax(extra.reshape(len(hidden), weights.heads, -1), -1)[..., 0]
        return logits, extra

    def _embed_tokens(self, tokens: NDArray[np.int64]) -> torch.Tensor:
        return self.embed(torch.from_numpy(tokens + self.first).to(self._device))
