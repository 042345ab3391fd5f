"""Speech that travelled packed is the speech that training would have read."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("scipy")
pytest.importorskip("soxr")

import json
from dataclasses import asdict, replace

from training.clips import SAMPLE_RATE, Clip, ClipWriter, Word, read_clips, read_pcm
from training.pack import MIB, bit_rate, pack, unpack


def cached(folder: Path) -> list[Clip]:
    """Put three clips of noise bursts into a cache, the second of them not aligned."""
    random = np.random.default_rng(0)
    stem = folder / "voice"
    with ClipWriter(stem) as writer:
        for text, seconds in (("one", 1.0), ("lost", 0.5), ("two", 1.5)):
            pcm = random.normal(0, 0.2, int(seconds * SAMPLE_RATE)).astype(np.float32)
            pcm *= np.sin(np.arange(len(pcm)) * 2 * np.pi * 3 / SAMPLE_RATE) > 0
            writer.append(text, "bursts", pcm)
    clips = [replace(clip, words=[Word(clip.text, 0.1, 0.4)]) for clip in read_clips(stem.with_suffix(".jsonl"))]
    aligned = [clip for clip in clips if clip.text != "lost"]
    index = stem.with_suffix(".aligned.jsonl")
    index.write_text("".join(json.dumps(asdict(clip)) + "\n" for clip in aligned))
    return aligned


def test_words_and_samples_are_where_they_were(tmp_path: Path) -> None:
    before = cached(tmp_path / "here")
    packed, there = tmp_path / "packed", tmp_path / "there"
    packed.mkdir()
    there.mkdir()
    pack(tmp_path / "here" / "voice", packed, 64_000)
    after = unpack(packed / "voice.ogg", there)
    assert [(clip.text, clip.words, clip.samples) for clip in after] == [
        (clip.text, clip.words, clip.samples) for clip in before
    ]
    for old, new in zip(before, after, strict=True):
        was = read_pcm(tmp_path / "here" / "voice")[old.first_sample :][: old.samples].astype(float)
        now = read_pcm(there / "voice")[new.first_sample :][: new.samples].astype(float)
        shifts = range(-200, 201)
        best = max(shifts, key=lambda shift: float((was * np.roll(now, shift)).sum()))
        assert abs(best) <= 1
        assert np.corrcoef(was, now)[0, 1] > 0.7


def test_a_pack_is_as_large_as_allowed() -> None:
    assert bit_rate(3600.0, 64 * MIB) == 32_000
    rate = bit_rate(6 * 3600.0, 64 * MIB)
    assert 12_000 < rate < 32_000
    assert rate / 8 * 6 * 3600 < 64 * MIB


def test_speech_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="kbit/s"):
        bit_rate(6 * 3600.0, MIB)
