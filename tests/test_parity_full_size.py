"""The 1B architecture at full size says what moshi says, through real gRPC. Minutes and gigabytes: `-m slow`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.common.framing import SAMPLE_RATE_HZ
from services.common.registry import resolve
from tests.gateway.audio.signals import speech_like
from tests.oracle import reference_codes, reference_tokens
from tests.real_stack import RealStack, as_heard, padded, pcm16
from tests.speech import chunks, config, transcribe


@pytest.mark.slow
async def test_the_1b_architecture_says_what_run_inference_says(tmp_path: Path) -> None:
    from training.seeded import write_seeded_checkpoint  # noqa: PLC0415

    folder = tmp_path / "stt-1b-seeded"
    write_seeded_checkpoint(folder, "1b", 0)
    checkpoint = resolve(str(folder))
    audio = pcm16(speech_like(2.0, SAMPLE_RATE_HZ, seed=3))
    async with RealStack(checkpoint, slots=1, heartbeat_timeout_s=300, hung_after_s=300) as stack:
        await transcribe(stack.stub, [config(), *chunks(audio)])
        assert stack.lm_engine is not None
        (record,) = stack.lm_engine.records
    codes = reference_codes(checkpoint, padded(checkpoint, as_heard(audio)))
    expected = reference_tokens(checkpoint, codes)
    assert np.array_equal(np.stack(record.codes), codes)
    assert record.text_tokens == expected.text_tokens.tolist()
    assert len(set(record.text_tokens)) > 4
