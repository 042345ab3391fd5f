"""A recording on disk as the service wants it: 16-bit mono samples, in pieces. Any format that FFmpeg knows.

The rate stays the file's own where the API takes it, so that the service resamples, once. av is imported where it is
used: the images of the workers have this command line, and not av.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.cli.clock import Clock
from services.common.framing import FRAME_S

_SAMPLE_BYTES = 2
_LOWEST_HZ, _HIGHEST_HZ = 8_000, 48_000
# Sent as fast as it is taken, audio goes in larger pieces than in real time.
FAST_PIECE_S = 0.48


class NotAudio(Exception):
    """The file is not a recording that can be decoded; the text says which file and why."""


@dataclass(frozen=True)
class Recording:
    """What a file's header says. Its samples are decoded when they are asked for."""

    path: Path
    rate_hz: int
    duration_s: float | None

    @classmethod
    def probe(cls, path: Path) -> Self:
        """Read the header. Raises NotAudio."""
        import av  # noqa: PLC0415

        try:
            with av.open(str(path)) as container:
                if not container.streams.audio:
                    raise NotAudio(f"{path} has no audio in it")
                rate_hz = container.streams.audio[0].rate
                duration_s = container.duration / av.time_base if container.duration else None
        except (av.FFmpegError, OSError) as error:
            raise NotAudio(f"{path} is not audio that can be decoded: {error.strerror or error}") from None
        return cls(path, min(max(rate_hz, _LOWEST_HZ), _HIGHEST_HZ), duration_s)

    def pieces(self, piece_s: float) -> Iterator[bytes]:
        """Decode to 16-bit mono samples in pieces of piece_s seconds, the last one shorter. Raises NotAudio."""
        import av  # noqa: PLC0415

        piece_bytes = round(self.rate_hz * piece_s) * _SAMPLE_BYTES
        waiting = bytearray()
        try:
            for samples in self._decoded():
                waiting += samples
                while len(waiting) >= piece_bytes:
                    yield bytes(waiting[:piece_bytes])
                    del waiting[:piece_bytes]
        except av.FFmpegError as error:
            raise NotAudio(f"{self.path} cannot be decoded to its end: {error.strerror or error}") from None
        if waiting:
            yield bytes(waiting)

    async def paced(self, speed: float, clock: Clock) -> AsyncIterator[bytes]:
        """Yield the pieces at `speed` times real time, each when its last sample would have been heard.

        speed: math.inf for as fast as they are taken. Starts the clock.
        """
        piece_s = FAST_PIECE_S if math.isinf(speed) else FRAME_S
        clock.start()
        sent_samples = 0
        for piece in self.pieces(piece_s):
            sent_samples += len(piece) // _SAMPLE_BYTES
            await clock.sleep_until(sent_samples / self.rate_hz / speed)
            yield piece

    def _decoded(self) -> Iterator[bytes]:
        import av  # noqa: PLC0415

        resampler = av.AudioResampler(format="s16", layout="mono", rate=self.rate_hz)
        with av.open(str(self.path)) as container:
            for frame in container.decode(container.streams.audio[0]):
                for converted in resampler.resample(frame):
                    yield converted.to_ndarray().tobytes()
        for converted in resampler.resample(None):
            yield converted.to_ndarray().tobytes()
