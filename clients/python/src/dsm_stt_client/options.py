"""What a caller can ask for: RecognitionConfig of speech.proto, typed. Every default is the service's own."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


class Encoding(enum.IntEnum):
    """How audio is written. The last three are for whole recordings only."""

    LINEAR16 = 1
    FLOAT32 = 2
    MULAW = 3
    ALAW = 4
    OGG_OPUS = 5
    WAV = 6
    FLAC = 7
    MP3 = 8


_SAMPLE_BYTES = {Encoding.LINEAR16: 2, Encoding.FLOAT32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


@dataclass(frozen=True, kw_only=True)
class AudioFormat:
    """sample_rate_hz: 8000 to 48000; 0 for encodings that carry their own. channels: 1 or 2, interleaved."""

    encoding: Encoding = Encoding.LINEAR16
    sample_rate_hz: int = 16_000
    channels: int = 1

    @property
    def frame_bytes(self) -> int | None:
        """Return the bytes of one sample of all channels; None for what is compressed."""
        sample_bytes = _SAMPLE_BYTES.get(self.encoding)
        return None if sample_bytes is None else sample_bytes * self.channels


@dataclass(frozen=True, kw_only=True)
class TurnOptions:
    """When the speaker is taken to have ended a turn; see TurnOptions in speech.proto. Durations in seconds."""

    end_threshold: float | None = None
    eager_end_threshold: float | None = None
    pause_horizon_s: float | None = None
    min_silence_s: float | None = None
    max_silence_s: float | None = None
    flush_on_end: bool = False


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """Where a stream begins that continues one of another process; see Resume in speech.proto.

    A stream opened with `resume=True` needs none: it continues itself.
    """

    audio_offset_s: float
    words_from_s: float
    turn_index: int = 0


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """What a stream is asked to be.

    model: a name from list_models; "" for the service's default. language_codes: checked against the model.
    interim_results: words while they grow. vad_interval_s: pause probabilities, this far apart. turns: None for none.
    labels: for the operator's log; no personal data, please.
    """

    audio_format: AudioFormat = field(default_factory=AudioFormat)
    model: str = ""
    language_codes: Sequence[str] = ()
    interim_results: bool = False
    vad_interval_s: float | None = None
    turns: TurnOptions | None = None
    idle_timeout_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    resume: ResumePoint | None = None
