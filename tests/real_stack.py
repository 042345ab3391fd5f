"""The services with their production engines, in one event loop, on real ports; and what moshi hears of the audio."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsm_stt.codec.v1 import codec_pb2
from services.codec.encoder_engine import load as load_codec
from services.codec.engine import CodecEngine
from services.codec.serve import codec_info, codec_process
from services.common.checkpoint import Checkpoint
from services.lm.engine import LmEngine
from services.lm.lm_engine import load as load_lm
from services.lm.serve import lm_facts, lm_process
from services.lm.servicer import LmFacts
from tests.recording_engine import RecordingLmEngine
from tests.stack import SETTINGS, RunningWorker, Stack


class RealStack(Stack):
    """The services with their production engines, the LM's watched."""

    def __init__(self, checkpoint: Checkpoint, slots: int, workers: int = 1, **gateway: Any) -> None:
        self.checkpoint = checkpoint
        self.slots = slots
        self.lm_engine: RecordingLmEngine | None = None
        super().__init__(
            [self._start_codec] * workers,
            [self._start_lm] * workers,
            admission_wait_s=120,
            admission_queue=100,
            **gateway,
        )

    def _start_codec(self) -> RunningWorker:
        def load() -> tuple[CodecEngine, codec_pb2.CodecInfo]:
            engine = load_codec(self.checkpoint, self.slots, "cpu", "float32", threads=1)
            return engine, codec_info(self.checkpoint, engine)

        return RunningWorker(codec_process(load, "127.0.0.1:0", SETTINGS))

    def _start_lm(self) -> RunningWorker:
        def load() -> tuple[LmEngine, LmFacts]:
            engine = load_lm(self.checkpoint, self.slots, device="cpu", dtype="float32", threads=1)
            self.lm_engine = RecordingLmEngine(engine)
            return self.lm_engine, lm_facts(self.checkpoint)

        return RunningWorker(lm_process(load, "127.0.0.1:0", SETTINGS))


def pcm16(samples: NDArray[np.float32]) -> bytes:
    return np.round(samples * 32767).astype("<i2").tobytes()


def as_heard(audio: bytes) -> NDArray[np.float32]:
    """Return LINEAR16 audio as run_inference reads it from a file."""
    return np.frombuffer(audio, "<i2").astype(np.float32) / 32768


def padded(checkpoint: Checkpoint, audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad audio as moshi.run_inference does."""
    return np.concatenate(
        [np.zeros(checkpoint.prefix_samples, np.float32), audio, np.zeros(checkpoint.suffix_samples, np.float32)]
    )
