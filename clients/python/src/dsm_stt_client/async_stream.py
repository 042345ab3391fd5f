"""An asyncio stream: audio in from one task, events out to another, or both in one. The twin of `stream`.

A task of its own reads the responses, opens calls again and moves between them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from types import TracebackType
from typing import Self

import grpc

from dsm_stt_client import requests
from dsm_stt_client.async_call import AsyncCall
from dsm_stt_client.changed import Signal
from dsm_stt_client.continuing import incomplete, worth_continuing
from dsm_stt_client.errors import CallerMistake, DeadlineExceeded, SpeechError
from dsm_stt_client.events import Event, FlushDone, GoAway
from dsm_stt_client.options import TurnOptions
from dsm_stt_client.proto import speech_pb2 as pb
from dsm_stt_client.requests import KEEP, Keep
from dsm_stt_client.retry import Backoff, RetryPolicy
from dsm_stt_client.session import CallPlan, Session

OpenCall = Callable[[CallPlan, Signal], AsyncCall]
ReplaceChannel = Callable[[grpc.aio.Channel], None]


class AsyncStream:
    """One transcription, made by `AsyncClient.stream`. Use it in an `async with`: leaving it frees its slot.

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
        self._changed = Signal()
        self._events: deque[Event] = deque()
        self._call: AsyncCall | None = None
        # Calls whose sessions have not started.
        self._opening: set[AsyncCall] = set()
        # Attempts to go on since the service last heard more audio.
        self._backoff = Backoff(retry)
        self._progress_s = -1.0
        self._mover: asyncio.Task[None] | None = None
        self._moved_to: AsyncCall | None = None
        self._sender: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        # Flushes that are waited for.
        self._barriers = 0
        self._closing = False
        self._over = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="dsm-stt-stream")
        try:
            await self._wait_for_start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # In

    async def send(self, audio: bytes | bytearray | memoryview, *, timeout_s: float | None = None) -> None:
        """Send audio, of any size; waits while the service, or who takes the events, is behind.

        Raises DeadlineExceeded after timeout_s of waiting; what was sent by then stays sent.
        """
        for request, seconds in self._session.audio(bytes(audio)):
            await self._wait_for_room(timeout_s)
            self._session.log.append(request, seconds)
            self._changed.notify()

    def send_from(self, chunks: AsyncIterable[bytes]) -> None:
        """Send all chunks and finish, in a task of its own; what the iterable raises, iteration raises."""
        self._sender = asyncio.create_task(self._send_all(chunks), name="dsm-stt-sender")

    async def flush(
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

        self._check_open()
        self._session.add_flush(flush)
        self._barriers += 1
        self._changed.notify()
        try:
            in_time = await self._changed.wait_for(is_done, timeout_s)
        finally:
            self._barriers -= 1
        if done is not None:
            return done
        if in_time:
            raise self._failure()
        raise DeadlineExceeded(f"flush: not done within {timeout_s:g} s")

    async def update(
        self,
        *,
        turns: TurnOptions | Keep | None = KEEP,
        vad_interval_s: float | Keep | None = KEEP,
        update_id: str = "",
    ) -> str:
        """Change options from here on; None turns one off. Returns the id that UpdateApplied will have."""
        update = requests.update(update_id, turns, vad_interval_s)
        await self._add(lambda: self._session.add_update(update))
        return update.update_id

    async def silence(self, duration_s: float) -> None:
        """Send silence, more than 0 and at most 60 s, without its samples."""
        await self._add(lambda: self._session.add_silence(duration_s))

    async def keep_alive(self) -> None:
        """Restart the idle timeout."""
        await self._add(self._session.add_keep_alive)

    def finish(self) -> None:
        """Say that no more audio comes: the words still due follow, then SessionEnded. May be repeated."""
        if self._session.log.closed or self._over:
            return
        self._session.finish()
        self._changed.notify()

    # Out

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        await self._changed.wait_for(lambda: self._events or self._over)
        if self._events:
            self._changed.notify()
            return self._events.popleft()
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    def received(self) -> list[Event]:
        """Take the events that have come, without waiting."""
        taken = list(self._events)
        self._events.clear()
        self._changed.notify()
        if not taken and self._error is not None:
            raise self._error
        return taken

    async def close(self) -> None:
        """End the stream, complete or not. May be repeated."""
        self._closing = True
        self._changed.notify()
        tasks = [task for task in (self._sender, self._mover, self._task) if task is not None]
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        for call in self._calls():
            await call.end()
        await asyncio.gather(*(task for task in tasks if task is not asyncio.current_task()), return_exceptions=True)
        self._over = True
        self._changed.notify()

    # The reading task

    async def _run(self) -> None:
        try:
            await self._switch(await self._connect(self._backoff))
            while (failure := await self._read_call()) is not None:
                await self._switch(await self._next_call(failure))
        except Exception as error:
            if not self._closing and self._error is None:
                self._error = error
        finally:
            self._over = True
            self._changed.notify()
            for call in self._calls():
                await call.end()

    async def _connect(self, backoff: Backoff) -> AsyncCall:
        """Open a call whose session has started. Raises SpeechError when the attempts are used up."""
        while True:
            call = self._open_call(self._session.plan(), self._changed)
            self._opening.add(call)
            try:
                await call.wait_for_start(self._retry.attempt_timeout_s)
            except BaseException as error:
                await call.end()
                if not isinstance(error, SpeechError):
                    raise
                if error.reason == "DRAINING":
                    self._replace_channel(call.channel)
                await self._wait(backoff, error)
            else:
                return call
            finally:
                self._opening.discard(call)

    async def _wait(self, backoff: Backoff, error: SpeechError) -> None:
        """Wait until the next attempt. Raises the error if there is to be none."""
        delay_s = backoff.delay_s(error)
        if delay_s is None or await self._changed.wait_for(lambda: self._closing or self._session.ended, delay_s):
            raise error

    async def _switch(self, call: AsyncCall) -> None:
        """Let a call carry the stream from now on."""
        old, self._call = self._call, call
        self._session.switch_to(call.plan)
        if old is not None:
            await old.end()

    async def _read_call(self) -> SpeechError | None:
        """Read responses to the end; returns what broke the call, None when nothing is left to do."""
        assert self._call is not None
        call = self._call
        try:
            async for response in call.responses():
                self._take(response, call)
                if self._session.ended:
                    return None
                await self._changed.wait_for(lambda: len(self._events) < self._most_unread or self._barriers)
        except SpeechError as error:
            return error
        return incomplete(call.request_id)

    def _take(self, response: pb.StreamingRecognizeResponse, call: AsyncCall) -> None:
        event = self._session.take(response, call.request_id)
        if event is not None:
            self._events.append(event)
        if isinstance(event, GoAway) and self._session.resumable and self._mover is None:
            self._mover = asyncio.create_task(self._move(call), name="dsm-stt-mover")
        self._changed.notify()

    async def _move(self, old: AsyncCall) -> None:
        """Open another call while the old one goes on, then leave the old one."""
        self._replace_channel(old.channel)
        try:
            call = await self._connect(Backoff(self._retry))
        except SpeechError:
            # The old call goes on to its end; what comes then tries again.
            return
        if self._closing or self._session.ended or self._over:
            await call.end()
        else:
            self._moved_to = call
            old.cancel()

    async def _next_call(self, failure: SpeechError) -> AsyncCall:
        """Return the call that goes on after one that broke. Raises the failure, or that of the last attempt."""
        if self._mover is not None:
            await self._mover
        self._mover = None
        call, self._moved_to = self._moved_to, None
        if call is not None:
            return call
        if not self._session.resumable or not worth_continuing(failure):
            raise failure
        assert self._call is not None
        await self._call.end()
        self._replace_channel(self._call.channel)
        if self._session.cursors.processed_s > self._progress_s:
            self._progress_s, self._backoff = self._session.cursors.processed_s, Backoff(self._retry)
        else:
            await self._wait(self._backoff, failure)
        return await self._connect(self._backoff)

    # Together

    async def _send_all(self, chunks: AsyncIterable[bytes]) -> None:
        try:
            async for chunk in chunks:
                await self.send(chunk)
            self.finish()
        except SpeechError:
            # Iteration tells of it.
            return
        except Exception as error:
            self._error = error
            await self.close()

    async def _wait_for_start(self) -> None:
        await self._changed.wait_for(lambda: self._session.started or self._over)
        if not self._session.started:
            raise self._failure()

    async def _add(self, add: Callable[[], None]) -> None:
        await self._wait_for_room(None)
        add()
        self._changed.notify()

    async def _wait_for_room(self, timeout_s: float | None) -> None:
        self._check_open()
        if not await self._changed.wait_for(lambda: not self._session.log.is_full or self._over, timeout_s):
            raise DeadlineExceeded(f"send: no room for {timeout_s:g} s; {len(self._events)} events wait to be taken")
        self._check_open()

    def _check_open(self) -> None:
        if self._error is not None or self._over:
            raise self._failure()
        if self._session.log.closed:
            raise CallerMistake("the stream is finished: nothing more can be sent")
        if not self._session.started:
            raise CallerMistake("the stream is not open: use it in an `async with`")

    def _calls(self) -> list[AsyncCall]:
        return [call for call in (self._call, self._moved_to, *self._opening) if call is not None]

    def _failure(self) -> BaseException:
        return self._error or CallerMistake("the stream is closed")
