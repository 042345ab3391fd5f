"""The LM engine for production: every step computes the rows that take part, and nothing else.

What a session is made of is in two places: keys and values in the network's ring, the text that its next step sees in
the steps. Steps are of two kinds: `lm_steps` plans them on the host, `lm_cuda` has them captured as graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from services.common.checkpoint import Checkpoint
from services.common.errors import EngineFailed
from services.common.slot_guard import SlotGuard
from services.lm.engine import History, LmStep
from services.lm.lm_network import LmNetwork
from services.lm.lm_replay import replay
from services.lm.lm_steps import HostLmSteps, LmSteps
from services.lm.lm_weights import LmWeights, load_weights
from services.neural.cache_number import CacheDtype
from services.neural.device import choose_device
from services.neural.linear import Precision

_DONE = object()


class BatchedLmEngine:
    """An LmEngine; see there for what its methods take and return."""

    burst = 1

    def __init__(self, network: LmNetwork, steps: LmSteps, slots: int) -> None:
        """steps: of this network."""
        weights = network.weights
        self.slots = slots
        self.codebooks = weights.codebooks
        self.cardinality = weights.cardinality
        self.text_cardinality = weights.text_cardinality
        self.heads = weights.heads
        self.overlaps = steps.overlap
        self._network = network
        self._steps = steps
        self._guard = SlotGuard(slots, self.codebooks, np.uint16)
        self._replays: dict[int, Iterator[None]] = {}

    def open(self, slot: int, history: History | None = None, /) -> Iterator[None] | None:
        """Start a session in a slot, or start it again; see LmEngine."""
        if history is not None:
            self._check(history)
        self._guard.open(slot)
        self._replays.pop(slot, None)
        with self._failing("opening a slot"), torch.inference_mode():
            self._network.ring.reset(slot)
        if history is None:
            return None
        with torch.inference_mode():
            self._steps.begin(slot, int(history.text_tokens[-1]))
        self._replays[slot] = self._replay(slot, history)
        return self._replays[slot]

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        """Advance some slots by one frame each; see LmEngine."""
        return self.start(slots, codes)()

    def stage(self, codes: NDArray[np.uint16], /) -> None:
        """Send rows of the next step ahead; see OverlappingEngine."""
        with torch.inference_mode():
            self._steps.stage(codes)

    def start(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], staged: int = 0, /) -> Callable[[], LmStep]:
        """Begin a step; see OverlappingEngine."""
        self._guard.check_step(slots, codes)
        if not len(slots):
            return lambda: LmStep(np.empty(0, np.int32), np.empty((0, self.heads), np.float32))
        if codes.max() >= self.cardinality:
            raise ValueError(f"codes: wanted below {self.cardinality}, got {codes.max()}")
        for slot in self._replays.keys() & set(slots.tolist()):
            for _ in self._replays[slot]:
                pass
            self._replays.pop(slot, None)
        with self._failing(f"stepping {len(slots)} slots"), torch.inference_mode():
            finish = self._steps.start(slots, codes, staged)

        def answer() -> LmStep:
            with self._failing(f"stepping {len(slots)} slots"), torch.inference_mode():
                return finish()

        return answer

    def close(self, slot: int, /) -> None:
        """End the session in a slot; see LmEngine."""
        self._guard.close(slot)
        self._replays.pop(slot, None)

    @contextmanager
    def _failing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, the state may be half advanced
            raise EngineFailed(f"the LM raised {type(error).__name__} while {doing}") from error

    def _replay(self, slot: int, history: History) -> Iterator[None]:
        chunks = replay(self._network, slot, history)
        while True:
            with self._failing("opening a slot"), torch.inference_mode():
                if next(chunks, _DONE) is _DONE:
                    break
            yield
        self._replays.pop(slot, None)

    def _check(self, history: History) -> None:
        codes, text_tokens = history
        if codes.shape[1:] != (self.codebooks,) or text_tokens.shape != (len(codes) + 1,):
            raise ValueError(
                f"history: wanted codes [frames, {self.codebooks}] and frames + 1 text tokens, "
                f"got {codes.shape} and {text_tokens.shape}"
            )
        if codes.size and codes.max() >= self.cardinality:
            raise ValueError(f"history: wanted codes below {self.cardinality}, got {codes.max()}")
        if text_tokens.min() < 0 or text_tokens.max() >= self.text_cardinality:
            raise ValueError(
                f"history: wanted text tokens from 0 to {self.text_cardinality - 1}, "
                f"got {text_tokens.min()} to {text_tokens.max()}"
            )


def load(
    checkpoint: Checkpoint,
    slots: int,
    *,
    device: str = "auto",
    dtype: str = "auto",
    kv_dtype: str = "auto",
    temperature: float = 0.0,
    threads: int = 0,
) -> BatchedLmEngine:
    """Load the engine and take its first steps, so that no session pays for them.

    device: "cpu", "cuda" (or "cuda:1"); "auto" is cuda if there is one. dtype: "float32", "bfloat16" or "int8" (of
    the weights); "auto" is bfloat16 on cuda and float32 on cpu. kv_dtype: a CacheDtype. temperature: 0 takes the
    likeliest token, the lowest of equals; above, samples among the 25 likeliest. threads: CPU threads of torch, of the
    whole process; 0 leaves them.
    Raises CheckpointError if the weights do not fit, ConfigError if there is no such device, EngineFailed if the
    device has not enough memory.
    """
    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    try:
        with torch.inference_mode():
            weights = load_weights(checkpoint, place, Precision(dtype))
            return _engine(weights, slots, CacheDtype(kv_dtype), temperature)
    except torch.OutOfMemoryError as error:
        raise EngineFailed(f"{place} has not enough memory for the LM with {slots} slots") from error


def _engine(weights: LmWeights, slots: int, cache: CacheDtype, temperature: float) -> BatchedLmEngine:
    """Put an engine together; its steps take their first here."""
    if weights.embeddings.device.type != "cuda":
        network = LmNetwork(weights, slots, cache)
        return BatchedLmEngine(network, HostLmSteps(network, slots, temperature), slots)
    # Imported only here: Triton comes with torch for CUDA, and not on every platform.
    from services.lm.lm_cuda import CapturedLmSteps  # noqa: PLC0415
    from services.neural.cuda_runtime import CudaRuntime  # noqa: PLC0415

    # One slot more than there are sessions, for filling up batches.
    network = LmNetwork(weights, slots + 1, cache)
    runtime = CudaRuntime(weights.embeddings.device)
    return BatchedLmEngine(network, CapturedLmSteps(network, slots, temperature, runtime), slots)
