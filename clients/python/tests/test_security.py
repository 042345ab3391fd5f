"""TLS and API keys, right and wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Connect
from saying import AUDIO, FORMAT, WORDS, config, gather, streamed, words

from dsm_stt_client import NO_RETRIES, ApiKeyInvalid, ApiKeyNotAllowed, Client, RetryPolicy, Tls, Unavailable
from tests.gateway.access.keyring import Keyring
from tests.security.certificates import Authority
from tests.security.secure_stack import SecureStack


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys.json")


async def test_a_stream_goes_through_tls_with_a_key(connect: Connect, authority: Authority, ring: Keyring) -> None:
    key = ring.add("acme")
    async with SecureStack(public=authority.issue("public"), api_keys_file=ring.path) as stack:
        async with connect(stack.address, tls=Tls(ca_file=authority.ca_file), api_key=key) as client:
            async with client.stream(config()) as stream:
                stream.send_from(streamed([AUDIO]))
                assert words(await gather(stream)) == WORDS
            assert (await client.transcribe(AUDIO, audio_format=FORMAT)).text == "yes today stop go"


async def test_a_certificate_may_be_for_another_name_than_the_address(connect: Connect, authority: Authority) -> None:
    async with SecureStack(public=authority.issue("public", host="speech.internal")) as stack:
        tls = Tls(ca_file=authority.ca_file, server_name="speech.internal")
        async with connect(stack.address, tls=tls) as client:
            assert await client.list_models()
        async with connect(stack.address, tls=Tls(ca_file=authority.ca_file), retry=NO_RETRIES) as client:
            with pytest.raises(Unavailable):
                await client.list_models()


@pytest.mark.parametrize("trust", ["the system's CAs", "another CA"])
async def test_a_service_that_is_not_trusted_is_asked_once(
    connect: Connect, authority: Authority, tmp_path: Path, trust: str
) -> None:
    stranger = Authority(tmp_path / "theirs", "another CA")
    tls: bool | Tls = True if trust == "the system's CAs" else Tls(ca_file=stranger.ca_file)
    async with SecureStack(public=authority.issue("public")) as stack:
        # With waits like these, another attempt would run into the time limit of the test.
        policy = RetryPolicy(first_delay_s=600.0, max_delay_s=600.0, budget_s=6000.0, jitter=0.0)
        async with connect(stack.address, tls=tls, retry=policy) as client:
            with pytest.raises(Unavailable, match="the service's certificate is not trusted"):
                await client.list_models()
            with pytest.raises(Unavailable, match="the service's certificate is not trusted"):
                await client.stream(config()).__aenter__()


async def test_a_wrong_key_and_one_that_is_for_other_models_are_told_apart(connect: Connect, ring: Keyring) -> None:
    narrow = ring.add("narrow", models=("another",))
    async with SecureStack(api_keys_file=ring.path) as stack:
        for key, kind in ((None, ApiKeyInvalid), ("dsm_wrong", ApiKeyInvalid), (narrow, ApiKeyNotAllowed)):
            async with connect(stack.address, api_key=key) as client:
                with pytest.raises(kind):
                    await client.stream(config()).__aenter__()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"api_key": "dsm_x\n"}, ValueError, "api_key: wanted printable ASCII"),
        ({"tls": Tls(ca_file="/nothing/there.pem")}, FileNotFoundError, "there.pem"),
        ({"tls": Tls(ca_file=__file__)}, ValueError, "wanted certificates in PEM, found none"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Client(**options)


def test_a_key_is_not_shown(ring: Keyring) -> None:
    client = Client(api_key="dsm_secret")
    assert "dsm_secret" not in repr(vars(client))
