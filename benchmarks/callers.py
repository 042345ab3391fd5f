"""Callers in real time: what they say, made up from a seed, and what they hear."""

from __future__ import annotations

import asyncio
import random
import time
import wave
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from grpc_status import rpc_status

from benchmarks.results import ROOT
from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.cli.final_status import FinalStatus
from services.cli.transcript import seconds
from services.common.framing import FRAME_S

SAMPLES = ROOT / "models" / "dsm-tiny-en" / "samples"
RATE_HZ = 16_000
_PIECE_BYTES = round(RATE_HZ * FRAME_S) * 2


class HeardWord(NamedTuple):
    """A final word, and when it came: seconds since the session's first sample was sent."""

    text: str
    start_s: float
    end_s: float
    turn: int
    came_s: float


@dataclass(frozen=True)
class Script:
    """What one caller sends, a message each 80 ms of audio; messages other than audio take no time."""

    requests: Iterable[pb.StreamingRecognizeRequest]
    audio_s: float


@dataclass
class Heard:
    """What one session brought."""

    words: list[HeardWord] = field(default_factory=list)
    flushes: list[str] = field(default_factory=list)
    audio_s: float = 0.0
    complete: bool = False
    error: str = ""
    # received - processed, each time the service said something.
    lags_s: list[float] = field(default_factory=list)
    lag_warnings: int = 0
    wall_s: float = 0.0

    @property
    def transcript(self) -> list[tuple[str, float, float, int]]:
        """Return everything about the words but when they came."""
        return [(word.text, word.start_s, word.end_s, word.turn) for word in self.words]


def script(seed: int, audio_s: float) -> Script:
    """Make up what a caller says: recordings in any order, pauses, and, with some callers, flushes."""
    chance = random.Random(seed)
    audio = bytearray()
    while len(audio) < audio_s * RATE_HZ * 2:
        audio += chance.choice(recordings())
        audio += bytes(2 * round(RATE_HZ * chance.uniform(0.1, 1.5)))
    audio = audio[: round(audio_s * RATE_HZ) * 2]
    results = pb.ResultOptions(interim_results=chance.random() < 0.3)
    requests = [pb.StreamingRecognizeRequest(config=audio_config(results))]
    flushes = chance.random() < 0.4
    for start in range(0, len(audio), _PIECE_BYTES):
        requests.append(pb.StreamingRecognizeRequest(audio=bytes(audio[start : start + _PIECE_BYTES])))
        if flushes and chance.random() < 0.01:
            flush = pb.Flush(flush_id=str(start), reset_context=chance.random() < 0.3)
            requests.append(pb.StreamingRecognizeRequest(flush=flush))
    return Script(requests, len(audio) / 2 / RATE_HZ)


def audio_config(results: pb.ResultOptions | None = None) -> pb.RecognitionConfig:
    """Make the config of a session that sends what the recordings are."""
    audio_format = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ)
    return pb.RecognitionConfig(audio_format=audio_format, results=results)


@cache
def recordings(folder: Path = SAMPLES) -> list[bytes]:
    """Read the recordings that come with the repository, as 16-bit samples."""
    found = []
    for path in sorted(folder.glob("*.wav")):
        with wave.open(str(path)) as recording:
            assert (recording.getframerate(), recording.getnchannels(), recording.getsampwidth()) == (RATE_HZ, 1, 2)
            found.append(recording.readframes(recording.getnframes()))
    return found


async def call(stub: speech_pb2_grpc.SpeechServiceStub, said: Script, speed: float = 1.0) -> Heard:
    """Hold one session. speed: times real time; math.inf for as fast as it is taken."""
    heard = Heard()
    stream = stub.StreamingRecognize()
    status = FinalStatus(stream)
    zero_s = time.monotonic()
    writing = asyncio.create_task(_write(stream, said, speed))
    try:
        async for response in stream:
            _take(heard, response, time.monotonic() - zero_s)
    except grpc.aio.AioRpcError as error:
        final = await status.of(error)
        packed = rpc_status.from_call(_Trailers(final))
        details = " ".join(str(detail.value) for detail in packed.details) if packed else ""
        heard.error = f"{final.code().name} {final.details()} {details}"
    finally:
        writing.cancel()
        stream.cancel()
    if not heard.complete and not heard.error:
        heard.error = "no session_ended"
    heard.wall_s = time.monotonic() - zero_s
    return heard


async def _write(stream: grpc.aio.StreamStreamCall[Any, Any], said: Script, speed: float) -> None:
    zero_s = time.monotonic()
    sent = 0
    try:
        for request in said.requests:
            if request.audio:
                sent += 1
                await asyncio.sleep(max(0.0, zero_s + sent * FRAME_S / speed - time.monotonic()))
            await stream.write(request)
        await stream.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The reading side sees the same error, with its reason.
        return


def _take(heard: Heard, response: pb.StreamingRecognizeResponse, came_s: float) -> None:
    heard.lags_s.append(seconds(response.cursors.received) - seconds(response.cursors.processed))
    match response.WhichOneof("event"):
        case "result" if response.result.is_final:
            for word in response.result.words:
                start_s, end_s = seconds(word.start_offset), seconds(word.end_offset)
                heard.words.append(HeardWord(word.text, start_s, end_s, response.result.turn_index, came_s))
        case "flush_done":
            heard.flushes.append(response.flush_done.flush_id)
        case "warning" if response.warning.code == pb.WARNING_CODE_LAGGING:
            heard.lag_warnings += 1
        case "session_ended":
            heard.complete = True
            heard.audio_s = seconds(response.session_ended.audio_duration)


class _Trailers:
    """An error of grpc.aio in the shape that grpc_status reads."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.trailing_metadata = lambda: tuple(error.trailing_metadata() or ())
        self.code = error.code
        self.details = error.details
