"""Notices that there is sound and no words come: a model that has fallen silent, which long streams sometimes do.

What helps is a fresh context: a flush with reset_context. Speech in a language that the model does not know, music and
noise look the same from here, so a caller is told and nothing is done.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.common.framing import FRAME_S

# Louder than this, in dB below full scale, a frame counts as sound; speech is at -35 to -15, a quiet line below -60.
SOUND_DBFS = -45.0
# So much sound without a word is worth a warning, and then so much again.
STALL_S = 30.0

_SOUND_MEAN_SQUARE = 10 ** (SOUND_DBFS / 10)


class StallWatch:
    """Watches one session."""

    def __init__(self) -> None:
        self._sound_frames = 0

    def note_frame(self, pcm: NDArray[np.float32]) -> None:
        """Take a frame of the caller's audio, [1920], as it is fed."""
        if float(np.dot(pcm, pcm)) > _SOUND_MEAN_SQUARE * pcm.size:
            self._sound_frames += 1

    def note_word(self) -> None:
        """Take that a word came."""
        self._sound_frames = 0

    def stalled_s(self) -> float | None:
        """Return for how much sound no word has come, if the caller should be warned now."""
        sound_s = self._sound_frames * FRAME_S
        if sound_s < STALL_S:
            return None
        self._sound_frames = 0
        return sound_s
