"""The engines on a CUDA device against moshi in float32 on the CPU. Runs only where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.codec.encoder_engine import load as load_codec
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES
from services.lm.engine import History
from services.lm.lm_engine import load as load_lm
from tests.oracle import reference_codes, reference_tokens
from training.seeded_audio import speech_like

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: not measured without one")

FRAMES = 60


@pytest.mark.parametrize(("dtype", "agreement"), [("float32", 0.99), ("bfloat16", 0.95)])
def test_tokens_on_cuda_are_those_of_moshi_within_a_stated_tolerance(
    mini_checkpoint: Checkpoint, dtype: str, agreement: float
):
    codes = np.random.default_rng(5).integers(0, 64, (FRAMES, 6)).astype(np.uint16)
    expected = reference_tokens(mini_checkpoint, codes)
    engine = load_lm(mini_checkpoint, slots=FRAMES, device="cuda", dtype=dtype)
    for frames in range(FRAMES):
        for _ in engine.open(frames, History(codes[:frames], expected.text_tokens[: frames + 1])) or ():
            pass
    answer = engine.step(np.arange(FRAMES), codes)
    assert (answer.text_tokens == expected.text_tokens[1:]).mean() >= agreement


def test_codes_on_cuda_are_those_of_moshi_within_a_stated_tolerance(mini_checkpoint: Checkpoint):
    pcm = speech_like(FRAMES, 100).numpy()
    engine = load_codec(mini_checkpoint, slots=2, device="cuda")
    engine.open(1)
    codes = np.concatenate([engine.step(np.array([1]), frame[None]) for frame in pcm.reshape(-1, FRAME_SAMPLES)])
    assert (codes == reference_codes(mini_checkpoint, pcm)).mean() >= 0.98
