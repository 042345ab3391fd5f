"""API keys and quotas through a real port: what each caller gets, and that no slot and no secret stays behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from structlog.testing import capture_logs

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.cli.final_status import FinalStatus
from tests.fakes.delayed import NO, YES
from tests.gateway.access.keyring import NO_REFILL, Keyed, Keyring, with_key
from tests.speech import Conversation, Request, chunks, config, detail, reason, saying, seconds, words
from tests.stack import FakeModel, FakeStack

# 2 s, of which 1 s would not be enough to hear both words.
AUDIO = saying(25, {2: [YES], 14: [NO]})


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys.json")


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as captured:
        yield captured


def recording(audio: bytes = AUDIO, **fields: Any) -> pb.RecognizeRequest:
    return pb.RecognizeRequest(config=config(**fields).config, audio=audio)


async def send_all(stub: Any, *requests: Request) -> list[Any]:
    """Send requests whether or not the service still wants them; an error is the service's own."""

    async def send() -> AsyncIterator[Request]:
        for request in requests:
            yield request

    call = stub.StreamingRecognize(send())
    status = FinalStatus(call)
    try:
        return [response async for response in call]
    except grpc.aio.AioRpcError as error:
        raise await status.of(error) from None


async def stream(stub: Any, **fields: Any) -> list[Any]:
    return await send_all(stub, config(**fields), *chunks(AUDIO))


async def recognize(stub: Any, **fields: Any) -> pb.RecognizeResponse:
    return await stub.Recognize(recording(**fields))


async def list_models(stub: Any) -> pb.ListModelsResponse:
    return await stub.ListModels(pb.ListModelsRequest())


every_rpc = pytest.mark.parametrize("call", [stream, recognize, list_models])


async def refused(awaitable: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await awaitable
    return raised.value


async def until_it_may(call: Callable[[], Awaitable[Any]], refusal: str) -> None:
    """Repeat a call until it is no more refused for this reason."""
    async with asyncio.timeout(20):
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError as error:
                if reason(error) != refusal:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def assert_over_quota(error: grpc.aio.AioRpcError, key_id: str, says: str) -> None:
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(error) == "QUOTA_EXCEEDED"
    (violation,) = detail(error, error_details_pb2.QuotaFailure).violations
    assert violation.subject == f"api_key:{key_id}"
    assert says in violation.description
    assert says in (error.details() or "")


@every_rpc
async def test_a_good_key_may_call(ring: Keyring, call: Any) -> None:
    key = ring.add("acme")
    async with FakeStack(api_keys_file=ring.path) as stack:
        await call(with_key(stack.stub, key))
        await call(Keyed(stack.stub, ("authorization", f"Bearer {key}")))
        await stack.all_slots_free()


@every_rpc
async def test_without_a_key_or_with_a_wrong_revoked_or_expired_one_nobody_may(ring: Keyring, call: Any) -> None:
    wrong = ring.add("gone")
    ring.remove("gone")
    revoked = ring.add("revoked", revoked=True)
    expired = ring.add("expired", expires=datetime(2020, 1, 1, tzinfo=UTC))
    async with FakeStack(api_keys_file=ring.path) as stack:
        for metadata in (
            (),
            (("x-api-key", wrong),),
            (("x-api-key", "short"),),
            (("x-api-key", revoked),),
            (("authorization", f"Bearer {expired}"),),
        ):
            error = await refused(call(Keyed(stack.stub, *metadata)))
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            assert reason(error) == "API_KEY_INVALID"
        assert stack.lm_engine.opened == []


async def test_without_a_keys_file_no_key_is_looked_at() -> None:
    async with FakeStack() as stack:
        assert [word for word, _, _ in words(await stream(with_key(stack.stub, "any")))] == ["yes", "no"]


@pytest.mark.parametrize("call", [stream, recognize])
@pytest.mark.parametrize("asked_for", ["", "fake", "unheard-of"])
async def test_a_model_that_is_not_the_keys_is_refused_before_a_slot_is_taken(
    ring: Keyring, call: Any, asked_for: str
) -> None:
    key = ring.add("acme", models=("other", "another"))
    async with FakeStack(api_keys_file=ring.path) as stack:
        error = await refused(call(with_key(stack.stub, key), model=asked_for))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reason(error) == "API_KEY_NOT_ALLOWED"
        assert "other, another" in (error.details() or "")
        assert stack.lm_engine.opened == []


async def test_a_key_lists_its_own_models_only(ring: Keyring) -> None:
    other, fake = ring.add("other", models=("other",)), ring.add("fake", models=("fake",))
    async with FakeStack(api_keys_file=ring.path, model=FakeModel(name="fake")) as stack:
        assert not (await list_models(with_key(stack.stub, other))).models
        assert [model.name for model in (await list_models(with_key(stack.stub, fake))).models] == ["fake"]


async def test_more_streams_than_allowed_are_refused_until_one_ends(ring: Keyring) -> None:
    acme, other = ring.add("acme", max_streams=1), ring.add("other", max_streams=1)
    async with FakeStack(api_keys_file=ring.path) as stack:
        stub = with_key(stack.stub, acme)
        holder = Conversation(stub)
        await holder.send(config())
        await holder.until("session_started")
        assert_over_quota(await refused(stream(stub)), "acme", "wanted at most 1 stream at once")
        assert_over_quota(await refused(recognize(stub)), "acme", "wanted at most 1 stream at once")
        await list_models(stub)
        await stream(with_key(stack.stub, other))
        await holder.finish()
        await stream(stub)
        await recognize(stub)
        await stack.all_slots_free()


async def test_a_stream_that_is_cancelled_or_refused_counts_no_more(ring: Keyring) -> None:
    stub_key = ring.add("acme", max_streams=1)
    async with FakeStack(api_keys_file=ring.path) as stack:
        stub = with_key(stack.stub, stub_key)
        assert reason(await refused(stream(stub, language_codes=["tlh"]))) == "BAD_CONFIG"
        assert reason(await refused(recognize(stub, language_codes=["tlh"]))) == "BAD_CONFIG"
        holder = Conversation(stub)
        await holder.send(config())
        await holder.until("session_started")
        holder.call.cancel()
        # The slots are given back before the stream is.
        await stack.all_slots_free()
        await until_it_may(lambda: stream(stub), "QUOTA_EXCEEDED")
        await stack.all_slots_free()


async def test_audio_beyond_the_rate_ends_a_stream_after_the_words_so_far(ring: Keyring) -> None:
    key = ring.add("acme", audio_s_per_minute=NO_REFILL, audio_burst_s=2.0)
    async with FakeStack(api_keys_file=ring.path) as stack:
        call = Conversation(with_key(stack.stub, key))
        await call.send(config(), *chunks(AUDIO))
        await call.until("result")
        await call.until("result")
        await call.send(*chunks(saying(1)))
        error = await refused(call.until("session_ended"))
        assert_over_quota(error, "acme", "s of audio a minute, got more")
        assert [word for word, _, _ in words(call.responses)] == ["yes", "no"]
        await stack.all_slots_free()


async def test_audio_is_counted_over_all_streams_of_a_key_and_of_no_other(ring: Keyring) -> None:
    limits = {"audio_s_per_minute": NO_REFILL, "audio_burst_s": 5.0}
    acme, other = ring.add("acme", **limits), ring.add("other", **limits)
    async with FakeStack(api_keys_file=ring.path) as stack:
        await stream(with_key(stack.stub, acme))
        await recognize(with_key(stack.stub, acme))
        assert_over_quota(await refused(stream(with_key(stack.stub, acme))), "acme", "s of audio a minute")
        await stream(with_key(stack.stub, other))
        await stack.all_slots_free()


async def test_silence_counts_as_audio(ring: Keyring) -> None:
    key = ring.add("acme", audio_s_per_minute=NO_REFILL, audio_burst_s=4.0)
    async with FakeStack(api_keys_file=ring.path) as stack:
        stub = with_key(stack.stub, key)
        silence = Request(silence=pb.Silence(duration=seconds(3)))
        error = await refused(send_all(stub, config(), silence, *chunks(AUDIO)))
        assert_over_quota(error, "acme", "s of audio a minute")
        await stack.all_slots_free()


async def test_a_recording_longer_than_the_burst_is_refused(ring: Keyring) -> None:
    key = ring.add("acme", audio_s_per_minute=NO_REFILL, audio_burst_s=2.0)
    async with FakeStack(api_keys_file=ring.path) as stack:
        stub = with_key(stack.stub, key)
        assert_over_quota(await refused(stub.Recognize(recording(AUDIO * 2))), "acme", "s of audio a minute")
        await stack.all_slots_free()


@pytest.mark.parametrize("message", ["audio", "keep_alive"])
async def test_a_key_revoked_meanwhile_ends_its_stream_at_the_next_message(ring: Keyring, message: str) -> None:
    key = ring.add("acme")
    async with FakeStack(api_keys_file=ring.path) as stack:
        call = Conversation(with_key(stack.stub, key))
        await call.send(config(), *chunks(AUDIO))
        await call.until("result")
        await call.until("result")
        ring.change("acme", revoked=True)
        stack.gateway.api_keys.refresh()
        request = {
            "audio": Request(audio=b"\0\0"),
            "keep_alive": Request(keep_alive=pb.KeepAlive()),
        }[message]
        await call.send(request)
        error = await refused(call.until("session_ended"))
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAUTHENTICATED, "API_KEY_INVALID")
        assert [word for word, _, _ in words(call.responses)] == ["yes", "no"]
        await stack.all_slots_free()


async def test_a_gateway_follows_its_keys_file_by_itself(ring: Keyring) -> None:
    async with FakeStack(api_keys_file=ring.path) as stack:
        stub = with_key(stack.stub, ring.add("new"))
        await until_it_may(lambda: list_models(stub), "API_KEY_INVALID")


async def test_a_broken_file_keeps_the_old_keys(ring: Keyring, logs: list[Any]) -> None:
    key = ring.add("acme")
    async with FakeStack(api_keys_file=ring.path) as stack:
        ring.path.write_text("{")
        stack.gateway.api_keys.refresh()
        await stream(with_key(stack.stub, key))
    assert [log["event"] for log in logs if log["log_level"] == "error"] == [
        "API keys not read again, the old ones stay"
    ]


async def test_the_log_names_keys_by_their_ids_and_holds_no_secret(ring: Keyring, logs: list[Any]) -> None:
    acme = ring.add("acme", audio_s_per_minute=NO_REFILL, audio_burst_s=2.0)
    revoked = ring.add("old", revoked=True)
    wrong = ring.add("gone")
    ring.remove("gone")
    messages = []
    async with FakeStack(api_keys_file=ring.path) as stack:
        for metadata in (
            ("x-api-key", acme),
            ("x-api-key", acme),
            ("authorization", f"Bearer {acme}"),
            ("x-api-key", revoked),
            ("authorization", f"Bearer {wrong}"),
        ):
            try:
                await stream(Keyed(stack.stub, metadata))
            except grpc.aio.AioRpcError as error:
                messages += [error.details(), str(error.trailing_metadata())]
        ring.path.write_text(f'{{"keys": [{{"id": "{wrong}", "salt": "{wrong}"}}]}}')
        stack.gateway.api_keys.refresh()
    calls = [log for log in logs if log["event"] == "call" and log["method"].endswith("StreamingRecognize")]
    assert [(log.get("key"), log.get("reason", "")) for log in calls] == [
        ("acme", ""),
        ("acme", "QUOTA_EXCEEDED"),
        ("acme", "QUOTA_EXCEEDED"),
        (None, "API_KEY_INVALID"),
        (None, "API_KEY_INVALID"),
    ]
    everything = repr(logs) + repr(messages)
    for secret in (acme, revoked, wrong, *ring.secrets()):
        assert secret not in everything
