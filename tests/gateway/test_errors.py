"""Every row of the error table, through a real port: code, reason, details, and no slot left taken."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common import errors, grpc_status
from tests.fakes.delayed import YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.speech import (
    Conversation,
    Request,
    chunks,
    config,
    detail,
    flush,
    reason,
    saying,
    seconds,
    transcribe,
    words,
)
from tests.stack import FakeModel, FakeStack, Stack, fake_codec, fake_lm

LINEAR16 = pb.AUDIO_ENCODING_LINEAR16


def audio_format(**fields: Any) -> pb.AudioFormat:
    return pb.AudioFormat(**{"encoding": LINEAR16, "sample_rate_hertz": 24_000, **fields})


async def refused(stack: FakeStack, *requests: Request) -> grpc.aio.AioRpcError:
    """Send requests; returns the error they end with, after making sure that no slot stayed taken."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await transcribe(stack.stub, requests)
    await stack.all_slots_free()
    return raised.value


BAD_CONFIGS = {
    "audio before config": [Request(audio=b"\0\0")],
    "an empty first message": [Request()],
    "no message at all": [],
    "config again": [config(), config()],
    "an empty message later": [config(), Request()],
    "no encoding": [config(audio_format=audio_format(encoding=0))],
    "an encoding for files": [config(audio_format=audio_format(encoding=pb.AUDIO_ENCODING_MP3))],
    "an encoding from the future": [config(audio_format=audio_format(encoding=99))],
    "no rate": [config(audio_format=audio_format(sample_rate_hertz=0))],
    "a rate too low": [config(audio_format=audio_format(sample_rate_hertz=7_999))],
    "a rate too high": [config(audio_format=audio_format(sample_rate_hertz=48_001))],
    "three channels": [config(audio_format=audio_format(channels=3))],
    "a language it does not know": [config(language_codes=["en", "tlh"])],
    "an idle timeout too short": [config(idle_timeout=seconds(0.5))],
    "an idle timeout too long": [config(idle_timeout=seconds(601))],
    "vad without pause heads": [config(results=pb.ResultOptions(vad_interval=seconds(1)))],
    "a threshold out of range": [config(turns=pb.TurnOptions(end_threshold=1.5))],
    "resume backwards": [config(resume=pb.Resume(audio_offset=seconds(2), words_from=seconds(1)))],
    "too many labels": [config(labels={str(number): "" for number in range(17)})],
    "a label too long": [config(labels={"k": "v" * 257})],
    "a flush id too long": [config(), flush("f" * 129)],
    "no silence": [config(), Request(silence=pb.Silence())],
    "too much silence": [config(), Request(silence=pb.Silence(duration=seconds(61)))],
    "a bad update": [config(), Request(update=pb.Update(turns=pb.TurnOptions(end_threshold=-1)))],
    "a message too large": [config(), Request(audio=bytes(1024 * 1024 + 1))],
}


@pytest.mark.parametrize("requests", BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
async def test_bad_config(requests: list[Request]) -> None:
    async with FakeStack() as stack:
        error = await refused(stack, *requests)
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_CONFIG")
    assert re.search("wanted|leave it out|only the first", error.details() or "")


MALFORMED = {
    "half a sample": (LINEAR16, b"\0\0\0"),
    "not a number": (pb.AUDIO_ENCODING_FLOAT32, b"\0\0\xc0\x7f" * 10),
    "no Ogg": (pb.AUDIO_ENCODING_OGG_OPUS, b"RIFF" * 5000),
}


@pytest.mark.parametrize(("encoding", "audio"), MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_audio(encoding: pb.AudioEncoding.ValueType, audio: bytes) -> None:
    rate = 0 if encoding == pb.AUDIO_ENCODING_OGG_OPUS else 24_000
    async with FakeStack() as stack:
        request = config(audio_format=pb.AudioFormat(encoding=encoding, sample_rate_hertz=rate))
        error = await refused(stack, request, Request(audio=audio))
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_AUDIO")


async def test_words_before_an_error_are_delivered() -> None:
    async with FakeStack() as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(saying(20, {2: [YES]})))
        await call.until("result")
        await call.send(config())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.finish()
        assert reason(raised.value) == "BAD_CONFIG"
        assert [word for word, _, _ in words(call.responses)] == ["yes"]


async def test_unknown_model() -> None:
    async with FakeStack() as stack:
        error = await refused(stack, config(model="whisper"))
        assert (error.code(), reason(error)) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL")
        assert "wanted one of fake" in (error.details() or "")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stack.stub.Recognize(pb.RecognizeRequest(config=pb.RecognitionConfig(model="whisper")))
    assert reason(raised.value) == "UNKNOWN_MODEL"


async def test_no_capacity_says_when_to_come_back() -> None:
    async with FakeStack(slots=1, admission_wait_s=0.05) as stack:
        first = Conversation(stack.stub)
        await first.send(config())
        await first.until("session_started")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config()])
        error = raised.value
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_CAPACITY")
        delay = detail(error, error_details_pb2.RetryInfo).retry_delay
        assert 0.5 <= delay.seconds + delay.nanos / 1e9 <= 60
        await first.finish()
        # The slot is free again, and the next caller gets it.
        await transcribe(stack.stub, [config()])


async def test_a_queue_that_is_full_refuses_at_once() -> None:
    async with FakeStack(slots=1, admission_wait_s=60, admission_queue=1) as stack:
        first, second = Conversation(stack.stub), Conversation(stack.stub)
        await first.send(config())
        await first.until("session_started")
        await second.send(config())
        while not stack.gateway.workers._lms._waiting:
            await asyncio.sleep(0.005)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config()])
        assert reason(raised.value) == "NO_CAPACITY"
        await first.finish()
        await second.finish()


async def test_worker_lost_in_the_middle() -> None:
    async with FakeStack() as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(saying(4)))
        await call.until("session_started")
        stack.lms[0].process.fail(stack.lms[0].engine_failure())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.finish()
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE
    assert reason(raised.value) == "WORKER_LOST"


async def test_no_worker_left_for_a_model_that_was_served() -> None:
    async with FakeStack(admission_wait_s=0.05) as stack:
        await stack.lms[0].stop()
        while stack.gateway.workers.models():
            await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config(model="fake")])
    assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "WORKER_LOST")


async def test_draining() -> None:
    async with FakeStack(drain_s=0.3) as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(saying(4)))
        await call.until("session_started")
        stack.stopping.set()
        assert (await call.until("go_away")).go_away.time_left.nanos == 300_000_000
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config()])
        assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.until("session_ended")
        assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")


async def test_a_session_that_ends_in_time_survives_a_drain() -> None:
    async with FakeStack(drain_s=20) as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(saying(4, {1: [YES]})))
        await call.until("session_started")
        stack.stopping.set()
        await call.until("go_away")
        responses = await call.finish()
    assert [word for word, _, _ in words(responses)] == ["yes"]


async def test_idle_timeout() -> None:
    async with FakeStack() as stack:
        call = Conversation(stack.stub)
        await call.send(config(idle_timeout=seconds(1)), *chunks(saying(4)))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.until("session_ended")
        await stack.all_slots_free()
    assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.ABORTED, "IDLE_TIMEOUT")


async def test_keep_alive_holds_off_the_idle_timeout() -> None:
    async with FakeStack() as stack:
        call = Conversation(stack.stub)
        await call.send(config(idle_timeout=seconds(1)))
        for _ in range(5):
            await asyncio.sleep(0.3)
            await call.send(Request(keep_alive=pb.KeepAlive()))
        await call.finish()


async def test_a_stream_that_never_says_what_it_is_ends() -> None:
    async with FakeStack(idle_timeout_s=0.1) as stack:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await Conversation(stack.stub).until("session_started")
    assert reason(raised.value) == "BAD_CONFIG"


async def test_max_duration() -> None:
    async with FakeStack(max_duration_s=1.0) as stack:
        error = await refused(stack, config(), *chunks(saying(20)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.OUT_OF_RANGE, "MAX_DURATION")
        error = await refused(stack, config(), Request(silence=pb.Silence(duration=seconds(2))))
        assert reason(error) == "MAX_DURATION"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stack.stub.Recognize(
                pb.RecognizeRequest(config=pb.RecognitionConfig(audio_format=audio_format()), audio=saying(20))
            )
        assert reason(raised.value) == "MAX_DURATION"
        await stack.all_slots_free()


async def test_a_bug_shows_no_detail() -> None:
    async with FakeStack() as stack:
        stack.gateway.sessions._workers = None  # type: ignore[assignment]
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config()])
    assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "NoneType" not in (raised.value.details() or "")


async def test_an_engine_that_fails_ends_its_sessions_and_its_process() -> None:
    async with FakeStack() as stack:
        engine = stack.lm_engine
        engine.fail_at_step = 3
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await transcribe(stack.stub, [config(), *chunks(saying(20))])
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await stack.lms[0].task == 1
        # The close is on its way when the call ends.
        while stack.codecs[0].slots_free < 4:
            await asyncio.sleep(0.01)


async def test_every_error_carries_the_request_id_of_its_call() -> None:
    async with FakeStack() as stack:

        async def nothing() -> AsyncIterator[Request]:
            return
            yield

        call = stack.stub.StreamingRecognize(nothing(), metadata=(("x-request-id", "abc-123"),))
        metadata = dict(await call.initial_metadata())
        assert metadata["x-request-id"] == "abc-123"
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        call = stack.stub.StreamingRecognize(nothing(), metadata=(("x-request-id", "no spaces please"),))
        assert len(dict(await call.initial_metadata())["x-request-id"]) == 32
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_every_error_of_ours_has_a_status() -> None:
    leaves = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.DsmError) and not kind.__subclasses__()
    }
    missing = {
        kind for kind in leaves if kind not in grpc_status.CODE_AND_REASON and kind.__module__ == errors.__name__
    }
    assert not missing


async def test_models_side_by_side_are_chosen_by_name() -> None:
    engines = [DelayedLmEngine(4), DelayedLmEngine(2, heads=4, delay_frames=8)]
    models = [FakeModel(name="a"), FakeModel(name="b", pause_horizons_ms=(500, 1000, 2000, 3000))]
    lms = [fake_lm(engine, model) for engine, model in zip(engines, models, strict=True)]
    async with Stack([fake_codec(FakeCodecEngine(8))], lms) as stack:
        listed = await stack.stub.ListModels(pb.ListModelsRequest())
        assert [(model.name, model.slots_total, model.is_default) for model in listed.models] == [
            ("a", 4, True),
            ("b", 2, False),
        ]
        for name in ("a", "b", ""):
            responses = await transcribe(stack.stub, [config(model=name), *chunks(saying(10, {2: [YES]}))])
            assert responses[0].session_started.model == (name or "a")
            assert words(responses) == [("yes", 0.16, 0.4)]
