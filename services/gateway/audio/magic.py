"""What a file is, by its first bytes."""

from __future__ import annotations

from services.gateway.audio import mpeg
from services.gateway.audio.formats import Encoding
from services.gateway.audio.ogg import CAPTURE_PATTERN

# What callers send by mistake, for the message that refuses it.
_OTHERS = (
    (4, b"ftyp", "MP4 or M4A"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b"#!AMR", "AMR"),
    (0, b".snd", "AU"),
    (0, b"wvPK", "WavPack"),
    (0, b"0&\xb2u", "WMA"),
    (0, b"{", "JSON"),
    (0, b"<", "XML or HTML"),
    (0, b"PK\x03\x04", "ZIP"),
)


def encoding_of(content: bytes) -> Encoding | None:
    """Tell WAV, FLAC, MP3 and Ogg; None for anything else."""
    start = _behind_id3(content)
    if content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE":
        return Encoding.WAV
    if content.startswith(CAPTURE_PATTERN):
        return Encoding.OGG_OPUS
    if content.startswith(b"fLaC", start):
        return Encoding.FLAC
    if start or mpeg.frame_bytes(content[:4]) is not None:
        return Encoding.MP3
    return None


def name_of(content: bytes) -> str:
    """Name what came instead of audio that we know, for a message."""
    encoding = encoding_of(content)
    if encoding is not None:
        return encoding.name
    for at, magic, name in _OTHERS:
        if content.startswith(magic, at):
            return name
    return f"{len(content)} bytes of something else"


def _behind_id3(content: bytes) -> int:
    """Position behind an ID3v2 tag at the beginning; 0 without one."""
    if len(content) < 10 or not content.startswith(b"ID3"):
        return 0
    length = 0
    for byte in content[6:10]:
        length = length << 7 | byte & 0x7F
    return 10 + length
