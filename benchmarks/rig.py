"""The services as real processes, each worker behind a proxy of its own, so that both can be mistreated.

async with Rig("dsm-tiny-en", slots=32, workers=2) as rig:
    channel = grpc.aio.insecure_channel(rig.address)
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from benchmarks.tcp_proxy import TcpProxy
from services.cli.child import Child, ChildDied, State
from services.cli.local_stack import GRPC_EXPERIMENTS, MODULES

_POLL_S = 0.1
# A worker says something every second.
_SILENT_S = 1.5
START_TIMEOUT_S = 120.0


class Worker:
    """One worker's place: its process, and the one that takes over when that has ended."""

    def __init__(self, name: str, kind: str, environment: Mapping[str, str], folder: Path) -> None:
        """kind: codec or lm."""
        self.name = name
        self.kind = kind
        self._environment = environment
        self._folder = folder
        self.child = self._start()
        self.proxy = TcpProxy(lambda: self.child.address)

    def _start(self) -> Child:
        listen = {f"DSM_{self.kind.upper()}_LISTEN": "127.0.0.1:0"}
        return Child(self.name, MODULES[self.kind], {**self._environment, **listen}, self._folder)

    def send(self, signal_number: int) -> None:
        """Send a signal to the process."""
        os.killpg(self.child.pid, signal_number)

    async def replace(self, ends_in_s: float = START_TIMEOUT_S) -> None:
        """Wait for the process to end and start another in its place."""
        assert await asyncio.to_thread(self.child.wait, ends_in_s), f"{self.name} does not end"
        self.child = self._start()

    async def ready(self) -> None:
        """Wait until the process serves and the gateway hears of it."""
        since_s = time.monotonic()
        async with asyncio.timeout(START_TIMEOUT_S):
            while self.child.state is not State.SERVING:
                await asyncio.to_thread(self.child.poll)
                await asyncio.sleep(_POLL_S)
            while self.proxy.heard_s < since_s or time.monotonic() - self.proxy.heard_s > _SILENT_S:
                await asyncio.sleep(_POLL_S)


class Rig:
    """Workers, proxies and a gateway, for as long as the block."""

    def __init__(self, model: str, slots: int, workers: int, environment: Mapping[str, str] | None = None) -> None:
        """workers: of each kind. environment: more settings for all processes."""
        self._environment = {
            "DSM_CODEC_MODEL": model,
            "DSM_LM_MODEL": model,
            "DSM_CODEC_SLOTS": str(slots),
            "DSM_LM_SLOTS": str(slots),
            # Models that share cores by time, thread against thread, wait for each other in every layer.
            "DSM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "DSM_LOG_FORMAT": "json",
            **(environment or {}),
        }
        self._count = workers
        self.workers: list[Worker] = []
        self._folder = Path(tempfile.mkdtemp(prefix="dsm-rig-"))
        self.gateway: Child

    @property
    def address(self) -> str:
        """Return the gateway's host:port."""
        assert self.gateway.address is not None
        return self.gateway.address

    def of_kind(self, kind: str) -> list[Worker]:
        """Return the workers of one kind."""
        return [worker for worker in self.workers if worker.kind == kind]

    def processes(self) -> dict[str, int]:
        """Return the process id of every service by its name."""
        return {child.name: child.pid for child in (self.gateway, *(worker.child for worker in self.workers))}

    def log_lines(self, event: str) -> Iterator[dict[str, Any]]:
        """Read the gateway's log: the lines of one event."""
        with self.gateway.log_file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("{"):
                    fields = json.loads(line)
                    if fields.get("event") == event:
                        yield fields

    async def __aenter__(self) -> Self:
        try:
            for kind in ("codec", "lm"):
                for index in range(self._count):
                    self.workers.append(Worker(f"{kind}-{index + 1}", kind, self._environment, self._folder))
            for worker in self.workers:
                await worker.proxy.start()
            addresses = {
                f"DSM_GATEWAY_{kind.upper()}S": ",".join(worker.proxy.address for worker in self.of_kind(kind))
                for kind in ("codec", "lm")
            }
            listen = {"DSM_GATEWAY_LISTEN": "127.0.0.1:0"}
            environment = {"GRPC_EXPERIMENTS": GRPC_EXPERIMENTS, **self._environment, **addresses, **listen}
            self.gateway = Child("gateway", MODULES["gateway"], environment, self._folder)
            async with asyncio.timeout(START_TIMEOUT_S):
                children = [self.gateway, *(worker.child for worker in self.workers)]
                while any(child.state is not State.SERVING for child in children):
                    for child in children:
                        await asyncio.to_thread(child.poll)
                    await asyncio.sleep(_POLL_S)
            for worker in self.workers:
                await worker.ready()
        except BaseException as error:
            if isinstance(error, ChildDied):
                print(*error.last_lines, sep="\n")
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        children = [*([self.gateway] if hasattr(self, "gateway") else []), *(worker.child for worker in self.workers)]
        for child in children:
            child.kill()
        for worker in self.workers:
            await worker.proxy.stop()
        for child in children:
            await asyncio.to_thread(child.wait, 10.0)
        self.keep_logs()
        shutil.rmtree(self._folder, ignore_errors=True)

    def keep_logs(self) -> None:
        """Copy the logs to the folder in DSM_KEEP_LOGS, if there is one."""
        if kept := os.environ.get("DSM_KEEP_LOGS"):
            shutil.copytree(self._folder, kept, dirs_exist_ok=True)
