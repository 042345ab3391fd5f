"""A rate of audio with a burst: a token bucket whose tokens are seconds of audio."""

from __future__ import annotations

from collections.abc import Callable

# Sums of frames of 0.08 s are not exact.
_ROUNDING_S = 1e-6


class AudioBucket:
    """Full at first; audio takes seconds out of it, time puts them back."""

    def __init__(self, audio_s_per_minute: float, burst_s: float, clock: Callable[[], float]) -> None:
        """clock: seconds from any start, never running backwards."""
        self._clock = clock
        self._per_s = audio_s_per_minute / 60
        self._burst_s = burst_s
        self._level_s = burst_s
        self._filled_at_s = clock()

    def change(self, audio_s_per_minute: float, burst_s: float) -> None:
        """Go on at another rate with what is in the bucket."""
        self._fill()
        self._per_s = audio_s_per_minute / 60
        self._burst_s = burst_s
        self._level_s = min(self._level_s, burst_s)

    def take(self, audio_s: float) -> bool:
        """Take seconds of audio, 0 or more; False, and nothing is taken, if there are too few.

        A piece longer than the burst passes when the bucket is full and leaves it in debt, so that callers may cut
        their audio as they like.
        """
        if self.wait_s(audio_s) > 0:
            return False
        self._level_s -= audio_s
        return True

    def wait_s(self, audio_s: float) -> float:
        """Return the seconds until so much audio could be taken; 0 for now."""
        self._fill()
        missing_s = min(audio_s, self._burst_s) - self._level_s
        return missing_s / self._per_s if audio_s > 0 and missing_s > _ROUNDING_S else 0.0

    def _fill(self) -> None:
        now_s = self._clock()
        self._level_s = min(self._burst_s, self._level_s + (now_s - self._filled_at_s) * self._per_s)
        self._filled_at_s = now_s
