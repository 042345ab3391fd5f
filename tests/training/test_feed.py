"""Batches come from this process or from others, each with windows of its own."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("scipy")
pytest.importorskip("soxr")

import torch

from training.clips import SAMPLE_RATE, ClipWriter, Word, read_clips
from training.feed import Batches, feed


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    stem = tmp_path / "espeak"
    with ClipWriter(stem) as writer:
        for text in ("one", "two", "giraffe"):
            writer.append(text, "noise", random.normal(0, 0.1, SAMPLE_RATE).astype(np.float32))
    clips = [
        replace(clip, words=[Word(clip.text, 0.2, 0.7)], phones=[("AH", 0.2, 0.7)])
        for clip in read_clips(stem.with_suffix(".jsonl"))
    ]
    stem.with_suffix(".aligned.jsonl").write_text("".join(json.dumps(asdict(clip)) + "\n" for clip in clips))
    return tmp_path


def test_a_batch_has_the_shapes_that_the_network_takes(cache: Path) -> None:
    batch = next(feed(Batches(cache, 3, 32, 1), "cpu"))
    shapes = {key: tuple(value.shape) for key, value in batch.items()}
    assert shapes == {"pcm": (3, 1, 32 * 1920), "text": (3, 33), "phones": (3, 64), "pauses": (3, 4, 33)}


def test_the_same_seed_gives_the_same_batches(cache: Path) -> None:
    one, other = (feed(Batches(cache, 1, 32, seed), "cpu") for seed in (5, 5))
    for _ in range(2):
        assert torch.equal(next(one)["pcm"], next(other)["pcm"])


def test_processes_do_not_make_the_same_batches(cache: Path) -> None:
    batches = feed(Batches(cache, 1, 32, 1), "cpu", processes=2)
    first, second = next(batches), next(batches)
    assert not torch.equal(first["pcm"], second["pcm"])
    batches.close()
