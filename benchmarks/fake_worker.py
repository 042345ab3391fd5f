"""A worker process around an engine that computes nothing: for measuring the gateway where no model keeps up.

`python -m benchmarks.fake_worker` is a codec or an LM worker, whichever has an address to listen on in its environment.
All but the model is the product's own: the protocol, the batches, the credits. The gateway gets what a large model on a
GPU would send it: 32 codebooks, four pause heads, a step every 5 ms, a word each 0.64 s of a session's audio.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import numpy as np
from numpy.typing import NDArray

from dsm_stt.codec.v1 import codec_pb2
from services.codec.config import CodecConfig
from services.codec.serve import codec_process
from services.common.env import from_environment
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.common.grpc_server import stop_on_signals
from services.common.log import configure_logging
from services.common.worker_serve import WorkerProcess, leave
from services.lm.config import LmConfig
from services.lm.engine import History, LmStep
from services.lm.serve import lm_process
from services.lm.servicer import LmFacts
from tests.fakes.delayed import BOUNDARY, DELAY_FRAMES, PADDING, YES
from tests.stack import FakeModel

CODEBOOKS = 32
CARDINALITY = 2048
# A longer step would gather more sessions in each message, and so cost the gateway less.
STEP_S = 0.005
WORD_FRAMES = 8
_HORIZONS_MS = (500, 1000, 2000, 3000)


class IdleCodec:
    """A CodecEngine: every code is the same."""

    burst = 1
    codebooks = CODEBOOKS
    cardinality = CARDINALITY
    # As the real Mimi's: a gateway keeps as much audio for these workers as for real ones.
    reach_frames = 1000

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def open(self, slot: int, warmup_pcm: NDArray[np.float32] | None = None, /) -> None:
        """Do nothing."""

    def close(self, slot: int, /) -> None:
        """Do nothing."""

    def step(self, slots: NDArray[np.int64], pcm: NDArray[np.float32], /) -> NDArray[np.uint16]:
        """Take the time of a step."""
        time.sleep(STEP_S)
        return np.full((len(slots), CODEBOOKS), 1, np.uint16)


class IdleLm:
    """An LmEngine: a word of one piece now and then, padding in between, and never a pause."""

    burst = 1
    codebooks = CODEBOOKS
    cardinality = CARDINALITY
    text_cardinality = 64
    heads = len(_HORIZONS_MS)
    delay_frames = DELAY_FRAMES

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._frames = np.zeros(slots, np.int64)

    def open(self, slot: int, history: History | None = None, /) -> None:
        """Start a session."""
        self._frames[slot] = 0 if history is None else len(history.text_tokens)

    def close(self, slot: int, /) -> None:
        """Do nothing."""

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        """Take the time of a step."""
        time.sleep(STEP_S)
        phase = self._frames[slots] % WORD_FRAMES
        self._frames[slots] += 1
        tokens = np.where(phase == 1, BOUNDARY, np.where(phase == 2, YES, PADDING)).astype(np.int32)
        return LmStep(tokens, np.zeros((len(slots), self.heads), np.float32))


def codec(config: CodecConfig) -> WorkerProcess:
    """Put a codec worker together."""
    info = codec_pb2.CodecInfo(
        codec_id=FakeModel.codec_id,
        codebooks=CODEBOOKS,
        cardinality=CARDINALITY,
        frame_samples=FRAME_SAMPLES,
        sample_rate_hertz=SAMPLE_RATE_HZ,
        reach_frames=IdleCodec.reach_frames,
    )
    return codec_process(lambda: (IdleCodec(config.slots), info), config.listen, config)


def lm(config: LmConfig) -> WorkerProcess:
    """Put an LM worker together."""

    def load() -> tuple[IdleLm, LmFacts]:
        engine = IdleLm(config.slots)
        return engine, FakeModel(pause_horizons_ms=_HORIZONS_MS).facts(engine)  # type: ignore[arg-type]

    return lm_process(load, config.listen, config)


async def _run() -> int:
    is_codec = "DSM_CODEC_LISTEN" in os.environ
    configure_logging("info", "json", "codec" if is_codec else "lm")
    worker = (
        codec(from_environment(CodecConfig, os.environ)) if is_codec else lm(from_environment(LmConfig, os.environ))
    )
    return await worker.run(stop_on_signals())


if __name__ == "__main__":
    sys.exit(leave(asyncio.run(_run())))
