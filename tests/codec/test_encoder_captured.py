"""The encoder's captured steps, without a device: the same body, buffers, buckets and kernel, against MimiModel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("triton", reason="comes with torch for CUDA")

from services.codec.encoder_cuda import CapturedEncoderSteps
from services.codec.encoder_engine import EncoderEngine
from services.codec.encoder_network import EncoderNetwork
from services.codec.encoder_weights import load_weights
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES
from services.neural.linear import Precision
from tests.fakes.runtime import LateRuntime
from tests.oracle import reference_codes
from tests.random_sessions import run_at_random
from training.seeded_audio import speech_like

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are compiled for CUDA here: test_cuda.py")
SLOTS = 3


@pytest.fixture(scope="module")
def engine(mini_checkpoint: Checkpoint) -> EncoderEngine:
    runtime = LateRuntime()
    with torch.inference_mode():
        network = EncoderNetwork(load_weights(mini_checkpoint, runtime.device, Precision.FLOAT32), SLOTS + 1)
        return EncoderEngine(network, SLOTS, CapturedEncoderSteps(network, SLOTS, runtime).step)


def audio(frames: int, seed: int) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = speech_like(frames, seed).numpy()
    return samples.reshape(frames, FRAME_SAMPLES)


@pytest.mark.parametrize("burst", [1, 3])
def test_sessions_that_come_and_go_get_the_codes_of_mimi(
    engine: EncoderEngine, mini_checkpoint: Checkpoint, burst: int
):
    """The longest wraps the ring of 10 frames around; several frames of one at once go another way."""
    recordings = [audio(frames, frames) for frames in (14, 2, 9, 1, 12)]
    answers = run_at_random(engine, recordings, seed=burst, burst=burst)
    for pcm, codes in zip(recordings, answers, strict=True):
        np.testing.assert_array_equal(np.array(codes), reference_codes(mini_checkpoint, pcm.reshape(-1)))
