"""Seconds to the API's durations and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

_NS = 1_000_000_000


def to_seconds(duration: Duration) -> float:
    """Convert to seconds."""
    return duration.seconds + duration.nanos / _NS


def to_duration(seconds: float) -> Duration:
    """Convert from seconds, 0 or more, to the nanosecond."""
    nanos = round(seconds * _NS)
    return Duration(seconds=nanos // _NS, nanos=nanos % _NS)


def optional_duration(seconds: float | None) -> Duration | None:
    """Convert from seconds; None stays absent."""
    return None if seconds is None else to_duration(seconds)
