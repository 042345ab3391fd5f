"""The torch of the images, with CUDA cut out of it, computes what the wheel's does: every code and every token."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.results import ROOT
from benchmarks.scripts import recordings
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

PROGRAM = Path(__file__).with_name("engine_answers.py").read_text()


@pytest.fixture(scope="module")
def audio() -> bytes:
    """All recordings, one after the other, cut to whole frames."""
    samples = np.frombuffer(b"".join(recordings(SAMPLE_RATE_HZ)), "<i2").astype(np.float32) / 32768
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].tobytes()


@pytest.fixture(scope="module")
def outside(audio: bytes) -> dict[str, Any]:
    """What the engines answer here, with torch as it comes from PyPI."""
    return answers([sys.executable], audio)


def answers(python: list[str], audio: bytes) -> dict[str, Any]:
    done = subprocess.run([*python, "-c", PROGRAM], input=audio, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("service", ["codec", "lm"])
def test_codes_and_tokens_are_those_of_the_whole_torch(
    images: dict[str, str], service: str, audio: bytes, outside: dict[str, Any]
) -> None:
    inside = answers(
        ["docker", "run", "--rm", "--interactive", "--network=none", "--entrypoint=python3", images[service]], audio
    )
    assert inside["codes"] == outside["codes"]
    assert inside["tokens"] == outside["tokens"]


def test_there_is_something_to_compare(outside: dict[str, Any], audio: bytes) -> None:
    frames = len(audio) // 4 // FRAME_SAMPLES
    assert (len(outside["codes"]), len(outside["tokens"])) == (frames, frames + 1)
    # Two dozen words and more, of several pieces each.
    assert len(set(outside["tokens"])) > 25
