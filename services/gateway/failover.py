"""Moves sessions to other workers: when theirs are lost, and when theirs want to stop.

Lost: the session's other half goes on as far as it can, a new worker hears what the lost one knew, and what was on its
way is sent again. Draining: the same, one session after another, each let go only when another worker has room, so
that a rolling restart costs each session a moment of its own and not all of them the same one.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any

import structlog

from services.common.call import current_call
from services.common.errors import Draining, DsmError, NoCapacity, WorkerLost
from services.common.telemetry import metrics, spans
from services.gateway.pipeline import Pipeline
from services.gateway.session_options import SessionOptions
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.workers import Workers

_log = structlog.get_logger()

_LOOK_FOR_ROOM_S = 0.1
# Why a session moves, for metrics and spans.
_LOST = "lost"
_DRAINING = "draining"


class Failover:
    """Watches one session's workers."""

    def __init__(
        self, options: SessionOptions, pipeline: Pipeline, workers: Workers, wait_s: float, moving: asyncio.Semaphore
    ) -> None:
        """wait_s: how long to look for another worker. moving: held while a session is moved off a draining worker."""
        self._options = options
        self._pipeline = pipeline
        self._pair = pipeline.workers
        self._workers = workers
        self._wait_s = wait_s
        self._moving = moving
        # Tasks begin in callbacks of links, but belong to the call, with its request id.
        self._context = contextvars.copy_context()
        self._call = current_call()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pair.lost = self._on_lost
        self._pair.draining = self._on_draining

    def stop(self) -> None:
        """Look for no more workers; the session is over."""
        for task in self._tasks:
            task.cancel()

    def _on_lost(self, kind: Kind, error: DsmError) -> None:
        if isinstance(error, WorkerLost | Draining):
            self._start(self._replace(kind, _LOST, str(error)))
        else:
            self._pipeline.fail(error)

    def _on_draining(self, kind: Kind) -> None:
        self._start(self._move(kind))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _move(self, kind: Kind) -> None:
        async with self._moving:
            while not self._workers.has_room(self._options.model, kind):  # noqa: ASYNC110  # no event says so
                await asyncio.sleep(_LOOK_FOR_ROOM_S)
            # It may have been lost while this one waited its turn; then it is being replaced already.
            if self._pair.let_go(kind):
                await self._replace(kind, _DRAINING, "the worker is draining")

    async def _replace(self, kind: Kind, cause: str, why: str) -> None:
        began_s = asyncio.get_running_loop().time()
        deadline_s = began_s + self._wait_s
        try:
            with spans.span(spans.FAILOVER, kind=kind.label, cause=cause):
                if kind is Kind.LM:
                    await self._replace_lm(deadline_s)
                else:
                    await self._replace_codec(deadline_s)
        except (WorkerLost, NoCapacity) as error:
            message = f"a worker was lost and not replaced within {self._wait_s:g} s: {error}"
            self._pipeline.fail(WorkerLost(message))
            return
        except Exception as error:
            _log.exception("failover failed")
            self._pipeline.fail(error)
            return
        took_s = asyncio.get_running_loop().time() - began_s
        self._call.fields["failovers"] = self._call.fields.get("failovers", 0) + 1
        labels = {"service": "gateway", "model": self._options.model.name, "kind": kind.label, "cause": cause}
        metrics.FAILOVERS.add(1, labels)
        metrics.FAILOVER_S.record(took_s, labels)
        _log.info("session moved", kind=kind.value, why=why, took_s=round(took_s, 3), request_id=self._call.request_id)
        self._pipeline.feed_on()

    async def _replace_lm(self, deadline_s: float) -> None:
        history = None if self._pair.is_fresh(Kind.LM) else self._pair.history.replay()
        lm = await self._workers.open_lm(
            self._options.model,
            self._pair.lm_side,
            interim=self._options.results.interim,
            history=history,
            deadline_s=deadline_s,
            going_on=True,
        )
        self._call.fields["lm"] = lm.target
        self._pair.attach_lm(lm)

    async def _replace_codec(self, deadline_s: float) -> None:
        warmup = None if self._pair.is_fresh(Kind.CODEC) else self._pair.history.pcm_window()
        codec = await self._workers.open_codec(
            self._options.model, self._pair.codec_side, warmup=warmup, deadline_s=deadline_s, going_on=True
        )
        self._call.fields["codec"] = codec.target
        self._pair.attach_codec(codec)
