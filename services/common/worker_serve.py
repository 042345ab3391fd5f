"""The life of a worker process, codec and LM alike: listen, load, serve, drain, stop.

Health is NOT_SERVING until the engine is loaded and warm, again once its thread is dead or has been in one step for
longer than `stuck_after_s`, and while draining. Liveness is NOT_SERVING only for a thread that is dead or stuck, while
draining too: loading and draining end by themselves. A failed engine ends the process with exit code 1: a supervisor
starts a fresh one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from services.common.env import setting
from services.common.errors import ConfigError, EngineFailed
from services.common.framing import FRAME_S
from services.common.grpc_server import GrpcServer
from services.common.server_settings import ServerSettings
from services.common.step_loop import STEP_THREAD_SUFFIX
from services.common.telemetry import metrics
from services.common.tls import Certificates
from services.common.worker_stream import Worker

_log = structlog.get_logger()

# 60 s of audio to warm up a codec, 5.8 MB, or an hour of history for an LM, 3 MB; and room.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_WATCH_EVERY_S = 0.5

DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("auto", "float32", "bfloat16", "int8")


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(ServerSettings):
    """Settings that both kinds of worker have."""

    device: str = setting(
        "DSM_DEVICE", "Where the model runs: auto (cuda if there is one), cpu or cuda", default="auto"
    )
    dtype: str = setting(
        "DSM_DTYPE",
        "Precision: auto (bfloat16 for the LM on cuda, else float32), float32, bfloat16 or, for the LM on a CPU, int8",
        default="auto",
    )
    threads: int = setting("DSM_THREADS", "CPU threads of the model; 0 leaves it to torch", default=0)
    credit_frames: int = setting(
        "DSM_CREDIT_FRAMES", "Frames of a session that may be on their way, 2 to 256", default=16
    )
    stuck_after_s: float = setting(
        "DSM_STUCK_AFTER_S", "A step that takes longer makes the worker unhealthy, seconds", default=10.0
    )
    step_budget_s: float = setting(
        "DSM_STEP_BUDGET_S",
        "While a step takes more than four fifths of this, new sessions go elsewhere or wait, seconds; 0: never",
        default=FRAME_S,
    )
    drain_s: float = setting("DSM_DRAIN_S", "After SIGTERM, wait this long for sessions to end, seconds", default=25.0)
    log_level: str = setting("DSM_LOG_LEVEL", "debug, info, warning or error", default="info")
    log_format: str = setting("DSM_LOG_FORMAT", "json or console", default="json")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        super().__post_init__()
        if self.device not in DEVICES:
            raise ConfigError(f"DSM_DEVICE: wanted one of {', '.join(DEVICES)}, got {self.device!r}")
        if self.dtype not in DTYPES:
            raise ConfigError(f"DSM_DTYPE: wanted one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if not 2 <= self.credit_frames <= 256:
            raise ConfigError(f"DSM_CREDIT_FRAMES: wanted 2 to 256, got {self.credit_frames}")
        if self.threads < 0:
            raise ConfigError(f"DSM_THREADS: wanted 0 or more, got {self.threads}")
        if self.stuck_after_s <= 0 or self.drain_s < 0:
            raise ConfigError("DSM_STUCK_AFTER_S and DSM_DRAIN_S: wanted positive seconds")
        if self.step_budget_s < 0:
            raise ConfigError(f"DSM_STEP_BUDGET_S: wanted 0 or more, got {self.step_budget_s}")


def leave(code: int) -> int:
    """Return the exit code, or end the process with it at once if a step thread is still busy.

    It may be in a device call that never returns, or in the middle of loading; the interpreter's own way out would
    wait for it, or abort over its native threads.
    """
    if any(thread.name.endswith(STEP_THREAD_SUFFIX) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


class WorkerProcess:
    """One worker: a server, a loop, and what ends them. `serve` of each service composes it."""

    def __init__(
        self,
        worker: Worker[Any],
        listen: str,
        service: str,
        add_servicer: Callable[[grpc.aio.Server], None],
        settings: WorkerSettings,
    ) -> None:
        """service: the full gRPC name. add_servicer: adds the servicer to the server; called before it starts.

        Raises ConfigError for a certificate that cannot be used.
        """
        self.worker = worker
        self._settings = settings
        files = settings.mtls_files
        certificates = Certificates(files) if files else None
        self.server = GrpcServer(listen, [service], MAX_MESSAGE_BYTES, settings, certificates, name=worker.name)
        add_servicer(self.server.server)
        self._failure: EngineFailed | None = None
        self._stop_soon = asyncio.Event()

    def fail(self, error: EngineFailed) -> None:
        """Tell every session and end the process; the loop calls it when the engine raises."""
        _log.error("engine failed", exc_info=error)
        metrics.ENGINE_FAILURES.add(1, self.worker.loop.labels)
        self._failure = error
        self.worker.fail(error)
        self._stop_soon.set()

    async def run(self, stopping: asyncio.Event) -> int:
        """Serve until `stopping` is set or the engine fails; returns the process's exit code."""
        await self.server.start()
        # A signal while loading must not wait for minutes of download.
        loading = asyncio.create_task(self.worker.loop.start())
        told = asyncio.create_task(stopping.wait())
        await asyncio.wait({loading, told}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            self.worker.loop.stop()
            await self.server.stop(0)
            return 0
        try:
            loading.result()
        except BaseException:
            told.cancel()
            await self.server.stop(0)
            raise
        await self.server.set_serving(True)
        slots = self.worker.loop.slots.total
        metrics.SLOTS_TOTAL.add(slots, self.worker.loop.labels)
        # From the beginning, so that a rise from nothing shows.
        metrics.SLOTS_USED.add(0, self.worker.loop.labels)
        metrics.ENGINE_FAILURES.add(0, self.worker.loop.labels)
        _log.info("serving", slots=slots)
        watch = asyncio.create_task(self._watch("serving", self.server.set_serving))
        watch_alive = asyncio.create_task(self._watch("alive", self.server.set_alive))
        failed = asyncio.create_task(self._stop_soon.wait())
        await asyncio.wait({told, failed}, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        await self.server.set_serving(False)
        if self._failure is None:
            await self._drain()
        if self._failure is None:
            self.worker.stop()
        self.worker.loop.stop()
        metrics.SLOTS_TOTAL.add(-slots, self.worker.loop.labels)
        # A moment for the gateways to be told.
        await self.server.stop(1.0)
        for task in (told, failed, watch_alive):
            task.cancel()
        return 0 if self._failure is None else 1

    async def _drain(self) -> None:
        """Take no new session, and wait for the present ones to end or be moved."""
        self.worker.draining = True
        for stream in self.worker.streams:
            stream.wake.set()
        _log.info("draining", sessions=sum(len(stream.sessions) for stream in self.worker.streams))
        deadline_s = asyncio.get_running_loop().time() + self._settings.drain_s
        while any(stream.sessions for stream in self.worker.streams):
            if asyncio.get_running_loop().time() > deadline_s:
                _log.warning("drain time is over, sessions are cut off")
                return
            await asyncio.sleep(0.05)

    async def _watch(self, what: str, tell: Callable[[bool], Awaitable[None]]) -> None:
        """Tell whenever the loop's thread begins or ceases to move."""
        moving = True
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            stuck_for_s = self.worker.loop.stuck_for_s()
            now_moving = self.worker.loop.alive() and stuck_for_s < self._settings.stuck_after_s
            if now_moving != moving:
                moving = now_moving
                await tell(moving)
                _log.warning("health", **{what: moving}, stuck_for_s=round(stuck_for_s, 1))
