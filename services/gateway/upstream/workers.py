"""Both pools together: which models can be served, and the pair of slots that a session needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.common.errors import UnknownModel, WorkerLost
from services.common.telemetry import spans
from services.gateway.config import GatewayConfig
from services.gateway.upstream.addresses import check_address
from services.gateway.upstream.channels import channel_opener
from services.gateway.upstream.codec_link import CodecLink, CodecListener, CodecSession
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.link import LinkLimits
from services.gateway.upstream.lm_link import LmLink, LmListener, LmSession, ModelInfo, ReplayedHistory
from services.gateway.upstream.pool import WorkerPool


@dataclass(frozen=True)
class ModelState:
    """A model that is served now, and how full its LM workers are."""

    info: ModelInfo
    slots_total: int
    slots_free: int


class Workers:
    """The codec and LM workers of this gateway."""

    def __init__(self, config: GatewayConfig) -> None:
        """Raises ConfigError for an address that is none, and for a certificate that cannot be used."""
        for address in (*config.codecs, *config.lms):
            check_address(address)
        self._config = config
        limits = LinkLimits(config.heartbeat_timeout_s, config.hung_after_s)
        open_channel = channel_opener(config)
        self._codecs = WorkerPool(
            Kind.CODEC,
            config.codecs,
            lambda target, on_change: CodecLink(target, limits, on_change, open_channel),
            resolve_every_s=config.resolve_every_s,
            queue_limit=config.admission_queue,
        )
        self._lms = WorkerPool(
            Kind.LM,
            config.lms,
            lambda target, on_change: LmLink(target, limits, on_change, open_channel),
            resolve_every_s=config.resolve_every_s,
            queue_limit=config.admission_queue,
        )
        # Models that were served at some time: one that is lost is not unknown.
        self._seen: dict[str, ModelInfo] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the links alive as long as the block."""
        tasks = [asyncio.create_task(pool.run()) for pool in (self._codecs, self._lms)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def models(self) -> dict[str, ModelState]:
        """Return the models that have an LM worker and a codec worker now, by name."""
        states: dict[str, ModelState] = {}
        codec_ids = {link.info.codec_id for link in self._codecs.links if link.connected}
        for link in self._lms.links:
            if link.connected and link.model is not None:
                info = self._seen[link.model.name] = link.model
                if info.codec_id not in codec_ids:
                    continue
                before = states.get(info.name, ModelState(info, 0, 0))
                total, free = link.capacity.slots_total, link.available
                states[info.name] = ModelState(info, before.slots_total + total, before.slots_free + free)
        return dict(sorted(states.items()))

    def default_model(self) -> str:
        """Return the model of a request that names none; "" when there never was one."""
        return self._config.default_model or next(iter(self.models() or self._seen), "")

    def find_model(self, name: str) -> ModelInfo:
        """Look a model up by name, "" for the default; one whose workers are lost is still known, they may come back.

        Raises UnknownModel, or WorkerLost while nothing has been served yet.
        """
        models = self.models()
        wanted = name or self.default_model()
        if wanted in self._seen:
            return self._seen[wanted]
        if not wanted:
            raise WorkerLost("no worker can be reached")
        served = ", ".join(models) or "none (no model is served now)"
        raise UnknownModel(f"wanted one of {served}, got {wanted[:100]!r}")

    async def open_lm(
        self,
        model: ModelInfo,
        listener: LmListener,
        *,
        interim: bool,
        history: ReplayedHistory | None = None,
        deadline_s: float,
        going_on: bool = False,
    ) -> LmSession:
        """Open a session on the model's least loaded LM worker. Raises NoCapacity or WorkerLost.

        going_on: see WorkerPool.acquire; also of a session that has no history yet.
        """
        with spans.span(spans.OPEN_LM) as span:
            session = await self._lms.acquire(
                lambda link: link.serves(model.name),
                lambda link: link.open(listener, interim, history),
                deadline_s,
                f"LM worker of model {model.name}",
                going_on=going_on,
            )
            span.set_attribute("dsm_stt.worker", session.target)
            return session

    async def open_codec(
        self,
        model: ModelInfo,
        listener: CodecListener,
        *,
        warmup: NDArray[np.float32] | None = None,
        deadline_s: float,
        going_on: bool = False,
    ) -> CodecSession:
        """Open a session on the least loaded worker of the model's codec. Raises NoCapacity or WorkerLost."""
        with spans.span(spans.OPEN_CODEC) as span:
            session = await self._codecs.acquire(
                lambda link: link.serves(model.codec_id),
                lambda link: link.open(listener, warmup),
                deadline_s,
                f"codec worker of codec {model.codec_id}",
                going_on=going_on,
            )
            span.set_attribute("dsm_stt.worker", session.target)
            return session

    def has_room(self, model: ModelInfo, kind: Kind) -> bool:
        """Tell whether a worker of this kind has a slot for a session of the model that goes on."""
        if kind is Kind.LM:
            return any(link.serves(model.name) and link.room for link in self._lms.links)
        return any(link.serves(model.codec_id) and link.room for link in self._codecs.links)

    def note_release(self) -> None:
        """Take note that a session ended."""
        self._lms.note_release()
        self._codecs.note_release()
