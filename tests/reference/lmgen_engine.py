"""The LM engine that wraps moshi's LMGen: batched streaming generation, each row at its own pace.

Rows that sit out a step keep their state exactly. On CUDA moshi replays a graph of the model, so the state's tensors
are only ever written in place.
"""

from __future__ import annotations

import numpy as np
import torch
from moshi.models import loaders
from moshi.models.lm import LMGen, LMModel
from moshi.utils.compile import no_compile
from numpy.typing import NDArray
from safetensors import SafetensorError

from services.common.checkpoint import Checkpoint
from services.common.errors import CheckpointError, ConfigError, EngineFailed
from services.common.slot_guard import SlotGuard
from services.lm.engine import History, LmStep
from tests.reference.lmgen_replay import replay

# moshi calls plainly once, captures a CUDA graph on the second call and replays it from then on.
_WARMUP_STEPS = 3


class LmGenEngine:
    """An LmEngine; see there for what its methods take and return.

    A step costs the same whichever of its slots take part.
    Source: streaming inference of Delayed Streams Modeling (Zeghidour et al. 2025, arXiv:2509.08753), as
    moshi.run_inference does it with LMGen.
    """

    def __init__(self, model: LMModel, slots: int, temperature: float = 0.0) -> None:
        """model: without a depth transformer; becomes this engine's. Takes its first steps here.

        temperature: 0 takes the likeliest token, the lowest of equals; above, samples among moshi's 25 likeliest.
        """
        self.slots = slots
        self.codebooks = int(model.num_audio_codebooks)
        self.cardinality = int(model.card)
        self.text_cardinality = int(model.text_card)
        self.heads = len(model.extra_heads)
        self._guard = SlotGuard(slots, self.codebooks, np.uint16)
        self._device = model.device
        self._generator = LMGen(
            model,
            use_sampling=temperature > 0,
            temp_text=temperature,
            # Speech to text has no conditions; a model whose config names a fuser wants to hear it.
            condition_tensors={},
            # Rows start at different times: otherwise the first steps would answer nothing.
            support_out_of_sync=True,
        )
        # Written through numpy, read by the device.
        self._codes = torch.zeros(slots, self.codebooks, 1, dtype=torch.long, pin_memory=self._device.type == "cuda")
        self._code_rows: NDArray[np.int64] = self._codes.numpy()[:, :, 0]
        self._generator.streaming_forever(slots)
        everyone = np.arange(slots)
        for _ in range(_WARMUP_STEPS):
            self._generate(everyone)
        self._generator.reset_streaming()

    def open(self, slot: int, history: History | None = None, /) -> None:
        """Start a session in a slot, or start it again; see LmEngine."""
        if history is not None:
            self._check(history)
        self._guard.open(slot)
        mask = torch.zeros(self.slots, dtype=torch.bool)
        mask[slot] = True
        try:
            self._generator.reset_streaming(mask)
            if history is not None:
                codes = torch.from_numpy(history.codes.astype(np.int64)).to(self._device)
                text_tokens = torch.from_numpy(history.text_tokens.astype(np.int64)).to(self._device)
                with no_compile():
                    replay(self._generator, slot, codes, text_tokens)
        except Exception as error:  # whatever it is, the state may be half written
            raise EngineFailed(f"the LM raised {type(error).__name__} while opening a slot") from error

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        """Advance some slots by one frame each; see LmEngine."""
        self._guard.check_step(slots, codes)
        if not len(slots):
            return LmStep(np.empty(0, np.int32), np.empty((0, self.heads), np.float32))
        if codes.max() >= self.cardinality:
            raise ValueError(f"codes: wanted below {self.cardinality}, got {codes.max()}")
        self._code_rows[slots] = codes
        try:
            return self._generate(slots)
        except Exception as error:  # whatever it is, the state may be half advanced
            raise EngineFailed(f"the LM raised {type(error).__name__} while stepping {len(slots)} slots") from error

    def close(self, slot: int, /) -> None:
        """End the session in a slot; see LmEngine."""
        self._guard.close(slot)

    @torch.no_grad()
    def _generate(self, slots: NDArray[np.int64]) -> LmStep:
        mask = np.zeros(self.slots, np.bool_)
        mask[slots] = True
        # no_compile: the graph leaves torch.compile little to gain, and it would need a C compiler where we run.
        with no_compile():
            self._generator.set_exec_mask(torch.from_numpy(mask).to(self._device))
            codes = self._codes.to(self._device, non_blocking=True)
            answer = self._generator.step_with_extra_heads(codes)
        assert answer is not None
        tokens, heads = answer
        text_tokens: NDArray[np.int64] = tokens[:, 0, 0].cpu().numpy()
        pauses = np.empty((len(slots), self.heads), np.float32)
        if heads:
            # The first class of each head is the pause.
            pauses[:] = torch.stack([head[:, 0, 0] for head in heads], 1).float().cpu().numpy()[slots]
        return LmStep(text_tokens[slots].astype(np.int32), pauses)

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
    temperature: float = 0.0,
    threads: int = 0,
) -> LmGenEngine:
    """Load the engine and take its first steps, so that no session pays for them.

    device: "cpu", "cuda" (or "cuda:1"); "auto" is cuda if there is one. dtype: "float32" or "bfloat16"; "auto" is
    bfloat16 on cuda and float32 on cpu. threads: CPU threads of torch, of the whole process; 0 leaves them.
    Raises CheckpointError if the weights do not fit, ConfigError if there is no such device, EngineFailed if the
    device has not enough memory.
    """
    if threads:
        torch.set_num_threads(threads)
    place = _device(device)
    if dtype == "auto":
        dtype = "bfloat16" if place.type == "cuda" else "float32"
    try:
        return LmGenEngine(_load_model(checkpoint, place, dtype), slots, temperature)
    except torch.OutOfMemoryError as error:
        raise EngineFailed(f"{place} has not enough memory for the LM with {slots} slots") from error


def _load_model(checkpoint: Checkpoint, device: torch.device, dtype: str) -> LMModel:
    weights = checkpoint.lm_weights
    try:
        model = loaders.get_moshi_lm(
            weights,
            checkpoint.lm_config,
            device=device,
            dtype=torch.bfloat16 if dtype == "bfloat16" else torch.float32,
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:500]
        raise CheckpointError(f"LM weights {weights} do not fit: {type(error).__name__}: {reason}") from error
    if model.dep_q or any(model.delays):
        raise CheckpointError(
            f"LM weights {weights}: wanted a speech-to-text model, with dep_q 0 and every delay 0; "
            f"the config says dep_q {model.dep_q} and delays up to {max(model.delays)}"
        )
    return model


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
