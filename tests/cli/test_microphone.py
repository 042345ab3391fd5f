"""The microphone, with an audio system that plays from memory."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2_grpc
from services.cli.clock import Clock
from services.cli.microphone import Microphone, NoMicrophone
from services.cli.transcribe import Transcriber
from tests.fakes.speech import FakeSpeech


class FakeAudioSystem:
    """One input device that records `pieces` pieces of silence as soon as it is opened."""

    def __init__(self, pieces: int = 0, rate_hz: float = 24_000.0) -> None:
        self.pieces = pieces
        self.rate_hz = rate_hz
        self.options: dict[str, Any] = {}

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if device not in (None, 0, "Fake"):
            raise ValueError(f"No {kind} device matching {device!r}")
        return {"name": "Fake microphone", "default_samplerate": self.rate_hz}

    def RawInputStream(self, **options: Any) -> Self:
        self.options = options
        return self

    def __enter__(self) -> Self:
        for _ in range(self.pieces):
            self.options["callback"](bytes(self.options["blocksize"] * 2), self.options["blocksize"], None, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


def test_without_a_device_it_is_clear_what_is_missing() -> None:
    with pytest.raises(NoMicrophone, match="no such microphone: No input device matching 'Yeti'") as caught:
        Microphone(FakeAudioSystem(), "Yeti")
    assert "--list-devices" in caught.value.next_step


@pytest.mark.parametrize(("device_hz", "used_hz"), [(48_000.0, 48_000), (16_000.0, 16_000), (192_000.0, 24_000)])
def test_the_rate_is_the_devices_own_where_the_api_takes_it(device_hz: float, used_hz: int) -> None:
    assert Microphone(FakeAudioSystem(rate_hz=device_hz), None).rate_hz == used_hz


async def test_what_is_said_until_the_stop_is_transcribed(capsys: pytest.CaptureFixture[str]) -> None:
    system, stopping, clock = FakeAudioSystem(pieces=10), asyncio.Event(), Clock()
    microphone = Microphone(system, None)
    with FakeSpeech() as service:
        async with grpc.aio.insecure_channel(service.address) as channel:
            transcriber = Transcriber(
                speech_pb2_grpc.SpeechServiceStub(channel),
                None,
                as_json=False,
                vad=False,
                interim=False,
                with_words=False,
            )
            asyncio.get_running_loop().call_later(0.2, stopping.set)
            await transcriber.run(
                "mic",
                rate_hz=microphone.rate_hz,
                duration_s=None,
                audio=microphone.pieces(stopping, clock),
                clock=clock,
                real_time=True,
            )
    # Ten pieces are 0.8 s: two words.
    assert capsys.readouterr().out == "good morning\n"
    assert (system.options["samplerate"], system.options["blocksize"], system.options["channels"]) == (24_000, 1_920, 1)
