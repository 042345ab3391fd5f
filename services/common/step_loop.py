"""The loop that owns a model: one thread that advances every session with a frame by one frame, again and again.

Codec and LM run the same loop over their engines:

    take commands and one frame of each ready session  ->  open / close slots  ->  one batched step  ->  deliver
                                                                           ->  one piece of an opening under way

Where a device computes by itself, `overlap` sends it the frames that wait while the present step runs.
A session with a backlog gets several frames a step while few others have any; a session that brings its past with it
(a replay, a warm-up) gets it computed a piece at a time, between the steps of the others.

Everything that touches the engine, loading included, happens in this thread. The event loop side only appends to
inboxes and notifies a condition (no polling), and gets results back by one `call_soon_threadsafe` a step, addressed
to the sessions that were stepped: a slot that has a new holder by then cannot get its predecessor's results.
If the engine raises, the loop ends: it is never stepped again in an unknown state.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from services.common.errors import DsmError, EngineFailed
from services.common.overlap import OverlappingEngine, RowsAhead
from services.common.slots import SlotTable
from services.common.step_budget import StepBudget
from services.common.telemetry import metrics
from services.common.telemetry.worker_trace import WorkerTrace

STEP_THREAD_SUFFIX = "-step"
_DONE = object()

ResultT_co = TypeVar("ResultT_co", covariant=True)
ResultT = TypeVar("ResultT")


class Engine(Protocol[ResultT_co]):
    """A batched model as the loop sees it; CodecEngine and LmEngine say what rows and results are."""

    slots: int
    # Frames of one slot that a step takes; where it is more than 1, slots may repeat, their rows in order.
    burst: int

    def open(self, slot: int, history: Any | None = None) -> Iterator[None] | None:
        """Start a session in a slot, from nothing or from a history.

        Returns what is left to do, each `next` a piece of it; the slot's next step does whatever is left by then.
        """

    def step(self, slots: NDArray[np.int64], rows: NDArray[Any]) -> ResultT_co:
        """Advance these slots; row i is the input of slots[i]."""

    def close(self, slot: int) -> None:
        """End the session in a slot."""


class StepSession:
    """A session's place in the loop: its slot and the frames that wait for a step."""

    __slots__ = ("arrived_s", "inbox", "open", "slot", "trace")

    def __init__(self, slot: int, trace: WorkerTrace | None = None) -> None:
        """trace: what its spans are made of, for a session that somebody traces."""
        self.slot = slot
        self.trace = trace
        self.inbox: deque[NDArray[Any]] = deque()
        self.arrived_s = 0.0
        self.open = True


SessionT = TypeVar("SessionT", bound=StepSession)


class StepLoop(Generic[SessionT, ResultT]):
    """Runs an engine in a thread of its own for sessions that live in the event loop."""

    def __init__(
        self,
        build: Callable[[], Engine[ResultT]],
        deliver: Callable[[Sequence[SessionT], ResultT], None],
        fail: Callable[[EngineFailed], None],
        name: str,
        budget: StepBudget | None = None,
    ) -> None:
        """build: loads the engine, in the loop's thread. deliver: called in the event loop after each step, with the
        sessions in the order of the result's rows. fail: called in the event loop once, if the engine raises. budget:
        of a step; one frame by default."""
        self._build = build
        self._deliver = deliver
        self._fail = fail
        self._name = name
        self._condition = threading.Condition()
        # Slots to open, with the session that is to hold them and its history, and to close, without.
        self._commands: deque[tuple[int, SessionT | None, Any]] = deque()
        self._ready: dict[SessionT, None] = {}
        # What is left of opening a slot; of the step thread alone.
        self._openings: dict[int, tuple[SessionT, Iterator[None]]] = {}
        self._ahead: RowsAhead[SessionT] = RowsAhead()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"{name}{STEP_THREAD_SUFFIX}", daemon=True)
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._loaded: asyncio.Future[Engine[ResultT]] | None = None
        self._busy_since_s: float | None = None
        self.slots = SlotTable(0)
        self.budget = budget or StepBudget()
        # Of its metrics; whoever builds the engine adds which model it is.
        self.labels = {"service": name}

    async def start(self) -> Engine[ResultT]:
        """Start the thread and wait until the engine is loaded and warm; raises what loading raised."""
        self._event_loop = asyncio.get_running_loop()
        self._loaded = self._event_loop.create_future()
        self._thread.start()
        engine = await self._loaded
        self.slots = SlotTable(engine.slots)
        return engine

    def stop(self) -> None:
        """Let the thread end after its present step. Does not wait: a hung engine would hang the caller."""
        with self._condition:
            self._stopping = True
            self._condition.notify()

    def stuck_for_s(self) -> float:
        """Seconds since the present step or command began; 0 when the loop waits for work."""
        since = self._busy_since_s
        return 0.0 if since is None else time.monotonic() - since

    def over_budget(self) -> bool:
        """Tell whether steps take so long that one more session would make the live ones late."""
        return self.budget.exceeded(time.monotonic())

    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def open(self, make: Callable[[int], SessionT], history: Any | None = None) -> SessionT | None:
        """Take a slot and make its session with it; None when every slot is taken."""
        slot = self.slots.acquire()
        if slot is None:
            return None
        session = make(slot)
        with self._condition:
            self._commands.append((slot, session, history))
            self._condition.notify()
        return session

    def reset(self, session: SessionT, make: Callable[[int], SessionT]) -> SessionT:
        """Put a new session in the place of one, in its slot; what was under way for the old one is dropped.

        A new object, so that a step that is running now cannot deliver to the session that starts afresh.
        """
        assert session.open, "reset after its close"
        fresh = make(session.slot)
        with self._condition:
            session.open = False
            self._forget(session)
            self._commands.append((session.slot, fresh, None))
            self._condition.notify()
        return fresh

    def submit(self, session: SessionT, rows: Sequence[NDArray[Any]] | NDArray[Any]) -> None:
        """Append frames to a session's inbox; each will be one step's input, in order."""
        with self._condition:
            if not session.inbox:
                session.arrived_s = time.monotonic()
            session.inbox.extend(rows)
            self._ready[session] = None
            self._condition.notify()

    def close(self, session: SessionT) -> None:
        """End a session and free its slot; its frames not yet stepped are dropped."""
        assert session.open, "closed twice"
        with self._condition:
            session.open = False
            self._forget(session)
            # In the order of the queue: whoever gets the slot next is opened after this.
            self._commands.append((session.slot, None, None))
            self._condition.notify()
        self.slots.release(session.slot)

    def _forget(self, session: SessionT) -> None:
        session.inbox.clear()
        self._ready.pop(session, None)

    def _run(self) -> None:
        assert self._event_loop is not None
        assert self._loaded is not None
        try:
            engine = self._build()
        except BaseException as error:  # whatever it is, it belongs to whoever awaits start()
            self._post(self._settle_start, None, error)
            return
        self._post(self._settle_start, engine, None)
        try:
            while self._advance(engine):
                pass
        except DsmError as error:
            self._post(self._fail, EngineFailed(str(error)))
        except BaseException as error:  # the engine's own: anything may come, nothing may be stepped after it
            failure = EngineFailed(f"{self._name} engine raised {type(error).__name__}")
            failure.__cause__ = error
            self._post(self._fail, failure)

    def _settle_start(self, engine: Engine[ResultT] | None, error: BaseException | None) -> None:
        assert self._loaded is not None
        if self._loaded.done():  # nobody waits any more: stopped while loading
            return
        if error is not None:
            self._loaded.set_exception(error)
        else:
            assert engine is not None
            self._loaded.set_result(engine)

    def _advance(self, engine: Engine[ResultT]) -> bool:
        """Wait for work and do it once; False when stopping."""
        with self._condition:
            self._busy_since_s = None
            self._condition.wait_for(lambda: self._stopping or self._commands or self._ready or self._openings)
            if self._stopping:
                return False
            began_s = self._busy_since_s = time.monotonic()
            commands, self._commands = self._commands, deque()
            sessions, rows = self._take_rows(engine.burst, commands)
            oldest_s = min((session.arrived_s for session in sessions), default=began_s)
            for session in sessions:
                if session.trace is not None:
                    session.trace.note_frame(began_s - session.arrived_s)
                session.arrived_s = began_s
        for slot, opened, history in commands:
            # Many openings with a history take long, all together; hung is only what hangs in one of them.
            self._busy_since_s = time.monotonic()
            self._openings.pop(slot, None)
            if opened is None:
                engine.close(slot)
                continue
            rest = engine.open(slot, history)
            if rest is None:
                _note_open(opened)
            else:
                self._openings[slot] = opened, rest
        if sessions:
            started_s = self._busy_since_s = time.monotonic()
            sessions, result = self._step(engine, sessions, rows)
            ended_s = time.monotonic()
            self.budget.note(ended_s - started_s, ended_s)
            self._record(ended_s - started_s, began_s - oldest_s, set(sessions))
            self._post(self._deliver, sessions, result)
        if self._openings:
            self._busy_since_s = time.monotonic()
            slot, (opening, rest) = next(iter(self._openings.items()))
            # The oldest first, to its end: two at once would both take twice as long.
            if next(rest, _DONE) is _DONE:
                del self._openings[slot]
                _note_open(opening)
        return True

    def _step(
        self, engine: Engine[ResultT], sessions: list[SessionT], rows: list[NDArray[Any]]
    ) -> tuple[list[SessionT], ResultT]:
        """Step; returns the sessions in the order of the result's rows."""
        if not isinstance(engine, OverlappingEngine) or not engine.overlaps:
            return sessions, engine.step(_slots(sessions), np.stack(rows))
        taken, staged = self._ahead.order(list(zip(sessions, rows, strict=True)))
        sessions = [session for session, _ in taken]
        finish = engine.start(_slots(sessions), np.stack([row for _, row in taken]), staged)
        with self._condition:
            waiting = [(session, session.inbox[0]) for session in self._ready if session.slot not in self._openings]
        self._ahead.send(engine, waiting)
        return sessions, finish()

    def _take_rows(
        self, burst: int, commands: Sequence[tuple[int, SessionT | None, Any]]
    ) -> tuple[list[SessionT], list[NDArray[Any]]]:
        """Take the frames of the next step out of the inboxes; a session with several is there as often."""
        opening = self._openings.keys() | {slot for slot, _, history in commands if history is not None}
        ready = [session for session in self._ready if session.slot not in opening]
        # Shared, so that the backlog of some never makes a step much longer for the others.
        most = max(1, burst // max(1, len(ready)))
        sessions: list[SessionT] = []
        rows: list[NDArray[Any]] = []
        for session in ready:
            taken = min(most, len(session.inbox))
            sessions.extend([session] * taken)
            rows.extend(session.inbox.popleft() for _ in range(taken))
            if not session.inbox:
                del self._ready[session]
        return sessions, rows

    def _record(self, step_s: float, queue_s: float, sessions: Set[SessionT]) -> None:
        # A step has many traces; any of them shows what else went on.
        context = None
        for session in sessions:
            if session.trace is not None:
                session.trace.note_step(step_s)
                context = session.trace.context
        metrics.STEP_TIME_S.record(step_s, self.labels, context)
        metrics.QUEUE_TIME_S.record(queue_s, self.labels, context)
        metrics.STEP_SESSIONS.record(len(sessions), self.labels, context)

    def _post(self, function: Callable[..., Any], *args: Any) -> None:
        assert self._event_loop is not None
        try:
            self._event_loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the event loop is closed: the process ends, nobody waits for this
            self._stopping = True


def _slots(sessions: Sequence[StepSession]) -> NDArray[np.int64]:
    return np.array([session.slot for session in sessions], np.int64)


def _note_open(session: StepSession) -> None:
    if session.trace is not None:
        session.trace.opened_s = time.monotonic()
