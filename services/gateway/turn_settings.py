"""TurnOptions of a caller to the detector's settings: defaults filled in, everything out of range refused."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from dsm_stt.speech.v1 import speech_pb2
from services.common.errors import BadConfig
from services.common.framing import SAMPLE_RATE_HZ
from services.gateway.turns import TurnSettings

_NS = 1_000_000_000
_DEFAULT_END_THRESHOLD = 0.5
# Of the heads, the third hears two seconds ahead.
_DEFAULT_HEAD = 2
_MOST_MIN_SILENCE_NS = 10 * _NS
_LEAST_MAX_SILENCE_NS = _NS // 5
_MOST_MAX_SILENCE_NS = 60 * _NS
_DEFAULT_MAX_SILENCE_NS = 5 * _NS


def from_proto(options: speech_pb2.TurnOptions, pause_horizons_ms: Sequence[int]) -> TurnSettings:
    """Check a caller's options for a model with these pause heads, empty for one without.

    Raises BadConfig naming the option, what was wanted and what came.
    """
    end_threshold = _end_threshold(options)
    min_silence_ns, max_silence_ns = _silences_ns(options, bool(pause_horizons_ms))
    return TurnSettings(
        enabled=options.enabled,
        head=_head(options, pause_horizons_ms),
        end_threshold=end_threshold,
        eager_end_threshold=_eager_end_threshold(options, end_threshold, bool(pause_horizons_ms)),
        min_silence_samples=_samples(min_silence_ns),
        max_silence_samples=_samples(max_silence_ns),
        flush_on_end=options.flush_on_end,
    )


def _end_threshold(options: speech_pb2.TurnOptions) -> float:
    if not options.HasField("end_threshold"):
        return _DEFAULT_END_THRESHOLD
    threshold = options.end_threshold
    if not 0 < threshold <= 1:
        raise BadConfig(f"turns.end_threshold: wanted more than 0 and at most 1, got {threshold:g}")
    return threshold


def _eager_end_threshold(options: speech_pb2.TurnOptions, end_threshold: float, has_heads: bool) -> float | None:
    if not options.HasField("eager_end_threshold"):
        return None
    threshold = options.eager_end_threshold
    if not has_heads:
        raise BadConfig("turns.eager_end_threshold: the model has no pause heads, leave it out")
    if not 0 < threshold < end_threshold:
        raise BadConfig(
            f"turns.eager_end_threshold: wanted more than 0 and less than end_threshold ({end_threshold:g}), "
            f"got {threshold:g}"
        )
    return threshold


def _head(options: speech_pb2.TurnOptions, pause_horizons_ms: Sequence[int]) -> int | None:
    if not options.HasField("pause_horizon"):
        return min(_DEFAULT_HEAD, len(pause_horizons_ms) - 1) if pause_horizons_ms else None
    if not pause_horizons_ms:
        raise BadConfig("turns.pause_horizon: the model has no pause heads, leave it out")
    wanted_ns = _ns(options.pause_horizon)
    for head, horizon_ms in enumerate(pause_horizons_ms):
        if horizon_ms * 1_000_000 == wanted_ns:
            return head
    offered = ", ".join(_seconds(horizon_ms * 1_000_000) for horizon_ms in pause_horizons_ms)
    raise BadConfig(f"turns.pause_horizon: wanted one of {offered}, got {_seconds(wanted_ns)}")


def _silences_ns(options: speech_pb2.TurnOptions, has_heads: bool) -> tuple[int, int]:
    least = 0 if has_heads else _NS
    if options.HasField("min_silence"):
        least = _ns(options.min_silence)
        if not 0 <= least <= _MOST_MIN_SILENCE_NS:
            raise BadConfig(f"turns.min_silence: wanted 0 s to 10 s, got {_seconds(least)}")
    if not options.HasField("max_silence"):
        return least, max(least, _DEFAULT_MAX_SILENCE_NS)
    most = _ns(options.max_silence)
    if not _LEAST_MAX_SILENCE_NS <= most <= _MOST_MAX_SILENCE_NS:
        raise BadConfig(f"turns.max_silence: wanted 0.2 s to 60 s, got {_seconds(most)}")
    if most < least:
        raise BadConfig(f"turns.max_silence: wanted at least min_silence ({_seconds(least)}), got {_seconds(most)}")
    return least, most


def _ns(duration: Duration) -> int:
    return duration.seconds * _NS + duration.nanos


def _seconds(ns: int) -> str:
    return f"{ns / _NS:g} s"


def _samples(ns: int) -> int:
    return ns * SAMPLE_RATE_HZ // _NS
