"""Ogg pages out of bytes that come in pieces (RFC 3533).

FFmpeg has a demuxer, but it wants a file it can block on, which a session has not.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from services.common.errors import MalformedAudio
from services.gateway.audio.samples import Bytes

CAPTURE_PATTERN = b"OggS"
# pattern, version, flags, granule position, stream, sequence, checksum, segments
_HEADER = struct.Struct("<4sBBqIIIB")
_CHECKSUM_AT = slice(22, 26)
_CONTINUED, _FIRST, _LAST = 1, 2, 4
# More than any page (65 307 bytes): what is held back of the caller's bytes stays below twice this.
_CHUNK_BYTES = 65_536
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True, slots=True)
class Page:
    """One page and the pieces of packets in it.

    granule: position of the last packet that ends here; -1 if none does.
    continued: the first piece goes on with the packet of the page before. open_ended: the last piece goes on.
    """

    stream: int
    sequence: int
    granule: int
    is_first: bool
    is_last: bool
    continued: bool
    open_ended: bool
    pieces: tuple[bytes, ...]


class PageReader:
    """Holds back an unfinished page."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def is_within_page(self) -> bool:
        """Whether the bytes so far stop in the middle of a page."""
        return bool(self._held)

    def read(self, chunk: Bytes) -> Iterator[Page]:
        """Yield the pages that are complete now. Raises MalformedAudio at the first byte that belongs to none."""
        for start in range(0, len(chunk), _CHUNK_BYTES):
            self._held += chunk[start : start + _CHUNK_BYTES]
            while (page := self._take()) is not None:
                yield page

    def _take(self) -> Page | None:
        held = self._held
        if not CAPTURE_PATTERN.startswith(held[:4]):
            raise MalformedAudio("wanted an Ogg page, came bytes that do not begin with OggS")
        if len(held) < _HEADER.size:
            return None
        _, version, flags, granule, stream, sequence, checksum, segments = _HEADER.unpack_from(held)
        if version != 0:
            raise MalformedAudio(f"wanted an Ogg page of version 0, came {version}")
        body = _HEADER.size + segments
        lacing = held[_HEADER.size : body]
        end = body + sum(lacing)
        if len(held) < body or len(held) < end:
            return None
        page = bytes(held[:end])
        del held[:end]
        if _checksum(page) != checksum:
            raise MalformedAudio("an Ogg page does not have the checksum it says it has")
        return Page(
            stream,
            sequence,
            granule,
            is_first=bool(flags & _FIRST),
            is_last=bool(flags & _LAST),
            continued=bool(flags & _CONTINUED),
            open_ended=bool(lacing) and lacing[-1] == 255,
            pieces=tuple(_pieces(page, body, lacing)),
        )


def _pieces(page: bytes, start: int, lacing: bytearray) -> Iterator[bytes]:
    end = start
    for length in lacing:
        end += length
        if length < 255:
            yield page[start:end]
            start = end
    if lacing and lacing[-1] == 255:
        yield page[start:end]


def _checksum(page: bytes) -> int:
    # Ogg's CRC-32 has zlib's polynomial, but takes the bits of a byte from the other end and inverts nothing: zlib
    # computes it, a hundred times as fast as Python, of the page with its bits reversed.
    blank = bytearray(page)
    blank[_CHECKSUM_AT] = bytes(4)
    mirrored = zlib.crc32(blank.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_REVERSED), "big")
