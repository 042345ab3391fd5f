"""The LM engine against LMGen on 20 000 random session-frames: joins, pauses, resets, leaves, wrap-around."""

from __future__ import annotations

import numpy as np

from services.common.checkpoint import Checkpoint
from services.lm.lm_engine import load
from tests.oracle import reference_tokens_of_many
from tests.random_sessions import run_at_random

SESSIONS, LONGEST = 80, 500


def test_every_token_of_20000_session_frames_is_the_one_of_lmgen(mini_checkpoint: Checkpoint):
    random = np.random.default_rng(20_000)
    codes = random.integers(0, 64, (SESSIONS, LONGEST, 6)).astype(np.uint16)
    expected = reference_tokens_of_many(mini_checkpoint, codes)
    # Some are shorter than the context of 24 frames, most wrap its rings around many times.
    lengths = random.integers(1, LONGEST, SESSIONS)
    assert lengths.sum() >= 20_000
    # The first row of each is for the step that takes no audio.
    sessions = [np.concatenate([row[:1], row[:length]]) for row, length in zip(codes, lengths, strict=True)]
    answers = run_at_random(load(mini_checkpoint, slots=24, device="cpu"), sessions, seed=1, restart=0.001)
    for row, length, steps in zip(expected, lengths, answers, strict=True):
        assert [int(token) for token, _ in steps] == row[: length + 1].tolist()
