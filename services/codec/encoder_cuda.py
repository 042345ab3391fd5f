"""The encoder's steps captured as CUDA graphs. Several frames of one slot at once are not: those are chunks."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from services.codec.encoder_network import EncoderNetwork, Past
from services.common.framing import FRAME_SAMPLES
from services.neural.cuda_runtime import Runtime
from services.neural.cuda_steps import CapturedSteps
from services.neural.cuda_transformer import device_plan, device_transformer


class CapturedEncoderSteps:
    """Steps of a network that has one slot more than there are sessions, the last, for filling up batches."""

    def __init__(self, network: EncoderNetwork, slots: int, runtime: Runtime) -> None:
        """Capture the steps of all batch sizes here."""
        weights = network.weights
        self._network = network
        self._transformer = device_transformer(weights.layers, network.ring, weights.attention_heads, network.rotary)
        self._steps = CapturedSteps(
            self._body,
            slots=slots,
            width=FRAME_SAMPLES,
            dtype=torch.float32,
            answer_width=weights.codebooks,
            runtime=runtime,
        )

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Encode one frame of each of these distinct slots. pcm: [rows, samples]. Returns codes [rows, codebooks]."""
        finish = self._steps.start(slots, self._network.ring.ends[slots], pcm)
        self._network.ring.advance(slots)
        return finish().astype(np.uint16)

    def _body(self, header: torch.Tensor, pcm: torch.Tensor, answers: torch.Tensor) -> None:
        """Compute one step where everything is; see cuda_steps.Body. Nothing here may ask what a number is."""
        network = self._network
        slots, positions = header[:, 0].contiguous(), header[:, 1].contiguous()
        past = Past(network.past.index_select(0, slots), positions == 0)
        plan = device_plan(network.ring, slots, positions)
        codes = network.encode(
            pcm.to(network.weights.dtype), slots, past, lambda x: self._transformer.step(x.flatten(0, 1), plan)
        )
        # Codes are whole numbers below 2^24: exact in float32.
        answers.copy_(codes)
