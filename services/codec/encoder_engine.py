"""The codec engine for production: every step computes the rows that take part, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from services.codec.encoder_network import EncoderNetwork
from services.codec.encoder_weights import EncoderWeights, load_weights
from services.common.checkpoint import Checkpoint
from services.common.errors import EngineFailed
from services.common.framing import FRAME_SAMPLES
from services.common.slot_guard import SlotGuard
from services.neural.device import choose_device
from services.neural.linear import Precision
from services.neural.pace import Pace

# [rows, codebooks].
Codes = NDArray[np.uint16]

# Frames of one session at once. More gain little, and hold the other sessions up.
_BURST_FRAMES = 8


class EncoderEngine:
    """A CodecEngine; see there for what its methods take and return."""

    burst = _BURST_FRAMES

    def __init__(
        self, network: EncoderNetwork, slots: int, step: Callable[[NDArray[np.int64], NDArray[np.float32]], Codes]
    ) -> None:
        """step: encodes one frame of each of some distinct slots of this network."""
        self.slots = slots
        self.codebooks = network.weights.codebooks
        self.cardinality = network.weights.cardinality
        self.reach_frames = network.weights.reach_frames
        self._guard = SlotGuard(slots, FRAME_SAMPLES, np.float32, burst=self.burst)
        self._warm_ups: dict[int, Iterator[None]] = {}
        self._network = network
        self._step = step

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> Iterator[None] | None:
        """Start a session in a slot, or start it again; see CodecEngine."""
        if warmup_pcm is not None and (warmup_pcm.shape[1:] != (FRAME_SAMPLES,) or warmup_pcm.dtype != np.float32):
            raise ValueError(
                f"warmup_pcm: wanted [frames, {FRAME_SAMPLES}] of float32, got {warmup_pcm.shape} of {warmup_pcm.dtype}"
            )
        self._guard.open(slot)
        self._warm_ups.pop(slot, None)
        try:
            with torch.inference_mode():
                self._network.reset(slot)
        except Exception as error:
            raise EngineFailed(f"Mimi raised {type(error).__name__} while opening a slot") from error
        if warmup_pcm is None:
            return None
        self._warm_ups[slot] = self._warm_up(slot, warmup_pcm)
        return self._warm_ups[slot]

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        """Advance some slots by one frame each, or by several; see CodecEngine."""
        self._guard.check_step(slots, pcm)
        if not len(slots):
            return np.empty((0, self.codebooks), np.uint16)
        for slot in self._warm_ups.keys() & set(slots.tolist()):
            for _ in self._warm_ups[slot]:
                pass
            self._warm_ups.pop(slot, None)
        try:
            with torch.inference_mode():
                return self._encode(slots, pcm)
        except Exception as error:  # whatever it is, the state may be half advanced
            raise EngineFailed(f"Mimi raised {type(error).__name__} while encoding {len(slots)} frames") from error

    def close(self, slot: int, /) -> None:
        """End the session in a slot; see CodecEngine."""
        self._guard.close(slot)
        self._warm_ups.pop(slot, None)

    def _encode(self, slots: NDArray[np.int64], pcm: NDArray[np.float32]) -> NDArray[np.uint16]:
        numbers, counts = np.unique(slots, return_counts=True)
        if counts.max() == 1:
            return self._step(slots, pcm)
        codes = np.empty((len(slots), self.codebooks), np.uint16)
        single = np.isin(slots, numbers[counts == 1])
        if single.any():
            codes[single] = self._step(slots[single], pcm[single])
        for slot in numbers[counts > 1].tolist():
            rows = slots == slot
            answer = self._network.chunk(slot, pcm[rows])
            assert answer is not None
            codes[rows] = _numpy(answer)
        return codes

    def _warm_up(self, slot: int, pcm: NDArray[np.float32]) -> Iterator[None]:
        pace, done = Pace(first=4, largest=50), 0
        while done < len(pcm):
            try:
                with torch.inference_mode(), pace:
                    self._network.chunk(slot, pcm[done : done + pace.size], codes=False)
            except Exception as error:  # whatever it is, the state may be half written
                raise EngineFailed(f"Mimi raised {type(error).__name__} while opening a slot") from error
            done += pace.size
            yield
        self._warm_ups.pop(slot, None)


def _numpy(codes: torch.Tensor) -> Codes:
    result: Codes = codes.cpu().numpy().astype(np.uint16)
    return result


def load(
    checkpoint: Checkpoint, slots: int, device: str = "auto", dtype: str = "auto", threads: int = 0
) -> EncoderEngine:
    """Load the engine and take its first steps, so that no session pays for them.

    device: "cpu", "cuda" (or "cuda:1"); "auto" is cuda if there is one. dtype: "float32" or "bfloat16"; "auto" is
    float32 everywhere, as rounding changes codes. threads: CPU threads of torch, of the whole process; 0 leaves them.
    Raises CheckpointError if the weights do not fit, ConfigError if there is no such device, EngineFailed if the
    device has not enough memory.
    """
    if threads:
        torch.set_num_threads(threads)
    place = choose_device(device)
    precision = Precision.BFLOAT16 if dtype == "bfloat16" else Precision.FLOAT32
    try:
        with torch.inference_mode():
            return _engine(load_weights(checkpoint, place, precision), slots)
    except torch.OutOfMemoryError as error:
        raise EngineFailed(f"{place} has not enough memory for Mimi with {slots} slots") from error


def _engine(weights: EncoderWeights, slots: int) -> EncoderEngine:
    """Put an engine together, and take the first steps."""
    if weights.device.type == "cuda":
        # Imported only here: Triton comes with torch for CUDA, and not on every platform.
        from services.codec.encoder_cuda import CapturedEncoderSteps  # noqa: PLC0415
        from services.neural.cuda_runtime import CudaRuntime  # noqa: PLC0415

        network = EncoderNetwork(weights, slots + 1)
        return EncoderEngine(network, slots, CapturedEncoderSteps(network, slots, CudaRuntime(weights.device)).step)
    network = EncoderNetwork(weights, slots)
    everyone = np.arange(slots)
    network.step(everyone, np.zeros((slots, FRAME_SAMPLES), np.float32))
    for slot in everyone.tolist():
        network.reset(slot)
    return EncoderEngine(network, slots, lambda slots, pcm: _numpy(network.step(slots, pcm)))
