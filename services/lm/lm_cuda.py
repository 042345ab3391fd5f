"""The LM's steps captured as CUDA graphs: the text goes from one step to the next without leaving the device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from services.lm.engine import LmStep
from services.lm.lm_network import LmNetwork
from services.lm.lm_steps import choose
from services.neural.cuda_runtime import Runtime
from services.neural.cuda_steps import CapturedSteps
from services.neural.cuda_transformer import device_plan, device_transformer


class CapturedLmSteps:
    """LmSteps; the network has one slot more than there are sessions, the last, for filling up batches."""

    overlap = True

    def __init__(self, network: LmNetwork, slots: int, temperature: float, runtime: Runtime) -> None:
        """Capture the steps of all batch sizes here."""
        weights = network.weights
        self._network = network
        self._temperature = temperature
        self._transformer = device_transformer(weights.layers, network.ring, weights.attention_heads, network.rotary)
        device = runtime.device
        self._first = torch.from_numpy(network.first).to(device)
        self._initial = torch.from_numpy(network.initial).to(device)
        self._text = torch.zeros(slots + 1, dtype=torch.int64, device=device)
        self._steps = CapturedSteps(
            self._body,
            slots=slots,
            width=weights.codebooks,
            dtype=torch.int32,
            answer_width=1 + weights.heads,
            runtime=runtime,
        )

    def begin(self, slot: int, text_token: int) -> None:
        """See LmSteps."""
        self._text[slot].fill_(text_token)

    def stage(self, codes: NDArray[np.uint16]) -> None:
        """See LmSteps."""
        self._steps.stage(codes)

    def start(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], staged: int) -> Callable[[], LmStep]:
        """See LmSteps."""
        finish = self._steps.start(slots, self._network.ring.ends[slots], codes, staged)
        self._network.ring.advance(slots)

        def answer() -> LmStep:
            answers = finish()
            return LmStep(answers[:, 0].astype(np.int32), answers[:, 1:])

        return answer

    def _body(self, header: torch.Tensor, codes: torch.Tensor, answers: torch.Tensor) -> None:
        """Compute one step where everything is; see cuda_steps.Body. Nothing here may ask what a number is."""
        slots, positions = header[:, 0].contiguous(), header[:, 1].contiguous()
        tokens = torch.cat([self._text.index_select(0, slots)[:, None], codes.long()], 1)
        # A session's first step takes no audio.
        tokens = torch.where(positions[:, None] == 0, self._initial, tokens)
        plan = device_plan(self._network.ring, slots, positions)
        hidden = self._transformer.step(self._network.embed(tokens + self._first), plan)
        logits, pauses = self._network.answer(hidden)
        chosen = choose(logits, self._temperature)
        self._text.index_copy_(0, slots, chosen)
        # Whole numbers below 2^24 are exact in float32.
        answers[:, 0].copy_(chosen)
        answers[:, 1:].copy_(pauses)
