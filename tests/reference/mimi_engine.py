"""The codec engine that wraps moshi's MimiModel: batched streaming encoding, each row at its own pace.

Rows that sit out a step keep their state exactly: convolutions and attention write theirs under moshi's execution
mask. On CUDA moshi replays graphs of this, so the state's tensors are only ever written in place.
"""

from __future__ import annotations

import numpy as np
import torch
from moshi.models.compression import MimiModel
from moshi.modules.transformer import StreamingMultiheadAttention
from moshi.utils.compile import no_compile
from numpy.typing import NDArray

from services.codec.mimi_weights import load_encoder
from services.common.checkpoint import Checkpoint
from services.common.errors import ConfigError, EngineFailed
from services.common.framing import FRAME_SAMPLES
from services.common.slot_guard import SlotGuard
from tests.reference.mimi_warmup import warm_up

# moshi calls plainly once, captures a CUDA graph on the second call and replays it from then on.
_WARMUP_STEPS = 3


class MimiEngine:
    """A CodecEngine; see there for what its methods take and return.

    A step costs the same whichever of its slots take part.
    Source: streaming mode of Mimi (Défossez et al. 2024, arXiv:2410.00037), as moshi implements it.
    """

    def __init__(self, model: MimiModel, slots: int) -> None:
        """model: encodes only, see load_encoder; becomes this engine's. Takes its first steps here."""
        self.slots = slots
        self.codebooks = int(model.num_codebooks)
        self.cardinality = int(model.cardinality)
        # Eight layers of ten seconds, whatever this model's are.
        self.reach_frames = 1000
        self._guard = SlotGuard(slots, FRAME_SAMPLES, np.float32)
        self._model = model
        weight = next(model.encoder.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        # Written through numpy, read by the device.
        self._pcm = torch.zeros(slots, 1, FRAME_SAMPLES, pin_memory=self._device.type == "cuda")
        self._pcm_rows: NDArray[np.float32] = self._pcm.numpy()[:, 0]
        model.streaming_forever(slots)
        everyone = np.arange(slots)
        for _ in range(_WARMUP_STEPS):
            self._encode(everyone)
        model.reset_streaming()

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> None:
        """Start a session in a slot, or start it again; see CodecEngine."""
        if warmup_pcm is not None and (
            warmup_pcm.shape[1:] != (FRAME_SAMPLES,) or warmup_pcm.dtype != self._pcm_rows.dtype
        ):
            raise ValueError(
                f"warmup_pcm: wanted [frames, {FRAME_SAMPLES}] of float32, got {warmup_pcm.shape} of {warmup_pcm.dtype}"
            )
        self._guard.open(slot)
        try:
            self._reset(slot)
            if warmup_pcm is not None and len(warmup_pcm):
                # A copy, as arrays made from bytes cannot be written and torch warns of those.
                pcm = torch.from_numpy(warmup_pcm.reshape(-1).copy()).to(self._device, self._dtype)
                with no_compile():
                    warm_up(self._model, slot, pcm)
        except Exception as error:
            raise EngineFailed(f"Mimi raised {type(error).__name__} while opening a slot") from error

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        """Advance some slots by one frame each; see CodecEngine."""
        self._guard.check_step(slots, pcm)
        if not len(slots):
            return np.empty((0, self.codebooks), np.uint16)
        self._pcm_rows[slots] = pcm
        try:
            return self._encode(slots)
        except Exception as error:  # whatever it is, the state may be half advanced
            raise EngineFailed(f"Mimi raised {type(error).__name__} while encoding {len(slots)} frames") from error

    def close(self, slot: int, /) -> None:
        """End the session in a slot; see CodecEngine."""
        self._guard.close(slot)

    @torch.no_grad()
    def _reset(self, slot: int) -> None:
        mask = torch.zeros(self.slots, dtype=torch.bool)
        mask[slot] = True
        self._model.reset_streaming(mask)
        # moshi only forgets how many keys and values there are. One that is not a number would still reach every
        # later session of the slot: attention multiplies it by a weight of zero, and that is not a number either.
        for module in self._model.modules():
            if isinstance(module, StreamingMultiheadAttention):
                state = module._streaming_state
                assert state is not None
                assert state.kv_cache is not None
                state.kv_cache.cache[:, slot] = 0

    @torch.no_grad()
    def _encode(self, slots: NDArray[np.int64]) -> NDArray[np.uint16]:
        mask = np.zeros(self.slots, np.bool_)
        mask[slots] = True
        # no_compile: the graphs leave torch.compile little to gain, and it would need a C compiler where we run.
        with no_compile():
            self._model.set_exec_mask(torch.from_numpy(mask).to(self._device))
            pcm = self._pcm.to(self._device, self._dtype, non_blocking=True)
            latent = self._model.encode_to_latent(pcm, quantize=False)
            codes = self._model.quantizer.encode(latent.float())
        codes_of_all: NDArray[np.int64] = codes[:, :, 0].cpu().numpy()
        return codes_of_all[slots].astype(np.uint16)


def load(checkpoint: Checkpoint, slots: int, device: str = "auto", dtype: str = "auto", threads: int = 0) -> MimiEngine:
    """Load the engine and take its first steps, so that no session pays for them.

    device: "cpu", "cuda" (or "cuda:1"); "auto" is cuda if there is one. dtype: "float32" or "bfloat16"; "auto" is
    float32 everywhere, as rounding changes codes. threads: CPU threads of torch, of the whole process; 0 leaves them.
    Raises CheckpointError if the weights do not fit, ConfigError if there is no such device, EngineFailed if the
    device has not enough memory.
    """
    if threads:
        torch.set_num_threads(threads)
    place = _device(device)
    try:
        model = load_encoder(
            checkpoint.mimi_weights,
            checkpoint.mimi_config,
            checkpoint.codebooks,
            place,
            torch.bfloat16 if dtype == "bfloat16" else torch.float32,
        )
        return MimiEngine(model, slots)
    except torch.OutOfMemoryError as error:
        raise EngineFailed(f"{place} has not enough memory for Mimi with {slots} slots") from error


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device: wanted {name}, torch sees no CUDA device")
        # CUDA graphs are captured on the current device.
        torch.cuda.set_device(device)
    return device
