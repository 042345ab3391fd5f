"""All workers of one kind: found by address, kept connected, and handed to new sessions, the least loaded first.

A session that finds no free slot waits in line, first come first served, for at most the admission wait; the line
is bounded. Who cannot be served is told when to come back: the mean time between two slots becoming free, times the
length of the line. A session whose worker was lost goes before new ones, and may also have a slot of a worker whose
steps take too long for a new one: late words are better than none.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog

from services.common.errors import Draining, NoCapacity, WorkerLost
from services.common.telemetry import metrics
from services.gateway.upstream.addresses import resolve_addresses
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.link import LinkSession, WorkerLink

_log = structlog.get_logger()

LinkT = TypeVar("LinkT", bound=WorkerLink[Any, Any, Any])
SessionT = TypeVar("SessionT", bound=LinkSession[Any])

_MIN_RETRY_S = 0.5
_MAX_RETRY_S = 60.0
# Assumed before two sessions have ended.
_FIRST_RELEASE_INTERVAL_S = 5.0
# How often a worker that has yet to answer is looked after.
_LOOK_EVERY_S = 0.25


class WorkerPool(Generic[LinkT]):
    """The links to all workers of one kind."""

    def __init__(
        self,
        kind: Kind,
        addresses: Sequence[str],
        make_link: Callable[[str, Callable[[], None]], LinkT],
        *,
        resolve_every_s: float,
        queue_limit: int,
        resolve: Callable[[Sequence[str]], Awaitable[dict[str, list[str]]]] = resolve_addresses,
    ) -> None:
        """make_link: from a target and a callback for its changes."""
        self._resolve = resolve
        self._kind = kind
        self._labels = {"service": "gateway", "kind": kind.label}
        metrics.begin_worker_kind(kind.label)
        self._addresses = addresses
        self._make_link = make_link
        self._resolve_every_s = resolve_every_s
        self._queue_limit = queue_limit
        self._links: dict[str, LinkT] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._waiting = 0
        # Who is first in line, by what is wanted: a full model must not hold up another. Those that go on have lines
        # of their own.
        self._turns: dict[tuple[str, bool], asyncio.Lock] = {}
        # Sessions that look for a slot to go on in, by what they want: 0 or 1.
        self._going_on: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._release_interval_s = _FIRST_RELEASE_INTERVAL_S
        self._last_release_s: float | None = None

    @property
    def links(self) -> list[LinkT]:
        """Every worker known, connected or not."""
        return list(self._links.values())

    async def run(self) -> None:
        """Keep the set of links what the addresses say, until cancelled."""
        try:
            while True:
                self._update(await self._resolve(self._addresses))
                await asyncio.sleep(self._resolve_every_s)
        finally:
            for task in self._runs.values():
                task.cancel()
            await asyncio.gather(*self._runs.values(), return_exceptions=True)
            metrics.WORKER_LINKS.add(-len(self._links), self._labels)

    def _update(self, targets: dict[str, list[str]]) -> None:
        wanted = {target for found in targets.values() for target in found}
        for target in sorted(wanted - self._links.keys()):
            link = self._links[target] = self._make_link(target, self._on_change)
            self._runs[target] = asyncio.create_task(link.run())
            metrics.WORKER_LINKS.add(1, self._labels)
        for target in self._links.keys() - wanted:
            # A name may vanish from DNS before its pod has ended (draining): sessions go on while it answers.
            if not self._links[target].connected:
                self._runs.pop(target).cancel()
                del self._links[target]
                metrics.WORKER_LINKS.add(-1, self._labels)
                _log.info("worker gone", kind=self._kind.value, target=target)

    def _on_change(self) -> None:
        if self._waiting:
            # A new event for the next change, so that no waiter can clear what another has yet to see.
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def note_release(self) -> None:
        """Take note that a session ended, to tell others when a slot may be free."""
        now_s = asyncio.get_running_loop().time()
        if self._last_release_s is not None:
            interval_s = now_s - self._last_release_s
            self._release_interval_s = 0.8 * self._release_interval_s + 0.2 * interval_s
        self._last_release_s = now_s

    def retry_after_s(self) -> float:
        """Estimate when a slot may be free for one more, in seconds."""
        return min(_MAX_RETRY_S, max(_MIN_RETRY_S, self._release_interval_s * (1 + self._waiting)))

    async def acquire(
        self,
        suits: Callable[[LinkT], bool],
        open_on: Callable[[LinkT], SessionT],
        deadline_s: float,
        what: str,
        *,
        going_on: bool = False,
    ) -> SessionT:
        """Open a session on the least loaded worker that suits; waits for a slot until the deadline.

        deadline_s: on the event loop's clock. what: names what is wanted, e.g. "LM of model x"; one line for each.
        going_on: the session has begun, on a worker that was lost or that drains.
        Raises NoCapacity when workers are full, WorkerLost when there is none at all.
        """
        if self._waiting >= self._queue_limit and not going_on:
            raise NoCapacity(
                f"no {what} has a free slot, and {self._waiting} sessions wait already", self.retry_after_s()
            )
        self._waiting += 1
        metrics.ADMISSION_WAITING.add(1, self._labels)
        try:
            async with asyncio.timeout_at(deadline_s) as timeout:
                while True:
                    async with self._turns.setdefault((what, going_on), asyncio.Lock()):
                        link, session = await self._ask(suits, open_on, what, going_on)
                    # A slot is there; the deadline is for those that wait for one, and the next in line may ask, too.
                    timeout.reschedule(None)
                    try:
                        return await self._opened(link, session)
                    except (NoCapacity, Draining, WorkerLost):
                        # Another gateway was quicker, or the worker has just gone: the next one, then.
                        timeout.reschedule(deadline_s)
        except TimeoutError:
            if not any(suits(link) for link in self._links.values()):
                raise WorkerLost(f"no {what} can be reached") from None
            raise NoCapacity(self._why_none(suits, what), self.retry_after_s()) from None
        finally:
            self._waiting -= 1
            metrics.ADMISSION_WAITING.add(-1, self._labels)

    def _why_none(self, suits: Callable[[LinkT], bool], what: str) -> str:
        if any(suits(link) and link.room for link in self._links.values()):
            return f"no {what} could keep up with one more session"
        return f"no {what} has a free slot"

    async def _ask(
        self, suits: Callable[[LinkT], bool], open_on: Callable[[LinkT], SessionT], what: str, going_on: bool
    ) -> tuple[LinkT, SessionT]:
        """Ask the least loaded worker for a session, as soon as one has room. Holds the turn: first in line."""
        self._going_on[what] += going_on
        try:
            while True:
                changed = self._changed
                candidates = self._candidates(suits, what, going_on)
                if candidates:
                    link = min(candidates, key=lambda link: link.load)
                    return link, open_on(link)
                await changed.wait()
        finally:
            if going_on:
                self._going_on[what] -= 1
                # New sessions have made way for this one.
                self._on_change()

    def _candidates(self, suits: Callable[[LinkT], bool], what: str, going_on: bool) -> list[LinkT]:
        links = [link for link in self._links.values() if suits(link)]
        in_time = [link for link in links if link.available]
        if going_on:
            return in_time or [link for link in links if link.room]
        return [] if self._going_on[what] else in_time

    async def _opened(self, link: LinkT, session: SessionT) -> SessionT:
        """Wait for a worker's answer as long as the worker is heard of; raises what came of it."""
        try:
            while not session.opening.done() and not link.silent:
                await asyncio.wait([session.opening], timeout=_LOOK_EVERY_S)
            if not session.opening.done():
                # Stopped or cut off, which shows for sure only later: the caller shall not wait for that.
                session.opening.set_exception(WorkerLost(f"the worker at {link.target} is silent"))
            session.opening.result()
        except BaseException:
            session.close()  # type: ignore[attr-defined]
            raise
        return session
