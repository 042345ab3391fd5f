"""Gateways that come and go behind one address, over workers that stay."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Self

from benchmarks.tcp_proxy import TcpProxy
from services.gateway.serve import GatewayProcess
from tests.stack import FakeStack


class Gateways(FakeStack):
    """`front` is the address to call: it leads to `behind`, at first the stack's own gateway."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._others: list[tuple[asyncio.Event, asyncio.Task[int]]] = []

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.behind: str | None = self.address
        self.proxy = TcpProxy(lambda: self.behind)
        await self.proxy.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        for stopping, task in self._others:
            stopping.set()
            await task
        await super().__aexit__(*error)
        await self.proxy.stop()

    @property
    def front(self) -> str:
        return self.proxy.address

    async def start_another(self) -> str:
        """Start one more gateway; returns its address."""
        config = self.gateway._config
        another, stopping = GatewayProcess(replace(config)), asyncio.Event()
        self._others.append((stopping, asyncio.create_task(another.run(stopping))))
        while not another.workers.models():
            await asyncio.sleep(0.005)
        return f"127.0.0.1:{another.server.port}"

    def lose(self, then: str | None) -> None:
        """Break every connection; later ones lead elsewhere, or nowhere."""
        self.behind = then
        self.proxy.reset()
