"""Callers: they send what their scripts say, in real time or faster, and note what they hear and when."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
from grpc_status import rpc_status

from benchmarks.scripts import Script
from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.cli.final_status import FinalStatus
from services.cli.transcript import seconds


class HeardWord(NamedTuple):
    """A final word, and when it came.

    came_s: seconds since the session's first sample was spoken. heard_s: how far the service had heard the audio then,
    which is the end of the frame that completed the word.
    """

    text: str
    start_s: float
    end_s: float
    turn: int
    came_s: float
    heard_s: float


class Look(NamedTuple):
    """The cursors of one response, in seconds of the session's audio."""

    received_s: float
    processed_s: float

    @property
    def lag_s(self) -> float:
        """Return by how much the service was behind what it had received."""
        return self.received_s - self.processed_s


@dataclass
class Heard:
    """What one session brought."""

    words: list[HeardWord] = field(default_factory=list)
    flushes: list[str] = field(default_factory=list)
    audio_s: float = 0.0
    complete: bool = False
    error: str = ""
    looks: list[Look] = field(default_factory=list)
    # How much later than its script says a message was begun to be sent: the caller's own doing, or flow control's.
    sent_late_s: list[float] = field(default_factory=list)
    # When the first message was due to begin, on the clock of time.monotonic().
    began_s: float = 0.0
    lag_warnings: int = 0
    wall_s: float = 0.0

    @property
    def transcript(self) -> list[tuple[str, float, float, int]]:
        """Return everything about the words but when they came."""
        return [(word.text, word.start_s, word.end_s, word.turn) for word in self.words]


def open_channel(address: str) -> grpc.aio.Channel:
    """Open a connection of its own; channels to one address would share one."""
    return grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])


async def call(
    stub: speech_pb2_grpc.SpeechServiceStub, said: Script, speed: float = 1.0, heard: Heard | None = None
) -> Heard:
    """Hold one session. speed: times real time; math.inf for as fast as it is taken. heard: filled as answers come."""
    heard = heard or Heard()
    stream = stub.StreamingRecognize()
    status = FinalStatus(stream)
    heard.began_s = zero_s = time.monotonic()
    writing = asyncio.create_task(_write(stream, said, speed, heard))
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


async def _write(stream: grpc.aio.StreamStreamCall[Any, Any], said: Script, speed: float, heard: Heard) -> None:
    sent = 0
    try:
        for request in said.requests:
            if request.audio:
                # A device has a message's audio once its last sample has been spoken.
                sent += 1
                due_s = heard.began_s + sent * said.message_s / speed
                if (early_s := due_s - time.monotonic()) > 0:
                    await asyncio.sleep(early_s)
                heard.sent_late_s.append(time.monotonic() - due_s)
            await stream.write(request)
        await stream.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The reading side sees the same error, with its reason.
        return


def _take(heard: Heard, response: pb.StreamingRecognizeResponse, came_s: float) -> None:
    look = Look(seconds(response.cursors.received), seconds(response.cursors.processed))
    heard.looks.append(look)
    match response.WhichOneof("event"):
        case "result" if response.result.is_final:
            for word in response.result.words:
                start_s, end_s = seconds(word.start_offset), seconds(word.end_offset)
                turn = response.result.turn_index
                heard.words.append(HeardWord(word.text, start_s, end_s, turn, came_s, look.processed_s))
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
