"""The LM's captured steps, without a device: the same body, buffers, buckets and kernel, against LMGen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode

pytest.importorskip("triton", reason="comes with torch for CUDA")

from services.common.checkpoint import Checkpoint
from services.lm.engine import History
from services.lm.lm_cuda import CapturedLmSteps
from services.lm.lm_engine import BatchedLmEngine, load
from services.lm.lm_network import LmNetwork
from services.lm.lm_weights import load_weights
from services.neural.cache_number import CacheDtype
from services.neural.linear import Precision
from tests.fakes.runtime import LateRuntime
from tests.oracle import reference_tokens
from tests.random_sessions import run_at_random

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are compiled for CUDA here: test_cuda.py")
SLOTS = 3


def captured(checkpoint: Checkpoint, runtime: LateRuntime, cache: CacheDtype = CacheDtype.AUTO) -> BatchedLmEngine:
    with torch.inference_mode():
        network = LmNetwork(load_weights(checkpoint, runtime.device, Precision.FLOAT32), SLOTS + 1, cache)
        return BatchedLmEngine(network, CapturedLmSteps(network, SLOTS, 0.0, runtime), SLOTS)


@pytest.fixture(scope="module")
def runtime() -> LateRuntime:
    return LateRuntime()


@pytest.fixture(scope="module")
def engine(mini_checkpoint: Checkpoint, runtime: LateRuntime) -> BatchedLmEngine:
    return captured(mini_checkpoint, runtime)


def random_codes(frames: int, seed: int) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 64, (frames, 6)).astype(np.uint16)


def test_sessions_that_come_and_go_get_the_tokens_of_moshi(engine: BatchedLmEngine, mini_checkpoint: Checkpoint):
    """The longest wraps the ring of 24 around."""
    sessions = [random_codes(1 + frames, frames) for frames in (30, 2, 9, 5, 1, 12)]
    answers = run_at_random(engine, sessions, seed=4)
    for session, steps in zip(sessions, answers, strict=True):
        reference = reference_tokens(mini_checkpoint, session[1:])
        assert [int(token) for token, _ in steps] == reference.text_tokens.tolist()
        np.testing.assert_allclose(np.array([pauses for _, pauses in steps]), reference.pauses, atol=1e-5)


def test_a_replay_goes_on_in_captured_steps(engine: BatchedLmEngine, mini_checkpoint: Checkpoint):
    codes = random_codes(34, 5)
    expected = reference_tokens(mini_checkpoint, codes)
    rest = engine.open(1, History(codes[:30], expected.text_tokens[:31]))
    assert len(list(rest or ())) == 1
    tokens = [int(engine.step(np.array([1]), frame[None]).text_tokens[0]) for frame in codes[30:]]
    assert tokens == expected.text_tokens[31:].tolist()


def test_frames_sent_ahead_while_a_step_runs_get_their_tokens(engine: BatchedLmEngine, mini_checkpoint: Checkpoint):
    """The text that the next step sees is not there yet when its codes are sent."""
    assert engine.overlaps
    assert not load(mini_checkpoint, slots=1, device="cpu").overlaps
    codes = random_codes(7, 6)
    expected = reference_tokens(mini_checkpoint, codes[1:]).text_tokens
    engine.open(2)
    tokens = []
    for index, frame in enumerate(codes):
        # Only what was sent ahead counts: the row named again is another one's.
        row = frame if index == 0 else codes[0]
        finish = engine.start(np.array([2]), row[None], 1 if index else 0)
        engine.stage(codes[index + 1 : index + 2])
        tokens.append(int(finish().text_tokens[0]))
    assert tokens == expected.tolist()


class NoQuestions(TorchDispatchMode):
    """Fails where the host asks what a number is: on a device it would wait for all that was queued."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in {"item", "_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "_unique2"}, name
        return func(*args, **(kwargs or {}))


@contextmanager
def no_questions() -> Iterator[None]:
    with torch.inference_mode(), NoQuestions():
        yield


def test_nothing_in_a_captured_step_asks_what_a_number_is(mini_checkpoint: Checkpoint):
    """With the kernel left out: its interpreter asks all the time."""
    runtime = LateRuntime()
    engine = captured(mini_checkpoint, runtime)
    steps = engine._steps
    assert isinstance(steps, CapturedLmSteps)
    steps._transformer._attend = lambda layer, query, plan: query.reshape(len(query), -1)
    engine.open(0)
    engine.open(1)
    wait = engine.start(np.array([1, 0]), random_codes(2, 7))
    with no_questions():
        wait()
    with pytest.raises(AssertionError, match="item"), no_questions():
        torch.ones(1).item()
