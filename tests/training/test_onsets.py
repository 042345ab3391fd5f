"""Word edges beside silence move to where the sound is."""

import numpy as np

from training.clips import SAMPLE_RATE
from training.onsets import corrected


def burst(start_s: float, end_s: float, length_s: float = 2.0) -> np.ndarray:
    pcm = np.random.default_rng(0).normal(0, 1e-4, int(length_s * SAMPLE_RATE)).astype(np.float32)
    first, last = int(start_s * SAMPLE_RATE), int(end_s * SAMPLE_RATE)
    pcm[first:last] += 0.3 * np.sin(np.arange(last - first) * 0.05).astype(np.float32)
    return pcm


def test_a_late_start_and_an_early_end_are_moved_outward() -> None:
    ((start_s, end_s),) = corrected([(0.62, 0.9)], burst(0.5, 1.0), SAMPLE_RATE)
    assert abs(start_s - 0.5) <= 0.011
    assert abs(end_s - 1.0) <= 0.011


def test_an_early_start_and_a_late_end_are_moved_inward() -> None:
    ((start_s, end_s),) = corrected([(0.4, 1.1)], burst(0.5, 1.0), SAMPLE_RATE)
    assert abs(start_s - 0.5) <= 0.011
    assert abs(end_s - 1.0) <= 0.011


def test_edges_between_words_without_silence_stay() -> None:
    spans = corrected([(0.5, 0.75), (0.75, 1.0)], burst(0.5, 1.0), SAMPLE_RATE)
    assert spans[0][1] == spans[1][0] == 0.75
