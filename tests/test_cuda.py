"""The engines on a CUDA device against moshi in float32 on the CPU. Runs only where there is one.

What does not need a device is tested without: the kernel, the captured steps, staging (tests/neural, test_*_captured).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.codec.encoder_engine import load as load_codec
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES
from services.lm.engine import History
from services.lm.lm_engine import BatchedLmEngine
from services.lm.lm_engine import load as load_lm
from tests.oracle import reference_codes, reference_tokens
from tests.random_sessions import run_at_random
from training.seeded_audio import speech_like

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: not measured without one")

FRAMES = 60


def random_codes(frames: int, seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 64, (frames, 6)).astype(np.uint16)


def replay(engine: BatchedLmEngine, slot: int, history: History) -> None:
    for _ in engine.open(slot, history) or ():
        pass


@pytest.mark.parametrize(
    ("dtype", "kv_dtype", "agreement"),
    [("float32", "auto", 0.99), ("bfloat16", "auto", 0.95), ("bfloat16", "float8", 0.8)],
)
def test_tokens_on_cuda_are_those_of_moshi_within_a_stated_tolerance(
    mini_checkpoint: Checkpoint, dtype: str, kv_dtype: str, agreement: float
):
    if kv_dtype == "float8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("float8 needs compute capability 8.9")
    codes = random_codes(FRAMES, 5)
    expected = reference_tokens(mini_checkpoint, codes)
    engine = load_lm(mini_checkpoint, slots=FRAMES, device="cuda", dtype=dtype, kv_dtype=kv_dtype)
    for frames in range(FRAMES):
        replay(engine, frames, History(codes[:frames], expected.text_tokens[: frames + 1]))
    answer = engine.step(np.arange(FRAMES), codes)
    assert (answer.text_tokens == expected.text_tokens[1:]).mean() >= agreement


def test_pauses_on_cuda_in_float32_are_those_of_moshi(mini_checkpoint: Checkpoint):
    codes = random_codes(FRAMES, 6)
    expected = reference_tokens(mini_checkpoint, codes)
    engine = load_lm(mini_checkpoint, slots=FRAMES, device="cuda", dtype="float32")
    for frames in range(FRAMES):
        replay(engine, frames, History(codes[:frames], expected.text_tokens[: frames + 1]))
    np.testing.assert_allclose(engine.step(np.arange(FRAMES), codes).pauses, expected.pauses[1:], atol=1e-3)


def test_a_session_in_graphs_of_any_batch_size_gets_what_it_gets_alone(mini_checkpoint: Checkpoint):
    """Joins, pauses and leaves: every bucket is replayed, with rows that fill up."""
    engine = load_lm(mini_checkpoint, slots=7, device="cuda", dtype="float32")
    sessions = [random_codes(frames, frames) for frames in (60, 3, 40, 23, 24, 1, 60, 25, 33)]
    together = run_at_random(engine, sessions, seed=1)
    agreed = total = 0
    for session, steps in zip(sessions, together, strict=True):
        (alone,) = run_at_random(engine, [session], seed=2)
        agreed += sum(int(one[0] == other[0]) for one, other in zip(alone, steps, strict=True))
        total += len(session)
    # Batch sizes differ in the last bits, as they do for moshi.
    assert agreed / total >= 0.99


def test_a_replayed_graph_says_what_the_host_planned_steps_say(mini_checkpoint: Checkpoint):
    """The same weights in float32 on the CPU, given the same past at every frame."""
    codes = random_codes(FRAMES, 7)
    on_cpu = load_lm(mini_checkpoint, slots=1, device="cpu")
    on_cuda = load_lm(mini_checkpoint, slots=1, device="cuda", dtype="float32")
    on_cpu.open(0)
    on_cuda.open(0)
    agreed = 0
    for frame in codes:
        one, other = on_cpu.step(np.array([0]), frame[None]), on_cuda.step(np.array([0]), frame[None])
        agreed += int(one.text_tokens[0] == other.text_tokens[0])
        np.testing.assert_allclose(one.pauses, other.pauses, atol=1e-3)
        on_cuda._steps.begin(0, int(one.text_tokens[0]))
    assert agreed / FRAMES >= 0.98


def test_a_replay_on_cuda_leaves_the_state_that_steps_leave(mini_checkpoint: Checkpoint):
    engine = load_lm(mini_checkpoint, slots=4, device="cuda", dtype="float32")
    codes = random_codes(47, 8)
    engine.open(2)
    text = np.array([engine.step(np.array([2]), frame[None]).text_tokens[0] for frame in [codes[0], *codes]], np.int32)
    replay(engine, 3, History(codes, text))
    ring = engine._network.ring
    assert ring.ends[3] == ring.ends[2]
    for layer in range(len(engine._network.weights.layers)):
        torch.testing.assert_close(ring.memory(layer)[:, 3], ring.memory(layer)[:, 2], rtol=0, atol=1e-3)


def test_codes_sent_ahead_while_a_graph_runs_get_their_tokens(mini_checkpoint: Checkpoint):
    engine = load_lm(mini_checkpoint, slots=2, device="cuda", dtype="float32")
    codes = random_codes(30, 9)
    engine.open(0)
    engine.open(1)
    plain = [int(engine.step(np.array([0]), frame[None]).text_tokens[0]) for frame in codes]
    ahead = []
    for index, frame in enumerate(codes):
        finish = engine.start(np.array([1]), frame[None], 1 if index else 0)
        engine.stage(codes[index + 1 : index + 2])
        ahead.append(int(finish().text_tokens[0]))
    assert ahead == plain


@pytest.mark.parametrize("burst", [1, 4])
def test_codes_on_cuda_are_those_of_moshi_within_a_stated_tolerance(mini_checkpoint: Checkpoint, burst: int):
    recordings = [speech_like(FRAMES, 100 + seed).numpy() for seed in range(3)]
    engine = load_codec(mini_checkpoint, slots=3, device="cuda")
    frames = [pcm.reshape(-1, FRAME_SAMPLES) for pcm in recordings]
    answers = run_at_random(engine, frames, seed=burst, burst=burst, restart=0)
    for pcm, codes in zip(recordings, answers, strict=True):
        assert (np.array(codes) == reference_codes(mini_checkpoint, pcm)).mean() >= 0.98
