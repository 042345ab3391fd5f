"""The ways in which one sample is written without compression, and what turns them into float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import MalformedAudio
from services.gateway.audio import g711

Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class SampleType:
    """One way of writing samples.

    read: whole samples, sample_bytes each, to float32 [samples] in [-1, 1].
    """

    name: str
    sample_bytes: int
    read: Callable[[Bytes], NDArray[np.float32]]


def _unsigned8(raw: Bytes) -> NDArray[np.float32]:
    return (np.frombuffer(raw, np.uint8).astype(np.float32) - np.float32(128)) * np.float32(2**-7)


def _signed16(raw: Bytes) -> NDArray[np.float32]:
    return np.frombuffer(raw, "<i2") * np.float32(2**-15)


def _signed24(raw: Bytes) -> NDArray[np.float32]:
    # The three bytes become the upper ones of 32 bits, so that the sign comes by itself.
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    return wide.view("<i4")[:, 0].astype(np.float32) * np.float32(2**-31)


def _signed32(raw: Bytes) -> NDArray[np.float32]:
    return np.frombuffer(raw, "<i4").astype(np.float32) * np.float32(2**-31)


def _clipped(values: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise MalformedAudio("wanted samples in [-1, 1], came NaN or infinity")
    return np.clip(values, -1.0, 1.0).astype(np.float32, copy=False)


def _float32(raw: Bytes) -> NDArray[np.float32]:
    return _clipped(np.frombuffer(raw, "<f4"))


def _float64(raw: Bytes) -> NDArray[np.float32]:
    return _clipped(np.frombuffer(raw, "<f8"))


def _mulaw(raw: Bytes) -> NDArray[np.float32]:
    return g711.MULAW[np.frombuffer(raw, np.uint8)]


def _alaw(raw: Bytes) -> NDArray[np.float32]:
    return g711.ALAW[np.frombuffer(raw, np.uint8)]


UNSIGNED8 = SampleType("8-bit", 1, _unsigned8)
SIGNED16 = SampleType("16-bit", 2, _signed16)
SIGNED24 = SampleType("24-bit", 3, _signed24)
SIGNED32 = SampleType("32-bit", 4, _signed32)
FLOAT32 = SampleType("32-bit floating-point", 4, _float32)
FLOAT64 = SampleType("64-bit floating-point", 8, _float64)
MULAW = SampleType("mu-law", 1, _mulaw)
ALAW = SampleType("A-law", 1, _alaw)
