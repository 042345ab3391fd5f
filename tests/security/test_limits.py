"""What one caller may take, through real ports: streams, messages, connections that do nothing; and what is hidden."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Self

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dsm_stt.codec.v1 import codec_pb2, codec_pb2_grpc
from dsm_stt.speech.v1 import speech_pb2 as pb
from services.cli.final_status import FinalStatus
from services.common.worker_serve import MAX_MESSAGE_BYTES
from services.gateway.access.api_key import Grant, new_key
from services.gateway.access.key_file import render_keys
from services.gateway.access.peers import address_of
from tests.fakes.engines import FakeCodecEngine
from tests.security.certificates import Authority
from tests.security.secure_stack import AUDIO, WORDS, SecureStack, caller, channel_to, mutual, trusting, until_end
from tests.speech import Conversation, Request, chunks, config, detail, reason, transcribe, words
from tests.stack import FakeStack, codec_worker

MIB = 1024 * 1024


async def started(stub: object, **call: object) -> Conversation:
    """Open a session and wait until it has its slots."""
    conversation = Conversation(stub, **call)
    await conversation.send(config())
    await conversation.until("session_started")
    return conversation


async def test_a_recording_too_large_for_a_message_is_refused_and_others_are_served() -> None:
    async with FakeStack() as stack:
        request = pb.RecognizeRequest(config=config().config, audio=bytes(66 * MIB))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stack.stub.Recognize(request)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in (raised.value.details() or "")
        assert words(await transcribe(stack.stub, [config(), *chunks(AUDIO)])) == WORDS


async def test_a_message_of_a_stream_too_large_to_be_read_ends_it() -> None:
    async with FakeStack() as stack:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config(), Request(audio=bytes(66 * MIB))])
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await stack.all_slots_free()


async def test_a_message_to_a_worker_too_large_is_refused() -> None:
    worker = codec_worker(FakeCodecEngine(2))
    await worker.listening()
    async with channel_to(worker.address, None, max_send_message_length=-1) as channel:
        call = codec_pb2_grpc.CodecServiceStub(channel).Encode()
        opening = codec_pb2.EncodeRequest()
        opening.opens.add(session=1, warmup_pcm=bytes(MAX_MESSAGE_BYTES))
        await call.write(opening)
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as raised:
            await until_end(call)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await worker.stop()


async def test_streams_beyond_the_limit_of_a_connection_wait_for_one_to_end() -> None:
    async with FakeStack(max_streams_per_connection=2) as stack:
        first, second = await started(stack.stub), await started(stack.stub)
        third = Conversation(stack.stub)
        opening = asyncio.create_task(third.send(config()))
        # Another connection has a limit of its own, and what it does shows that the third call had its chance.
        async with caller(stack.address, None) as stub:
            assert words(await transcribe(stub, [config(), *chunks(AUDIO)])) == WORDS
        assert len(stack.gateway.sessions._open) == 2
        await first.finish()
        await opening
        await third.until("session_started")
        for conversation in (second, third):
            await conversation.send(*chunks(AUDIO))
            assert words(await conversation.finish()) == WORDS


async def test_sessions_beyond_the_limit_of_an_address_are_refused_whatever_their_connection() -> None:
    async with FakeStack(max_streams_per_peer=2) as stack, caller(stack.address, None) as stub:
        first, second = await started(stack.stub), await started(stub)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await until_end(stack.stub.StreamingRecognize())
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason(raised.value) == "QUOTA_EXCEEDED"
        (violation,) = detail(raised.value, error_details_pb2.QuotaFailure).violations
        assert violation.subject == "peer:127.0.0.1"
        await stack.stub.ListModels(pb.ListModelsRequest())
        await first.finish()
        third = await started(stack.stub)
        await second.finish()
        await third.finish()


def test_addresses_count_together_as_one_customer_has_them() -> None:
    assert address_of("ipv4:10.1.2.3:40001") == "10.1.2.3"
    assert address_of("ipv6:%5B::ffff:10.1.2.3%5D:40001") == "10.1.2.3"
    assert address_of("ipv6:%5B2001:db8:1:2:3::7%5D:1") == address_of("ipv6:[2001:db8:1:2::9]:2") == "2001:db8:1:2::/64"
    assert address_of("ipv6:%5Bfe80::1%25eth0%5D:1") == "fe80::/64"
    assert address_of("unix:/tmp/socket") == "unix:/tmp/socket"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_connection_that_never_becomes_ready_is_closed(authority: Authority, tls: bool) -> None:
    public = authority.issue("public") if tls else None
    stack = SecureStack(public=public, handshake_timeout_s=0.2)
    async with stack, caller(stack.address, trusting(authority.ca_file) if tls else None) as stub:
        session = await started(stub)
        host, _, port = stack.address.rpartition(":")
        for first_bytes in (b"", b"PRI * HTTP/2.0\r\n", b"\x16\x03\x01"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(first_bytes)
            # The server says its part, if any, and then hangs up.
            async with asyncio.timeout(30):
                with contextlib.suppress(ConnectionError):
                    while await reader.read(4096):
                        pass
            writer.close()
        # Those who are ready are not touched by it.
        await session.send(*chunks(AUDIO))
        assert words(await session.finish()) == WORDS


async def test_an_old_connection_is_replaced_and_its_session_goes_on() -> None:
    stack = FakeStack(max_connection_age_s=0.2)
    async with stack, Relay(stack) as relay, caller(relay.address, None) as stub:
        session = await started(stub)
        async with asyncio.timeout(30):
            # New calls of the same channel come by other connections, and none of them fails.
            while relay.connections < 3:
                await stub.ListModels(pb.ListModelsRequest())
        await session.send(*chunks(AUDIO))
        assert words(await session.finish()) == WORDS


class Relay:
    """Passes bytes between callers and a gateway, and counts the connections."""

    def __init__(self, stack: FakeStack) -> None:
        self._stack = stack
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._stack.gateway.server.port)
        await asyncio.gather(_copy(reader, back_writer), _copy(back_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
    writer.close()


async def services_listed(address: str) -> list[str]:
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with channel_to(address, None) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([request]))
        status = FinalStatus(call)
        try:
            async for response in call:
                return [service.name for service in response.list_services_response.service]
        except grpc.aio.AioRpcError as error:
            # The request may still be on its way when the server ends the call.
            raise await status.of(error) from None
    raise AssertionError("no response")


async def test_reflection_is_off_unless_asked_for() -> None:
    async with FakeStack() as stack:
        for address in (stack.address, stack.codecs[0].address, stack.lms[0].address):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await services_listed(address)
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    async with FakeStack(reflection=True) as stack:
        assert "dsm_stt.speech.v1.SpeechService" in await services_listed(stack.address)


async def test_the_health_port_answers_health_checks_in_plain_text_and_nothing_else(authority: Authority) -> None:
    settings = replace(mutual(authority.issue("worker")), health_listen="127.0.0.1:0", reflection=True)
    worker = codec_worker(FakeCodecEngine(2), settings)
    await worker.listening()
    health_port = worker.process.server.health_port
    assert health_port is not None
    async with channel_to(f"127.0.0.1:{health_port.port}", None) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        while (await stub.Check(health_pb2.HealthCheckRequest())).status != serving:
            await asyncio.sleep(0.005)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await until_end(codec_pb2_grpc.CodecServiceStub(channel).Encode())
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await worker.stop()


async def test_keys_work_over_tls_and_each_refusal_says_why(
    authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    good, good_entry = new_key("good", Grant(max_streams=1))
    revoked, revoked_entry = new_key("left", Grant(revoked=True))
    wrong, _ = new_key("unknown", Grant())
    keys_file = authority.folder / "keys.json"
    keys_file.write_text(render_keys([good_entry, revoked_entry]))
    stack = SecureStack(public=authority.issue("public"), api_keys_file=keys_file)
    async with stack, caller(stack.address, trusting(authority.ca_file)) as stub:

        async def refused(metadata: list[tuple[str, str]]) -> str:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                # No request: grpc.aio reports a status that comes while it writes as INTERNAL.
                await until_end(stub.StreamingRecognize(metadata=metadata))
            assert not any(key in (raised.value.details() or "") for key in (good, revoked, wrong))
            return reason(raised.value)

        assert await refused([]) == "API_KEY_INVALID"
        assert await refused([("x-api-key", wrong)]) == "API_KEY_INVALID"
        assert await refused([("x-api-key", revoked)]) == "API_KEY_INVALID"
        session = await started(stub, metadata=[("authorization", f"Bearer {good}")])
        assert await refused([("x-api-key", good)]) == "QUOTA_EXCEEDED"
        await session.finish()
    logged = "".join(capsys.readouterr())
    assert "key=good" in logged
    assert not any(key in logged for key in (good, revoked, wrong))
    assert "PRIVATE KEY" not in logged
