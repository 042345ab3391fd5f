"""Uncompressed samples to mono float32 at their own rate, however the bytes are cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.common.errors import MalformedAudio
from services.gateway.audio.samples import Bytes, SampleType


class PcmDecoder:
    """Holds back the bytes of an unfinished sample, and mixes two channels down to their mean."""

    def __init__(self, sample_type: SampleType, rate_hz: int, channels: int) -> None:
        self.rate_hz = rate_hz
        self._type = sample_type
        self._channels = channels
        # A sample of each channel: what has to be whole to be decoded.
        self._frame_bytes = sample_type.sample_bytes * channels
        self._block_bytes = self._frame_bytes * rate_hz
        self._unfinished = b""

    def read(self, chunk: Bytes) -> Iterator[NDArray[np.float32]]:
        """Decode the next bytes into blocks [samples] of at most 1 s, mono at rate_hz.

        Raises MalformedAudio for floating-point samples that are not finite.
        """
        if self._unfinished:
            chunk = self._unfinished + chunk
        whole = len(chunk) - len(chunk) % self._frame_bytes
        self._unfinished = bytes(chunk[whole:])
        for start in range(0, whole, self._block_bytes):
            yield self._mono(chunk[start : min(start + self._block_bytes, whole)])

    def end(self) -> None:
        """Raise MalformedAudio if the bytes stop within a sample."""
        if self._unfinished:
            raise MalformedAudio(
                f"wanted whole samples of {self._frame_bytes} bytes ({self._type.name}, channels: {self._channels}), "
                f"came {len(self._unfinished)} at the end"
            )

    def _mono(self, raw: Bytes) -> NDArray[np.float32]:
        samples = self._type.read(raw)
        if self._channels == 1:
            return samples
        return (samples[0::2] + samples[1::2]) * np.float32(0.5)
