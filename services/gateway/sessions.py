"""Opens sessions and keeps count of them: admission, the pair of slots, the log line, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from dsm_stt.speech.v1 import speech_pb2
from services.common.call import current_call
from services.common.errors import Draining
from services.common.framing import FRAME_S, SAMPLE_RATE_HZ
from services.common.telemetry import spans
from services.gateway import events
from services.gateway.config import GatewayConfig
from services.gateway.failover import Failover
from services.gateway.history import History
from services.gateway.outbox import Cursors, Outbox
from services.gateway.pipeline import Pipeline
from services.gateway.session_meter import SessionMeter
from services.gateway.session_options import SessionOptions
from services.gateway.upstream.workers import Workers

_log = structlog.get_logger()


@dataclass(frozen=True, eq=False)
class Session:
    """One open session."""

    session_id: str
    options: SessionOptions
    outbox: Outbox
    pipeline: Pipeline


class Sessions:
    """All sessions of this gateway."""

    def __init__(self, workers: Workers, config: GatewayConfig) -> None:
        self._workers = workers
        self._config = config
        self._open: set[Session] = set()
        self._draining = False
        # Sessions that leave draining workers do so two at a time.
        self._moving = asyncio.Semaphore(2)
        self._all_closed = asyncio.Event()

    @asynccontextmanager
    async def open(self, options: SessionOptions) -> AsyncIterator[Session]:
        """Open a session as long as the block; its slots are given back whatever happens.

        Raises NoCapacity when no slot becomes free in time, WorkerLost without workers, Draining when stopping.
        """
        if self._draining:
            raise Draining("the gateway is stopping; open the stream again to reach another")
        backlog_frames = max(1, round(self._config.backlog_s / FRAME_S))
        outbox = Outbox(Cursors(options.resumption.base_samples))
        history = History(round(self._config.history_s / FRAME_S), round(self._config.codec_window_s / FRAME_S))
        meter = SessionMeter(options.model.name, options.resumption.base_samples)
        pipeline = Pipeline(options, outbox, backlog_frames, history, meter)
        session = Session(uuid.uuid4().hex, options, outbox, pipeline)
        fields = current_call().fields
        fields.update(model=options.model.name, session_id=session.session_id)
        if options.labels:
            fields["labels"] = dict(options.labels)
        began_s = time.monotonic()
        failover = Failover(options, pipeline, self._workers, self._config.failover_wait_s, self._moving)
        try:
            with spans.span(spans.ADMISSION, model=options.model.name):
                await self._attach(session)
            fields["admission_s"] = round(time.monotonic() - began_s, 3)
            self._open.add(session)
            meter.begin()
            yield session
        finally:
            failover.stop()
            session.pipeline.release()
            if session in self._open:
                self._open.discard(session)
                if not self._open:
                    self._all_closed.set()
                self._workers.note_release()
                meter.end(session.pipeline.audio_samples)
            audio_s = session.pipeline.audio_samples / SAMPLE_RATE_HZ
            fields.update(audio_s=round(audio_s, 2), words=session.pipeline.words)

    async def _attach(self, session: Session) -> None:
        """Get the LM slot, which is the scarcer one, then the codec slot; both within one admission wait."""
        deadline_s = asyncio.get_running_loop().time() + self._config.admission_wait_s
        model, pipeline = session.options.model, session.pipeline
        pair = pipeline.workers
        interim = session.options.results.interim
        lm = await self._workers.open_lm(model, pair.lm_side, interim=interim, deadline_s=deadline_s)
        try:
            codec = await self._workers.open_codec(model, pair.codec_side, deadline_s=deadline_s)
        except BaseException:
            lm.close()
            raise
        current_call().fields.update(lm=lm.target, codec=codec.target)
        session.outbox.put(events.session_started(session.session_id, session.options, self._config))
        if not model.trained:
            session.outbox.put(
                events.warning(
                    speech_pb2.WARNING_CODE_UNTRAINED_MODEL,
                    f"model {model.name} has seeded weights that never saw speech: its words mean nothing",
                )
            )
        pipeline.attach(codec, lm)

    async def drain(self, wait_s: float) -> None:
        """Open no more sessions, tell the present ones, and end those that are left after wait_s."""
        self._draining = True
        for session in self._open:
            session.outbox.put(events.go_away(wait_s))
        self._all_closed.clear()
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._all_closed.wait()
        if self._open:
            _log.warning("drain time is over, sessions are cut off", sessions=len(self._open))
        for session in self._open:
            session.pipeline.fail(Draining("the gateway is stopping and the session had not ended in time"))
