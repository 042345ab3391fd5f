"""What shorter weights cost, against moshi in float32: each token given the same past, so that no error adds up."""

from __future__ import annotations

import numpy as np
import pytest

from services.common.checkpoint import Checkpoint
from services.common.errors import ConfigError
from services.lm.engine import History
from services.lm.lm_engine import load
from tests.oracle import reference_tokens

# The weights are random, so the two likeliest tokens are often closer than a trained model's.
FRAMES, AGREEMENT, PAUSE_TOLERANCE = 100, 0.95, 0.05


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_shorter_weights_keep_the_tokens_within_a_stated_tolerance(mini_checkpoint: Checkpoint, dtype: str):
    codes = np.random.default_rng(5).integers(0, 64, (FRAMES, 6)).astype(np.uint16)
    expected = reference_tokens(mini_checkpoint, codes)
    engine = load(mini_checkpoint, slots=FRAMES, device="cpu", dtype=dtype)
    for frames in range(FRAMES):
        for _ in engine.open(frames, History(codes[:frames], expected.text_tokens[: frames + 1])) or ():
            pass
    answer = engine.step(np.arange(FRAMES), codes)
    assert (answer.text_tokens == expected.text_tokens[1:]).mean() >= AGREEMENT
    assert abs(answer.pauses - expected.pauses[1:]).max() <= PAUSE_TOLERANCE


def test_int8_is_refused_for_the_codec():
    from services.codec.config import CodecConfig  # noqa: PLC0415

    with pytest.raises(ConfigError, match="int8"):
        CodecConfig(dtype="int8")
