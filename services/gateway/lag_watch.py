"""Notices that the service is behind a caller who speaks in real time, which the caller cannot see for itself."""

from __future__ import annotations

from services.common.framing import SAMPLE_RATE_HZ

# Behind by more than this is worth a warning.
LAG_S = 2.0
# Sooner than this after the last one, it is not.
_PAUSE_S = 10.0
# A caller may be ahead of its clock by this much, for a buffer it sent at the start, and still count as real time.
_AHEAD_S = 1.0


class LagWatch:
    """Watches one session. Times are of any one clock, in seconds."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._next_s = began_s

    def behind_s(self, received_samples: int, processed_samples: int, now_s: float) -> float | None:
        """Return by how much the service is behind, if the caller should be warned now.

        received_samples, processed_samples: of session audio at 24 kHz since the session began.
        """
        lag_s = (received_samples - processed_samples) / SAMPLE_RATE_HZ
        # A caller that sends a recording as fast as it can is ahead of the service by its own choice.
        in_real_time = received_samples / SAMPLE_RATE_HZ <= now_s - self._began_s + _AHEAD_S
        if lag_s <= LAG_S or not in_real_time or now_s < self._next_s:
            return None
        self._next_s = now_s + _PAUSE_S
        return lag_s
