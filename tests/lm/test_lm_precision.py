"""What shorter weights and a shorter cache cost, against moshi in float32, each token given the same past.

docs/engines.md states the tolerances, and what was measured.
"""

from __future__ import annotations

import wave
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soxr
import torch
from numpy.typing import NDArray

from services.common.checkpoint import Checkpoint
from services.common.errors import ConfigError
from services.common.registry import resolve
from services.lm.config import LmConfig
from services.lm.engine import History
from services.lm.lm_engine import load
from services.lm.lm_replay import history_tokens
from tests.oracle import ReferenceTokens, reference_codes, reference_logits, reference_tokens

MODEL = Path(__file__).parents[2] / "models" / "dsm-tiny-en"
# Of the seeded checkpoint: its weights are random, so the two likeliest tokens are often closer than a trained model's.
FRAMES, AGREEMENT, PAUSE_TOLERANCE = 100, 0.95, 0.05


class Spoken(NamedTuple):
    """A recording through the embedded model, as moshi computes it."""

    checkpoint: Checkpoint
    codes: NDArray[np.uint16]
    tokens: ReferenceTokens
    logits: NDArray[np.float32]


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    checkpoint = resolve(str(MODEL))
    with wave.open(str(MODEL / "samples" / "numbers.wav")) as file:
        rate_hz, samples = file.getframerate(), file.readframes(file.getnframes())
    pcm = soxr.resample(np.frombuffer(samples, np.int16).astype(np.float32) / 32768, rate_hz, 24_000)
    codes = reference_codes(checkpoint, pcm)
    # Longer than the model's context of 64 frames.
    assert len(codes) > 75
    tokens = reference_tokens(checkpoint, codes)
    return Spoken(checkpoint, codes, tokens, reference_logits(checkpoint, codes, tokens.text_tokens))


@pytest.mark.parametrize(
    ("dtype", "kv_dtype", "logit_tolerance", "pause_tolerance"),
    [
        ("float32", "auto", 1e-3, 1e-4),
        ("bfloat16", "auto", 0.25, 0.02),
        ("int8", "auto", 0.5, 0.05),
        ("float32", "bfloat16", 0.1, 0.01),
        # The rounding of e4m3 is the same on every device.
        ("float32", "float8", 1.0, 0.15),
        ("bfloat16", "float8", 1.0, 0.15),
    ],
)
def test_the_embedded_model_keeps_its_tokens_and_its_logits_within_a_stated_tolerance(
    spoken: Spoken, dtype: str, kv_dtype: str, logit_tolerance: float, pause_tolerance: float
):
    """Logits have a standard deviation of 6.5."""
    network = load(spoken.checkpoint, slots=1, device="cpu", dtype=dtype, kv_dtype=kv_dtype)._network
    logits, pauses = [], []
    with torch.inference_mode():
        for tokens in history_tokens(network.initial, History(spoken.codes, spoken.tokens.text_tokens)):
            row, heads = network.step(np.array([0]), tokens[None])
            logits.append(row[0].numpy())
            pauses.append(heads[0].numpy())
    assert (np.argmax(logits, axis=1) == spoken.tokens.text_tokens).mean() >= 0.99
    assert abs(np.array(logits) - spoken.logits).max() <= logit_tolerance
    assert abs(np.array(pauses) - spoken.tokens.pauses).max() <= pause_tolerance


@pytest.mark.parametrize(("dtype", "kv_dtype"), [("bfloat16", "auto"), ("int8", "auto"), ("float32", "bfloat16")])
def test_shorter_numbers_keep_the_tokens_of_a_model_that_hesitates(
    mini_checkpoint: Checkpoint, dtype: str, kv_dtype: str
):
    codes = np.random.default_rng(5).integers(0, 64, (FRAMES, 6)).astype(np.uint16)
    expected = reference_tokens(mini_checkpoint, codes)
    engine = load(mini_checkpoint, slots=FRAMES, device="cpu", dtype=dtype, kv_dtype=kv_dtype)
    for frames in range(FRAMES):
        for _ in engine.open(frames, History(codes[:frames], expected.text_tokens[: frames + 1])) or ():
            pass
    answer = engine.step(np.arange(FRAMES), codes)
    assert (answer.text_tokens == expected.text_tokens[1:]).mean() >= AGREEMENT
    assert abs(answer.pauses - expected.pauses[1:]).max() <= PAUSE_TOLERANCE


def test_a_replay_rounds_as_steps_do(mini_checkpoint: Checkpoint):
    """A chunk sees the keys and values of its own positions; it must see them as the cache will give them back."""
    codes = np.random.default_rng(6).integers(0, 64, (40, 6)).astype(np.uint16)
    engine = load(mini_checkpoint, slots=2, device="cpu", kv_dtype="float8")
    engine.open(0)
    text = np.array([engine.step(np.array([0]), frame[None]).text_tokens[0] for frame in [codes[0], *codes]], np.int32)
    for _ in engine.open(1, History(codes, text)) or ():
        pass
    ring = engine._network.ring
    for layer in range(len(engine._network.weights.layers)):
        stepped, replayed = ring.memory(layer)[:, 0].float(), ring.memory(layer)[:, 1].float()
        # Numbers that lie between two of float8's may fall to either side.
        assert ((stepped - replayed).abs() <= 0.13 * stepped.abs() + 2**-8).float().mean() > 0.999
        assert (stepped == replayed).float().mean() > 0.99


def test_int8_is_refused_for_the_codec():
    from services.codec.config import CodecConfig  # noqa: PLC0415

    with pytest.raises(ConfigError, match="int8"):
        CodecConfig(dtype="int8")


def test_an_unknown_type_of_the_cache_is_refused():
    with pytest.raises(ConfigError, match=r"DSM_KV_DTYPE: wanted one of auto.* got 'fp4'"):
        LmConfig(kv_dtype="fp4")
