"""moshi.run_inference on a checkpoint of ours: the published way of transcribing a file, and what it costs.

The loop that runs is moshi's own, frame by frame through MimiModel and LMGen; weights are float32, as ours are.
"""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import torch
from moshi.client_utils import RawPrinter
from moshi.models import loaders
from moshi.run_inference import InferenceState
from moshi.utils.compile import no_compile
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from services.common.checkpoint import Checkpoint


class ReferenceRun:
    """The models, loaded once; each recording is a stream of its own."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        config = None if checkpoint.mimi_config is None else dict(checkpoint.mimi_config)
        mimi = loaders.get_mimi(checkpoint.mimi_weights, config, num_codebooks=checkpoint.codebooks)
        lm = loaders.get_moshi_lm(checkpoint.lm_weights, checkpoint.lm_config, dtype=torch.float32)
        facts = SimpleNamespace(model_type="stt", stt_config=checkpoint.config["stt_config"])
        tokenizer = SentencePieceProcessor(model_file=str(checkpoint.tokenizer))
        with no_compile():
            self._state = InferenceState(facts, mimi, tokenizer, lm, 1, 1.0, "cpu", use_sampling=False)

    def transcribe(self, pcm: NDArray[np.float32]) -> str:
        """Return the text of a recording, [samples] at 24 kHz."""
        said = io.StringIO()
        self._state.printer = RawPrinter(said, io.StringIO())
        self._state.mimi.reset_streaming()
        self._state.lm_gen.reset_streaming()
        with torch.no_grad(), no_compile():
            self._state.run(torch.from_numpy(pcm)[None, None])
        return said.getvalue().strip()
