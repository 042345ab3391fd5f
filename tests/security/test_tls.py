"""The public port with TLS."""

from __future__ import annotations

import asyncio
import ssl

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.errors import ConfigError
from tests.security.certificates import DAY, Authority, serial_of
from tests.security.secure_stack import AUDIO, WORDS, SecureStack, caller, trusting
from tests.speech import Conversation, chunks, config, transcribe, words


async def shown_serial(address: str) -> int:
    """Make a TLS connection; returns which certificate the port shows."""
    host, _, port = address.rpartition(":")
    return serial_of(await asyncio.to_thread(ssl.get_server_certificate, (host, int(port))))


async def test_a_caller_in_plain_text_is_not_served(authority: Authority) -> None:
    async with SecureStack(public=authority.issue("public")) as stack:
        # The stack's own stub has no credentials.
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config(), *chunks(AUDIO)])
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        await stack.all_slots_free()


async def test_a_caller_needs_no_certificate_but_trusts_only_ours(authority: Authority, stranger: Authority) -> None:
    stack = SecureStack(public=authority.issue("public"))
    async with stack:
        async with caller(stack.address, trusting(authority.ca_file)) as stub:
            assert words(await transcribe(stub, [config(), *chunks(AUDIO)])) == WORDS
        async with caller(stack.address, trusting(stranger.ca_file)) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match="CERTIFICATE_VERIFY_FAILED"):
                await stub.ListModels(pb.ListModelsRequest())


async def test_an_old_version_of_tls_is_refused(authority: Authority) -> None:
    async with SecureStack(public=authority.issue("public")) as stack:
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        host, _, port = stack.address.rpartition(":")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=context)


async def test_a_new_certificate_is_used_by_new_connections_while_an_old_session_goes_on(authority: Authority) -> None:
    files = authority.issue("public")
    stack = SecureStack(public=files)
    async with stack, caller(stack.address, trusting(authority.ca_file)) as stub:
        first = serial_of(files.cert.read_bytes())
        assert await shown_serial(stack.address) == first
        old = Conversation(stub)
        await old.send(config())
        await old.until("session_started")
        authority.issue("public")
        second = serial_of(files.cert.read_bytes())
        assert second != first
        assert await shown_serial(stack.address) == second
        async with caller(stack.address, trusting(authority.ca_file)) as another:
            assert words(await transcribe(another, [config(), *chunks(AUDIO)])) == WORDS
        await old.send(*chunks(AUDIO))
        assert words(await old.finish()) == WORDS


@pytest.mark.parametrize("mistake", ["no PEM", "gone", "another key", "expired"])
async def test_a_broken_new_certificate_leaves_the_old_one_in_use(
    authority: Authority, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = authority.issue("public")
    async with SecureStack(public=files) as stack:
        first = serial_of(files.cert.read_bytes())
        assert await shown_serial(stack.address) == first
        match mistake:
            case "no PEM":
                files.cert.write_text("certificate of the month")
            case "gone":
                files.cert.unlink()
            case "another key":
                files.key.write_bytes(authority.issue("other").key.read_bytes())
            case "expired":
                authority.issue("public", ends_in=-DAY)
        for _ in range(3):
            assert await shown_serial(stack.address) == first
        # Said once, not at every connection.
        assert capsys.readouterr().out.count("certificate not read again") == 1
        authority.issue("public")
        assert await shown_serial(stack.address) == serial_of(files.cert.read_bytes())


async def test_a_gateway_does_not_start_on_a_bad_certificate(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="expired"):
        async with SecureStack(public=authority.issue("public", ends_in=-DAY)):
            pytest.fail("it started")
