"""The audio of one session: bytes of any size in, 24 kHz mono out. The gateway's servicer has one for each call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.gateway.audio import samples
from services.gateway.audio.formats import AudioFormat, Encoding
from services.gateway.audio.opus import OpusDecoder
from services.gateway.audio.pcm import PcmDecoder
from services.gateway.audio.resample import Resampler
from services.gateway.audio.samples import Bytes

_RAW_TYPES = {
    Encoding.LINEAR16: samples.SIGNED16,
    Encoding.FLOAT32: samples.FLOAT32,
    Encoding.MULAW: samples.MULAW,
    Encoding.ALAW: samples.ALAW,
}


class Decoder(Protocol):
    """Bytes to mono float32 [samples] at the source's own rate; holds back what is not complete."""

    rate_hz: int

    def read(self, chunk: Bytes) -> Iterator[NDArray[np.float32]]:
        """Decode the next bytes, block by block."""
        ...

    def end(self) -> None:
        """Raise MalformedAudio if something was held back."""
        ...


class AudioStream:
    """Decodes, mixes down and resamples; the samples do not depend on how the bytes were cut.

    All that is given back is float32 [samples], 24 kHz mono in [-1, 1]. After MalformedAudio it must not be used again.
    Raises BadConfig for a format that cannot be streamed.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        audio_format.validate_streaming()
        self._decoder = _decoder(audio_format)
        self._resampler = Resampler(self._decoder.rate_hz)
        self._received_samples = 0

    @property
    def received_s(self) -> float:
        """Duration of the audio decoded so far, counted in the source's samples."""
        return self._received_samples / self._decoder.rate_hz

    def push(self, data: bytes) -> NDArray[np.float32]:
        """Take the next bytes and return the samples available now: maybe none. Raises MalformedAudio."""
        blocks = list(self.blocks(data))
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate(blocks) if blocks else np.empty(0, np.float32)

    def blocks(self, data: Bytes) -> Iterator[NDArray[np.float32]]:
        """Do what `push` does, in blocks decoded when they are asked for, none empty; to be read to its end.

        For whoever bounds memory: compressed silence of 1 MiB can be hours. A block has about 1 s at most, or what was
        in one Ogg page. Raises MalformedAudio.
        """
        for pcm in self._decoder.read(data):
            self._received_samples += pcm.size
            due = self._resampler.push(pcm)
            if due.size:
                yield due

    def drain(self) -> NDArray[np.float32]:
        """Return the samples that the resampler still owes; the stream goes on as if nothing had happened.

        round(received_s * 24000) samples are out then. An unfinished sample or Ogg page waits for its rest.
        """
        return self._resampler.drain()

    def finish(self) -> NDArray[np.float32]:
        """Return the last samples, as `drain`. Raises MalformedAudio if a sample, a packet or a page is unfinished."""
        self._decoder.end()
        return self._resampler.drain()


def _decoder(audio_format: AudioFormat) -> Decoder:
    if audio_format.encoding is Encoding.OGG_OPUS:
        return OpusDecoder(audio_format.sample_rate_hz)
    return PcmDecoder(_RAW_TYPES[audio_format.encoding], audio_format.sample_rate_hz, audio_format.channels)
