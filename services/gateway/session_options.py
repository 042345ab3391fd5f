"""A caller's RecognitionConfig, checked: everything wrong is refused here, before a slot is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from dsm_stt.speech.v1 import speech_pb2
from services.common.errors import BadConfig
from services.common.framing import FRAME_MS
from services.gateway.audio import AudioFormat
from services.gateway.config import GatewayConfig
from services.gateway.durations import to_samples, to_seconds
from services.gateway.turn_settings import from_proto as turn_settings_from_proto
from services.gateway.turns import TurnSettings
from services.gateway.upstream.lm_link import ModelInfo

MAX_ID_CHARACTERS = 128
_MAX_LABELS = 16
_MAX_LABEL_KEY = 64
_MAX_LABEL_VALUE = 256


@dataclass(frozen=True)
class ResultSettings:
    """What results a caller wants."""

    interim: bool = False
    # Frames between two vad events; 0: none.
    vad_frames: int = 0


@dataclass(frozen=True)
class Resumption:
    """Where a stream that continues another begins; all zero for a new one."""

    base_samples: int = 0
    words_from_samples: int = 0
    turn_index: int = 0


@dataclass(frozen=True)
class SessionOptions:
    """Everything a session was asked to be."""

    model: ModelInfo
    audio_format: AudioFormat
    results: ResultSettings
    turns: TurnSettings
    idle_timeout_s: float
    resumption: Resumption
    labels: Mapping[str, str]


def session_options(
    config: speech_pb2.RecognitionConfig, model: ModelInfo, limits: GatewayConfig, *, whole_file: bool = False
) -> SessionOptions:
    """Check a config for a model. Raises BadConfig naming the field, what was wanted and what came."""
    audio_format = AudioFormat.from_proto(config.audio_format)
    if whole_file:
        audio_format.validate_file()
        _refuse_streaming_options(config)
    else:
        audio_format.validate_streaming()
    _check_languages(config.language_codes, model)
    _check_labels(config.labels)
    return SessionOptions(
        model=model,
        audio_format=audio_format,
        results=result_settings(config.results, model),
        turns=turn_settings_from_proto(config.turns, model.pause_horizons_ms),
        idle_timeout_s=_idle_timeout_s(config, limits),
        resumption=_resumption(config),
        labels=dict(config.labels),
    )


def result_settings(options: speech_pb2.ResultOptions, model: ModelInfo) -> ResultSettings:
    """Check result options. Raises BadConfig."""
    vad_frames = 0
    if options.HasField("vad_interval"):
        interval_s = checked_s(options.vad_interval, "results.vad_interval", 0.08, 10)
        if not model.pause_horizons_ms:
            raise BadConfig(f"results.vad_interval: model {model.name} has no pause heads, leave it out")
        vad_frames = math.ceil(round(interval_s * 1000) / FRAME_MS)
    return ResultSettings(interim=options.interim_results, vad_frames=vad_frames)


def checked_s(duration: Duration, name: str, least_s: float, most_s: float) -> float:
    """Read a duration within bounds. Raises BadConfig."""
    seconds = to_seconds(duration)
    if not least_s <= seconds <= most_s:
        raise BadConfig(f"{name}: wanted {least_s:g} s to {most_s:g} s, got {seconds:g} s")
    return seconds


def checked_id(value: str, name: str) -> str:
    """Check an id that is sent back. Raises BadConfig."""
    if len(value) > MAX_ID_CHARACTERS:
        raise BadConfig(f"{name}: wanted at most {MAX_ID_CHARACTERS} characters, got {len(value)}")
    return value


def _refuse_streaming_options(config: speech_pb2.RecognitionConfig) -> None:
    given = {
        "turns.flush_on_end": config.turns.flush_on_end,
        "idle_timeout": config.HasField("idle_timeout"),
        "resume": config.HasField("resume"),
        "results.interim_results": config.results.interim_results,
        "results.vad_interval": config.results.HasField("vad_interval"),
    }
    for name, present in given.items():
        if present:
            raise BadConfig(f"{name}: means nothing for a whole recording, leave it out")


def _check_languages(codes: object, model: ModelInfo) -> None:
    for code in codes:  # type: ignore[attr-defined]
        if code.split("-")[0].lower() not in model.language_codes:
            raise BadConfig(
                f"language_codes: wanted {' or '.join(model.language_codes)}, which model {model.name} transcribes, "
                f"got {code!r}"
            )


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > _MAX_LABELS:
        raise BadConfig(f"labels: wanted at most {_MAX_LABELS}, got {len(labels)}")
    for key, value in labels.items():
        if not 0 < len(key) <= _MAX_LABEL_KEY or len(value) > _MAX_LABEL_VALUE:
            raise BadConfig(
                f"labels: wanted keys of 1 to {_MAX_LABEL_KEY} and values of at most {_MAX_LABEL_VALUE} characters, "
                f"got {len(key)} and {len(value)}"
            )


def _idle_timeout_s(config: speech_pb2.RecognitionConfig, limits: GatewayConfig) -> float:
    if not config.HasField("idle_timeout"):
        return limits.idle_timeout_s
    return checked_s(config.idle_timeout, "idle_timeout", 1, limits.max_idle_timeout_s)


def _resumption(config: speech_pb2.RecognitionConfig) -> Resumption:
    if not config.HasField("resume"):
        return Resumption()
    base, words_from = to_samples(config.resume.audio_offset), to_samples(config.resume.words_from)
    if base < 0 or words_from < base:
        raise BadConfig(
            "resume: wanted 0 <= audio_offset <= words_from, "
            f"got {to_seconds(config.resume.audio_offset):g} s and {to_seconds(config.resume.words_from):g} s"
        )
    return Resumption(base, words_from, config.resume.turn_index)
