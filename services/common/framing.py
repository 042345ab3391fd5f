"""The sizes of the codec's time, once: every service counts in these frames."""

from __future__ import annotations

import math

SAMPLE_RATE_HZ = 24_000
FRAME_SAMPLES = 1_920
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE_HZ
FRAME_MS = 80
FRAME_NS = 80_000_000


def frames_in(duration_s: float) -> int:
    """Count the frames that cover a duration, rounded up; a duration that is whole frames stays what it is."""
    return math.ceil(round(duration_s / FRAME_S, 6))
