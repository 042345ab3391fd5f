"""Silence of the service's own that brings out the words still due: at a flush, at a turn's end, at the end.

A word's text comes `delay` frames after its sound, so the model is fed that much silence, at once and as fast as
steps allow, and then a frame more at a time until every word that starts before the silence has been sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

# Fed beyond the delay from the start: a model may say a word a frame or two late.
MARGIN_FRAMES = 2
# After these more frames of silence a word that is still open is taken as complete: one second.
MOST_EXTRA_FRAMES = 12


class Reason(enum.Enum):
    """Why silence is fed."""

    FLUSH = enum.auto()  # the caller asked
    TURN = enum.auto()  # a turn ended, and the caller wants its words at once
    END = enum.auto()  # there is no more audio


@dataclass
class Injection:
    """One run of silence under way."""

    reason: Reason
    # Model frames fed before the silence: words that start before it are what is waited for.
    barrier_frame: int
    # Frames to feed without looking.
    silence_left: int
    # Frames that may be fed after those, one at a time.
    extra_left: int = 0
    flush_id: str = ""
    end_turn: bool = False
    reset_context: bool = False
    # The LM was asked to complete the open word.
    finishing: bool = False

    def take_frame(self) -> bool:
        """Count a frame of silence to be fed now; False when answers must be awaited first."""
        if not self.silence_left:
            return False
        self.silence_left -= 1
        return True

    def extend(self) -> bool:
        """Allow one frame more; False when there were enough."""
        if not self.extra_left:
            return False
        self.extra_left -= 1
        self.silence_left = 1
        return True


def flush_injection(
    barrier_frame: int, delay_frames: int, flush_id: str, *, end_turn: bool, reset_context: bool
) -> Injection:
    """Make the silence of a flush that the caller asked for."""
    return Injection(
        Reason.FLUSH,
        barrier_frame,
        delay_frames + MARGIN_FRAMES,
        MOST_EXTRA_FRAMES,
        flush_id=flush_id,
        end_turn=end_turn,
        reset_context=reset_context,
    )


def turn_injection(barrier_frame: int, delay_frames: int) -> Injection:
    """Make the silence of a turn's end."""
    return Injection(Reason.TURN, barrier_frame, delay_frames + MARGIN_FRAMES, MOST_EXTRA_FRAMES)


def end_injection(barrier_frame: int, suffix_frames: int) -> Injection:
    """Make the silence after the last audio, as much as the published scripts feed."""
    return Injection(Reason.END, barrier_frame, suffix_frames)
