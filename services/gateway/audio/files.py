"""A whole recording to blocks of 24 kHz mono: the audio side of Recognize."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.common.errors import MalformedAudio
from services.common.framing import SAMPLE_RATE_HZ
from services.gateway.audio import magic
from services.gateway.audio.compressed import CompressedFile
from services.gateway.audio.formats import HIGHEST_RATE_HZ, LOWEST_RATE_HZ, AudioFormat, Encoding
from services.gateway.audio.resample import Resampler
from services.gateway.audio.stream import AudioStream
from services.gateway.audio.wav import WavFile

_BLOCK_SAMPLES = SAMPLE_RATE_HZ


def iter_file(data: bytes, audio_format: AudioFormat) -> Iterator[NDArray[np.float32]]:
    """Decode a recording block by block, as the blocks are asked for.

    Yields float32 [24000], the last one [1 to 24000], 24 kHz mono in [-1, 1]; at least one.
    Raises BadConfig at the call for a format that is not offered; MalformedAudio, at the call or later, for bytes that
    are not whole audio of that format.
    """
    audio_format.validate_file()
    if not data:
        raise MalformedAudio("wanted a recording, came 0 bytes")
    return _in_seconds(_decoded(data, audio_format))


def _decoded(data: bytes, audio_format: AudioFormat) -> Iterator[NDArray[np.float32]]:
    encoding = audio_format.encoding
    if encoding.is_raw:
        return _streamed(data, audio_format)
    found = magic.encoding_of(data)
    if found is None or encoding not in (Encoding.DETECT, found):
        wanted = "WAV, FLAC, MP3 or Ogg Opus" if encoding is Encoding.DETECT else encoding.name
        raise MalformedAudio(f"wanted {wanted}, came {magic.name_of(data)}")
    if found is Encoding.OGG_OPUS:
        return _streamed(data, AudioFormat(found, audio_format.sample_rate_hz))
    source = WavFile(data) if found is Encoding.WAV else CompressedFile(data, found)
    if not LOWEST_RATE_HZ <= source.rate_hz <= HIGHEST_RATE_HZ:
        raise MalformedAudio(f"wanted {found.name} of {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz, came {source.rate_hz}")
    if audio_format.sample_rate_hz not in (0, source.rate_hz):
        raise MalformedAudio(
            f"wanted the configured {audio_format.sample_rate_hz} Hz, came {found.name} of {source.rate_hz} Hz"
        )
    return _resampled(source.blocks(), source.rate_hz)


def _streamed(data: bytes, audio_format: AudioFormat) -> Iterator[NDArray[np.float32]]:
    stream = AudioStream(audio_format)
    yield from stream.blocks(data)
    yield stream.finish()


def _resampled(blocks: Iterator[NDArray[np.float32]], rate_hz: int) -> Iterator[NDArray[np.float32]]:
    resampler = Resampler(rate_hz)
    for block in blocks:
        yield resampler.push(block)
    yield resampler.drain()


def _in_seconds(blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    waiting: list[NDArray[np.float32]] = []
    samples = 0
    is_empty = True
    for block in blocks:
        waiting.append(block)
        samples += block.size
        if samples < _BLOCK_SAMPLES:
            continue
        joined = np.concatenate(waiting)
        whole = samples - samples % _BLOCK_SAMPLES
        yield from np.split(joined[:whole], whole // _BLOCK_SAMPLES)
        is_empty = False
        waiting = [joined[whole:]]
        samples -= whole
    if samples:
        yield np.concatenate(waiting)
    elif is_empty:
        raise MalformedAudio("wanted a recording, came a file without a single sample")
