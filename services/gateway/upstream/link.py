"""One stream to one worker, shared by all sessions of this gateway on it.

Everything is a callback in the event loop: what the worker answers goes straight to the session that waits for it,
and what sessions send is gathered for a few milliseconds where there are many, so that they cost one message. There is
no queue here that credits do not bound.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import grpc
import structlog

from dsm_stt.worker.v1 import worker_pb2
from services.common.errors import Draining, DsmError, NoCapacity, ProtocolViolation, UpstreamFault, WorkerLost
from services.common.telemetry import metrics
from services.gateway.upstream.channels import OpenChannel
from services.gateway.upstream.kind import Kind

_log = structlog.get_logger()

_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 2.0
_CONNECT_TIMEOUT_S = 5.0
# A worker says something every second.
_SILENT_S = 2.0
# More sessions than this send a frame every 10 ms or more often.
_FEW_SESSIONS = 8
# The deadline for the next heartbeat is moved no more often than this.
_DEADLINE_STEP_S = 0.1


class Listener(Protocol):
    """Whoever a session's answers are for."""

    def on_failed(self, error: DsmError) -> None:
        """The session has ended; its slot is free or lost."""

    def on_draining(self) -> None:
        """The worker wants the session moved elsewhere."""


ListenerT = TypeVar("ListenerT", bound=Listener)


@dataclass(frozen=True)
class LinkLimits:
    """When a worker that does not say so is taken for dead, in seconds."""

    # Nothing heard; a worker says something every second.
    heartbeat_timeout_s: float
    # One step running.
    hung_after_s: float


class LinkSession(Generic[ListenerT]):
    """A session on a worker, from the gateway's side."""

    def __init__(self, number: int, listener: ListenerT) -> None:
        self.number = number
        self.listener = listener
        self.credit_frames = 0
        # Resolved by `opened`, or by what went wrong.
        self.opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False


RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
SessionT = TypeVar("SessionT", bound=LinkSession[Any])


class WorkerLink(ABC, Generic[RequestT, ResponseT, SessionT]):
    """Keeps one stream to one worker alive, and the sessions on it."""

    kind: ClassVar[Kind]
    # Messages to the worker are at least so far apart, as a message, an answer and a step cost much the same for one
    # frame as for ten. Not those of few sessions: live they are further apart, and a file or a flush should not wait.
    gather_s: ClassVar[float] = 0.005

    def __init__(
        self, target: str, limits: LinkLimits, on_change: Callable[[], None], open_channel: OpenChannel
    ) -> None:
        """on_change: called whenever the worker's capacity or state has changed."""
        self.target = target
        self.connected = False
        self.capacity = worker_pb2.Capacity()
        self._limits = limits
        self._on_change = on_change
        self._open_channel = open_channel
        self._last_problem = ""
        self._sessions: dict[int, SessionT] = {}
        self._next_number = 1
        # Opens whose effect is not yet in `capacity`.
        self._unanswered_opens = 0
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._heard_s = 0.0

    @property
    @abstractmethod
    def served(self) -> str:
        """Return which model or codec the worker computes, once it has said so."""

    @abstractmethod
    def start_call(self, channel: grpc.aio.Channel) -> Any:
        """Start the rpc without requests; returns its call object."""

    @abstractmethod
    def take_request(self) -> RequestT | None:
        """Make a request of everything that waits to be sent, and forget it; None when there is nothing."""

    @abstractmethod
    def handle(self, response: ResponseT) -> None:
        """Hand a response's answers to the sessions."""

    @abstractmethod
    def clear_pending(self) -> None:
        """Forget what waits to be sent."""

    @property
    def available(self) -> int:
        """Slots that a new session could probably get."""
        return 0 if self.over_budget else self.room

    @property
    def room(self) -> int:
        """Slots that a session could probably get that would be lost without one."""
        if not self.connected or self.capacity.draining or self.silent:
            return 0
        return max(0, self.capacity.slots_free - self._unanswered_opens)

    @property
    def over_budget(self) -> bool:
        """Tell whether the worker's steps take too long for one more session."""
        return self.capacity.over_budget

    @property
    def silent(self) -> bool:
        """Tell whether a heartbeat is overdue: not lost yet, but no place for another session."""
        return self._clock() - self._heard_s > _SILENT_S

    @property
    def load(self) -> float:
        """Share of the slots that are taken, 0 to 1, opens on their way included."""
        total = max(1, self.capacity.slots_total)
        return 1 - self.room / total

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        retry_s = _FIRST_RETRY_S
        try:
            while True:
                cause = await self._run_stream_to_its_end()
                if self.connected:
                    self._count_loss("drained" if self.capacity.draining else cause)
                    retry_s = _FIRST_RETRY_S
                self._lose()
                await asyncio.sleep(retry_s)
                retry_s = min(_LAST_RETRY_S, 2 * retry_s)
        finally:
            if self.connected:
                metrics.WORKER_LINKS_UP.add(-1, self._labels())

    async def _run_stream_to_its_end(self) -> str:
        """Run a stream; returns what ended it."""
        try:
            await self._run_stream()
        except grpc.aio.AioRpcError as error:
            self._log_problem(f"{error.code().name}: {error.details()}")
            return "broken"
        except TimeoutError as error:
            self._log_problem(str(error) or "no heartbeat")
            return "silent"
        except ProtocolViolation as error:
            self._log_problem(str(error))
            return {WorkerEnded: "ended", WorkerHung: "hung"}.get(type(error), "broken")
        return "ended"

    def _count_loss(self, cause: str) -> None:
        metrics.WORKER_LINKS_UP.add(-1, self._labels())
        metrics.WORKER_LOSSES.add(1, {"service": "gateway", "kind": self.kind.label, "cause": cause})

    def _labels(self) -> dict[str, str]:
        return {"service": "gateway", "kind": self.kind.label, "model": self.served}

    def _log_problem(self, problem: str) -> None:
        """Warn of a problem once; it comes again with every try, and is forgotten once the worker is reached."""
        log = _log.debug if problem == self._last_problem else _log.warning
        log("worker link", target=self.target, message=problem)
        self._last_problem = problem

    async def _run_stream(self) -> None:
        async with self._open_channel(self.target) as channel:
            call = self.start_call(channel)
            writer = asyncio.create_task(self._write(call))
            try:
                # The call fails with the reason (a refused certificate, say); waiting for the channel never tells it.
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    await call.wait_for_connection()
                await self._read(aiter(call))
            finally:
                writer.cancel()
                call.cancel()
                # Whatever the writer met, the reader has met too. Not awaited itself: its cancellation and ours, when
                # the gateway stops at the same moment, could not be told apart.
                await asyncio.wait([writer])
                if not writer.cancelled():
                    writer.exception()

    async def _read(self, responses: AsyncIterator[Any]) -> None:
        timeout_s = self._limits.heartbeat_timeout_s + _DEADLINE_STEP_S
        async with asyncio.timeout(timeout_s) as deadline:
            moved_s = self._clock()
            async for response in responses:
                self._heard_s = self._clock()
                # A timer for each response would cost more than the response.
                if self._heard_s - moved_s > _DEADLINE_STEP_S:
                    moved_s = self._heard_s
                    deadline.reschedule(moved_s + timeout_s)
                self._take_response(response)
        raise WorkerEnded

    def _take_response(self, response: Any) -> None:
        was_draining = self.connected and self.capacity.draining
        self.capacity = response.capacity
        if self.capacity.step_running_ms > 1000 * self._limits.hung_after_s:
            raise WorkerHung(f"a step has been running for {self.capacity.step_running_ms} ms")
        if self._unanswered_opens:
            self._unanswered_opens = sum(not session.opening.done() for session in self._sessions.values())
        if not self.connected:
            self._greet(response)
        self._dispatch(response)
        if self.capacity.draining and not was_draining:
            self._tell_draining()
        self._on_change()

    def _tell_draining(self) -> None:
        for session in list(self._sessions.values()):
            session.listener.on_draining()

    def _greet(self, response: Any) -> None:
        if not response.HasField("info"):
            raise ProtocolViolation(f"{self.target}: wanted info in the first response of a stream")
        self.on_info(response.info)
        self.connected = True
        metrics.WORKER_LINKS_UP.add(1, self._labels())
        self._last_problem = ""
        _log.info("worker connected", target=self.target, slots=self.capacity.slots_total)

    @abstractmethod
    def on_info(self, info: Any) -> None:
        """Take who the worker is. Raises ProtocolViolation when it is not one we can work with."""

    def _dispatch(self, response: Any) -> None:
        for opened in response.opened:
            session = self._sessions.get(opened.session)
            if session is not None:
                self.on_opened(session, opened)
        self.handle(response)
        for failure in response.failures:
            self._fail_session(failure)
        for number in response.closed:
            session = self._sessions.pop(number, None)
            if session is not None:
                session.ended = True
                self.on_closed(session)

    def on_opened(self, session: SessionT, opened: Any) -> None:
        """Take the answer to an open or a reset."""
        session.credit_frames = opened.credit_frames
        if not session.opening.done():
            session.opening.set_result(None)

    def on_closed(self, session: SessionT) -> None:
        """Take the answer to a close."""

    def _fail_session(self, failure: worker_pb2.SessionFailure) -> None:
        session = self._sessions.pop(failure.session, None)
        if session is not None:
            self._end(session, failure_error(failure, self.target))

    def _lose(self) -> None:
        """Take the worker for lost: every session on it ends."""
        self.connected = False
        self._unanswered_opens = 0
        self.clear_pending()
        sessions, self._sessions = self._sessions, {}
        if sessions:
            _log.warning("worker lost", target=self.target, sessions=len(sessions))
        for session in sessions.values():
            self._end(session, WorkerLost(f"the worker at {self.target} was lost"))
        self._on_change()

    def _end(self, session: SessionT, error: DsmError) -> None:
        session.ended = True
        if session.opening.done():
            session.listener.on_failed(error)
        else:
            session.opening.set_exception(error)

    async def _write(self, call: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            request = self.take_request()
            if request is not None:
                await call.write(request)
                if len(self._sessions) > _FEW_SESSIONS:
                    await asyncio.sleep(self.gather_s)

    def wake(self) -> None:
        """Have what waits sent soon."""
        self._wake.set()

    def add_session(self, make: Callable[[int], SessionT]) -> SessionT:
        """Number a new session; the caller queues its open message."""
        session = make(self._next_number)
        self._next_number += 1
        self._sessions[session.number] = session
        self._unanswered_opens += 1
        return session

    def find(self, number: int) -> SessionT | None:
        """Look a session up; None for one that has ended, whose late answers are dropped."""
        return self._sessions.get(number)

    def forget(self, session: SessionT) -> None:
        """Let answers for a session be dropped from now on."""
        self._sessions.pop(session.number, None)
        session.ended = True


class WorkerEnded(ProtocolViolation):
    """The worker ended the stream."""

    def __str__(self) -> str:
        return "the worker ended the stream"


class WorkerHung(ProtocolViolation):
    """The worker answers, but its present step does not end."""


def failure_error(failure: worker_pb2.SessionFailure, target: str) -> DsmError:
    """Map why a worker ended a session to our error tree."""
    match failure.reason:
        case worker_pb2.FAILURE_REASON_NO_SLOT:
            return NoCapacity(f"{target}: {failure.message}", retry_after_s=1.0)
        case worker_pb2.FAILURE_REASON_DRAINING:
            return Draining(f"{target}: {failure.message}")
        case worker_pb2.FAILURE_REASON_ENGINE:
            return WorkerLost(f"the worker at {target} failed")
        case _:
            return UpstreamFault(f"{target}: {failure.message}")
