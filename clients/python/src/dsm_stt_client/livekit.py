"""An STT for livekit-agents (the extra `livekit`): `AgentSession(stt=STT("127.0.0.1:50051"), …)`.

our events                          livekit's
turn START                          START_OF_SPEECH
words, final or growing             INTERIM_TRANSCRIPT, the turn so far
turn EAGER_END                      PREFLIGHT_TRANSCRIPT; with TurnOptions.eager_end_threshold
turn END                            FINAL_TRANSCRIPT, the whole turn, word by word timed; END_OF_SPEECH
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, stt
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr, TimedString
from livekit.agents.utils import AudioBuffer

from dsm_stt_client.async_client import AsyncClient
from dsm_stt_client.errors import SpeechError
from dsm_stt_client.events import Event, Result, Turn, TurnKind, Word
from dsm_stt_client.options import AudioFormat, StreamConfig, TurnOptions

_Type = stt.SpeechEventType
_RATE_HZ = 24_000


class STT(stt.STT):  # type: ignore[misc]  # seen without livekit's types
    """Makes a resumable stream for each that livekit asks for. Close it with `aclose`."""

    def __init__(
        self, address: str, *, config: StreamConfig | None = None, language: str = "en", **client: Any
    ) -> None:
        """config: its format is replaced, and turns are on. language: what transcripts are labelled with.

        client: more arguments of AsyncClient.
        """
        aligned = stt.STTCapabilities(streaming=True, interim_results=True, aligned_transcript="word")
        super().__init__(capabilities=aligned)
        given = config or StreamConfig()
        turns = given.turns or TurnOptions(flush_on_end=True)
        self.config = replace(given, audio_format=AudioFormat(sample_rate_hz=_RATE_HZ), turns=turns)
        self.language = language
        self.client = AsyncClient(address, **client)

    async def _recognize_impl(
        self, buffer: AudioBuffer, *, language: NotGivenOr[str] = NOT_GIVEN, conn_options: APIConnectOptions
    ) -> Any:
        wav = rtc.combine_audio_frames(buffer).to_wav_bytes()
        try:
            transcript = await self.client.transcribe(wav, model=self.config.model)
        except SpeechError as error:
            raise APIConnectionError(str(error), retryable=error.temporary) from error
        return _event(_Type.FINAL_TRANSCRIPT, list(transcript.words), self.language)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> RecognizeStream:
        """Make a stream."""
        return RecognizeStream(self, conn_options)

    async def aclose(self) -> None:
        """Close the connection."""
        await self.client.close()


class RecognizeStream(stt.RecognizeStream):  # type: ignore[misc]  # as above
    """One stream."""

    def __init__(self, owner: STT, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=owner, conn_options=conn_options, sample_rate=_RATE_HZ)
        self._owner = owner
        self._words: list[Word] = []

    async def _run(self) -> None:
        self._words = []
        try:
            async with self._owner.client.stream(self._owner.config, resume=True) as stream:
                stream.send_from(self._audio())
                async for event in stream:
                    self._tell(event)
        except SpeechError as error:
            raise APIConnectionError(str(error), retryable=error.temporary) from error

    async def _audio(self) -> AsyncIterator[bytes]:
        async for item in self._input_ch:
            # Anything else is a wish to flush, which turns make unnecessary.
            if isinstance(item, rtc.AudioFrame):
                yield bytes(item.data)

    def _tell(self, event: Event) -> None:
        match event:
            case Result(words=words, is_final=is_final):
                self._emit(_Type.INTERIM_TRANSCRIPT, [*self._words, *words])
                self._words += words if is_final else ()
            case Turn(kind=TurnKind.START):
                self._emit(_Type.START_OF_SPEECH, [])
            case Turn(kind=TurnKind.EAGER_END):
                self._emit(_Type.PREFLIGHT_TRANSCRIPT, self._words)
            case Turn(kind=TurnKind.END):
                self._emit(_Type.FINAL_TRANSCRIPT, self._words)
                self._emit(_Type.END_OF_SPEECH, [])
                self._words = []

    def _emit(self, kind: Any, words: list[Word]) -> None:
        self._event_ch.send_nowait(_event(kind, words, self._owner.language, self.start_time_offset))


def _event(kind: Any, words: list[Word], language: str, offset_s: float = 0.0) -> Any:
    """Make livekit's event; times are in its session's time."""
    if not words:
        return stt.SpeechEvent(type=kind)
    timed = [TimedString(word.text, offset_s + word.start_s, offset_s + word.end_s) for word in words]
    text, start_s, end_s = " ".join(word.text for word in words), words[0].start_s, words[-1].end_s
    data = stt.SpeechData(language, text, offset_s + start_s, offset_s + end_s, confidence=1.0, words=timed)
    return stt.SpeechEvent(type=kind, alternatives=[data])
