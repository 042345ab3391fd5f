"""One session: the only code that knows the order, audio -> codec -> LM -> events.

A state machine without tasks: the caller's messages come in by `push_*`, the workers' answers by `on_*`, and every
call feeds on (`feed_on`) as far as credits and the outbox allow. Frames go to the codec; its codes go on to the LM as
they come; the LM's answers become events (`WorkerPair` does the first two and outlives either worker). As many frames
are on their way as credits allow, which is what bounds both workers' queues; the backlog before them is bounded by
`wait_for_room`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from services.common.framing import FRAME_SAMPLES
from services.gateway import events
from services.gateway.caller_warnings import CallerWarnings
from services.gateway.frames import SILENT_FRAME, Frame, FrameBuffer
from services.gateway.history import History
from services.gateway.injection import Injection, Reason, end_injection, flush_injection, turn_injection
from services.gateway.outbox import Outbox
from services.gateway.session_meter import SessionMeter
from services.gateway.session_options import ResultSettings, SessionOptions
from services.gateway.timeline import Timeline
from services.gateway.turns import TurnChange, TurnDetector, TurnSettings
from services.gateway.upstream.codec_link import CodecSession
from services.gateway.upstream.lm_link import Answer, LmSession, LmWord
from services.gateway.worker_pair import WorkerPair

_log = structlog.get_logger()

# Runs of audio and silence older than this no word can point into: the longest word that waits, and room.
_KEPT_FRAMES = 200


@dataclass(frozen=True)
class FlushMark:
    """A caller's flush, in its place between the frames."""

    flush_id: str
    end_turn: bool
    reset_context: bool


@dataclass(frozen=True)
class UpdateMark:
    """A caller's update, in its place between the frames; None leaves as it is."""

    update_id: str
    results: ResultSettings | None
    turns: TurnSettings | None


class EndMark:
    """The end of the audio."""


class Pipeline:
    """One session from its first frame to `session_ended`. Implements PairListener."""

    def __init__(
        self, options: SessionOptions, outbox: Outbox, backlog_frames: int, history: History, meter: SessionMeter
    ) -> None:
        """backlog_frames: how many frames may wait before `wait_for_room` waits. history: an empty one."""
        self.workers = WorkerPair(self, history)
        self._model = options.model
        self._results = options.results
        self._words_from = options.resumption.words_from_samples
        self._outbox = outbox
        self._meter = meter
        self._cursors = outbox.cursors
        self._backlog_frames = backlog_frames
        self._timeline = Timeline(options.resumption.base_samples)
        self._buffer = FrameBuffer(options.model.prefix_samples)
        self._turns = TurnDetector(options.turns, options.resumption.turn_index)
        self._queue: deque[Frame | FlushMark | UpdateMark | EndMark] = deque()
        self._room = asyncio.Event()
        # Every word that starts before this frame has come.
        self._final_frame = 0
        # Samples of silence that filled up the last frame.
        self._filled_up = 0
        self._injection: Injection | None = None
        # Updates that apply once so many frames are answered.
        self._updates: deque[tuple[int, UpdateMark]] = deque()
        # Frames of silence that a fresh context begins with.
        self._prefix_frames_left = 0
        self._vad_countdown = 0
        self._warnings = CallerWarnings(options.resumption.base_samples)
        self.words = 0
        outbox.on_room = self.feed_on

    # From the composition of a session

    def attach(self, codec: CodecSession, lm: LmSession) -> None:
        """Take the slots that were opened for this session."""
        self.workers.attach_lm(lm)
        self.workers.attach_codec(codec)
        self.feed_on()

    def release(self) -> None:
        """Give both slots and the memory back; safe at any time and more than once."""
        self.workers.release()
        self._queue.clear()
        self._room.set()

    def fail(self, error: BaseException) -> None:
        """End the session with an error, after what is already due to the caller."""
        self._outbox.end(error)
        self._room.set()

    @property
    def audio_samples(self) -> int:
        """Samples of the caller's audio that were fed."""
        return self._timeline.audio_samples

    # From the caller

    def push_audio(self, samples: NDArray[np.float32]) -> None:
        """Take audio, [n], 24 kHz mono."""
        self._queue_frames(self._buffer.push(samples), len(samples))
        self.feed_on()

    def push_flush(self, mark: FlushMark) -> None:
        """Take a flush: an incomplete frame is filled up with silence."""
        self._queue_frames(self._buffer.complete())
        self._queue.append(mark)
        self.feed_on()

    def push_update(self, mark: UpdateMark) -> None:
        """Take an update."""
        self._queue.append(mark)
        self.feed_on()

    def push_end(self) -> None:
        """Take the end of the audio."""
        self._queue_frames(self._buffer.complete())
        self._queue.append(EndMark())
        self.feed_on()

    def _queue_frames(self, frames: Sequence[Frame], samples: int = 0) -> None:
        """Have frames fed, in their turn. samples: that came just now."""
        self._meter.note_received(samples, len(frames))
        self._queue.extend(frames)

    async def wait_for_room(self) -> None:
        """Wait until the backlog is short enough for more audio, or the session is over."""
        while len(self._queue) >= self._backlog_frames and not self._outbox.ended:
            self._room.clear()
            await self._room.wait()

    # From the workers

    def on_answer(self, answer: Answer) -> None:
        """Turn the LM's answer to the next frame into events."""
        self._guard(self._take_answer, answer)

    def on_last_words(self, words: Sequence[LmWord]) -> None:
        """Take words that `finish` or `close` completed."""
        self._guard(self._send_last_words, words)

    def on_finished(self) -> None:
        """The open word of a flush is complete."""
        self._guard(self._complete_injection)

    def on_reset(self) -> None:
        """Both workers have started afresh."""
        self._guard(self._begin_afresh)

    def on_ended(self) -> None:
        """The LM has said its last word."""
        self._guard(self._send_ended)

    def _guard(self, function: Callable[..., None], *args: object) -> None:
        """Let a bug of ours end this session and not the stream that all sessions share."""
        if self._outbox.ended:
            return
        try:
            function(*args)
            self.feed_on()
        except Exception as error:
            _log.exception("session failed")
            self.fail(error)

    # Feeding

    def feed_on(self) -> None:
        """Feed frames as long as there are any, and the window and the outbox have room."""
        while self._has_any() and self._can_feed():
            frame = self._next_frame()
            if frame is not None:
                self._feed(frame)
            elif not self._advance_injection():
                break
        if len(self._queue) < self._backlog_frames:
            self._room.set()

    def _has_any(self) -> bool:
        """Tell whether there may be something to feed: mostly not, and then the rest need not be asked."""
        return bool(self._queue or self._injection or self._prefix_frames_left or self._turns.wants_flush)

    def _can_feed(self) -> bool:
        return self.workers.ready and self._outbox.has_room and not self._outbox.ended

    def _next_frame(self) -> Frame | None:
        """Take the next frame: of an injection under way, or of the queue; marks on the way take effect."""
        if self._prefix_frames_left:
            self._prefix_frames_left -= 1
            self._meter.note_fed(silence=True)
            return SILENT_FRAME
        while self._injection is None:
            if self._turns.wants_flush:
                self._inject(turn_injection(self.workers.fed, self._model.delay_frames))
                break
            if not self._queue:
                return None
            item = self._queue.popleft()
            match item:
                case FlushMark():
                    self._inject(
                        flush_injection(
                            self.workers.fed,
                            self._model.delay_frames,
                            item.flush_id,
                            end_turn=item.end_turn,
                            reset_context=item.reset_context,
                        )
                    )
                case UpdateMark():
                    self._updates.append((self.workers.fed, item))
                    self._apply_updates()
                case EndMark():
                    self._inject(end_injection(self.workers.fed, self._suffix_frames()))
                case Frame():
                    self._meter.note_fed(silence=False)
                    return item
        if not self._injection or not self._injection.take_frame():
            return None
        self._meter.note_fed(silence=True)
        return SILENT_FRAME

    def _inject(self, injection: Injection) -> None:
        self._injection = injection
        self._meter.begin_flush(injection.reason)

    def _suffix_frames(self) -> int:
        """Count the frames of silence after the audio, as moshi.run_inference does: an incomplete one is cut off."""
        return max(0, self._model.suffix_samples - self._filled_up) // FRAME_SAMPLES

    def _feed(self, frame: Frame) -> None:
        self._timeline.add_silence(frame.lead_samples)
        self._timeline.add_audio(frame.audio_samples)
        self._filled_up = FRAME_SAMPLES - frame.lead_samples - frame.audio_samples
        self._timeline.add_silence(self._filled_up)
        if frame.audio_samples:
            self._warnings.note_frame(frame.pcm)
        self.workers.feed(frame.pcm)

    # Answers

    def _take_answer(self, answer: Answer) -> None:
        answered = self.workers.answered
        heard = self._timeline.offset_samples(answered)
        finalized = self._timeline.offset_samples(answer.final_frame)
        self._cursors.processed = max(self._cursors.processed, heard)
        self._meter.note_answer(self._send_words(answer.words), self._cursors.processed)
        # After the words: a result must not claim that words sent after it are final.
        self._cursors.finalized = max(self._cursors.finalized, min(finalized, self._cursors.processed))
        injected = self._timeline.injected(answered - 1)
        pauses = answer.pauses if self._model.pause_horizons_ms else None
        self._send_turns(self._turns.push_frame(heard, self._cursors.finalized, pauses, injected))
        self._send_vad(heard, answer.pauses, injected)
        for warning in self._warnings.due(self._cursors):
            self._outbox.put(warning)
            self._meter.note_warning(warning.warning.code)
        self._apply_updates()
        self._final_frame = answer.final_frame

    def _send_last_words(self, words: Sequence[LmWord]) -> None:
        self._meter.note_words(self._send_words(words))

    def _send_words(self, words: Sequence[LmWord]) -> int:
        """Send words, each in its turn; returns how many of them were final."""
        before = self.words
        if words:
            self._warnings.note_word()
        for word in words:
            start = self._timeline.offset_samples(word.start_frame)
            end = max(start, self._timeline.offset_samples(word.end_frame))
            if start < self._words_from:
                continue
            self._send_turns(self._turns.push_word(start, end))
            self.words += word.final
            message = events.word(word.text, start, end)
            self._outbox.put(events.result(self._turns.turn_of(start), word.final, [message]))
        return self.words - before

    def _send_turns(self, changes: Sequence[TurnChange]) -> None:
        for change in changes:
            self._outbox.put(events.turn(change))

    def _send_vad(self, heard: int, pauses: Sequence[float], injected: bool) -> None:
        if not self._results.vad_frames or injected:
            return
        self._vad_countdown -= 1
        if self._vad_countdown <= 0:
            self._vad_countdown = self._results.vad_frames
            self._outbox.put(events.vad(heard, pauses))

    def _apply_updates(self) -> None:
        while self._updates and self._updates[0][0] <= self.workers.answered:
            _, update = self._updates.popleft()
            if update.results is not None:
                self._results = update.results
                self._vad_countdown = 0
            if update.turns is not None:
                self._send_turns(self._turns.configure(update.turns, self._cursors.processed))
            self._outbox.put(events.update_applied(update.update_id))

    # Injections

    def _advance_injection(self) -> bool:
        """Once all silence is answered: done, or a frame more, or have the open word completed.

        Returns True if there may now be something to feed.
        """
        injection = self._injection
        if injection is None or injection.silence_left or self.workers.on_their_way or injection.finishing:
            return False
        if injection.reason is Reason.END:
            self._injection = None
            self.workers.end()
            return False
        if self._final_frame >= injection.barrier_frame:
            self._complete_injection()
            return True
        if injection.extend():
            return True
        injection.finishing = True
        self.workers.finish()
        return False

    def _complete_injection(self) -> None:
        injection, self._injection = self._injection, None
        assert injection is not None
        self._meter.end_flush()
        position = self._cursors.finalized = self._cursors.processed
        self._timeline.forget_before(self.workers.answered - _KEPT_FRAMES)
        self._send_turns(self._turns.end_now(position) if injection.end_turn else self._turns.flushed(position))
        if injection.reason is Reason.FLUSH:
            self._outbox.put(events.flush_done(injection.flush_id, position))
        if injection.reset_context:
            self.workers.reset()

    def _begin_afresh(self) -> None:
        self._timeline.reset()
        self._final_frame = 0
        # In whole frames: the frames that wait are cut already.
        self._prefix_frames_left = math.ceil(self._model.prefix_samples / FRAME_SAMPLES)

    def _send_ended(self) -> None:
        self._meter.end_flush()
        self._cursors.finalized = self._cursors.processed
        self._send_turns(self._turns.end_now(self._cursors.processed))
        self._outbox.put(events.session_ended(self._timeline.audio_samples, self.words))
        self._outbox.end()
