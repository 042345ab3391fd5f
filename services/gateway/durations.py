"""Positions in samples to google.protobuf.Duration and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from services.common.framing import SAMPLE_RATE_HZ

_NS = 1_000_000_000


def from_samples(samples: int) -> Duration:
    """Make a duration of samples at 24 kHz."""
    seconds, rest = divmod(samples, SAMPLE_RATE_HZ)
    return Duration(seconds=seconds, nanos=rest * _NS // SAMPLE_RATE_HZ)


def from_seconds(seconds: float) -> Duration:
    """Make a duration of seconds, to the nanosecond."""
    whole, nanos = divmod(round(seconds * _NS), _NS)
    return Duration(seconds=whole, nanos=nanos)


def from_ms(milliseconds: int) -> Duration:
    """Make a duration of milliseconds."""
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def to_seconds(duration: Duration) -> float:
    """Read a duration as seconds."""
    return duration.seconds + duration.nanos / _NS


def to_samples(duration: Duration) -> int:
    """Read a duration as samples at 24 kHz, the nearest."""
    return duration.seconds * SAMPLE_RATE_HZ + round(duration.nanos * SAMPLE_RATE_HZ / _NS)
