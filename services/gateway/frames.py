"""Samples to model frames: whatever sizes audio comes in, the model wants 1920 at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.common.framing import FRAME_SAMPLES


class Frame(NamedTuple):
    """One model frame: lead_samples of the service's own silence, audio_samples of the caller's, silence after."""

    pcm: NDArray[np.float32]
    lead_samples: int
    audio_samples: int


SILENT_FRAME = Frame(np.zeros(FRAME_SAMPLES, np.float32), FRAME_SAMPLES, 0)


class FrameBuffer:
    """Cuts a session's samples into frames."""

    def __init__(self, prefix_samples: int = 0) -> None:
        """prefix_samples: silence before the first audio; it need not be whole frames."""
        self._prefix = prefix_samples
        self._pcm = np.zeros(FRAME_SAMPLES, np.float32)
        self._lead = 0
        self._filled = 0

    def push(self, samples: NDArray[np.float32]) -> list[Frame]:
        """Add samples, [n], 24 kHz mono; returns the frames that they complete."""
        frames = self._begin()
        done = 0
        while done < len(samples):
            take = min(FRAME_SAMPLES - self._filled, len(samples) - done)
            self._pcm[self._filled : self._filled + take] = samples[done : done + take]
            self._filled += take
            done += take
            if self._filled == FRAME_SAMPLES:
                frames.append(self._take())
        return frames

    def complete(self) -> list[Frame]:
        """Fill the begun frame, if there is one, up with silence; what comes later begins a new one."""
        frames = self._begin()
        return [*frames, self._take()] if self._filled else frames

    def _begin(self) -> list[Frame]:
        """Put the prefix before everything else."""
        if not self._prefix:
            return []
        whole, lead = divmod(self._prefix, FRAME_SAMPLES)
        self._prefix = 0
        self._lead = self._filled = lead
        return [SILENT_FRAME] * whole

    def _take(self) -> Frame:
        frame = Frame(self._pcm, self._lead, self._filled - self._lead)
        self._pcm = np.zeros(FRAME_SAMPLES, np.float32)
        self._lead = self._filled = 0
        return frame
