"""What probes see of a gateway."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.grpc_server import LIVENESS
from services.gateway.config import GatewayConfig
from services.gateway.serve import GatewayProcess
from tests.stack import FakeStack
from tests.worker_calls import TIMEOUT_S, until

SERVICE = "dsm_stt.speech.v1.SpeechService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
# Nobody listens there.
NOWHERE = ("127.0.0.1:1",)


async def check(address: str) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return {
            service: (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status
            for service in ("", SERVICE, LIVENESS)
        }


async def test_a_gateway_without_workers_takes_no_calls_and_needs_no_restart() -> None:
    # A restart brings no worker back; restarting gateways would cut off whoever waits for one.
    gateway = GatewayProcess(GatewayConfig(listen="127.0.0.1:0", codecs=NOWHERE, lms=NOWHERE))
    stopping = asyncio.Event()
    running = asyncio.create_task(gateway.run(stopping))
    try:
        await until(lambda: gateway.server.port)
        assert await check(f"127.0.0.1:{gateway.server.port}") == {
            "": NOT_SERVING,
            SERVICE: NOT_SERVING,
            LIVENESS: SERVING,
        }
    finally:
        stopping.set()
        assert await running == 0


async def test_a_gateway_with_workers_serves() -> None:
    async with FakeStack() as stack, asyncio.timeout(TIMEOUT_S):
        while (seen := await check(stack.address))[""] != SERVING:
            assert seen[LIVENESS] == SERVING
        assert seen == {"": SERVING, SERVICE: SERVING, LIVENESS: SERVING}
