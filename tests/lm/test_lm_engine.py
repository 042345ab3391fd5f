from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from services.common.checkpoint import Checkpoint
from services.common.errors import CheckpointError, ConfigError, EngineFailed
from services.lm.engine import History, LmStep
from services.lm.lm_engine import BatchedLmEngine, load
from tests.oracle import ReferenceTokens, reference_codes, reference_logits, reference_tokens
from tests.random_sessions import run_at_random
from training.seeded_audio import speech_like

# The context of the mini checkpoint is 24 frames: most sessions are longer, so the rings of the cache wrap.
LENGTHS = (80, 3, 55, 23, 24, 1, 80, 25, 49, 70, 11, 38)
NOTHING = np.zeros((1, 6), np.uint16)


def random_codes(frames: int, seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 64, (frames, 6)).astype(np.uint16)


@pytest.fixture(scope="module")
def engine(mini_checkpoint: Checkpoint) -> BatchedLmEngine:
    return load(mini_checkpoint, slots=8, device="cpu")


@pytest.fixture(scope="module")
def codes(mini_checkpoint: Checkpoint) -> NDArray[np.uint16]:
    return reference_codes(mini_checkpoint, speech_like(80, 100).numpy())


@pytest.fixture(scope="module")
def expected(mini_checkpoint: Checkpoint, codes: NDArray[np.uint16]) -> ReferenceTokens:
    return reference_tokens(mini_checkpoint, codes)


def run(engine: BatchedLmEngine, slot: int, codes: NDArray[np.uint16]) -> LmStep:
    steps = [engine.step(np.array([slot]), frame[None]) for frame in codes]
    return LmStep(np.concatenate([step.text_tokens for step in steps]), np.concatenate([step.pauses for step in steps]))


def test_the_reference_tokens_and_pauses_vary(expected: ReferenceTokens):
    """Otherwise the tests here would pass with an engine that mixes everything up."""
    assert len(np.unique(expected.text_tokens)) >= 8
    assert (expected.pauses.max(axis=0) - expected.pauses.min(axis=0) > 0.1).all()


@pytest.mark.parametrize("seed", range(3))
def test_sessions_that_come_and_go_get_the_tokens_they_get_alone(
    engine: BatchedLmEngine, mini_checkpoint: Checkpoint, seed: int
):
    sessions = [random_codes(1 + frames, 100 * seed + index) for index, frames in enumerate(LENGTHS)]
    # The first row of each is for the step that takes no audio: random codes, which must not count.
    answers = run_at_random(engine, sessions, seed)
    for session, steps in zip(sessions, answers, strict=True):
        reference = reference_tokens(mini_checkpoint, session[1:])
        assert [int(token) for token, _ in steps] == reference.text_tokens.tolist()
        np.testing.assert_allclose(np.array([pauses for _, pauses in steps]), reference.pauses, atol=1e-5)


def test_the_first_token_comes_of_the_initial_tokens_alone(
    engine: BatchedLmEngine, mini_checkpoint: Checkpoint, codes: NDArray[np.uint16], expected: ReferenceTokens
):
    logits = reference_logits(mini_checkpoint, codes, expected.text_tokens)
    for junk in (NOTHING, NOTHING + 63):
        engine.open(3)
        assert engine.step(np.array([3]), junk).text_tokens[0] == logits[0].argmax() == expected.text_tokens[0]


def test_the_tokens_are_those_of_the_whole_sequence_at_once(
    engine: BatchedLmEngine, mini_checkpoint: Checkpoint, codes: NDArray[np.uint16], expected: ReferenceTokens
):
    logits = reference_logits(mini_checkpoint, codes, expected.text_tokens)
    engine.open(0)
    answer = run(engine, 0, np.concatenate([NOTHING, codes]))
    assert answer.text_tokens.tolist() == logits.argmax(axis=1).tolist()


def test_a_slot_opened_again_knows_nothing_of_its_last_session(
    engine: BatchedLmEngine, codes: NDArray[np.uint16], expected: ReferenceTokens
):
    engine.open(2)
    run(engine, 2, random_codes(30, 7))
    engine.close(2)
    for _ in range(2):
        engine.open(2)
        answer = run(engine, 2, np.concatenate([NOTHING, codes[:40]]))
        assert answer.text_tokens.tolist() == expected.text_tokens[:41].tolist()


@pytest.mark.parametrize("frames", [0, 1, 22, 23, 24, 25, 48, 79])
def test_after_a_replay_the_session_goes_on_as_if_never_interrupted(
    engine: BatchedLmEngine, codes: NDArray[np.uint16], expected: ReferenceTokens, frames: int
):
    engine.open(0)
    engine.open(1)
    run(engine, 0, np.concatenate([NOTHING, codes[:20]]))
    run(engine, 1, random_codes(5, 8))
    engine.open(1, History(codes[:frames], expected.text_tokens[: frames + 1]))
    answer = run(engine, 1, codes[frames:])
    assert answer.text_tokens.tolist() == expected.text_tokens[frames + 1 :].tolist()
    np.testing.assert_allclose(answer.pauses, expected.pauses[frames + 1 :], atol=1e-5)
    # And the neighbour has not noticed.
    assert run(engine, 0, codes[20:30]).text_tokens.tolist() == expected.text_tokens[21:31].tolist()


@pytest.mark.parametrize("frames", [0, 23, 60])
def test_a_replay_forces_its_text_whatever_the_model_would_have_said(
    engine: BatchedLmEngine,
    mini_checkpoint: Checkpoint,
    codes: NDArray[np.uint16],
    expected: ReferenceTokens,
    frames: int,
):
    forced = np.random.default_rng(9).integers(0, 120, frames + 1).astype(np.int32)
    reference = reference_tokens(mini_checkpoint, codes, forced)
    assert reference.text_tokens[frames + 1 :].tolist() != expected.text_tokens[frames + 1 :].tolist()
    engine.open(6, History(codes[:frames], forced))
    answer = run(engine, 6, codes[frames:])
    assert answer.text_tokens.tolist() == reference.text_tokens[frames + 1 :].tolist()
    np.testing.assert_allclose(answer.pauses, reference.pauses[frames + 1 :], atol=1e-5)


def test_a_replay_longer_than_one_call_takes_is_exact(engine: BatchedLmEngine, mini_checkpoint: Checkpoint):
    codes = random_codes(620, 10)
    expected = reference_tokens(mini_checkpoint, codes)
    for frames in (255, 256, 600):
        engine.open(4, History(codes[:frames], expected.text_tokens[: frames + 1]))
        answer = run(engine, 4, codes[frames : frames + 20])
        assert answer.text_tokens.tolist() == expected.text_tokens[frames + 1 : frames + 21].tolist()


@pytest.mark.parametrize("frames", [45, 46, 47, 48, 300])
def test_a_replay_leaves_the_state_that_single_steps_leave(engine: BatchedLmEngine, frames: int):
    """Tokens are too coarse to tell. Of a history longer than 2 * 23 + 1 positions the beginning is not computed."""
    codes = random_codes(frames, 20)
    engine.open(3)
    answer = run(engine, 3, np.concatenate([NOTHING, codes]))
    for _ in engine.open(4, History(codes, answer.text_tokens)) or ():
        pass
    ring = engine._network.ring
    assert ring.ends[4] == ring.ends[3] == frames + 1
    for layer in ring._rings:
        torch.testing.assert_close(layer[:, 4], layer[:, 3], rtol=0, atol=1e-4)


def test_codes_and_histories_may_be_read_only(engine: BatchedLmEngine, codes: NDArray[np.uint16]):
    """As arrays made from a message's bytes are."""
    frozen = np.frombuffer(codes[:2].tobytes(), np.uint16).reshape(2, 6)
    engine.open(0, History(frozen, np.frombuffer(np.zeros(3, np.int32).tobytes(), np.int32)))
    assert engine.step(np.array([0]), frozen[:1]).text_tokens.shape == (1,)


def test_the_answer_has_a_row_for_each_slot_in_the_order_given(
    engine: BatchedLmEngine, codes: NDArray[np.uint16], expected: ReferenceTokens
):
    for slot in (1, 4, 6):
        engine.open(slot)
    run(engine, 4, np.concatenate([NOTHING, codes[:9]]))
    answer = engine.step(np.array([6, 4, 1]), codes[[0, 9, 0]])
    assert answer.text_tokens.dtype == np.int32
    assert answer.pauses.dtype == np.float32
    assert answer.text_tokens.tolist() == expected.text_tokens[[0, 10, 0]].tolist()
    np.testing.assert_allclose(answer.pauses, expected.pauses[[0, 10, 0]], atol=1e-5)
    assert engine.step(np.empty(0, np.int64), np.empty((0, 6), np.uint16)).pauses.shape == (0, 4)


def test_it_says_what_it_is(engine: BatchedLmEngine):
    assert (engine.slots, engine.codebooks, engine.heads) == (8, 6, 4)
    assert (engine.cardinality, engine.text_cardinality) == (64, 120)


def test_a_model_without_pause_heads_has_none(
    mini_checkpoint: Checkpoint, tmp_path: Path, codes: NDArray[np.uint16], expected: ReferenceTokens
):
    weights = {
        name: tensor for name, tensor in load_file(mini_checkpoint.lm_weights).items() if "extra_heads" not in name
    }
    save_file(weights, tmp_path / "model.safetensors")
    config = {**mini_checkpoint.config, "extra_heads_num_heads": 0}
    files = {**mini_checkpoint.files, "lm_weights": tmp_path / "model.safetensors"}
    engine = load(dataclasses.replace(mini_checkpoint, config=config, files=files), slots=2, device="cpu")
    engine.open(1)
    answer = run(engine, 1, np.concatenate([NOTHING, codes[:9]]))
    assert engine.heads == 0
    assert answer.pauses.shape == (10, 0)
    assert answer.text_tokens.tolist() == expected.text_tokens[:10].tolist()


def test_a_model_with_a_bias_on_its_text_has_it(mini_checkpoint: Checkpoint, tmp_path: Path, codes: NDArray[np.uint16]):
    """The embedded model has one, the published ones do not."""
    random = np.random.default_rng(3)
    bias = torch.tensor(random.standard_normal(120).astype(np.float32) * 3)
    save_file({**load_file(mini_checkpoint.lm_weights), "text_linear.bias": bias}, tmp_path / "model.safetensors")
    files = {**mini_checkpoint.files, "lm_weights": tmp_path / "model.safetensors"}
    config = {**mini_checkpoint.config, "bias_proj": True}
    checkpoint = dataclasses.replace(mini_checkpoint, config=config, files=files)
    expected = reference_tokens(checkpoint, codes)
    assert expected.text_tokens.tolist() != reference_tokens(mini_checkpoint, codes).text_tokens.tolist()
    engine = load(checkpoint, slots=2, device="cpu")
    engine.open(1)
    answer = run(engine, 1, np.concatenate([NOTHING, codes]))
    assert answer.text_tokens.tolist() == expected.text_tokens.tolist()
    np.testing.assert_allclose(answer.pauses, expected.pauses, atol=1e-5)


def test_a_temperature_samples(mini_checkpoint: Checkpoint, codes: NDArray[np.uint16], expected: ReferenceTokens):
    engine = load(mini_checkpoint, slots=1, device="cpu", temperature=1.0)
    heard = np.concatenate([NOTHING, codes[:30]])
    answers = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        engine.open(0)
        answers.append(run(engine, 0, heard).text_tokens.tolist())
    assert answers[0] == answers[2]
    assert answers[0] != answers[1]
    assert expected.text_tokens[:31].tolist() not in answers


@pytest.mark.parametrize(
    ("slots", "codes", "message"),
    [
        (np.array([0, 0]), np.zeros((2, 6), np.uint16), "at most once"),
        (np.array([0, 8]), np.zeros((2, 6), np.uint16), "0 to 7"),
        (np.array([-1]), np.zeros((1, 6), np.uint16), "0 to 7"),
        (np.array([7]), np.zeros((1, 6), np.uint16), "not open"),
        (np.array([0]), np.zeros((1, 7), np.uint16), "6"),
        (np.array([0]), np.zeros((1, 6), np.int64), "uint16"),
        (np.array([0]), np.full((1, 6), 64, np.uint16), "below 64"),
    ],
)
def test_wrong_input_is_refused_before_the_model_sees_it(
    engine: BatchedLmEngine, slots: NDArray[np.int64], codes: NDArray[np.uint16], message: str
):
    engine.open(0)
    engine.close(7)
    with pytest.raises(ValueError, match=message):
        engine.step(slots, codes)


@pytest.mark.parametrize(
    ("codes", "text_tokens", "message"),
    [
        (np.zeros((3, 6)), np.zeros(3), "frames \\+ 1"),
        (np.zeros((3, 5)), np.zeros(4), "\\[frames, 6\\]"),
        (np.full((3, 6), 64), np.zeros(4), "below 64"),
        (np.zeros((3, 6)), np.full(4, 120), "0 to 119"),
        (np.zeros((3, 6)), np.full(4, -1), "0 to 119"),
    ],
)
def test_a_wrong_history_is_refused(
    engine: BatchedLmEngine, codes: NDArray[np.float64], text_tokens: NDArray[np.float64], message: str
):
    with pytest.raises(ValueError, match=message):
        engine.open(0, History(codes.astype(np.uint16), text_tokens.astype(np.int32)))


def test_what_the_model_raises_is_an_engine_failure(mini_checkpoint: Checkpoint):
    engine = load(mini_checkpoint, slots=1, device="cpu")
    engine.open(0)
    engine._network.weights = None  # as good as any other way to make it raise
    with pytest.raises(EngineFailed, match="while stepping 1 slots"):
        engine.step(np.array([0]), NOTHING)
    with pytest.raises(EngineFailed, match="while opening"):
        list(engine.open(0, History(NOTHING, np.zeros(2, np.int32))) or ())


def test_half_precision_steps_and_keeps_slots_apart(mini_checkpoint: Checkpoint, codes: NDArray[np.uint16]):
    engine = load(mini_checkpoint, slots=2, device="cpu", dtype="bfloat16")
    engine.open(0)
    engine.open(1, History(codes[:5], np.zeros(6, np.int32)))
    both = engine.step(np.array([0, 1]), codes[[0, 5]])
    engine.open(0)
    assert run(engine, 0, codes[:1]).text_tokens[0] == both.text_tokens[0]


def with_config(checkpoint: Checkpoint, **changes: object) -> Checkpoint:
    return dataclasses.replace(checkpoint, config={**checkpoint.config, **changes})


def test_a_config_that_does_not_fit_the_weights_is_named(mini_checkpoint: Checkpoint):
    with pytest.raises(CheckpointError, match=r"model\.safetensors do not fit.*text_emb") as raised:
        load(with_config(mini_checkpoint, text_card=121), slots=1, device="cpu")
    assert "\n" not in str(raised.value)
    with pytest.raises(CheckpointError, match="dimensions_of_freedom"):
        load(with_config(mini_checkpoint, dimensions_of_freedom=3), slots=1, device="cpu")
    with pytest.raises(CheckpointError, match="expected 7 delays, got 3"):
        load(with_config(mini_checkpoint, delays=[0, 0, 0]), slots=1, device="cpu")


def test_a_model_with_delays_is_refused(mini_checkpoint: Checkpoint):
    with pytest.raises(CheckpointError, match=r"wanted a speech-to-text model.* delays up to 2"):
        load(with_config(mini_checkpoint, delays=[0, 0, 1, 2, 2, 2, 2]), slots=1, device="cpu")


def test_weights_that_cannot_be_read_are_named(mini_checkpoint: Checkpoint, tmp_path: Path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(mini_checkpoint.lm_weights.read_bytes()[:1000])
    for path in (broken, tmp_path / "absent.safetensors"):
        files = {**mini_checkpoint.files, "lm_weights": path}
        with pytest.raises(CheckpointError, match=path.name):
            load(dataclasses.replace(mini_checkpoint, files=files), slots=1, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused(mini_checkpoint: Checkpoint):
    with pytest.raises(ConfigError, match="wanted cuda"):
        load(mini_checkpoint, slots=1, device="cuda")
