"""The worker's side of a multiplexed stream: many sessions of one gateway on one call.

Codec and LM differ in what rows and answers are; opening, credits, closing, heartbeats and capacity are here.

    requests --read--> handle --> StepLoop --> deliver --> Outbox --> responses

Bounds: a session may have `credit_frames` frames on their way, so its inbox and its part of the outbox together hold
at most that many. A gateway could still open and close sessions without end and read none of the answers; so while
more than `MOST_WAITING` of them wait, its requests wait too.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dsm_stt.worker.v1 import worker_pb2
from services.common.errors import Draining, DsmError, EngineFailed, ProtocolViolation
from services.common.step_loop import StepLoop, StepSession
from services.common.telemetry import metrics, spans
from services.common.telemetry.worker_trace import WorkerTrace

HEARTBEAT_S = 1.0
# Answers that may wait in the outbox of a stream before its requests are left unread: some hundred kilobytes. A gateway
# that reads takes them all at once, so it loses nothing by the pause.
MOST_WAITING = 4096

NO_SLOT = worker_pb2.FAILURE_REASON_NO_SLOT
DRAINING = worker_pb2.FAILURE_REASON_DRAINING
PROTOCOL = worker_pb2.FAILURE_REASON_PROTOCOL
ENGINE = worker_pb2.FAILURE_REASON_ENGINE


class WorkerSession(StepSession):
    """One session of one gateway stream, in a slot."""

    __slots__ = ("answered", "number", "on_their_way", "stream")

    def __init__(self, slot: int, number: int, stream: WorkerStream[Any, Any, Any], trace: WorkerTrace | None) -> None:
        super().__init__(slot, trace)
        self.number = number
        self.stream = stream
        # Frames answered since the session was opened or reset: the number of the next answer.
        self.answered = 0
        # Frames received and not yet answered.
        self.on_their_way = 0


class Response(Protocol):
    """What the responses of both protocols have in common, for the stream's own parts."""

    @property
    def capacity(self) -> worker_pb2.Capacity: ...  # noqa: D102
    @property
    def failures(self) -> Any: ...  # noqa: D102
    @property
    def closed(self) -> Any: ...  # noqa: D102


RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT", bound=Response)
SessionT = TypeVar("SessionT", bound=WorkerSession)


class WorkerStream(ABC, Generic[RequestT, ResponseT, SessionT]):
    """One call of one gateway. Lives as long as the call; closing it frees every slot its sessions hold."""

    def __init__(self, worker: Worker[Any], credit_frames: int) -> None:
        self.worker = worker
        self.credit_frames = credit_frames
        self.sessions: dict[int, SessionT] = {}
        self._last_number = -1
        self._failures: list[worker_pb2.SessionFailure] = []
        self._closed: list[int] = []
        self._error: BaseException | None = None
        self._ended = False
        self.wake = asyncio.Event()
        # Set while the outbox has room.
        self._room = asyncio.Event()
        self._room.set()

    @abstractmethod
    def handle(self, request: RequestT) -> None:
        """Apply one request. Raises ProtocolViolation when its arrays do not fit each other."""

    @abstractmethod
    def make_session(self, slot: int, number: int, trace: WorkerTrace | None) -> SessionT:
        """Make the session that will hold this slot. trace: what its spans are made of, if it is traced."""

    @abstractmethod
    def first_response(self) -> ResponseT:
        """Make the response that says who the worker is."""

    @abstractmethod
    def waiting(self) -> int:
        """Count the answers that wait to be sent, those that both protocols have not included."""

    @abstractmethod
    def take_response(self) -> ResponseT:
        """Make a response of everything that waits to be sent, and forget it."""

    async def serve(self, requests: AsyncIterator[RequestT]) -> AsyncIterator[ResponseT]:
        """Answer a call until the gateway ends it or the worker fails; a heartbeat when there is nothing to say."""
        self.worker.streams.add(self)
        reader = asyncio.create_task(self._read(requests))
        try:
            first = self.first_response()
            self._add_common(first)
            yield first
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self.worker.heartbeat_s):
                        await self.wake.wait()
                self.wake.clear()
                ended, error = self._ended, self._error
                response = self.take_response()
                self._add_common(response)
                self._room.set()
                yield response
                if error is not None:
                    raise error
                if ended:
                    return
        finally:
            reader.cancel()
            self.worker.streams.discard(self)
            for session in list(self.sessions.values()):
                self._release(session)

    async def _read(self, requests: AsyncIterator[RequestT]) -> None:
        try:
            async for request in requests:
                self.handle(request)
                if self.waiting() + len(self._failures) + len(self._closed) > MOST_WAITING:
                    self._room.clear()
                    await self._room.wait()
        except Exception as error:  # handed on in order, behind what has been answered
            self._error = error
        self._ended = True
        self.wake.set()

    def _add_common(self, response: ResponseT) -> None:
        self.worker.fill_capacity(response.capacity)
        if self._failures:
            response.failures.extend(self._failures)
            self._failures.clear()
        if self._closed:
            response.closed.extend(self._closed)
            self._closed.clear()

    def open_session(
        self, number: int, traceparent: str, history: Any | None = None, history_frames: int = 0
    ) -> SessionT | None:
        """Take a slot for a new session; None when it was refused, which has then been said."""
        if number <= self._last_number:
            self.refuse(number, PROTOCOL, f"session numbers must rise: got {number} after {self._last_number}")
            return None
        self._last_number = number
        if self.worker.draining:
            self.refuse(number, DRAINING, "the worker is draining")
            return None
        context = spans.sampled(traceparent)
        trace = None if context is None else WorkerTrace(context, history_frames)
        session: SessionT | None = self.worker.loop.open(lambda slot: self.make_session(slot, number, trace), history)
        if session is None:
            self.refuse(number, NO_SLOT, f"all {self.worker.loop.slots.total} slots are taken")
            return None
        self.sessions[number] = session
        metrics.SLOTS_USED.add(1, self.worker.loop.labels)
        return session

    def reset_session(self, number: int) -> SessionT | None:
        """Let a session start again as if newly opened, in its slot; None for one that has ended."""
        session = self.sessions.get(number)
        if session is None:
            return None
        trace = session.trace
        fresh: SessionT = self.worker.loop.reset(session, lambda slot: self.make_session(slot, number, trace))
        self.sessions[number] = fresh
        return fresh

    def submit(self, number: int, rows: Sequence[NDArray[Any]] | NDArray[Any]) -> None:
        """Hand frames of a session to the loop; frames of a session that has ended are dropped."""
        session = self.sessions.get(number)
        if session is None:
            return
        session.on_their_way += len(rows)
        if session.on_their_way > self.credit_frames:
            self.refuse(
                number,
                PROTOCOL,
                f"{session.on_their_way} frames on their way, at most {self.credit_frames} are allowed",
            )
            return
        self.worker.loop.submit(session, rows)

    def close_session(self, number: int) -> None:
        """End a session and say so; one that has ended already is only said."""
        session = self.sessions.get(number)
        if session is not None:
            self._release(session)
        self._closed.append(number)
        self.wake.set()

    def refuse(self, number: int, reason: worker_pb2.FailureReason.ValueType, message: str) -> None:
        """Say that a session failed or could not be opened; if it holds a slot, free it: that is what this says."""
        session = self.sessions.get(number)
        if session is not None:
            self._release(session, worker_pb2.FailureReason.Name(reason))
        self._failures.append(worker_pb2.SessionFailure(session=number, reason=reason, message=message))
        self.wake.set()

    def end(self, error: DsmError, reason: worker_pb2.FailureReason.ValueType) -> None:
        """End every session, for this reason, and the call with this error."""
        for number in list(self.sessions):
            self.refuse(number, reason, str(error))
        self._error = error
        self.wake.set()

    def _release(self, session: SessionT, failure: str = "") -> None:
        del self.sessions[session.number]
        self.worker.loop.close(session)
        metrics.SLOTS_USED.add(-1, self.worker.loop.labels)
        if session.trace is not None:
            session.trace.end(self.worker.loop.labels, failure)


class Worker(Generic[SessionT]):
    """What the streams of a worker share: the loop, and how full it is."""

    def __init__(self, name: str, loop: StepLoop[SessionT, Any], heartbeat_s: float = HEARTBEAT_S) -> None:
        """heartbeat_s: a stream with nothing to say says so this often."""
        self.name = name
        self.loop = loop
        self.heartbeat_s = heartbeat_s
        self.draining = False
        self.streams: set[WorkerStream[Any, Any, SessionT]] = set()

    @property
    def ready(self) -> bool:
        """Tell whether the engine is loaded, so that sessions can be opened."""
        return self.loop.slots.total > 0

    def fill_capacity(self, capacity: worker_pb2.Capacity) -> None:
        """Write how full the worker is at this moment."""
        capacity.slots_total = self.loop.slots.total
        capacity.slots_free = 0 if self.draining else self.loop.slots.free
        capacity.draining = self.draining
        capacity.over_budget = self.loop.over_budget()
        capacity.step_time_us = round(self.loop.budget.average_s * 1e6)
        capacity.step_running_ms = round(self.loop.stuck_for_s() * 1000)
        capacity.step_budget_us = round(self.loop.budget.budget_s * 1e6)

    def fail(self, error: EngineFailed) -> None:
        """Tell every stream that the engine failed; nothing can be opened any more."""
        self._end(error, ENGINE)

    def stop(self) -> None:
        """Tell every stream that the worker stops, and the sessions that did not end in time."""
        self._end(Draining("the worker stops"), DRAINING)

    def _end(self, error: DsmError, reason: worker_pb2.FailureReason.ValueType) -> None:
        self.draining = True
        for stream in list(self.streams):
            stream.end(error, reason)


def split_rows(counts: Sequence[int], flat: NDArray[Any], width: int, what: str) -> list[NDArray[Any]]:
    """Cut a batch's flat array into one [frames, width] array a session.

    Raises ProtocolViolation when the bytes are not sum(counts) * width long or a session has no frame.
    """
    if not counts and not flat.size:
        return []
    if flat.size != sum(counts) * width or 0 in counts:
        raise ProtocolViolation(
            f"{what}: wanted {sum(counts)} frames of {width}, got {flat.size} values in {len(counts)} sessions"
        )
    rows = flat.reshape(-1, width)
    ends = np.cumsum(counts)[:-1]
    return np.split(rows, ends)
