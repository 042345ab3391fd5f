"""The embedded model on recordings of people, through real gRPC: the words that were said, when they were said."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.registry import resolve
from tests.real_stack import RealStack
from tests.speech import chunks, config, transcribe, words

SAMPLES = Path("models/dsm-tiny-en/samples")
REFERENCES: list[dict[str, Any]] = json.loads((SAMPLES / "references.json").read_text())
# A frame is 80 ms; the model hears a beginning within one of it.
START_TOLERANCE_S = 0.2


def read_wav(path: Path) -> tuple[bytes, int]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.readframes(file.getnframes()), file.getframerate()


def edits(said: list[str], heard: list[str]) -> int:
    """Count the words to replace, leave out or put in: Levenshtein's distance."""
    row = np.arange(len(heard) + 1)
    for index, word in enumerate(said, start=1):
        before, row = row, np.full(len(heard) + 1, index)
        for column, other in enumerate(heard, start=1):
            row[column] = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (word != other))
    return int(row[-1])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def heard() -> dict[str, list[tuple[str, float, float]]]:
    """Transcribe every sample once, all at the same time."""
    import asyncio  # noqa: PLC0415

    async with RealStack(resolve("dsm-tiny-en"), slots=len(REFERENCES)) as stack:

        async def one(name: str) -> list[tuple[str, float, float]]:
            audio, rate_hz = read_wav(SAMPLES / name)
            audio_format = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=rate_hz)
            return words(await transcribe(stack.stub, [config(audio_format=audio_format), *chunks(audio, 3200)]))

        names = [reference["file"] for reference in REFERENCES]
        transcripts = await asyncio.gather(*(one(name) for name in names))
    return dict(zip(names, transcripts, strict=True))


# What it gets wrong, word by word, is in the model card; a better model may shorten this list and must not lengthen it.
KNOWN_ERRORS = {"digits.wav": 1, "days.wav": 1, "menu.wav": 1, "numbers.wav": 3}


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference["file"])
async def test_people_are_understood(
    reference: dict[str, Any], heard: dict[str, list[tuple[str, float, float]]]
) -> None:
    said = [word["word"] for word in reference["words"]]
    transcript = [word for word, _, _ in heard[reference["file"]]]
    assert edits(said, transcript) <= KNOWN_ERRORS.get(reference["file"], 0), transcript


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference["file"])
async def test_words_are_where_they_were_said(
    reference: dict[str, Any], heard: dict[str, list[tuple[str, float, float]]]
) -> None:
    # A word taken for another is still heard where it was said.
    starts = [word["start_s"] for word in reference["words"]]
    for word, start_s, end_s in heard[reference["file"]]:
        assert min(abs(start_s - said_s) for said_s in starts) <= START_TOLERANCE_S, word
        assert start_s < end_s


def test_prose_that_it_does_not_know_is_no_words() -> None:
    prose = next(reference for reference in REFERENCES if reference["file"] == "prose.wav")
    assert prose["words"] == []
