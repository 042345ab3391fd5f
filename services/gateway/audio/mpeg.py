"""The little of MP3 frames that tells a whole file from a cut one: FFmpeg plays on with what it gets."""

from __future__ import annotations

_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG1_HZ = (44_100, 48_000, 32_000)
# By the two bits of the version, of which 1 is reserved: MPEG 2.5, 2 and 1.
_RATE_DIVISOR = {0: 4, 2: 2, 3: 1}
_LAYER3 = 1
# Behind ID3 tags, a frame without audio may say how many frames follow.
_LENGTH_MARKS = (b"Xing", b"Info", b"VBRI")
_LONGEST_FRAME_BYTES = 2_881


def frame_bytes(header: bytes) -> int | None:
    """Read the length of a Layer III frame from its first 4 bytes; None if they begin none, or do not tell."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate_index, rate_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if layer != _LAYER3 or version not in _RATE_DIVISOR or bitrate_index in (0, 15) or rate_index == 3:
        return None
    rate_hz = _MPEG1_HZ[rate_index] // _RATE_DIVISOR[version]
    if version == 3:
        return 144_000 * _MPEG1_KBPS[bitrate_index] // rate_hz + padding
    return 72_000 * _MPEG2_KBPS[bitrate_index] // rate_hz + padding


def is_whole(frame: bytes) -> bool:
    """Whether a frame has all the bytes its header announces; what is no frame at all is for the decoder to refuse."""
    return len(frame) >= (frame_bytes(frame[:4]) or 0)


def has_length(content: bytes, first_frame_at: int | None) -> bool:
    """Whether the frame before the first with audio says how long the file is."""
    at = first_frame_at or 0
    before = content[max(0, at - _LONGEST_FRAME_BYTES) : at]
    return any(mark in before for mark in _LENGTH_MARKS)
