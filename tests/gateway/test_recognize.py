"""Recognize through a real port: whole recordings in every file format, and turns."""

from __future__ import annotations

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.gateway.audio import Encoding
from tests.fakes.delayed import DAY, GO, TO, YES
from tests.gateway.audio.signals import encode, speech_like
from tests.real_stack import as_heard
from tests.speech import as_s, reason, saying, seconds
from tests.stack import FakeStack

SCRIPT = saying(40, {2: [YES], 10: [TO, DAY], 30: [GO]})
WORDS = [("yes", 0.16, 0.4), ("today", 0.8, 1.2), ("go", 2.4, 2.56)]


def words(answer: pb.RecognizeResponse) -> list[tuple[str, float, float]]:
    return [(word.text, as_s(word.start_offset), as_s(word.end_offset)) for word in answer.words]


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.FLAC], ids=lambda encoding: encoding.name)
@pytest.mark.parametrize("named", [True, False])
async def test_files_without_loss_give_the_very_words(encoding: Encoding, named: bool) -> None:
    audio = encode(as_heard(SCRIPT), 24_000, 1, encoding)
    audio_format = pb.AudioFormat(encoding=pb.AudioEncoding.Value(f"AUDIO_ENCODING_{encoding.name}") if named else 0)
    async with FakeStack() as stack:
        request = pb.RecognizeRequest(config=pb.RecognitionConfig(audio_format=audio_format), audio=audio)
        answer = await stack.stub.Recognize(request)
        await stack.all_slots_free()
    assert words(answer) == WORDS
    assert answer.transcript == "yes today go"
    assert as_s(answer.audio_duration) == 3.2
    assert answer.model == "fake"


@pytest.mark.parametrize("encoding", [Encoding.MP3, Encoding.OGG_OPUS], ids=lambda encoding: encoding.name)
async def test_lossy_files_are_decoded_whole(encoding: Encoding) -> None:
    audio = encode(speech_like(2.0, 48_000, seed=1), 48_000, 2, encoding)
    async with FakeStack() as stack:
        answer = await stack.stub.Recognize(pb.RecognizeRequest(audio=audio))
    assert as_s(answer.audio_duration) == pytest.approx(2.0, abs=0.06)


async def test_turns_are_listed() -> None:
    turns = pb.TurnOptions(enabled=True, min_silence=seconds(0.5))
    audio_format = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=24_000)
    async with FakeStack() as stack:
        request = pb.RecognizeRequest(config=pb.RecognitionConfig(audio_format=audio_format, turns=turns), audio=SCRIPT)
        answer = await stack.stub.Recognize(request)
    told = [(turn.event, turn.turn_index) for turn in answer.turns]
    start, end = pb.TURN_EVENT_START, pb.TURN_EVENT_END
    assert told[0] == (start, 0)
    assert told[-1][0] == end
    assert [event for event, _ in told] == [start, end] * (len(told) // 2)


@pytest.mark.parametrize(
    "config",
    [
        pb.RecognitionConfig(idle_timeout=seconds(5)),
        pb.RecognitionConfig(resume=pb.Resume()),
        pb.RecognitionConfig(results=pb.ResultOptions(interim_results=True)),
        pb.RecognitionConfig(turns=pb.TurnOptions(flush_on_end=True)),
    ],
    ids=["idle_timeout", "resume", "interim_results", "flush_on_end"],
)
async def test_options_that_mean_nothing_for_a_recording_are_refused(config: pb.RecognitionConfig) -> None:
    async with FakeStack() as stack:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stack.stub.Recognize(pb.RecognizeRequest(config=config, audio=SCRIPT))
        assert reason(raised.value) == "BAD_CONFIG"
        await stack.all_slots_free()


@pytest.mark.parametrize("audio", [b"", b"RIFF....WAVE", b"just a text", bytes(5000)])
async def test_what_is_no_recording_is_malformed_audio(audio: bytes) -> None:
    async with FakeStack() as stack:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stack.stub.Recognize(pb.RecognizeRequest(audio=audio))
        assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_AUDIO")
        await stack.all_slots_free()
