"""Ogg pages and Opus packets by hand, to make streams that no muxer writes."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

FIRST, LAST = 2, 4


def page(
    packets: list[bytes],
    *,
    sequence: int,
    granule: int = 0,
    stream: int = 7,
    flags: int = 0,
    open_ended: bool = False,
    version: int = 0,
) -> bytes:
    """Make a page of whole packets; open_ended: the last one, of a multiple of 255 bytes, goes on."""
    lacing = bytearray()
    for packet in packets:
        lacing += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    if open_ended:
        assert lacing.pop() == 0
    head = struct.pack("<4sBBqIIIB", b"OggS", version, flags, granule, stream, sequence, 0, len(lacing))
    blank = bytearray(head + lacing + b"".join(packets))
    blank[22:26] = struct.pack("<I", _crc(blank))
    return bytes(blank)


def _crc(content: bytes) -> int:
    # Bit by bit, as RFC 3533 writes it.
    value = 0
    for byte in content:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def opus_head(
    *, channels: int = 1, pre_skip: int = 312, rate: int = 48_000, gain: int = 0, version: int = 1, family: int = 0
) -> bytes:
    return struct.pack("<8sBBHIhB", b"OpusHead", version, channels, pre_skip, rate, gain, family)


OPUS_TAGS = b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)


def opus_packets(samples: NDArray[np.float32]) -> list[bytes]:
    """Encode mono samples at 48 kHz into packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "flt"
    encoder.time_base = Fraction(1, 48_000)
    packets: list[bytes] = []
    for start in range(0, samples.size, 960):
        block = np.zeros(960, np.float32)
        block[: samples[start : start + 960].size] = samples[start : start + 960]
        frame = av.AudioFrame.from_ndarray(block[np.newaxis], "flt", "mono")
        frame.sample_rate, frame.pts = 48_000, start
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def opus_stream(packets: list[bytes], *, stream: int = 7, last_granule: int | None = None, **head: int) -> bytes:
    """Put each packet on a page of its own, behind the headers."""
    written = page([opus_head(**head)], sequence=0, stream=stream, flags=FIRST)
    written += page([OPUS_TAGS], sequence=1, stream=stream)
    for index, packet in enumerate(packets):
        is_last = index == len(packets) - 1
        granule = last_granule if is_last and last_granule is not None else 960 * (index + 1)
        written += page([packet], sequence=index + 2, stream=stream, granule=granule, flags=LAST if is_last else 0)
    return written
