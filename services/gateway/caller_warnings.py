"""What a caller should know of its session although nothing has failed: see WarningCode in speech.proto."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from dsm_stt.speech.v1 import speech_pb2
from services.gateway import events
from services.gateway.lag_watch import LagWatch
from services.gateway.outbox import Cursors
from services.gateway.stall_watch import StallWatch


class CallerWarnings:
    """Watches one session and makes its warnings."""

    def __init__(self, base_samples: int) -> None:
        """base_samples: the position of the session's first sample."""
        self._base = base_samples
        self._clock = asyncio.get_running_loop().time
        self._lag = LagWatch(self._clock())
        self._stall = StallWatch()

    def note_frame(self, pcm: NDArray[np.float32]) -> None:
        """Take a frame with audio of the caller, [1920], as it is fed."""
        self._stall.note_frame(pcm)

    def note_word(self) -> None:
        """Take that a word came."""
        self._stall.note_word()

    def due(self, cursors: Cursors) -> list[events.Response]:
        """Return the warnings that should be sent now."""
        warnings: list[events.Response] = []
        behind_s = self._lag.behind_s(cursors.received - self._base, cursors.processed - self._base, self._clock())
        if behind_s is not None:
            message = f"the service is {behind_s:.1f} s behind the audio"
            warnings.append(events.warning(speech_pb2.WARNING_CODE_LAGGING, message))
        stalled_s = self._stall.stalled_s()
        if stalled_s is not None:
            message = f"no word for {stalled_s:.0f} s of sound; flush with reset_context gives the model a fresh start"
            warnings.append(events.warning(speech_pb2.WARNING_CODE_STALLED, message))
        return warnings
