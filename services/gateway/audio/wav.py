"""WAV files: where the samples are and what they are; decoding them is `pcm`'s."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.common.errors import MalformedAudio
from services.gateway.audio import samples
from services.gateway.audio.formats import MOST_CHANNELS
from services.gateway.audio.pcm import PcmDecoder
from services.gateway.audio.samples import SampleType

_CHUNK = struct.Struct("<4sI")
# format tag, channels, rate, bytes a second, bytes a frame, bits a sample
_FORMAT = struct.Struct("<HHIIHH")
_EXTENSIBLE = 0xFFFE
_EXTENSIBLE_TAG_AT = 24
_SAMPLE_TYPES: dict[tuple[int, int], SampleType] = {
    (1, 1): samples.UNSIGNED8,
    (1, 2): samples.SIGNED16,
    (1, 3): samples.SIGNED24,
    (1, 4): samples.SIGNED32,
    (3, 4): samples.FLOAT32,
    (3, 8): samples.FLOAT64,
    (6, 1): samples.ALAW,
    (7, 1): samples.MULAW,
}
# Written by programs that could not seek back to fill in the length: the samples go on to the end of the file.
_UNKNOWN_BYTES = 0x7FFF0000


class WavFile:
    """A RIFF or RF64 file in memory. Raises MalformedAudio unless it has whole PCM, floating-point or G.711 samples."""

    def __init__(self, content: bytes) -> None:
        if content[:4] not in (b"RIFF", b"RF64") or content[8:12] != b"WAVE":
            raise MalformedAudio("wanted a WAV file, came something that does not begin with RIFF and WAVE")
        self._samples: memoryview | None = None
        header: memoryview | None = None
        for name, body, wanted in _chunks(content):
            if name == b"fmt ":
                header = body
            elif name == b"data":
                if len(body) < wanted < _UNKNOWN_BYTES:
                    raise MalformedAudio(
                        f"wanted the {wanted} bytes of samples that the file announces, came {len(body)}"
                    )
                self._samples = body
                break
        if header is None or self._samples is None:
            raise MalformedAudio("wanted a WAV file with the chunks fmt and data, came one without")
        self._decoder = _decoder(header)

    @property
    def rate_hz(self) -> int:
        """Rate of the source."""
        return self._decoder.rate_hz

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Decode into blocks [samples] of at most 1 s, mono at rate_hz. Raises MalformedAudio for a cut sample."""
        assert self._samples is not None
        yield from self._decoder.read(self._samples)
        self._decoder.end()


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Yield name, body and the length announced, which may be more than there is."""
    view = memoryview(content)
    start = 12
    long_data_bytes = 0
    while start + _CHUNK.size <= len(view):
        name, length = _CHUNK.unpack_from(view, start)
        start += _CHUNK.size
        if name == b"ds64" and start + 16 <= len(view):
            long_data_bytes = int.from_bytes(view[start + 8 : start + 16], "little")
        if name == b"data" and length == 0xFFFFFFFF and long_data_bytes:
            length = long_data_bytes
        is_open = name == b"data" and (length == 0 or length >= _UNKNOWN_BYTES)
        yield name, view[start:] if is_open else view[start : start + length], length
        # Chunks are padded to an even length.
        start += length + length % 2


def _decoder(header: memoryview) -> PcmDecoder:
    if len(header) < _FORMAT.size:
        raise MalformedAudio(f"wanted a WAV format of {_FORMAT.size} bytes or more, came {len(header)}")
    tag, channels, rate_hz, _, frame_bytes, bits = _FORMAT.unpack_from(header)
    if tag == _EXTENSIBLE and len(header) >= _EXTENSIBLE_TAG_AT + 2:
        tag = int.from_bytes(header[_EXTENSIBLE_TAG_AT : _EXTENSIBLE_TAG_AT + 2], "little")
    if not 1 <= channels <= MOST_CHANNELS:
        raise MalformedAudio(f"wanted WAV of 1 or 2 channels, came {channels}")
    sample_type = _SAMPLE_TYPES.get((tag, frame_bytes // channels))
    if sample_type is None or frame_bytes % channels:
        raise MalformedAudio(
            "wanted WAV with PCM of 8, 16, 24 or 32 bits, floating-point, mu-law or A-law samples, "
            f"came format {tag} with {bits} bits"
        )
    return PcmDecoder(sample_type, rate_hz, channels)
