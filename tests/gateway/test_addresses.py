"""Workers by address: fixed ones, and names that stand for a changing set."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.common.errors import ConfigError
from services.gateway.upstream.addresses import check_address, resolve_addresses
from services.gateway.upstream.kind import Kind
from services.gateway.upstream.link import LinkLimits
from services.gateway.upstream.lm_link import LmLink
from services.gateway.upstream.pool import WorkerPool
from tests.fakes.delayed import DelayedLmEngine
from tests.stack import RunningWorker, fake_lm


@pytest.mark.parametrize("address", ["", "host", "host:", ":50", "host:0", "host:65536", "host:x", "dns:///name"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="wanted host:port or dns:///name:port"):
        check_address(address)


@pytest.mark.parametrize("address", ["host:1", "10.0.0.1:50061", "[::1]:50061", "dns:///lm.dsm.svc:50062"])
def test_addresses_are_taken(address: str) -> None:
    check_address(address)


async def test_a_name_is_looked_up_and_every_address_of_it_is_a_worker() -> None:
    found = await resolve_addresses(["10.0.0.1:50061", "dns:///localhost:50062"])
    assert found["10.0.0.1:50061"] == ["10.0.0.1:50061"]
    assert "127.0.0.1:50062" in found["dns:///localhost:50062"]


async def test_a_name_that_nobody_has_is_no_worker_and_no_error() -> None:
    assert await resolve_addresses(["dns:///no-such-name.invalid:1"]) == {"dns:///no-such-name.invalid:1": []}


async def test_workers_that_a_name_gains_are_used_and_those_it_loses_are_let_go() -> None:
    """A headless Service: a pod is added, and later the first one goes away."""
    workers: list[RunningWorker] = [fake_lm(DelayedLmEngine(2))() for _ in range(2)]
    for worker in workers:
        await worker.listening()
    named = [workers[0].address]

    async def resolve(addresses: Sequence[str]) -> dict[str, list[str]]:
        return {address: list(named) for address in addresses}

    pool = WorkerPool(
        Kind.LM,
        ["dns:///lm:1"],
        lambda target, on_change: LmLink(target, LinkLimits(5.0, 5.0), on_change),
        resolve_every_s=0.02,
        queue_limit=10,
        resolve=resolve,
    )
    running = asyncio.create_task(pool.run())

    async def connected(targets: set[str]) -> None:
        async with asyncio.timeout(10):
            while {link.target for link in pool.links if link.connected} != targets:
                await asyncio.sleep(0.01)

    await connected({workers[0].address})
    named.append(workers[1].address)
    await connected({worker.address for worker in workers})
    # Out of DNS but still answering: a pod that drains. Its sessions must go on, so the link stays.
    named.remove(workers[0].address)
    await asyncio.sleep(0.1)
    await connected({worker.address for worker in workers})
    await workers[0].stop()
    await connected({workers[1].address})
    async with asyncio.timeout(10):
        while len(pool.links) > 1:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await workers[1].stop()
