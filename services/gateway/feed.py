"""From a caller's messages to its pipeline: decodes, checks, waits for room, watches for silence on the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np

from dsm_stt.speech.v1 import speech_pb2
from services.common.errors import BadConfig, IdleTimeout, MaxDuration
from services.common.framing import SAMPLE_RATE_HZ
from services.gateway.access.caller import Caller
from services.gateway.audio import AudioStream
from services.gateway.durations import to_samples
from services.gateway.outbox import Cursors
from services.gateway.pipeline import FlushMark, Pipeline, UpdateMark
from services.gateway.session_options import SessionOptions, checked_id, checked_s, result_settings
from services.gateway.turn_settings import from_proto as turn_settings_from_proto

MAX_AUDIO_BYTES = 1024 * 1024
_MAX_SILENCE_S = 60.0
_SECOND_OF_SILENCE = np.zeros(SAMPLE_RATE_HZ, np.float32)


class Feed:
    """Drives one session's pipeline with its caller's messages."""

    def __init__(
        self, pipeline: Pipeline, cursors: Cursors, options: SessionOptions, caller: Caller, max_duration_s: float
    ) -> None:
        self._pipeline = pipeline
        self._cursors = cursors
        self._options = options
        self._caller = caller
        self._max_samples = round(max_duration_s * SAMPLE_RATE_HZ)
        self._audio = AudioStream(options.audio_format)
        self._base = options.resumption.base_samples
        # The caller's silence messages, which do not pass the audio stream.
        self._silence_samples = 0
        # Samples that the caller's quota was charged for.
        self._charged = 0
        # Since when a message is waited for; None while one is worked on, however long the service takes.
        self._waiting_since_s: float | None = None

    async def run(self, requests: AsyncIterator[speech_pb2.StreamingRecognizeRequest]) -> None:
        """Take messages until the half-close; a caller's error ends the session."""
        idle = asyncio.create_task(self._watch_idle())
        clock = asyncio.get_running_loop().time
        try:
            self._waiting_since_s = clock()
            async for request in requests:
                self._waiting_since_s = None
                await self._take(request)
                self._waiting_since_s = clock()
            self._waiting_since_s = None
            tail = self._audio.finish()
            self._pipeline.push_audio(tail)
            self._pipeline.push_end()
        except Exception as error:  # handed on, so that it comes after what is already due to the caller
            self._pipeline.fail(error)
        finally:
            idle.cancel()

    async def _take(self, request: speech_pb2.StreamingRecognizeRequest) -> None:
        # The key may have been revoked since the stream began.
        self._caller.check()
        match request.WhichOneof("request"):
            case "audio":
                await self._take_audio(request.audio)
            case "flush":
                self._take_flush(request.flush)
                # What waits is bounded, whatever it is: flushes and updates cost no audio, but memory.
                await self._pipeline.wait_for_room()
            case "update":
                self._take_update(request.update)
                await self._pipeline.wait_for_room()
            case "silence":
                await self._take_silence(request.silence)
            case "keep_alive":
                pass
            case "config":
                raise BadConfig("config: only the first message may be one")
            case _:
                raise BadConfig("wanted one of audio, flush, update, silence, keep_alive; got an empty message")

    async def _take_audio(self, audio: bytes) -> None:
        if len(audio) > MAX_AUDIO_BYTES:
            raise BadConfig(f"audio: wanted at most {MAX_AUDIO_BYTES} bytes a message, got {len(audio)}")
        # A block at a time: a message of Opus silence may hold hours.
        for block in self._audio.blocks(audio):
            await self._pipeline.wait_for_room()
            self._note_received()
            self._pipeline.push_audio(block)
        self._note_received()
        await self._pipeline.wait_for_room()

    def _take_flush(self, flush: speech_pb2.Flush) -> None:
        mark = FlushMark(checked_id(flush.flush_id, "flush.flush_id"), flush.end_turn, flush.reset_context)
        self._pipeline.push_audio(self._audio.drain())
        self._pipeline.push_flush(mark)

    def _take_update(self, update: speech_pb2.Update) -> None:
        model = self._options.model
        self._pipeline.push_update(
            UpdateMark(
                checked_id(update.update_id, "update.update_id"),
                result_settings(update.results, model) if update.HasField("results") else None,
                turn_settings_from_proto(update.turns, model.pause_horizons_ms) if update.HasField("turns") else None,
            )
        )

    async def _take_silence(self, silence: speech_pb2.Silence) -> None:
        if not silence.HasField("duration") or to_samples(silence.duration) <= 0:
            raise BadConfig("silence.duration: wanted more than 0 s")
        checked_s(silence.duration, "silence.duration", 0, _MAX_SILENCE_S)
        left = to_samples(silence.duration)
        self._pipeline.push_audio(self._audio.drain())
        while left > 0:
            piece = _SECOND_OF_SILENCE[:left]
            left -= len(piece)
            self._silence_samples += len(piece)
            self._note_received()
            self._pipeline.push_audio(piece)
            await self._pipeline.wait_for_room()

    def _note_received(self) -> None:
        received = round(self._audio.received_s * SAMPLE_RATE_HZ) + self._silence_samples
        self._cursors.received = self._base + received
        if received > self._max_samples:
            raise MaxDuration(f"the session has more than {self._max_samples / SAMPLE_RATE_HZ:g} s of audio")
        self._caller.take_audio((received - self._charged) / SAMPLE_RATE_HZ)
        self._charged = received

    async def _watch_idle(self) -> None:
        """End the session when no message has come for the idle timeout."""
        timeout_s = self._options.idle_timeout_s
        loop = asyncio.get_running_loop()
        while True:
            since_s = self._waiting_since_s
            left_s = timeout_s if since_s is None else since_s + timeout_s - loop.time()
            if left_s <= 0:
                self._pipeline.fail(IdleTimeout(f"no message for {timeout_s:g} s; send keep_alive to stay"))
                return
            await asyncio.sleep(left_s)
