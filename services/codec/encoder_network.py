"""Mimi's encoder over its slots: audio in, codes out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from services.codec.encoder_weights import Convolution, EncoderWeights, Residual
from services.neural.ring import Ring
from services.neural.rotary import Rotary
from services.neural.transformer import Transformer


class EncoderNetwork:
    """Convolutions, transformer and codebooks, and the state of every slot.

    Source: Mimi (Défossez et al. 2024, arXiv:2410.00037).
    """

    def __init__(self, weights: EncoderWeights, slots: int) -> None:
        self._weights = weights
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
        rotary = Rotary(weights.dim // weights.attention_heads, weights.max_period, weights.device)
        self._transformer = Transformer(weights.layers, self.ring, weights.attention_heads, rotary)
        # What every convolution needs of the past, in one row a slot: one gather and one write a step.
        self._past = torch.zeros(slots, weights.state, dtype=weights.dtype, device=weights.device)

    def reset(self, slot: int) -> None:
        """Forget a slot."""
        self.ring.reset(slot)
        self._past[slot] = 0

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32]) -> torch.Tensor:
        """Encode one frame of each of these distinct slots. pcm: [rows, samples]. Returns codes [rows, codebooks]."""
        plan = self.ring.plan_step(slots)
        ordered = slots[plan.order]
        past = self._gather(ordered)
        x = self._convolve(pcm[plan.order], past)
        x = self._transformer.step(x.flatten(0, 1), plan).view(x.shape)
        latent = past.apply(self._weights.downsample, x)[:, 0]
        self._scatter(ordered, past)
        self.ring.advance(slots)
        codes = self._quantize(latent)
        if len(slots) == 1:
            return codes
        return codes.index_select(0, torch.from_numpy(np.argsort(plan.order)).to(codes.device))

    def chunk(self, slot: int, pcm: NDArray[np.float32], *, codes: bool = True) -> torch.Tensor | None:
        """Encode several frames of one slot. pcm: [frames, samples]. Returns codes [frames, codebooks], if wanted."""
        plan = self.ring.plan_chunk(slot, len(pcm))
        slots = np.array([slot])
        past = self._gather(slots)
        # A copy, as arrays made from bytes cannot be written and torch warns of those.
        x = self._convolve(pcm.reshape(1, -1).copy(), past)
        x = self._transformer.chunk(x[0], plan)[None]
        latent = past.apply(self._weights.downsample, x)[0]
        self._scatter(slots, past)
        self.ring.advance(slots, len(pcm))
        return self._quantize(latent) if codes else None

    def _convolve(self, pcm: NDArray[np.float32], past: _Past) -> torch.Tensor:
        """pcm: [rows, samples]. Returns [rows, positions, dim]."""
        x = torch.from_numpy(pcm).to(self._weights.device, self._weights.dtype)[:, :, None]
        for index, stage in enumerate(self._weights.stages):
            if isinstance(stage, Residual):
                y = x
                for convolution in stage.block:
                    y = past.apply(convolution, functional.elu(y))
                x = y.add_(x)
            else:
                x = past.apply(stage, functional.elu(x) if index else x)
        return x

    def _quantize(self, latent: torch.Tensor) -> torch.Tensor:
        """latent: [rows, dim]. Returns codes [rows, codebooks]."""
        latent = latent.float()
        codes = []
        for quantizer in self._weights.quantizers:
            residual = quantizer.projection(latent)
            for number, codebook in enumerate(quantizer.codebooks, start=1):
                nearest = codebook.nearest(residual).argmax(dim=1)
                codes.append(nearest)
                if number < len(quantizer.codebooks):
                    residual = residual - functional.embedding(nearest, codebook.entries)
        return torch.stack(codes, 1)

    def _gather(self, slots: NDArray[np.int64]) -> _Past:
        first = torch.from_numpy(self.ring.ends[slots] == 0).to(self._past.device)
        return _Past(self._past.index_select(0, self._tensor(slots)), first)

    def _scatter(self, slots: NDArray[np.int64], past: _Past) -> None:
        self._past.index_copy_(0, self._tensor(slots), torch.cat(past.kept, 1))

    def _tensor(self, slots: NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(slots).to(self._past.device)


class _Past:
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
