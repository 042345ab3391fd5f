"""What tests of the command line share: a recording, and a way to run a command as a shell would."""

from __future__ import annotations

import json
import math
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from services.cli.__main__ import app

Run = Callable[..., Result]


def write_wav(path: Path, duration_s: float, rate_hz: int = 16_000, channels: int = 1) -> Path:
    samples = np.sin(np.arange(round(duration_s * rate_hz)) * 2 * math.pi * 220 / rate_hz) * 8000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.repeat(samples.astype("<i2"), channels).tobytes())
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two seconds: time for all four words of the fake service."""
    return write_wav(tmp_path / "speech.wav", 2.0)


@pytest.fixture
def run() -> Run:
    def invoke(*arguments: object, env: dict[str, str] | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200", **(env or {})})

    return invoke


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]
