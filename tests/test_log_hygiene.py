"""What people say stays out of the logs: no audio, no text, no tokens, at any level, whatever happens to a session."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
import pytest
import structlog

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.framing import SAMPLE_RATE_HZ
from services.common.log import configure_logging
from services.lm.servicer import LmFacts
from services.lm.transcript import Transcript, WordEnds
from tests.fakes.delayed import BOUNDARY, DELAY_FRAMES, PADDING, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.speech import Conversation, Request, chunks, config, flush, saying, seconds, transcribe, words
from tests.stack import FakeModel, Stack, fake_codec, lm_worker

# Frames that say -321 have the code and token 65214: a number that nothing else in a log is.
CARDINALITY = 65_535
PIECES = {-321: "▁quokka", -443: "▁xylo", -512: "graph"}
SAID = {4: [-321], 12: [-443, -512], 24: [-321]}
WORDS = ["quokka", "xylograph", "quokka"]
FRAMES = 40
SECRETS = [
    *(piece.strip("▁") for piece in PIECES.values()),
    *(str(value % CARDINALITY) for value in PIECES),
    # Samples as 16 bits and as numbers.
    *(str(abs(round(value / 1000 * 32768))) for value in PIECES),
    *(f"{value / 1000}" for value in PIECES),
]


class Vocabulary:
    def decode(self, pieces: list[int]) -> str:
        return "".join(self.piece(token) for token in pieces).replace("▁", " ").strip()

    def piece(self, token: int) -> str:
        return PIECES.get(token - CARDINALITY, "")


def engine() -> DelayedLmEngine:
    made = DelayedLmEngine(4, heads=4)
    made.cardinality = made.text_cardinality = CARDINALITY
    return made


def facts(of: DelayedLmEngine) -> LmFacts:
    model = FakeModel(pause_horizons_ms=(500, 1000, 2000, 3000))
    return replace(
        model.facts(of),
        make_transcript=lambda interim, first_frame: Transcript(
            Vocabulary(),
            DELAY_FRAMES,
            WordEnds(80, 60),
            interim=interim,
            first_frame=first_frame,
            boundary_token=BOUNDARY,
            padding_token=PADDING,
        ),
    )


class TalkingStack(Stack):
    """Two LM workers, so that one can be lost."""

    def __init__(self, **gateway: Any) -> None:
        engines = [engine() for _ in range(2)]
        lms = [partial(lm_worker, made, facts(made)) for made in engines]
        super().__init__([fake_codec(FakeCodecEngine(4, cardinality=CARDINALITY))], lms, **gateway)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """Log everything as a service does; returns what reads the lines so far, once it found no secret in them."""
    lines = io.StringIO()
    with contextlib.redirect_stderr(lines):
        configure_logging("debug", "json", "test")

    def read() -> list[dict[str, Any]]:
        found = [
            (secret, line)
            # What libraries log as well.
            for line in (lines.getvalue() + caplog.text).splitlines()
            for secret in SECRETS
            if re.search(rf"(?<![0-9]){re.escape(secret)}(?![0-9])", line, re.IGNORECASE)
        ]
        assert not found
        return [json.loads(line) for line in lines.getvalue().splitlines()]

    yield read
    structlog.reset_defaults()


def calls(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "call" and "SpeechService" in line["method"]]


async def test_a_whole_session_with_all_that_it_can_be_asked_for(logged: Any) -> None:
    options = {
        "results": pb.ResultOptions(interim_results=True, vad_interval=seconds(0.08)),
        "turns": pb.TurnOptions(enabled=True),
    }
    audio = chunks(saying(FRAMES, SAID))
    async with TalkingStack() as stack:
        responses = await transcribe(
            stack.stub, [config(**options), *audio[:20], flush(), *audio[20:], flush(reset_context=True), *audio]
        )
        assert [word for word, _, _ in words(responses)] == WORDS * 2
        await stack.all_slots_free()
    lines = logged()
    (call,) = calls(lines)
    # The line tells how much, not what.
    assert (call["status"], call["words"], call["audio_s"]) == ("OK", 6, 2 * FRAMES * 0.08)
    for line in lines:
        for name, value in line.items():
            assert isinstance(value, str | int | float | bool | list | None), (name, value)


async def test_a_recording(logged: Any) -> None:
    async with TalkingStack() as stack:
        audio_format = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=SAMPLE_RATE_HZ)
        request = pb.RecognizeRequest(
            config=pb.RecognitionConfig(audio_format=audio_format), audio=saying(FRAMES, SAID)
        )
        response = await stack.stub.Recognize(request)
        assert "xylograph" in str(response)
    assert calls(logged())


async def test_a_session_whose_worker_is_lost(logged: Any) -> None:
    async with TalkingStack() as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(saying(FRAMES, SAID))[:24])
        await call.until("result")
        (used,) = [running for running in stack.lms if running.slots_free < 4]
        used.engine.fail_at_step = 0
        await call.send(*chunks(saying(FRAMES, SAID))[24:])
        responses = await call.finish()
        assert [word for word, _, _ in words(responses)] == WORDS
        assert await used.task == 1
    lines = logged()
    assert [line["kind"] for line in lines if line["event"] == "session moved"] == ["LM"]
    # Whole, with its traceback.
    (failure,) = [line for line in lines if line["event"] == "engine failed"]
    assert "EngineFailed" in failure["exception"]


class Broken(DelayedLmEngine):
    """An engine with a bug that shows in the middle of a word."""

    def step(self, slots: Any, codes: Any, /) -> Any:
        if codes.max() > 65_000:
            raise ValueError("shapes do not fit")
        return super().step(slots, codes)


async def test_a_bug_in_the_middle_of_a_word(logged: Any) -> None:
    made = Broken(4, heads=4)
    made.cardinality = made.text_cardinality = CARDINALITY
    codec = fake_codec(FakeCodecEngine(4, cardinality=CARDINALITY))
    async with Stack([codec], [partial(lm_worker, made, facts(made))], failover_wait_s=0.1) as stack:
        with pytest.raises(grpc.aio.AioRpcError):
            await transcribe(stack.stub, [config(), *chunks(saying(FRAMES, SAID))])
    lines = logged()
    (failure,) = [line for line in lines if line["event"] == "engine failed"]
    assert "shapes do not fit" in failure["exception"]
    assert [line["reason"] for line in calls(lines)] == ["WORKER_LOST"]


async def test_sessions_that_end_badly(logged: Any) -> None:
    audio = saying(FRAMES, SAID)
    ends = {
        "half a sample": ([config(), *chunks(audio), Request(audio=audio[:3])], "MALFORMED_AUDIO"),
        "config again": ([config(), *chunks(audio), config()], "BAD_CONFIG"),
        "audio first": ([Request(audio=audio[-3840 * 3 :])], "BAD_CONFIG"),
        "the wrong encoding": (
            [
                config(audio_format=pb.AudioFormat(encoding=pb.AUDIO_ENCODING_OGG_OPUS)),
                *chunks(audio),
            ],
            "MALFORMED_AUDIO",
        ),
    }
    async with TalkingStack() as stack:
        for requests, _ in ends.values():
            with pytest.raises(grpc.aio.AioRpcError):
                await transcribe(stack.stub, requests)
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(audio))
        await call.until("result")
        call.call.cancel()
        await stack.all_slots_free()
        await asyncio.sleep(0)
    lines = calls(logged())
    assert [line.get("reason") for line in lines] == [*(reason for _, reason in ends.values()), None]
    assert lines[-1]["status"] == "CANCELLED"
