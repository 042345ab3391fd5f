"""Augmentation keeps shapes and ranges and is decided by its seed alone."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("soxr")

from training import augment
from training.clips import SAMPLE_RATE


def speech() -> np.ndarray:
    at = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * 220 * at)).astype(np.float32)


def test_a_recorded_window_keeps_its_length_and_range() -> None:
    for seed in range(20):
        out = augment.recorded(speech(), np.random.default_rng(seed))
        assert out.shape == (SAMPLE_RATE,)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1.0


def test_warping_shrinks_times_by_its_factor() -> None:
    for seed in range(10):
        out, factor = augment.warped(speech(), np.random.default_rng(seed))
        assert 0.84 <= factor <= 1.19
        assert abs(len(out) * factor - SAMPLE_RATE) <= 2


def test_the_seed_decides_the_augmentation() -> None:
    one = augment.recorded(speech(), np.random.default_rng(5))
    other = augment.recorded(speech(), np.random.default_rng(5))
    assert np.array_equal(one, other)


def test_the_telephone_line_removes_what_is_above_4_khz() -> None:
    at = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    high = np.sin(2 * np.pi * 6000 * at).astype(np.float32)
    out = augment.telephone(high, np.random.default_rng(0))
    assert np.abs(out[2000:-2000]).max() < 0.05
