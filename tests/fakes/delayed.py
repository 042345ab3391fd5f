"""A language model that speaks as late as a real one, whose words can be written down as audio.

    frame k of the audio says 3, frame k + 1 says 10      the speaker says "yes" from frame k on
    the engine answers both `delay` frames later          the transcript gives "yes" from frame k on

Silence says 0, which is this model's padding, so a flush brings out what is due and nothing more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.lm.engine import LmStep
from services.lm.transcript import Transcript, WordEnds
from tests.fakes.engines import FakeLmEngine

BOUNDARY = 3
PADDING = 0
PIECES = {10: "▁yes", 11: "▁no", 12: "▁to", 13: "day", 14: "▁stop", 15: "▁go"}
YES, NO, TO, DAY, STOP, GO = PIECES
DELAY_FRAMES = 6


class DelayedLmEngine(FakeLmEngine):
    """Says at text index p what the audio said at frame p + 1 - delay."""

    def __init__(self, slots: int = 4, heads: int = 0, delay_frames: int = DELAY_FRAMES) -> None:
        super().__init__(slots, heads=heads, initial_token=PADDING)
        self.delay_frames = delay_frames

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        heard_now, _ = super().step(slots, codes)
        tokens = np.full(len(slots), PADDING, np.int32)
        for row, slot in enumerate(slots):
            # Text index n + 1 answers frame n, so it speaks about frame n + 2 - delay.
            frame = len(self.heard[slot]) - 1 + 2 - self.delay_frames
            if 0 <= frame < len(self.heard[slot]):
                tokens[row] = self.heard[slot][frame][0]
        # The heads hear at once: a frame that says 60 or more is a pause.
        pauses = (heard_now >= 60).astype(np.float32)
        return LmStep(tokens, np.repeat(pauses[:, None], self.heads, axis=1))


class FakeVocabulary:
    """The pieces above."""

    def decode(self, pieces: list[int]) -> str:
        return "".join(self.piece(token) for token in pieces).replace("▁", " ").strip()

    def piece(self, token: int) -> str:
        return PIECES.get(token, "")


def make_transcript(interim: bool, first_frame: int = 0, delay_frames: int = DELAY_FRAMES) -> Transcript:
    """Make the transcript that reads this model: a word of n letters ends 80 + 60 n ms after its start."""
    return Transcript(
        FakeVocabulary(),
        delay_frames,
        WordEnds(80, 60),
        interim=interim,
        first_frame=first_frame,
        boundary_token=BOUNDARY,
        padding_token=PADDING,
    )
