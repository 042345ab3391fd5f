"""Mimi's encoder over its slots: audio in, codes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from services.codec.encoder_weights import Convolution, EncoderWeights, Residual
from services.neural.attention import GroupedAttention
from services.neural.ring import Ring
from services.neural.rotary import Rotary
from services.neural.transformer import Transformer

# From the convolutions' answer, [rows, positions, dim], through the transformer; as many numbers come back.
Transform = Callable[[torch.Tensor], torch.Tensor]


class EncoderNetwork:
    """Convolutions, transformer and codebooks, and the state of every slot.

    Source: Mimi (Défossez et al. 2024, arXiv:2410.00037).
    """

    def __init__(self, weights: EncoderWeights, slots: int) -> None:
        self.weights = weights
        self.ring = Ring(
            layers=len(weights.layers),
            slots=slots,
            heads=weights.attention_heads,
            context=weights.context,
            head_dim=weights.dim // weights.attention_heads,
            dtype=weights.dtype,
            device=weights.device,
            frame_positions=weights.frame_positions,
        )
        self.rotary = Rotary(weights.dim // weights.attention_heads, weights.max_period, weights.device)
        self._transformer = Transformer(
            weights.layers,
            self.ring,
            weights.attention_heads,
            self.rotary,
            GroupedAttention(self.ring, weights.attention_heads),
        )
        # What every convolution needs of the past, in one row a slot: one gather and one write a step.
        self.past = torch.zeros(slots, weights.state, dtype=weights.dtype, device=weights.device)

    def reset(self, slot: int) -> None:
        """Forget a slot."""
        self.ring.reset(slot)
        self.past[slot] = 0

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32]) -> torch.Tensor:
        """Encode one frame of each of these distinct slots. pcm: [rows, samples]. Returns codes [rows, codebooks]."""
        plan = self.ring.plan_step(slots)
        ordered = slots[plan.order]
        place, past = self._past_of(ordered)
        codes = self.encode(
            self._samples(pcm[plan.order]), place, past, lambda x: self._transformer.step(x.flatten(0, 1), plan)
        )
        self.ring.advance(slots)
        if plan.sorted:
            return codes
        return codes.index_select(0, torch.from_numpy(np.argsort(plan.order)).to(codes.device))

    def chunk(self, slot: int, pcm: NDArray[np.float32], *, codes: bool = True) -> torch.Tensor | None:
        """Encode several frames of one slot. pcm: [frames, samples]. Returns codes [frames, codebooks], if wanted."""
        plan = self.ring.plan_chunk(slot, len(pcm))
        place, past = self._past_of(np.array([slot]))
        # A copy, as arrays made from bytes cannot be written and torch warns of those.
        samples = self._samples(pcm.reshape(1, -1).copy())
        latent = self.latent(samples, place, past, lambda x: self._transformer.chunk(x[0], plan))
        self.ring.advance(np.array([slot]), len(pcm))
        return self.quantize(latent[0]) if codes else None

    def latent(self, samples: torch.Tensor, slots: torch.Tensor, past: Past, transform: Transform) -> torch.Tensor:
        """Encode up to the codebooks. samples: [rows, samples], of the network's type; slots: [rows].

        Returns [rows, frames, dim]. Writes the slots' past.
        """
        x = self._convolve(samples[:, :, None], past)
        x = past.apply(self.weights.downsample, transform(x).view(x.shape))
        self.past.index_copy_(0, slots, torch.cat(past.kept, 1))
        return x

    def encode(self, samples: torch.Tensor, slots: torch.Tensor, past: Past, transform: Transform) -> torch.Tensor:
        """Encode one frame of each of some slots; see `latent`. Returns codes [rows, codebooks]."""
        return self.quantize(self.latent(samples, slots, past, transform)[:, 0])

    def _convolve(self, x: torch.Tensor, past: Past) -> torch.Tensor:
        """x: [rows, samples, 1]. Returns [rows, positions, dim]."""
        for index, stage in enumerate(self.weights.stages):
            if isinstance(stage, Residual):
                y = x
                for convolution in stage.block:
                    y = past.apply(convolution, functional.elu(y))
                x = y.add_(x)
            else:
                x = past.apply(stage, functional.elu(x) if index else x)
        return x

    def quantize(self, latent: torch.Tensor) -> torch.Tensor:
        """latent: [rows, dim]. Returns codes [rows, codebooks]."""
        latent = latent.float()
        codes = []
        for quantizer in self.weights.quantizers:
            residual = quantizer.projection(latent)
            for number, codebook in enumerate(quantizer.codebooks, start=1):
                nearest = codebook.nearest(residual).argmax(dim=1)
                codes.append(nearest)
                if number < len(quantizer.codebooks):
                    residual = residual - functional.embedding(nearest, codebook.entries)
        return torch.stack(codes, 1)

    def _past_of(self, slots: NDArray[np.int64]) -> tuple[torch.Tensor, Past]:
        place = torch.from_numpy(slots).to(self.past.device)
        first = torch.from_numpy(self.ring.ends[slots] == 0).to(self.past.device)
        return place, Past(self.past.index_select(0, place), first)

    def _samples(self, pcm: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(pcm).to(self.weights.device, self.weights.dtype)


class Past:
    """The past of the rows of one step, and what will be their past in the next.

    rows: [rows, state]. first: [rows], whether a row has no past yet.
    """

    def __init__(self, rows: torch.Tensor, first: torch.Tensor) -> None:
        self._rows = rows
        self._first = first
        # In the order of the offsets, as the convolutions are applied in that order.
        self.kept: list[torch.Tensor] = []

    def apply(self, convolution: Convolution, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, time, channels]. Returns [rows, time / stride, out]."""
        rows, length, channels = x.shape
        if convolution.past:
            end = convolution.offset + convolution.past * channels
            past = self._rows[:, convolution.offset : end].view(rows, convolution.past, channels)
            if convolution.replicates:
                past = torch.where(self._first[:, None, None], x[:, :1], past)
            x = torch.cat([past, x], 1)
            self.kept.append(x[:, -convolution.past :].flatten(1))
        if convolution.kernel > 1:
            x = x.as_strided(
                (rows, length // convolution.stride, convolution.kernel, channels),
                (x.stride(0), convolution.stride * channels, convolution.dilation * channels, 1),
            )
        return convolution.matrix(x.reshape(-1, convolution.kernel * channels)).view(
            rows, length // convolution.stride, -1
        )
