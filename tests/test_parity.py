"""The service says what moshi says: text tokens, token for token, and words, through real gRPC and real engines.

The oracle drives moshi itself with the method of moshi.run_inference on the same audio. Only silence that a flush
injects is ours to define; the oracle is given the same silence.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dsm_stt.speech.v1 import speech_pb2 as pb
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES, SAMPLE_RATE_HZ
from services.gateway.injection import MARGIN_FRAMES, MOST_EXTRA_FRAMES
from services.lm.serve import lm_facts
from tests.gateway.audio.signals import speech_like
from tests.oracle import reference_codes, reference_tokens
from tests.real_stack import RealStack, as_heard, padded, pcm16
from tests.speech import Conversation, Request, as_s, chunks, config, flush, transcribe, words


async def test_one_session_alone_says_what_run_inference_says(mini_checkpoint: Checkpoint) -> None:
    audio = pcm16(speech_like(9.0, SAMPLE_RATE_HZ, seed=5))
    async with RealStack(mini_checkpoint, slots=3) as stack:
        responses = await transcribe(stack.stub, [config(), *chunks(audio, 1000)])
        (record,) = stack.lm_engine.records
    codes = reference_codes(mini_checkpoint, padded(mini_checkpoint, as_heard(audio)))
    expected = reference_tokens(mini_checkpoint, codes)
    assert np.array_equal(np.stack(record.codes), codes)
    assert record.text_tokens == expected.text_tokens.tolist()
    np.testing.assert_allclose(np.stack(record.pauses), expected.pauses, atol=2e-5)
    # The test proves something only if the model says something.
    assert len(set(record.text_tokens)) > 8
    assert words(responses) == expected_words(mini_checkpoint, expected.text_tokens.tolist(), len(as_heard(audio)))
    assert len(words(responses)) > 5


def expected_words(checkpoint: Checkpoint, tokens: list[int], audio_samples: int) -> list[tuple[str, float, float]]:
    """Read words from the oracle's tokens, and cut their times to the audio."""
    transcript = lm_facts(checkpoint).make_transcript(False)
    said = [word for token in tokens for word in transcript.push(token)] + transcript.finish()
    limit_s = audio_samples / SAMPLE_RATE_HZ
    return [
        (word.text, round(min(word.start_frame * 0.08, limit_s), 6), round(min(word.end_frame * 0.08, limit_s), 6))
        for word in said
    ]


@dataclass(frozen=True)
class Plan:
    """What one session does: talks, flushes between, and leaves in good order or not."""

    talks: list[bytes]
    # Cut off without half-close after the last talk.
    vanishes: bool
    chunk_bytes: int
    # Seconds to wait between messages, one in ten.
    pause_s: float


def make_plan(seed: int) -> Plan:
    chance = random.Random(seed)
    talks = [
        # Most of them longer than the attention context, 24 frames, and not of whole frames.
        pcm16(speech_like(chance.uniform(0.3, 4.0), SAMPLE_RATE_HZ, seed=1000 * seed + part))
        for part in range(chance.randint(1, 3))
    ]
    return Plan(talks, chance.random() < 0.2, chance.choice([700, 3840, 50_000]), chance.choice([0, 0, 0.02]))


async def run_plan(stack: RealStack, plan: Plan, seed: int) -> None:
    chance = random.Random(seed)
    await asyncio.sleep(chance.uniform(0, 0.5))
    call = Conversation(stack.stub)
    await call.send(config())
    for part, talk in enumerate(plan.talks):
        for request in chunks(talk, plan.chunk_bytes):
            await call.send(request)
            if chance.random() < 0.1:
                await asyncio.sleep(plan.pause_s)
        if part < len(plan.talks) - 1:
            await call.send(flush(str(part)))
            await call.until("flush_done", timeout_s=120)
    if plan.vanishes:
        await asyncio.sleep(chance.uniform(0, 0.3))
        call.call.cancel()
        return
    await call.finish(timeout_s=120)


def reference_of(checkpoint: Checkpoint, plan: Plan) -> tuple[NDArray[np.uint16], list[int]]:
    """Say what moshi says to the whole session, the silence of its flushes included."""
    heard = np.zeros(checkpoint.prefix_samples, np.float32)
    for talk in plan.talks[:-1]:
        heard = np.concatenate([heard, as_heard(talk)])
        heard = np.concatenate([heard, np.zeros(-len(heard) % FRAME_SAMPLES, np.float32)])
        barrier = len(heard) // FRAME_SAMPLES
        least = barrier + checkpoint.delay_frames + MARGIN_FRAMES
        longest = np.concatenate([heard, np.zeros((least - barrier + MOST_EXTRA_FRAMES) * FRAME_SAMPLES, np.float32)])
        tokens = reference_tokens(checkpoint, reference_codes(checkpoint, longest)).text_tokens.tolist()
        frames = least
        # The flush ends with the first frame, from `least` on, after which every word before it is known.
        while frames < least + MOST_EXTRA_FRAMES and final_frame(checkpoint, tokens[: frames + 1]) < barrier:
            frames += 1
        heard = longest[: frames * FRAME_SAMPLES]
    heard = np.concatenate([heard, as_heard(plan.talks[-1]), np.zeros(checkpoint.suffix_samples, np.float32)])
    codes = reference_codes(checkpoint, heard)
    return codes, reference_tokens(checkpoint, codes).text_tokens.tolist()


def final_frame(checkpoint: Checkpoint, tokens: list[int]) -> int:
    transcript = lm_facts(checkpoint).make_transcript(False)
    for token in tokens:
        transcript.push(token)
    return transcript.final_frame


async def test_32_sessions_that_join_pause_flush_and_leave_at_random(mini_checkpoint: Checkpoint) -> None:
    plans = [make_plan(seed) for seed in range(32)]
    async with RealStack(mini_checkpoint, slots=8) as stack:
        await asyncio.gather(*(run_plan(stack, plan, seed) for seed, plan in enumerate(plans)))
        await stack.all_slots_free()
        records = {
            np.stack(record.codes)[:4].tobytes(): record for record in stack.lm_engine.records if len(record.codes) > 4
        }
    torch.set_num_threads(1)
    compared = 0
    for plan in plans:
        codes, tokens = reference_of(mini_checkpoint, plan)
        record = records.pop(codes[:4].tobytes(), None)
        if record is None:
            assert plan.vanishes
            continue
        frames = len(record.codes)
        assert plan.vanishes or frames == len(codes)
        assert np.array_equal(np.stack(record.codes), codes[:frames])
        assert record.text_tokens == tokens[: frames + 1]
        compared += frames
    assert not records
    assert compared > 2000


@pytest.mark.parametrize("repeats", [3])
async def test_a_slot_keeps_nothing_of_who_had_it_before(mini_checkpoint: Checkpoint, repeats: int) -> None:
    audio = pcm16(speech_like(2.5, SAMPLE_RATE_HZ, seed=8))
    other = pcm16(speech_like(3.0, SAMPLE_RATE_HZ, seed=9))
    async with RealStack(mini_checkpoint, slots=1) as stack:
        heard = []
        for _ in range(repeats):
            heard.append(words(await transcribe(stack.stub, [config(), *chunks(audio)])))
            await transcribe(stack.stub, [config(), *chunks(other)])
    assert heard == [heard[0]] * repeats
    assert heard[0]


async def test_reset_context_makes_what_follows_as_if_it_were_a_new_session(mini_checkpoint: Checkpoint) -> None:
    audio = pcm16(speech_like(3.2, SAMPLE_RATE_HZ, seed=10))
    async with RealStack(mini_checkpoint, slots=1) as stack:
        alone = await transcribe(stack.stub, [config(), *chunks(audio)])
        both = await transcribe(stack.stub, [config(), *chunks(audio), flush(reset_context=True), *chunks(audio)])
        _, _, after_reset = stack.lm_engine.records
        first = stack.lm_engine.records[0]
    assert after_reset.text_tokens == first.text_tokens
    assert [word for word, _, _ in words(both)[-len(words(alone)) :]] == [word for word, _, _ in words(alone)]
    assert as_s(both[-1].session_ended.audio_duration) == pytest.approx(6.4)


async def test_recognize_hears_what_a_stream_hears(mini_checkpoint: Checkpoint) -> None:
    audio = pcm16(speech_like(4.0, SAMPLE_RATE_HZ, seed=11))
    linear16 = config().config.audio_format
    async with RealStack(mini_checkpoint, slots=1) as stack:
        streamed = words(await transcribe(stack.stub, [config(), *chunks(audio)]))
        request = pb.RecognizeRequest(config=pb.RecognitionConfig(audio_format=linear16), audio=audio)
        answer = await stack.stub.Recognize(request)
    whole = [(word.text, as_s(word.start_offset), as_s(word.end_offset)) for word in answer.words]
    assert whole == streamed
    assert answer.transcript == " ".join(word for word, _, _ in streamed)
    assert as_s(answer.audio_duration) == 4.0


async def test_recognize_refuses_what_is_no_recording(mini_checkpoint: Checkpoint) -> None:
    async with RealStack(mini_checkpoint, slots=1) as stack:
        for audio in (b"", b"this is a text and not a recording at all" * 10):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stack.stub.Recognize(pb.RecognizeRequest(audio=audio))
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await stack.all_slots_free()


async def test_requests_of_one_byte_are_as_good_as_any(mini_checkpoint: Checkpoint) -> None:
    audio = pcm16(speech_like(0.2, SAMPLE_RATE_HZ, seed=12))
    async with RealStack(mini_checkpoint, slots=2) as stack:
        one_by_one = [Request(audio=audio[index : index + 1]) for index in range(len(audio))]
        responses = await asyncio.gather(
            transcribe(stack.stub, [config(), *one_by_one]), transcribe(stack.stub, [config(), Request(audio=audio)])
        )
        first, second = stack.lm_engine.records
    assert first.text_tokens == second.text_tokens
    assert words(responses[0]) == words(responses[1])
