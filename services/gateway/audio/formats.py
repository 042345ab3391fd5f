"""What a caller says its audio is, checked before the first byte of it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dsm_stt.speech.v1 import speech_pb2
from services.common.errors import BadConfig

LOWEST_RATE_HZ = 8_000
HIGHEST_RATE_HZ = 48_000
MOST_CHANNELS = 2


class Encoding(Enum):
    """How samples are written as bytes; the values are the numbers of AudioEncoding in speech.proto."""

    DETECT = speech_pb2.AUDIO_ENCODING_UNSPECIFIED
    LINEAR16 = speech_pb2.AUDIO_ENCODING_LINEAR16
    FLOAT32 = speech_pb2.AUDIO_ENCODING_FLOAT32
    MULAW = speech_pb2.AUDIO_ENCODING_MULAW
    ALAW = speech_pb2.AUDIO_ENCODING_ALAW
    OGG_OPUS = speech_pb2.AUDIO_ENCODING_OGG_OPUS
    WAV = speech_pb2.AUDIO_ENCODING_WAV
    FLAC = speech_pb2.AUDIO_ENCODING_FLAC
    MP3 = speech_pb2.AUDIO_ENCODING_MP3

    @property
    def is_raw(self) -> bool:
        """Samples without a header: rate and channels are known from the config alone."""
        return self in _RAW

    @property
    def is_streamable(self) -> bool:
        """Decodable as it arrives, so allowed in StreamingRecognize."""
        return self in _STREAMABLE


_RAW = (Encoding.LINEAR16, Encoding.FLOAT32, Encoding.MULAW, Encoding.ALAW)
_STREAMABLE = (*_RAW, Encoding.OGG_OPUS)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Encoding, rate and channels as the caller configured them.

    sample_rate_hz: of the source, 8000 to 48000; 0, for encodings that carry their own rate, means what the audio says.
    channels: 1 or 2, interleaved. Encodings that carry their own number of channels do not look at it.
    """

    encoding: Encoding
    sample_rate_hz: int = 0
    channels: int = 1

    @classmethod
    def from_proto(cls, message: speech_pb2.AudioFormat) -> AudioFormat:
        """Read the public message, 0 channels being 1. Raises BadConfig for an encoding that has no meaning here."""
        try:
            encoding = Encoding(message.encoding)
        except ValueError:
            raise BadConfig(
                f"audio_format.encoding: wanted a value of AudioEncoding, came {message.encoding}"
            ) from None
        return cls(encoding, message.sample_rate_hertz, message.channels or 1)

    def validate_streaming(self) -> None:
        """Raise BadConfig unless StreamingRecognize takes audio of this format."""
        if not self.encoding.is_streamable:
            came = "none" if self.encoding is Encoding.DETECT else f"{self.encoding.name}, which only Recognize takes"
            raise BadConfig(
                f"audio_format.encoding: wanted {' or '.join(e.name for e in _STREAMABLE)} to stream, came {came}"
            )
        self._validate_numbers()

    def validate_file(self) -> None:
        """Raise BadConfig unless Recognize takes audio of this format."""
        self._validate_numbers()

    def _validate_numbers(self) -> None:
        rate = self.sample_rate_hz
        in_range = LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ
        if self.encoding.is_raw and not in_range:
            raise BadConfig(
                f"audio_format.sample_rate_hertz: wanted {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} "
                f"for {self.encoding.name}, came {rate}"
            )
        if rate and not in_range:
            raise BadConfig(
                f"audio_format.sample_rate_hertz: wanted 0 or {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}, came {rate}"
            )
        if not 1 <= self.channels <= MOST_CHANNELS:
            raise BadConfig(f"audio_format.channels: wanted 0, 1 or 2, came {self.channels}")
