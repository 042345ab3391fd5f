"""Any rate to the model's 24 kHz, without holding samples back for longer than the filter needs.

FFmpeg's resampler, because of its delay: it works sample by sample, so that whatever comes in at 16 kHz goes out 4 ms
later. soxr, of the same quality, works in blocks: its HQ recipe (soxr 1.1) holds back up to 37 ms at 16 kHz and 73 ms
at 8 kHz, which a live caller would see in every word.
"""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from numpy.typing import NDArray

from services.common.framing import SAMPLE_RATE_HZ

# A Kaiser-windowed sinc of 128 samples of the lower rate: flat to 0.91 of the lower Nyquist frequency, down by more
# than 90 dB from 1.0 on. It delays by half its length: 8 ms from 8 kHz, 4 ms from 16 kHz, 2.8 ms from 24 kHz and up.
_FILTER_SAMPLES = 128
_FILTER = f"filter_size={_FILTER_SAMPLES}:cutoff=0.955:kaiser_beta=10"
# 1024 phases of the filter at most. Rates that need more (31 999 Hz, say) are interpolated between them, which nobody
# hears, but the last bits of a sample then depend on how the audio was cut.
_MOST_PHASE_BITS = 10


class Resampler:
    """One signal, sample n of which belongs at n * 24000 / rate of the output, however often it is drained."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        common = math.gcd(SAMPLE_RATE_HZ, rate_hz)
        # Every `_down` samples of the source, one of them is at the same time as every `_up`th of the output.
        self._up, self._down = SAMPLE_RATE_HZ // common, rate_hz // common
        # More of the source than any output sample is made of, to either side.
        self._reach = math.ceil(_FILTER_SAMPLES * max(1.0, rate_hz / SAMPLE_RATE_HZ)) + 8
        # The end of what was taken; silence before the first sample.
        self._past: NDArray[np.float32] = np.zeros(self._reach + self._down, np.float32)
        self._taken = 0
        self._given = 0
        self._filter: _Filter | None = None
        # Output of the filter that was given before it was opened.
        self._stale = 0

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take samples [n] at the source's rate; return those now due [m] at 24 kHz, in [-1, 1]."""
        if self._rate_hz == SAMPLE_RATE_HZ or not pcm.size:
            return pcm
        due = self._filtered(pcm)
        self._taken += pcm.size
        recent = pcm if pcm.size >= self._past.size else np.concatenate((self._past, pcm))
        # Copied, or a long push would stay in memory whole.
        self._past = recent[-self._past.size :].copy()
        self._given += due.size
        return due

    def drain(self) -> NDArray[np.float32]:
        """Return what is still due: round(n * 24000 / rate) samples are out then, of the n taken since the beginning.

        All of it is what it would have been, but for the last few ms: the filter takes them to be followed by silence.
        """
        if self._filter is None:
            return np.empty(0, np.float32)
        wanted = (2 * self._taken * self._up + self._down) // (2 * self._down) - self._given
        due = self._filtered(np.zeros(self._reach, np.float32))[:wanted]
        # The filter has heard silence that never was. The next push opens another one, with the true past.
        self._filter = None
        self._given += due.size
        return due

    def _filtered(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._filter is None:
            # It begins where source and output have a sample at the same time, early enough for what is due next.
            start = (self._taken - self._reach) // self._down * self._down
            self._filter = _Filter(self._rate_hz, self._up)
            self._stale = self._given - start // self._down * self._up
            pcm = np.concatenate((self._past[start - self._taken :], pcm))
        due = self._filter.push(pcm)
        stale = min(self._stale, due.size)
        self._stale -= stale
        return due[stale:]


class _Filter:
    """FFmpeg's aresample between a source and a sink."""

    def __init__(self, rate_hz: int, phases: int) -> None:
        self._rate_hz = rate_hz
        # FFmpeg keeps several buffers as long as the longest piece it was ever given: 1 MB a session for a second.
        self._piece_samples = rate_hz // 10
        # Kept although unused: it owns the three.
        self._graph = Graph()
        # Or each session would start as many threads as the machine has cores.
        self._graph.threads = 1
        self._source = self._graph.add_abuffer(
            sample_rate=rate_hz, format="flt", layout="mono", time_base=Fraction(1, rate_hz)
        )
        phase_bits = min((phases - 1).bit_length(), _MOST_PHASE_BITS)
        filter_ = self._graph.add("aresample", f"{SAMPLE_RATE_HZ}:{_FILTER}:phase_shift={phase_bits}")
        self._sink: FilterContext = self._graph.add("abuffersink")
        self._source.link_to(filter_)
        filter_.link_to(self._sink)
        self._graph.configure()

    def push(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        starts = range(0, pcm.size, self._piece_samples)
        blocks = [self._pass(pcm[start : start + self._piece_samples]) for start in starts]
        due = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        # The filter rings: a full-scale signal may come out a little beyond.
        return due.clip(-1.0, 1.0)

    def _pass(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the filter a piece and take what it makes of it."""
        frame = av.AudioFrame("flt", "mono", piece.size)
        frame.planes[0].update(piece.tobytes())
        frame.sample_rate = self._rate_hz
        self._source.push(frame)
        try:
            # One frame in, one out, at most: to ask for another would cost an exception each time.
            due = self._sink.pull()
        except av.BlockingIOError:
            return np.empty(0, np.float32)
        assert isinstance(due, av.AudioFrame)
        return np.frombuffer(bytes(due.planes[0]), np.float32, due.samples)
