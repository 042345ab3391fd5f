"""Recognize: one recording through the same pipeline as a stream, its events gathered into one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dsm_stt.speech.v1 import speech_pb2
from services.common.errors import MalformedAudio, MaxDuration
from services.common.framing import SAMPLE_RATE_HZ
from services.gateway.access.caller import Caller
from services.gateway.audio import iter_file
from services.gateway.durations import from_samples
from services.gateway.pipeline import Pipeline
from services.gateway.sessions import Session


async def recognize(
    audio: bytes, session: Session, caller: Caller, max_duration_s: float
) -> speech_pb2.RecognizeResponse:
    """Transcribe a recording in an open session.

    Raises MalformedAudio when it cannot be decoded, MaxDuration when it is too long, QuotaExceeded when it is more than
    the caller may have.
    """
    if not audio:
        raise MalformedAudio("audio: wanted a recording, got no bytes")
    blocks = iter_file(audio, session.options.audio_format)
    feeding = asyncio.create_task(_feed(blocks, session.pipeline, caller, max_duration_s))
    answer = speech_pb2.RecognizeResponse(session_id=session.session_id, model=session.options.model.name)
    try:
        while (response := await session.outbox.get()) is not None:
            match response.WhichOneof("event"):
                case "result":
                    answer.words.extend(response.result.words)
                case "turn":
                    answer.turns.append(response.turn)
    finally:
        feeding.cancel()
    answer.transcript = " ".join(word.text for word in answer.words)
    answer.audio_duration.CopyFrom(from_samples(session.pipeline.audio_samples))
    return answer


async def _feed(
    blocks: Iterator[NDArray[np.float32]], pipeline: Pipeline, caller: Caller, max_duration_s: float
) -> None:
    samples = 0
    try:
        # Decoding takes its time, and the event loop is everybody's.
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            samples += len(block)
            if samples > max_duration_s * SAMPLE_RATE_HZ:
                raise MaxDuration(f"the recording has more than {max_duration_s:g} s of audio")  # noqa: TRY301
            caller.take_audio(len(block) / SAMPLE_RATE_HZ)
            pipeline.push_audio(block)
            await pipeline.wait_for_room()
        pipeline.push_end()
    except Exception as error:
        pipeline.fail(error)
