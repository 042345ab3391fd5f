"""The codec engine against MimiModel on 20 000 random session-frames: joins, pauses, resets, leaves, wrap-around."""

from __future__ import annotations

import numpy as np
import pytest

from services.codec.encoder_engine import load
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES
from tests.oracle import reference_codes_of_many
from tests.random_sessions import run_at_random
from training.seeded_audio import speech_like

SESSIONS, LONGEST = 46, 500
# Two entries of a codebook are equally near when their distances differ by less than this share: float32 keeps 7
# digits, and a sum of squares loses some. Seen: one frame of 10 000, where they differed by 5e-8.
ROUNDING = 1e-6


@pytest.mark.parametrize("burst", [1, 8])
def test_every_code_of_10000_session_frames_is_the_one_of_mimi(mini_checkpoint: Checkpoint, burst: int):
    """One frame a step, and backlogs of up to 8 frames a session and step."""
    random = np.random.default_rng(burst)
    pcm = np.stack([speech_like(LONGEST, 1_000 * burst + session).numpy() for session in range(SESSIONS)])
    expected = reference_codes_of_many(mini_checkpoint, pcm)
    # Some are shorter than the context of 10 frames, most wrap its rings around many times.
    lengths = random.integers(1, LONGEST, SESSIONS)
    assert lengths.sum() >= 10_000
    frames = pcm.reshape(SESSIONS, LONGEST, FRAME_SAMPLES)
    sessions = [row[:length] for row, length in zip(frames, lengths, strict=True)]
    engine = load(mini_checkpoint, slots=24, device="cpu")
    answers = run_at_random(engine, sessions, seed=burst, restart=0.001, burst=burst)
    wrong, ties = 0, 0
    for codes, margins, length, answer in zip(*expected, lengths, answers, strict=True):
        differs = np.array(answer) != codes[:length]
        for frame in np.flatnonzero(differs.any(axis=1)):
            # What follows the first difference in a frame follows from it.
            tie = margins[frame, differs[frame].argmax()] < ROUNDING
            ties, wrong = ties + tie, wrong + (not tie)
    assert wrong == 0
    assert ties <= lengths.sum() / 2_000
