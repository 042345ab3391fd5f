"""New sessions while workers are cut off, lost or busy: found by `make chaos`, each told by its test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from benchmarks.tcp_proxy import TcpProxy
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.gateway.config import GatewayConfig
from services.gateway.serve import GatewayProcess
from tests.fakes.delayed import YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.speech import Conversation, chunks, config, saying, transcribe, words
from tests.stack import FakeModel, FakeStack, Stack, fake_codec, fake_lm

REQUESTS = [config(), *chunks(saying(9, {2: [YES]}))]
HEARD = [("yes", 0.16, 0.4)]


@asynccontextmanager
async def behind_proxies(stack: Stack) -> AsyncIterator[tuple[list[TcpProxy], speech_pb2_grpc.SpeechServiceStub]]:
    """Run one more gateway over a stack's workers, its connections to the LM workers through proxies."""
    proxies = [TcpProxy(lambda address=running.address: address) for running in stack.lms]
    for proxy in proxies:
        await proxy.start()
    gateway = GatewayProcess(
        GatewayConfig(
            listen="127.0.0.1:0",
            codecs=tuple(running.address for running in stack.codecs),
            lms=tuple(proxy.address for proxy in proxies),
            admission_wait_s=60.0,
            # Not before this test is over.
            heartbeat_timeout_s=3600.0,
            drain_s=0.2,
        )
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(gateway.run(stopping))
    while not all(link.connected for link in gateway.workers._lms.links) or not gateway.workers.models():
        await asyncio.sleep(0.01)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.server.port}") as channel:
        yield proxies, speech_pb2_grpc.SpeechServiceStub(channel)
    for proxy in proxies:
        await proxy.stop()
    stopping.set()
    await running


async def test_a_worker_that_was_cut_off_keeps_no_new_session_waiting() -> None:
    """Until its heartbeat timed out it was the least loaded one, and who asked it waited in vain."""
    lms = [fake_lm(DelayedLmEngine(8)) for _ in range(2)]
    async with Stack([fake_codec(FakeCodecEngine(8))], lms) as stack, behind_proxies(stack) as (proxies, stub):
        proxies[0].partition()
        heard = await asyncio.gather(*(transcribe(stub, REQUESTS) for _ in range(4)))
    assert [words(responses) for responses in heard] == [HEARD] * 4


async def test_a_session_waits_for_the_only_worker_of_its_model_to_come_back() -> None:
    """It was refused at once, however soon the worker was back."""
    async with FakeStack(admission_wait_s=60.0) as stack:
        address = stack.lms[0].address
        await stack.lms[0].stop()
        while stack.gateway.workers.models():
            await asyncio.sleep(0.01)
        early = asyncio.create_task(transcribe(stack.stub, REQUESTS))
        while not stack.gateway.workers._lms._waiting:
            await asyncio.sleep(0.005)
        engine = DelayedLmEngine(4)
        await stack.start_lm(engine, FakeModel().facts(engine), address).listening()
        assert words(await early) == HEARD


async def test_sessions_open_side_by_side_on_a_busy_worker() -> None:
    """One waited for the worker's answer to the other, and those at the end of the line were told of no capacity."""
    async with FakeStack(slots=4) as stack:
        stack.lm_engine.hang()
        calls = [Conversation(stack.stub) for _ in range(4)]
        await asyncio.gather(*(call.send(config()) for call in calls))
        while stack.slots_free[1] != [0]:
            await asyncio.sleep(0.005)
        stack.lm_engine.resume()
        for call in calls:
            await call.until("session_started")
            await call.finish()
