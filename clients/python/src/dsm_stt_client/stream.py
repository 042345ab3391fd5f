"""A synchronous stream: audio in from one thread, events out to another, or both in one.

A thread of its own reads the responses, opens calls again and moves between them. All state is behind one condition.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

import grpc

from dsm_stt_client import requests
from dsm_stt_client.continuing import incomplete, worth_continuing
from dsm_stt_client.errors import CallerMistake, DeadlineExceeded, SpeechError
from dsm_stt_client.events import Event, FlushDone, GoAway
from dsm_stt_client.options import TurnOptions
from dsm_stt_client.proto import speech_pb2 as pb
from dsm_stt_client.requests import KEEP, Keep
from dsm_stt_client.retry import Backoff, RetryPolicy
from dsm_stt_client.session import CallPlan, Session
from dsm_stt_client.stream_call import StreamCall

OpenCall = Callable[[CallPlan, threading.Condition], StreamCall]
ReplaceChannel = Callable[[grpc.Channel], None]


class Stream:
    """One transcription, made by `Client.stream`. Use it in a `with`: leaving the block ends it and frees its slot.

    Iterate over it for events, up to SessionEnded. While `most_unread` of them wait to be taken, no more are read,
    which after a while slows `send`. After a failure every method raises the error; iteration does once the events
    before it are taken.
    """

    def __init__(
        self,
        session: Session,
        open_call: OpenCall,
        replace_channel: ReplaceChannel,
        retry: RetryPolicy,
        most_unread: int,
    ) -> None:
        self._session = session
        self._open_call = open_call
        self._replace_channel = replace_channel
        self._retry = retry
        self._most_unread = most_unread
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._call: StreamCall | None = None
        # Calls whose sessions have not started.
        self._opening: set[StreamCall] = set()
        # Attempts to go on since the service last heard more audio.
        self._backoff = Backoff(retry)
        self._progress_s = -1.0
        self._mover: threading.Thread | None = None
        self._moved_to: StreamCall | None = None
        self._error: BaseException | None = None
        # Flushes that are waited for.
        self._barriers = 0
        self._closing = False
        self._over = False
        self._thread = threading.Thread(target=self._run, name="dsm-stt-stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._wait_for_start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # In

    def send(self, audio: bytes | bytearray | memoryview, *, timeout_s: float | None = None) -> None:
        """Send audio, of any size; waits while the service, or who takes the events, is behind.

        Raises DeadlineExceeded after timeout_s of waiting; what was sent by then stays sent.
        """
        with self._changed:
            for request, seconds in self._session.audio(bytes(audio)):
                self._wait_for_room(timeout_s)
                self._session.log.append(request, seconds)
                self._changed.notify_all()

    def send_from(self, chunks: Iterable[bytes]) -> None:
        """Send all chunks and finish, in a thread of its own; what the iterable raises, iteration raises."""
        threading.Thread(target=self._send_all, args=(chunks,), name="dsm-stt-sender", daemon=True).start()

    def flush(
        self,
        *,
        end_turn: bool = False,
        reset_context: bool = False,
        flush_id: str = "",
        timeout_s: float | None = None,
    ) -> FlushDone:
        """Wait until every word of the audio so far has come; they are then among the events.

        end_turn: end the turn under way. reset_context: let the model forget what it heard. Raises DeadlineExceeded.
        """
        flush = requests.flush(flush_id, end_turn, reset_context)
        done: FlushDone | None = None

        def is_done() -> bool:
            nonlocal done
            done = done or self._session.flush_done(flush.flush_id)
            return done is not None or self._over

        with self._changed:
            self._check_open()
            self._session.add_flush(flush)
            self._barriers += 1
            self._changed.notify_all()
            try:
                in_time = self._changed.wait_for(is_done, timeout_s)
            finally:
                self._barriers -= 1
            if done is not None:
                return done
            if in_time:
                raise self._failure()
        raise DeadlineExceeded(f"flush: not done within {timeout_s:g} s")

    def update(
        self,
        *,
        turns: TurnOptions | Keep | None = KEEP,
        vad_interval_s: float | Keep | None = KEEP,
        update_id: str = "",
    ) -> str:
        """Change options from here on; None turns one off. Returns the id that UpdateApplied will have."""
        update = requests.update(update_id, turns, vad_interval_s)
        self._add(lambda: self._session.add_update(update))
        return update.update_id

    def silence(self, duration_s: float) -> None:
        """Send silence, more than 0 and at most 60 s, without its samples."""
        self._add(lambda: self._session.add_silence(duration_s))

    def keep_alive(self) -> None:
        """Restart the idle timeout."""
        self._add(self._session.add_keep_alive)

    def finish(self) -> None:
        """Say that no more audio comes: the words still due follow, then SessionEnded. May be repeated."""
        with self._changed:
            if self._session.log.closed or self._over:
                return
            self._session.finish()
            self._changed.notify_all()

    # Out

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._over)
            if self._events:
                self._changed.notify_all()
                return self._events.popleft()
            if self._error is not None:
                raise self._error
            raise StopIteration

    def received(self) -> list[Event]:
        """Take the events that have come, without waiting."""
        with self._changed:
            taken = list(self._events)
            self._events.clear()
            self._changed.notify_all()
            if not taken and self._error is not None:
                raise self._error
            return taken

    def close(self) -> None:
        """End the stream, complete or not. May be repeated."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            calls = self._calls()
        for call in calls:
            call.end()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    # The reading thread

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._switch(self._connect(self._backoff))
            while (failure := self._read_call()) is not None:
                self._switch(self._next_call(failure))
        except Exception as failed:
            error = failed
        with self._changed:
            if not self._closing and self._error is None:
                self._error = error
            self._over = True
            calls = self._calls()
            self._changed.notify_all()
        for call in calls:
            call.end()

    def _connect(self, backoff: Backoff) -> StreamCall:
        """Open a call whose session has started. Raises SpeechError when the attempts are used up."""
        while True:
            with self._changed:
                if self._closing:
                    raise self._failure()
                call = self._open_call(self._session.plan(), self._changed)
                self._opening.add(call)
            try:
                call.wait_for_start(self._retry.attempt_timeout_s)
            except SpeechError as error:
                call.end()
                if error.reason == "DRAINING":
                    self._replace_channel(call.channel)
                self._wait(backoff, error)
            else:
                return call
            finally:
                with self._changed:
                    self._opening.discard(call)

    def _wait(self, backoff: Backoff, error: SpeechError) -> None:
        """Wait until the next attempt. Raises the error if there is to be none."""
        delay_s = backoff.delay_s(error)
        with self._changed:
            if delay_s is None or self._changed.wait_for(lambda: self._closing or self._session.ended, delay_s):
                raise error

    def _switch(self, call: StreamCall) -> None:
        """Let a call carry the stream from now on."""
        with self._changed:
            old, self._call = self._call, call
            self._session.switch_to(call.plan)
        if old is not None and old is not call:
            old.end()

    def _read_call(self) -> SpeechError | None:
        """Read responses to the end; returns what broke the call, None when nothing is left to do."""
        assert self._call is not None
        call = self._call
        try:
            for response in call.responses():
                with self._changed:
                    self._take(response, call)
                    if self._closing or self._session.ended:
                        return None
                    self._changed.wait_for(
                        lambda: len(self._events) < self._most_unread or self._barriers or self._closing
                    )
        except SpeechError as error:
            return None if self._closing else error
        return None if self._closing else incomplete(call.request_id)

    def _take(self, response: pb.StreamingRecognizeResponse, call: StreamCall) -> None:
        event = self._session.take(response, call.request_id)
        if event is not None:
            self._events.append(event)
        if isinstance(event, GoAway) and self._session.resumable and self._mover is None:
            self._mover = threading.Thread(target=self._move, args=(call,), name="dsm-stt-mover", daemon=True)
            self._mover.start()
        self._changed.notify_all()

    def _move(self, old: StreamCall) -> None:
        """Open another call while the old one goes on, then leave the old one."""
        self._replace_channel(old.channel)
        try:
            call = self._connect(Backoff(self._retry))
        except SpeechError:
            # The old call goes on to its end; what comes then tries again.
            return
        with self._changed:
            too_late = self._closing or self._session.ended or self._over
            self._moved_to = None if too_late else call
        (call.end if too_late else old.cancel)()

    def _next_call(self, failure: SpeechError) -> StreamCall:
        """Return the call that goes on after one that broke. Raises the failure, or that of the last attempt."""
        if (mover := self._mover) is not None:
            mover.join()
        with self._changed:
            self._mover = None
            call, self._moved_to = self._moved_to, None
        if call is not None:
            return call
        if not self._session.resumable or not worth_continuing(failure):
            raise failure
        assert self._call is not None
        self._call.end()
        self._replace_channel(self._call.channel)
        if self._session.cursors.processed_s > self._progress_s:
            self._progress_s, self._backoff = self._session.cursors.processed_s, Backoff(self._retry)
        else:
            self._wait(self._backoff, failure)
        return self._connect(self._backoff)

    # Together

    def _send_all(self, chunks: Iterable[bytes]) -> None:
        try:
            for chunk in chunks:
                self.send(chunk)
            self.finish()
        except SpeechError:
            # Iteration tells of it.
            return
        except Exception as error:
            with self._changed:
                self._error = error
            self.close()

    def _wait_for_start(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._session.started or self._over)
            if not self._session.started:
                raise self._failure()

    def _add(self, add: Callable[[], None]) -> None:
        with self._changed:
            self._wait_for_room(None)
            add()
            self._changed.notify_all()

    def _wait_for_room(self, timeout_s: float | None) -> None:
        self._check_open()
        if not self._changed.wait_for(lambda: not self._session.log.is_full or self._over, timeout_s):
            raise DeadlineExceeded(f"send: no room for {timeout_s:g} s; {len(self._events)} events wait to be taken")
        self._check_open()

    def _check_open(self) -> None:
        if self._error is not None or self._over:
            raise self._failure()
        if self._session.log.closed:
            raise CallerMistake("the stream is finished: nothing more can be sent")
        if not self._session.started:
            raise CallerMistake("the stream is not open: use it in a `with`")

    def _calls(self) -> list[StreamCall]:
        return [call for call in (self._call, self._moved_to, *self._opening) if call is not None]

    def _failure(self) -> BaseException:
        return self._error or CallerMistake("the stream is closed")
