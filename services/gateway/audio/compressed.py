"""FLAC and MP3 files, through FFmpeg."""

from __future__ import annotations

import io
from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

from services.common.errors import MalformedAudio
from services.gateway.audio import mpeg
from services.gateway.audio.formats import MOST_CHANNELS, Encoding

# The demuxer is named, never guessed: FFmpeg knows formats that open other files and hosts.
_DEMUXERS = {Encoding.FLAC: ("flac", "flac"), Encoding.MP3: ("mp3", "mp3float")}
_FULL_SCALE = {"u1": 2**7, "i2": 2**15, "i4": 2**31}


class CompressedFile:
    """A FLAC or MP3 file in memory. Raises MalformedAudio unless it begins as one of 1 or 2 channels."""

    def __init__(self, content: bytes, encoding: Encoding) -> None:
        self._encoding = encoding
        self._content = content
        demuxer, decoder = _DEMUXERS[encoding]
        try:
            # Tags in whatever character set are no reason to refuse the audio.
            self._container = av.open(io.BytesIO(content), "r", format=demuxer, metadata_errors="ignore")
        except av.FFmpegError as error:
            raise self._malformed(f"{len(content)} bytes that are none") from error
        if not self._container.streams.audio:
            raise self._malformed("a file without audio")
        self._stream = self._container.streams.audio[0]
        codec = self._stream.codec_context
        codec.thread_count = 1
        self.rate_hz = codec.sample_rate
        if codec.name != decoder or not self.rate_hz:
            raise self._malformed(f"{codec.name} of {self.rate_hz} Hz")
        if not 1 <= codec.channels <= MOST_CHANNELS:
            raise self._malformed(f"{codec.channels} channels")

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Decode into blocks [samples] of a FLAC or MP3 frame, mono at rate_hz.

        Raises MalformedAudio where the file is damaged, at its end if it is shorter than it says, or if rate or
        channels change.
        """
        decoded = 0
        announced: int | None = None
        with self._container:
            try:
                for packet in self._container.demux(self._stream):
                    if announced is None:
                        announced = self._announced_samples(packet.pos)
                    if self._encoding is Encoding.MP3 and packet.size and not mpeg.is_whole(bytes(packet)):
                        raise self._malformed(f"a cut frame after {decoded / self.rate_hz:.1f} s")
                    for frame in packet.decode():
                        if frame.sample_rate != self.rate_hz or not 1 <= frame.layout.nb_channels <= MOST_CHANNELS:
                            raise self._malformed(f"another rate or more channels after {decoded / self.rate_hz:.1f} s")
                        decoded += frame.samples
                        yield _mono(frame)
            except av.FFmpegError as error:
                raise self._malformed(f"damaged bytes after {decoded / self.rate_hz:.1f} s") from error
        if decoded < (announced or 0):
            raise self._malformed(f"{decoded} of the {announced} samples that it announces")

    def _announced_samples(self, first_packet_at: int | None) -> int | None:
        duration, time_base = self._stream.duration, self._stream.time_base
        if duration is None or time_base is None:
            return None
        if self._encoding is Encoding.MP3 and not mpeg.has_length(self._content, first_packet_at):
            # FFmpeg estimates it from the bit rate.
            return None
        return int(duration * time_base * self.rate_hz)

    def _malformed(self, came: str) -> MalformedAudio:
        return MalformedAudio(f"wanted a whole {self._encoding.name} file of 1 or 2 channels, came {came}")


def _mono(frame: av.AudioFrame) -> NDArray[np.float32]:
    values = frame.to_ndarray()
    channels = frame.layout.nb_channels
    by_channel = values if frame.format.is_planar else values.reshape(-1, channels).T
    mixed: NDArray[np.float32] = by_channel.mean(axis=0, dtype=np.float32)
    if values.dtype.kind == "f":
        return np.clip(mixed, -1.0, 1.0)
    return mixed * np.float32(1 / _FULL_SCALE[values.dtype.str[1:]])
