"""The ports of the workers with mTLS: each refusal, and each side's mistake, through real ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dsm_stt.codec.v1 import codec_pb2_grpc
from services.common.errors import ConfigError
from services.common.tls import CertificateFiles
from services.gateway.config import GatewayConfig
from services.gateway.upstream.workers import Workers
from tests.fakes.engines import FakeCodecEngine
from tests.security.certificates import DAY, Authority
from tests.security.secure_stack import (
    AUDIO,
    WORDS,
    SecureStack,
    caller,
    channel_to,
    mutual,
    mutual_settings,
    trusting,
    until_end,
)
from tests.speech import Conversation, chunks, config, transcribe, words
from tests.stack import RunningWorker, codec_worker


@asynccontextmanager
async def worker_with(files: CertificateFiles) -> AsyncIterator[RunningWorker]:
    running = codec_worker(FakeCodecEngine(2), mutual(files))
    await running.listening()
    try:
        yield running
    finally:
        await running.stop()


async def refusal(address: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.AioRpcError:
    """Call a worker; returns the error, health checks get it too."""
    async with channel_to(address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await until_end(codec_pb2_grpc.CodecServiceStub(channel).Encode())
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    return raised.value


async def test_a_session_with_tls_outside_and_mtls_inside_has_the_same_words(authority: Authority) -> None:
    public, gateway, workers = (authority.issue(name) for name in ("public", "gateway", "worker"))
    stack = SecureStack(public=public, gateway=gateway, workers=workers)
    async with stack, caller(stack.address, trusting(authority.ca_file)) as stub:
        assert words(await transcribe(stub, [config(), *chunks(AUDIO)])) == WORDS


async def test_a_worker_refuses_a_caller_without_a_certificate(authority: Authority) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        await refusal(worker.address, trusting(authority.ca_file))


async def test_a_worker_refuses_a_caller_in_plain_text(authority: Authority) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        await refusal(worker.address, None)


async def test_a_worker_refuses_a_certificate_of_another_ca(authority: Authority, stranger: Authority) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        await refusal(worker.address, trusting(authority.ca_file, stranger.issue("gateway")))


async def test_a_worker_refuses_an_expired_certificate(authority: Authority) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        await refusal(worker.address, trusting(authority.ca_file, authority.issue("gateway", ends_in=-DAY)))


async def test_a_worker_refuses_a_certificate_that_is_not_valid_yet(authority: Authority) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        await refusal(worker.address, trusting(authority.ca_file, authority.issue("gateway", begins_in=DAY)))


async def test_a_caller_with_a_good_certificate_is_answered(authority: Authority) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        credentials = trusting(authority.ca_file, authority.issue("gateway"))
        async with channel_to(worker.address, credentials) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())


async def unreachable(worker: RunningWorker, capsys: pytest.CaptureFixture[str], **settings: object) -> str:
    """Let a gateway try to reach a worker; returns what it says of the first try."""
    gateway = GatewayConfig(codecs=(worker.address,), lms=(worker.address,), **settings)  # type: ignore[arg-type]
    workers = Workers(gateway)
    async with workers.running():
        logged = ""
        while "worker link" not in logged:
            await asyncio.sleep(0.01)
            logged += capsys.readouterr().out
    assert not any(link.connected for link in workers._codecs.links)
    return next(line for line in logged.splitlines() if "worker link" in line)


async def test_a_gateway_refuses_a_worker_of_another_ca(
    authority: Authority, stranger: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    async with worker_with(stranger.issue("worker")) as worker:
        said = await unreachable(worker, capsys, **mutual_settings(authority.issue("gateway")))
    assert "CERTIFICATE_VERIFY_FAILED" in said


async def test_a_gateway_refuses_a_worker_whose_certificate_has_another_name(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    async with worker_with(authority.issue("worker", host="codec.example")) as worker:
        said = await unreachable(worker, capsys, **mutual_settings(authority.issue("gateway")))
    assert "127.0.0.1" in said


async def test_a_gateway_refuses_a_worker_in_plain_text(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = codec_worker(FakeCodecEngine(2))
    await worker.listening()
    assert "UNAVAILABLE" in await unreachable(worker, capsys, **mutual_settings(authority.issue("gateway")))
    await worker.stop()


async def test_a_gateway_without_certificate_reaches_no_worker_that_wants_one(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    async with worker_with(authority.issue("worker")) as worker:
        assert "UNAVAILABLE" in await unreachable(worker, capsys)


async def test_with_a_server_name_workers_are_known_by_name_and_not_by_address(authority: Authority) -> None:
    workers = authority.issue("worker", host="workers.example")
    stack = SecureStack(gateway=authority.issue("gateway"), workers=workers, mtls_server_name="workers.example")
    async with stack:
        assert words(await transcribe(stack.stub, [config(), *chunks(AUDIO)])) == WORDS


async def test_a_gateway_does_not_start_on_a_bad_certificate(authority: Authority) -> None:
    expired = authority.issue("gateway", ends_in=-DAY)
    with pytest.raises(ConfigError, match="expired"):
        Workers(GatewayConfig(**mutual_settings(expired)))  # type: ignore[arg-type]


async def test_workers_take_new_certificates_and_a_new_ca_while_a_session_goes_on(
    authority: Authority, stranger: Authority
) -> None:
    gateway, workers = authority.issue("gateway"), authority.issue("worker")
    async with SecureStack(gateway=gateway, workers=workers) as stack:
        old = Conversation(stack.stub)
        await old.send(config())
        await old.until("session_started")
        # Everything changes hands: whoever connects from now on must be of the other CA.
        for ours, theirs in ((gateway, stranger.issue("gateway")), (workers, stranger.issue("worker"))):
            for name in ("cert", "key", "ca"):
                getattr(ours, name).write_bytes(getattr(theirs, name).read_bytes())
        worker = stack.codecs[0].address
        await refusal(worker, trusting(stranger.ca_file))
        async with channel_to(worker, trusting(stranger.ca_file, theirs)) as channel:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        await old.send(*chunks(AUDIO))
        assert words(await old.finish()) == WORDS
        # A gateway that starts now works with them, too.
        again = Workers(stack.gateway._config)
        async with again.running():
            while not again.models():
                await asyncio.sleep(0.005)
