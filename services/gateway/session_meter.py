"""What one session adds to the metrics: how late its words are, how far behind it is, how long its flushes take.

Called for every frame, so it counts and looks at the clock; it records now and then, at a word and at a flush:
recording costs ten times as much as everything else here together.
"""

from __future__ import annotations

import time
from collections import deque

from dsm_stt.speech.v1 import speech_pb2
from services.common.framing import FRAME_S, SAMPLE_RATE_HZ
from services.common.telemetry import metrics, spans
from services.gateway.injection import Reason

_LAG_EVERY_FRAMES = round(1 / FRAME_S)
_AMOUNTS_EVERY_FRAMES = 5 * _LAG_EVERY_FRAMES
# A caller may be ahead of its clock by this much and still count as live: a buffer that it sent at the start.
_AHEAD_S = 1.0


class SessionMeter:
    """Measures one session. Made in the task of its call, to whose trace its exemplars and spans belong."""

    def __init__(self, model: str, base_samples: int = 0) -> None:
        """base_samples: the position of the session's first sample."""
        self._labels = {"service": "gateway", "model": model}
        self._context = spans.here()
        self._clock = time.monotonic
        self._began_s = self._clock()
        self._base = base_samples
        self._live = True
        self._received = 0
        # When the audio of each frame came: of those that wait to be fed, and of those fed and not yet answered.
        self._waiting: deque[float] = deque()
        self._on_their_way: deque[float] = deque()
        self._answers = 0
        self._recorded_samples = 0
        self._unrecorded_words = 0
        self._flush_began_s = 0.0
        self._flush_reason = Reason.FLUSH

    def begin(self) -> None:
        """Take that the session has its slots."""
        metrics.SESSIONS.add(1, self._labels, self._context)
        metrics.SESSIONS_STARTED.add(1, self._labels, self._context)
        metrics.ADMISSION_WAIT_S.record(self._clock() - self._began_s, self._labels, self._context)

    def end(self, audio_samples: int) -> None:
        """Take that a session that had begun is over. audio_samples: of the caller, fed in all."""
        metrics.SESSIONS.add(-1, self._labels, self._context)
        self._record_amounts(audio_samples)

    def note_received(self, samples: int, frames: int) -> None:
        """Take that audio came, and how many frames it completed."""
        now_s = self._clock()
        self._received += samples
        self._live = self._received / SAMPLE_RATE_HZ <= now_s - self._began_s + _AHEAD_S
        self._waiting.extend([now_s] * frames)

    def note_fed(self, silence: bool) -> None:
        """Take that a frame is fed: one of those received, or silence of the service's own, which came just now."""
        self._on_their_way.append(self._clock() if silence else self._waiting.popleft())

    def note_answer(self, words: int, processed_samples: int) -> None:
        """Take that the next frame was answered. words: final ones it brought. processed_samples: a position."""
        arrived_s = self._on_their_way.popleft()
        if words:
            self.note_words(words)
            if self._live:
                metrics.WORD_LATENCY_S.record(self._clock() - arrived_s, self._labels, self._context)
        self._answers += 1
        if self._answers % _LAG_EVERY_FRAMES == 0:
            self._record_progress(processed_samples - self._base)

    def note_words(self, words: int) -> None:
        """Take that final words were sent."""
        self._unrecorded_words += words

    def note_warning(self, code: speech_pb2.WarningCode.ValueType) -> None:
        """Take that the caller was warned."""
        name = speech_pb2.WarningCode.Name(code).removeprefix("WARNING_CODE_").lower()
        metrics.WARNINGS.add(1, {**self._labels, "code": name}, self._context)

    def begin_flush(self, reason: Reason) -> None:
        """Take that everything before a flush has been fed."""
        self._flush_reason = reason
        self._flush_began_s = self._clock()

    def end_flush(self) -> None:
        """Take that everything before the flush has been said."""
        now_s = self._clock()
        reason = self._flush_reason.name.lower()
        metrics.FLUSH_S.record(now_s - self._flush_began_s, {**self._labels, "reason": reason}, self._context)
        spans.past(spans.FLUSH, self._context, self._flush_began_s, now_s, reason=reason)

    def _record_progress(self, processed_samples: int) -> None:
        if self._live:
            lag_s = max(0, self._received - processed_samples) / SAMPLE_RATE_HZ
            metrics.LAG_S.record(lag_s, self._labels, self._context)
        if self._answers % _AMOUNTS_EVERY_FRAMES == 0:
            self._record_amounts(processed_samples)

    def _record_amounts(self, audio_samples: int) -> None:
        if audio_samples > self._recorded_samples:
            audio_s = (audio_samples - self._recorded_samples) / SAMPLE_RATE_HZ
            metrics.AUDIO_S.add(audio_s, self._labels, self._context)
            self._recorded_samples = audio_samples
        if self._unrecorded_words:
            metrics.WORDS.add(self._unrecorded_words, self._labels, self._context)
            self._unrecorded_words = 0
