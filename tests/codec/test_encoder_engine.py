from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.codec.encoder_engine import EncoderEngine, load
from services.codec.encoder_network import EncoderNetwork
from services.codec.encoder_weights import load_weights
from services.common.checkpoint import Checkpoint
from services.common.errors import CheckpointError, ConfigError, EngineFailed
from services.common.framing import FRAME_SAMPLES
from services.neural.linear import Precision
from tests.oracle import reference_codes
from tests.random_sessions import run_at_random
from training.seeded_audio import speech_like

# The context of the mini checkpoint is 10 frames: most sessions are longer, so the rings of the caches wrap.
LENGTHS = (60, 3, 45, 12, 31, 1, 60, 22, 9, 60, 11, 38)


def audio(frames: int, seed: int) -> NDArray[np.float32]:
    samples: NDArray[np.float32] = speech_like(frames, seed).numpy()
    return samples.reshape(frames, FRAME_SAMPLES)


@pytest.fixture(scope="module")
def engine(mini_checkpoint: Checkpoint) -> EncoderEngine:
    return load(mini_checkpoint, slots=8, device="cpu")


@pytest.fixture(scope="module")
def recording() -> NDArray[np.float32]:
    return audio(60, 100)


@pytest.fixture(scope="module")
def codes(mini_checkpoint: Checkpoint, recording: NDArray[np.float32]) -> NDArray[np.uint16]:
    return reference_codes(mini_checkpoint, recording.reshape(-1))


def run(engine: EncoderEngine, slot: int, pcm: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.concatenate([engine.step(np.array([slot]), frame[None]) for frame in pcm])


def test_the_reference_codes_vary(codes: NDArray[np.uint16]):
    """Otherwise the tests here would pass with an engine that mixes everything up."""
    assert [len(np.unique(column)) >= 8 for column in codes.T] == [True] * codes.shape[1]
    assert len(np.unique(codes, axis=0)) > 0.8 * len(codes)


@pytest.mark.parametrize("seed", range(3))
def test_sessions_that_come_and_go_get_the_codes_they_get_alone(
    engine: EncoderEngine, mini_checkpoint: Checkpoint, seed: int
):
    recordings = [audio(frames, 100 * seed + index) for index, frames in enumerate(LENGTHS)]
    answers = run_at_random(engine, recordings, seed)
    for pcm, codes in zip(recordings, answers, strict=True):
        np.testing.assert_array_equal(np.array(codes), reference_codes(mini_checkpoint, pcm.reshape(-1)))


def test_a_slot_opened_again_knows_nothing_of_its_last_session(
    engine: EncoderEngine, recording: NDArray[np.float32], codes: NDArray[np.uint16]
):
    engine.open(2)
    run(engine, 2, audio(15, 7))
    engine.close(2)
    engine.open(2)
    np.testing.assert_array_equal(run(engine, 2, recording[:30]), codes[:30])
    engine.open(2)
    np.testing.assert_array_equal(run(engine, 2, recording[:30]), codes[:30])


@pytest.mark.parametrize("seed", range(4))
def test_frames_of_one_session_at_once_get_the_codes_they_get_one_by_one(
    engine: EncoderEngine, recording: NDArray[np.float32], codes: NDArray[np.uint16], seed: int
):
    """Upstream's own calls of many frames differ once the attention's context is full."""
    random = np.random.default_rng(seed)
    done = dict.fromkeys((1, 2, 5), 0)
    answers: dict[int, list[NDArray[np.uint16]]] = {slot: [] for slot in done}
    for slot in done:
        engine.open(slot)
    while min(done.values()) < len(recording):
        counts = {slot: min(int(random.integers(0, 9)), len(recording) - frames) for slot, frames in done.items()}
        # Sessions with one frame, with many and with none, and the frames of different sessions mixed.
        slots = random.permutation(np.repeat(list(counts), list(counts.values())))
        numbers = [done[slot] + int((slots[:row] == slot).sum()) for row, slot in enumerate(slots)]
        for slot, row in zip(slots.tolist(), engine.step(slots, recording[numbers]), strict=True):
            answers[slot].append(row)
            done[slot] += 1
    for rows in answers.values():
        np.testing.assert_array_equal(np.array(rows), codes)


def test_audio_that_is_not_a_number_ends_with_its_session(
    engine: EncoderEngine, recording: NDArray[np.float32], codes: NDArray[np.uint16]
):
    """A reset of moshi's only forgets how many keys and values there are. Values that are not numbers stayed, and
    attention multiplies what it must not see by zero: every later session in the slot got one and the same code."""
    everyone = np.arange(8)
    for slot in everyone:
        engine.open(int(slot))
    poison = np.full(FRAME_SAMPLES, np.nan, np.float32)
    for frame, expected in zip(recording[:15], codes, strict=False):
        rows = np.stack([poison if slot == 5 else frame for slot in everyone])
        answers = engine.step(everyone, rows)
        np.testing.assert_array_equal(np.delete(answers, 5, axis=0), np.tile(expected, (7, 1)))
    engine.open(5)
    np.testing.assert_array_equal(run(engine, 5, recording), codes)


@pytest.mark.parametrize("frames", [0, 1, 9, 10, 11, 30, 49])
def test_after_a_warm_up_the_codes_are_those_of_the_whole_recording(
    engine: EncoderEngine, recording: NDArray[np.float32], codes: NDArray[np.uint16], frames: int
):
    engine.open(0)
    engine.open(1)
    run(engine, 0, recording[:20])
    run(engine, 1, audio(5, 8))
    engine.open(1, recording[:frames])
    np.testing.assert_array_equal(run(engine, 1, recording[frames:]), codes[frames:])
    # And the neighbour has not noticed.
    np.testing.assert_array_equal(run(engine, 0, recording[20:30]), codes[20:30])


@pytest.mark.parametrize("frames", [5, 10, 49, 60])
def test_a_warm_up_leaves_the_state_that_single_steps_leave(
    engine: EncoderEngine, recording: NDArray[np.float32], frames: int
):
    """Codes are too coarse to tell: which position a call of many frames lets another see moves them once in 1 000."""
    engine.open(3)
    run(engine, 3, recording[:frames])
    list(engine.open(4, recording[:frames]) or ())
    network = engine._network
    assert network.ring.ends[4] == network.ring.ends[3] == 2 * frames
    for ring in network.ring._rings:
        torch.testing.assert_close(ring[:, 4], ring[:, 3], rtol=0, atol=1e-4)
    torch.testing.assert_close(network.past[4], network.past[3], rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_a_warm_up_longer_than_one_call_takes_is_exact(engine: EncoderEngine, mini_checkpoint: Checkpoint, seed: int):
    pcm = audio(170, 200 + seed)
    expected = reference_codes(mini_checkpoint, pcm.reshape(-1))
    for frames in (50, 51, 133):
        engine.open(seed, pcm[:frames])
        np.testing.assert_array_equal(run(engine, seed, pcm[frames : frames + 30]), expected[frames : frames + 30])


def test_warm_up_audio_may_be_read_only(engine: EncoderEngine, recording: NDArray[np.float32]):
    """As arrays made from a message's bytes are."""
    engine.open(0, np.frombuffer(recording[:2].tobytes(), np.float32).reshape(2, -1))
    frame = np.frombuffer(recording[2].tobytes(), np.float32).reshape(1, -1)
    assert engine.step(np.array([0]), frame).shape == (1, engine.codebooks)


def test_the_answer_has_a_row_for_each_slot_in_the_order_given(
    engine: EncoderEngine, recording: NDArray[np.float32], codes: NDArray[np.uint16]
):
    for slot in (1, 4, 6):
        engine.open(slot)
    run(engine, 4, recording[:1])
    answer = engine.step(np.array([6, 4, 1]), recording[[0, 1, 0]])
    assert answer.dtype == np.uint16
    np.testing.assert_array_equal(answer, codes[[0, 1, 0]])
    assert engine.step(np.empty(0, np.int64), np.empty((0, FRAME_SAMPLES), np.float32)).shape == (0, 6)


def test_it_says_what_it_is(engine: EncoderEngine, mini_checkpoint: Checkpoint):
    assert (engine.slots, engine.codebooks, engine.cardinality) == (8, 6, 64)
    # Two layers of 20 positions, two positions a frame, and what the convolutions hear.
    assert engine.reach_frames == 22
    assert engine.codebooks < mini_checkpoint.mimi_codebooks


class _Latents(EncoderNetwork):
    """Says what the codebooks would be asked for, which shows every difference."""

    def quantize(self, latent: torch.Tensor) -> torch.Tensor:
        return latent


def test_a_frame_depends_on_as_many_before_it_as_it_reaches(
    mini_checkpoint: Checkpoint, recording: NDArray[np.float32]
):
    weights = load_weights(mini_checkpoint, torch.device("cpu"), Precision.FLOAT32)
    network = _Latents(weights, slots=2)
    other = recording.copy()
    other[0] = audio(1, 6)
    with torch.inference_mode():
        one, two = (
            torch.cat([network.step(np.array([slot]), frame[None]) for frame in pcm])
            for slot, pcm in enumerate((recording, other))
        )
    (differing,) = np.nonzero((one != two).any(1).numpy())
    # Rounded up to whole frames.
    assert differing.max() in (weights.reach_frames - 1, weights.reach_frames)


@pytest.mark.parametrize(
    ("slots", "pcm", "message"),
    [
        (np.zeros(9, np.int64), np.zeros((9, 1920), np.float32), "at most 8 times"),
        (np.array([0, 8]), np.zeros((2, 1920), np.float32), "0 to 7"),
        (np.array([-1]), np.zeros((1, 1920), np.float32), "0 to 7"),
        (np.array([7]), np.zeros((1, 1920), np.float32), "not open"),
        (np.array([0], np.int32), np.zeros((1, 1920), np.float32), "int64"),
        (np.array([0]), np.zeros((1, 1919), np.float32), "1920"),
        (np.array([0]), np.zeros((2, 1920), np.float32), "1920"),
        (np.array([0]), np.zeros((1, 1920), np.float64), "float32"),
    ],
)
def test_wrong_input_is_refused_before_the_model_sees_it(
    engine: EncoderEngine, slots: NDArray[np.int64], pcm: NDArray[np.float32], message: str
):
    engine.open(0)
    engine.close(7)
    with pytest.raises(ValueError, match=message):
        engine.step(slots, pcm)


def test_wrong_slots_and_warm_ups_are_refused(engine: EncoderEngine):
    with pytest.raises(ValueError, match="0 to 7"):
        engine.open(8)
    with pytest.raises(ValueError, match="0 to 7"):
        engine.close(-1)
    with pytest.raises(ValueError, match="warmup_pcm"):
        engine.open(0, np.zeros(1920, np.float32))


def test_what_the_model_raises_is_an_engine_failure(mini_checkpoint: Checkpoint):
    engine = load(mini_checkpoint, slots=1, device="cpu")
    engine.open(0)
    engine._network.weights = None  # as good as any other way to make it raise
    with pytest.raises(EngineFailed, match="while encoding 1 frames"):
        engine.step(np.array([0]), np.zeros((1, 1920), np.float32))


def test_half_precision_steps_and_keeps_slots_apart(mini_checkpoint: Checkpoint, recording: NDArray[np.float32]):
    engine = load(mini_checkpoint, slots=2, device="cpu", dtype="bfloat16")
    engine.open(0)
    engine.open(1, recording[:1])
    both = engine.step(np.array([0, 1]), recording[[0, 1]])
    engine.open(0)
    np.testing.assert_array_equal(run(engine, 0, recording[:2])[0], both[0])


def test_the_threads_of_torch_can_be_set(mini_checkpoint: Checkpoint):
    before = torch.get_num_threads()
    try:
        load(mini_checkpoint, slots=1, device="cpu", threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def with_mimi(checkpoint: Checkpoint, **changes: object) -> Checkpoint:
    return dataclasses.replace(checkpoint, mimi_config={**(checkpoint.mimi_config or {}), **changes})


def test_a_config_that_does_not_fit_the_weights_is_named(mini_checkpoint: Checkpoint):
    config = dict(mini_checkpoint.mimi_config or {})
    quantizer = {**config["quantizer"], "bins": 65}
    with pytest.raises(CheckpointError, match=r"mimi-seeded.*safetensors do not fit.*embedding_sum") as raised:
        load(with_mimi(mini_checkpoint, quantizer=quantizer), slots=1, device="cpu")
    assert "\n" not in str(raised.value)
    transformer = {**config["transformer"], "dimensions_of_freedom": 3}
    with pytest.raises(CheckpointError, match="dimensions_of_freedom"):
        load(with_mimi(mini_checkpoint, transformer=transformer), slots=1, device="cpu")
    with pytest.raises(CheckpointError, match="seanet"):
        load(dataclasses.replace(mini_checkpoint, mimi_config={}), slots=1, device="cpu")


def test_frames_at_another_rate_are_refused(mini_checkpoint: Checkpoint):
    with pytest.raises(CheckpointError, match=r"wanted frames of 1920 samples at 24000 Hz.* 1920 at 48000"):
        load(with_mimi(mini_checkpoint, sample_rate=48_000, frame_rate=25), slots=1, device="cpu")


def test_weights_that_cannot_be_read_are_named(mini_checkpoint: Checkpoint, tmp_path: Path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(mini_checkpoint.mimi_weights.read_bytes()[:1000])
    for path in (broken, tmp_path / "absent.safetensors"):
        files = {**mini_checkpoint.files, "mimi_weights": path}
        with pytest.raises(CheckpointError, match=path.name):
            load(dataclasses.replace(mini_checkpoint, files=files), slots=1, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(mini_checkpoint: Checkpoint):
    with pytest.raises(ConfigError, match="wanted cuda"):
        load(mini_checkpoint, slots=1, device="cuda")
