"""A SpeechService that says the words it was given, one every 0.4 s of audio: outputs can be worked out by hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_status import rpc_status

from dsm_stt.speech.v1 import speech_pb2, speech_pb2_grpc
from services.common.errors import DsmError
from services.common.grpc_status import status_of

WORD_EVERY_S = 0.4
WORD_S = 0.32
DELAY_S = 0.5
PAUSE_HORIZONS_S = (0.5, 1.0, 2.0, 3.0)


@dataclass
class FakeSpeech:
    """Serves on `address` inside `with`, in threads of its own, for clients of any kind."""

    words: Sequence[str] = ("good", "morning", "to", "you")
    trained: bool = True
    pause_heads: bool = True
    # Raised after the session has started and one word was sent; at once when `refuse` is set.
    error: DsmError | None = None
    refuse: bool = False
    # After so many refusals, sessions start after all; None: never.
    refusals: int | None = None
    # End the stream with OK, but without session_ended.
    forget_the_end: bool = False
    configs: list[speech_pb2.RecognitionConfig] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    # When each session was asked for.
    asked_at_s: list[float] = field(default_factory=list)
    audio_bytes: int = 0
    address: str = ""
    # For TLS; without them it speaks plain text.
    credentials: grpc.ServerCredentials | None = None
    # Where to listen; 0 for any.
    port: int = 0
    # Set when a session's first audio has come.
    heard: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(4))
        speech_pb2_grpc.add_SpeechServiceServicer_to_server(_Servicer(self), self._server)  # type: ignore[arg-type]
        if self.credentials is None:
            port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        else:
            port = self._server.add_secure_port(f"127.0.0.1:{self.port}", self.credentials)
        self.address = f"127.0.0.1:{port}"
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()


class _Servicer:
    def __init__(self, fake: FakeSpeech) -> None:
        self._fake = fake

    def ListModels(self, _request: Any, _context: Any) -> speech_pb2.ListModelsResponse:
        model = speech_pb2.Model(name="fake-en", language_codes=["en"], is_default=True, trained=self._fake.trained)
        model.delay.CopyFrom(duration(DELAY_S))
        if self._fake.pause_heads:
            model.pause_horizons.extend(duration(horizon) for horizon in PAUSE_HORIZONS_S)
        return speech_pb2.ListModelsResponse(models=[model])

    def Recognize(self, _request: Any, context: Any) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the fake streams only")

    def StreamingRecognize(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        self._fake.asked_at_s.append(time.monotonic())
        refused = self._fake.refusals is None or len(self._fake.asked_at_s) <= self._fake.refusals
        if self._fake.refuse and refused and self._fake.error is not None:
            _abort(context, self._fake.error)
        self._fake.metadata.append({key: str(value) for key, value in context.invocation_metadata()})
        config = next(requests).config
        self._fake.configs.append(config)
        for sequence, response in enumerate(self._responses(config, requests, context), start=1):
            response.sequence = sequence
            yield response

    def _responses(self, config: Any, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        started = speech_pb2.SessionStarted(session_id="s-1", model=config.model or "fake-en", delay=duration(DELAY_S))
        if self._fake.pause_heads:
            started.pause_horizons.extend(duration(horizon) for horizon in PAUSE_HORIZONS_S)
        yield speech_pb2.StreamingRecognizeResponse(session_started=started)
        if not self._fake.trained:
            warning = speech_pb2.Warning(
                code=speech_pb2.WARNING_CODE_UNTRAINED_MODEL, message="fake-en is untrained: its words mean nothing"
            )
            yield speech_pb2.StreamingRecognizeResponse(warning=warning)
        second_bytes = config.audio_format.sample_rate_hertz * 2
        said = session_bytes = 0
        for request in requests:
            self._fake.heard.set()
            self._fake.audio_bytes += len(request.audio)
            session_bytes += len(request.audio)
            while said < len(self._fake.words) and session_bytes >= (said + 1) * WORD_EVERY_S * second_bytes:
                yield from self._word(config, said, session_bytes / second_bytes)
                said += 1
                if self._fake.error is not None and not self._fake.refuse:
                    _abort(context, self._fake.error)
        if self._fake.forget_the_end:
            return
        ended = speech_pb2.SessionEnded(audio_duration=duration(session_bytes / second_bytes), words=said)
        yield speech_pb2.StreamingRecognizeResponse(session_ended=ended)

    def _word(self, config: Any, index: int, heard_s: float) -> Iterator[Any]:
        start_s = index * WORD_EVERY_S
        word = speech_pb2.Word(
            text=self._fake.words[index], start_offset=duration(start_s), end_offset=duration(start_s + WORD_S)
        )
        cursors = speech_pb2.Cursors(received=duration(heard_s), processed=duration(heard_s))
        if config.results.interim_results:
            grown = speech_pb2.Word(text=word.text[:1], start_offset=word.start_offset, end_offset=word.end_offset)
            interim = speech_pb2.Result(words=[grown])
            yield speech_pb2.StreamingRecognizeResponse(cursors=cursors, result=interim)
        # Two words a turn.
        turn = index // 2 if config.turns.enabled else 0
        result = speech_pb2.Result(is_final=True, turn_index=turn, words=[word])
        yield speech_pb2.StreamingRecognizeResponse(cursors=cursors, result=result)
        if config.results.HasField("vad_interval"):
            vad = speech_pb2.Vad(audio_offset=duration(heard_s), pause_probabilities=[0.1, 0.2, 0.4, 0.8])
            yield speech_pb2.StreamingRecognizeResponse(cursors=cursors, vad=vad)
        if config.turns.enabled and index % 2:
            end = speech_pb2.Turn(
                event=speech_pb2.TURN_EVENT_END, turn_index=turn, audio_offset=duration(heard_s), probability=0.75
            )
            yield speech_pb2.StreamingRecognizeResponse(cursors=cursors, turn=end)


def duration(seconds: float) -> Duration:
    """Convert seconds to the API's durations, to the millisecond."""
    milliseconds = round(seconds * 1000)
    return Duration(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _abort(context: Any, error: DsmError) -> None:
    context.abort_with_status(rpc_status.to_status(status_of(error)))
