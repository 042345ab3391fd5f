"""Opus in Ogg (RFC 7845) to mono float32, decoded as it arrives."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from services.common.errors import MalformedAudio
from services.gateway.audio.formats import MOST_CHANNELS
from services.gateway.audio.ogg import Page, PageReader
from services.gateway.audio.samples import Bytes

OPUS_RATE_HZ = 48_000

# magic, version, channels, pre-skip in samples, rate before encoding, gain, mapping family
_HEAD = struct.Struct("<8sBBHIhB")
_PRE_SKIP_AT = slice(10, 12)
# The longest packet of two channels has 61 kB (RFC 7845, section 6). Tags may be longer, with a picture say; nobody
# reads them, so they are dropped as they come, up to a limit.
_MOST_PACKET_BYTES = 65_536
_MOST_TAGS_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Head:
    """The first packet of a stream.

    pre_skip: samples at 48 kHz that are no audio yet. rate_hz: before encoding; 0 if nobody said.
    """

    channels: int
    pre_skip: int
    rate_hz: int
    packet: bytes


class OpusDecoder:
    """A chain of Opus streams, one after the other: most have a single link.

    sample_rate_hz: what the caller says the rate is; 0, 48000 and the rate in the stream's header are right.
    """

    rate_hz = OPUS_RATE_HZ

    def __init__(self, sample_rate_hz: int = 0) -> None:
        self._said_rate_hz = sample_rate_hz
        self._pages = PageReader()
        self._link: _Link | None = None

    def read(self, chunk: Bytes) -> Iterator[NDArray[np.float32]]:
        """Decode the next bytes into one block [samples] a page, mono at 48 kHz, at most 31 s each.

        Raises MalformedAudio for whatever is no Opus of one or two channels in Ogg.
        """
        for page in self._pages.read(chunk):
            if page.is_first:
                self._link = self._next_link(page)
                continue
            if self._link is None or page.stream != self._link.stream or self._link.has_ended:
                raise MalformedAudio("wanted one Opus stream in Ogg, came a page of another, or of one that has ended")
            pcm = self._link.read(page)
            if pcm.size:
                yield pcm

    def end(self) -> None:
        """Raise MalformedAudio if the bytes stop within a page, a packet or the headers."""
        if self._pages.is_within_page:
            raise MalformedAudio("wanted whole Ogg pages, came the beginning of one at the end")
        if self._link is not None and self._link.is_within_packet:
            raise MalformedAudio("wanted whole Opus packets, came the beginning of one at the end")

    def _next_link(self, page: Page) -> _Link:
        if self._link is not None and self._link.is_within_packet:
            raise MalformedAudio("wanted the rest of an Opus packet, came the beginning of a stream")
        head = _read_head(page)
        if self._said_rate_hz not in (0, OPUS_RATE_HZ, head.rate_hz):
            raise MalformedAudio(
                f"wanted the configured {self._said_rate_hz} Hz, came Opus of {head.rate_hz or OPUS_RATE_HZ} Hz"
            )
        return _Link(page, head)


class _Link:
    """One logical stream, from its header to its last page."""

    def __init__(self, page: Page, head: _Head) -> None:
        self.stream = page.stream
        self.has_ended = page.is_last
        self._channels = head.channels
        self._to_skip = head.pre_skip
        self._codec = _open(head)
        self._sequence = page.sequence
        self._granule = 0
        self._packet = bytearray()
        self._is_open = False
        self._has_tags = False
        self._tags_bytes = 0

    @property
    def is_within_packet(self) -> bool:
        """Whether a packet, or the pair of headers, is not complete."""
        return self._is_open or not self._has_tags

    def read(self, page: Page) -> NDArray[np.float32]:
        """Decode the packets that end on this page: [samples], mono at 48 kHz."""
        blocks = [self._decode(packet) for packet in self._packets(page)]
        self.has_ended = page.is_last
        pcm = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        # The last page's position says where the audio ends within its last packets. Counted from the page before,
        # because recordings cut out of a longer stream begin anywhere.
        excess = self._granule + pcm.size - page.granule
        self._granule = page.granule if page.granule >= 0 else self._granule + pcm.size
        if page.is_last and 0 < excess <= pcm.size:
            pcm = pcm[: pcm.size - excess]
        skipped = min(self._to_skip, pcm.size)
        self._to_skip -= skipped
        return pcm[skipped:]

    def _packets(self, page: Page) -> Iterator[bytes]:
        is_next = page.sequence == (self._sequence + 1) & 0xFFFFFFFF
        self._sequence = page.sequence
        pieces = page.pieces
        if not is_next:
            # Streams joined while they run lack pages behind the headers; what of a packet was on them is lost.
            self._drop()
            pieces = pieces[1:] if page.continued else pieces
        elif page.continued is not self._is_open:
            raise MalformedAudio("an Ogg page goes on with a packet that the page before ended, or the reverse")
        last = len(pieces) - 1
        for index, piece in enumerate(pieces):
            self._add(piece)
            self._is_open = page.open_ended and index == last
            if self._is_open:
                continue
            packet = bytes(self._packet)
            self._drop()
            if self._has_tags:
                yield packet
            elif packet.startswith(b"OpusTags"):
                self._has_tags = True
            else:
                raise MalformedAudio("wanted OpusTags as the second packet of an Opus stream, came another")

    def _add(self, piece: bytes) -> None:
        if self._has_tags:
            self._packet += piece
            if len(self._packet) > _MOST_PACKET_BYTES:
                raise MalformedAudio(f"wanted Opus packets of at most {_MOST_PACKET_BYTES} bytes, came a longer one")
            return
        self._packet += piece[: 8 - len(self._packet)]
        self._tags_bytes += len(piece)
        if self._tags_bytes > _MOST_TAGS_BYTES:
            raise MalformedAudio(f"wanted OpusTags of at most {_MOST_TAGS_BYTES} bytes, came more")

    def _drop(self) -> None:
        self._packet.clear()
        self._is_open = False

    def _decode(self, packet: bytes) -> NDArray[np.float32]:
        # FFmpeg takes an empty packet for the end of the stream.
        if not packet:
            raise MalformedAudio("wanted an Opus packet, came an empty one")
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError as error:
            raise MalformedAudio(f"wanted an Opus packet, came {len(packet)} bytes that are none") from error
        blocks = [frame.to_ndarray()[0].astype(np.float32, copy=False) for frame in frames]
        interleaved = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        if self._channels == 1:
            return interleaved
        return (interleaved[0::2] + interleaved[1::2]) * np.float32(0.5)


def _read_head(page: Page) -> _Head:
    packet = page.pieces[0] if page.pieces else b""
    if not packet.startswith(b"OpusHead"):
        raise MalformedAudio(f"wanted Opus in Ogg, came {_codec_name(packet)}")
    if len(packet) < _HEAD.size or len(page.pieces) != 1 or page.open_ended:
        raise MalformedAudio("wanted OpusHead alone on the first page of an Opus stream, came a part of it, or more")
    _, version, channels, pre_skip, rate_hz, _, _ = _HEAD.unpack_from(packet)
    if version >> 4:
        raise MalformedAudio(f"wanted OpusHead of version 0 or 1, came {version}")
    if not 1 <= channels <= MOST_CHANNELS:
        raise MalformedAudio(f"wanted Opus of 1 or 2 channels, came {channels}")
    return _Head(channels, pre_skip, rate_hz, packet)


def _codec_name(packet: bytes) -> str:
    for magic, name in (
        (b"\x01vorbis", "Vorbis"),
        (b"\x7fFLAC", "FLAC"),
        (b"Speex", "Speex"),
        (b"\x80theora", "Theora"),
    ):
        if packet.startswith(magic):
            return name
    return "another codec"


def _open(head: _Head) -> AudioCodecContext:
    # libopus rather than FFmpeg's own decoder: the reference, and as fast.
    codec = av.CodecContext.create("libopus", "r")
    assert isinstance(codec, AudioCodecContext)
    # The gain and the mapping are FFmpeg's to apply; the pre-skip is ours, who know where the last page cuts.
    header = bytearray(head.packet)
    header[_PRE_SKIP_AT] = bytes(2)
    codec.extradata = bytes(header)
    codec.options = {"request_sample_fmt": "flt"}
    codec.sample_rate = OPUS_RATE_HZ
    codec.layout = "stereo" if head.channels == 2 else "mono"
    try:
        codec.open()
    except av.FFmpegError as error:
        raise MalformedAudio("wanted Opus of 1 or 2 channels, came a channel mapping that is none") from error
    return codec
