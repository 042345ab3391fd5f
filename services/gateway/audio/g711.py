"""G.711 mu-law and A-law as tables of the 256 values a byte can have; `samples` looks them up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _mulaw_table() -> NDArray[np.float32]:
    # ITU-T G.711 table 2: the byte is sent inverted, as sign, 3 bits of segment, 4 of step; 132 is the bias of the
    # encoder, in 16-bit units.
    byte = ~np.arange(256, dtype=np.int32)
    magnitude = (((byte & 0x0F) << 3) + 132 << ((byte >> 4) & 0x07)) - 132
    return (np.where(byte & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _alaw_table() -> NDArray[np.float32]:
    # ITU-T G.711 table 1: even bits are sent inverted; segment 0 is linear, and a set sign bit means positive.
    byte = np.arange(256, dtype=np.int32) ^ 0x55
    segment, step = (byte >> 4) & 0x07, (byte & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, step + 264 << np.maximum(segment - 1, 0))
    return (np.where(byte & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


# [256] float32 in [-1, 1]: the sample that each byte stands for.
MULAW = _mulaw_table()
ALAW = _alaw_table()
