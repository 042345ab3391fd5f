"""`dsm-stt transcribe`: recordings through the service, words as they come."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration

from dsm_stt.speech.v1 import speech_pb2, speech_pb2_grpc
from services.cli.clock import Clock
from services.cli.connection import CaFileOption, Connection, TlsOption
from services.cli.console import fail, note, out, warn
from services.cli.failure import CallFailed
from services.cli.json_lines import error_line, response_lines, summary_line
from services.cli.live_view import LiveView
from services.cli.recording import NotAudio, Recording
from services.cli.result_view import show_result
from services.cli.session import list_models, recognize
from services.cli.target import asked_for, file_paths, service_address
from services.cli.transcript import Transcript
from services.common.framing import FRAME_NS

SERVER_HELP = "host:port of a gateway. Without it, the services are started on this machine for as long as it takes."


@dataclass
class Transcriber:
    """Sends sessions to one gateway and shows them as the options say. `mic` uses it too."""

    stub: speech_pb2_grpc.SpeechServiceStub
    model: str | None
    as_json: bool
    vad: bool
    interim: bool
    with_words: bool
    _warned: set[str] = field(default_factory=set)
    _pause_heads: bool = False

    async def look_at_model(self) -> None:
        """Ask the service about the model, once, before the first session. Raises CallFailed."""
        models = await list_models(self.stub)
        model = next(
            (model for model in models if (model.name == self.model if self.model else model.is_default)), None
        )
        self._pause_heads = model is not None and bool(model.pause_horizons)
        if self.vad and model is not None and not self._pause_heads:
            note(f"{model.name} has no pause heads: turns end by the silence between words")

    async def run(
        self,
        source: str,
        *,
        rate_hz: int,
        duration_s: float | None,
        audio: AsyncIterator[bytes],
        clock: Clock,
        real_time: bool,
    ) -> None:
        """Do one session and print its result. Raises CallFailed, or what the audio raises, after what there is."""
        transcript = Transcript(real_time)
        try:
            with LiveView(source, transcript, duration_s) as view:
                ticker = asyncio.create_task(_keep_drawing(view))
                try:
                    async for response in recognize(self.stub, self._config(rate_hz), audio):
                        transcript.take(response, clock.now_s())
                        self._print_lines(source, response)
                        self._warn_once(response)
                finally:
                    ticker.cancel()
        except CallFailed as failure:
            if self.as_json:
                print(error_line(source, failure))
            elif transcript.words:
                print("\n".join(transcript.turns()))
            raise
        if self.as_json:
            print(summary_line(source, transcript), flush=True)
        else:
            show_result(transcript, self.with_words)

    def _config(self, rate_hz: int) -> speech_pb2.RecognitionConfig:
        wants_vad = self.vad and self._pause_heads
        return speech_pb2.RecognitionConfig(
            model=self.model or "",
            audio_format=speech_pb2.AudioFormat(
                encoding=speech_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=rate_hz, channels=1
            ),
            results=speech_pb2.ResultOptions(
                interim_results=self.interim, vad_interval=Duration(nanos=FRAME_NS) if wants_vad else None
            ),
            turns=speech_pb2.TurnOptions(enabled=self.vad),
        )

    def _print_lines(self, source: str, response: speech_pb2.StreamingRecognizeResponse) -> None:
        if self.as_json:
            for line in response_lines(source, response):
                print(line, flush=True)

    def _warn_once(self, response: speech_pb2.StreamingRecognizeResponse) -> None:
        if response.HasField("warning") and response.warning.message not in self._warned:
            self._warned.add(response.warning.message)
            warn(response.warning.message)


async def _keep_drawing(view: LiveView) -> None:
    while True:
        view.redraw()
        await asyncio.sleep(0.05)


def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings, in any format that FFmpeg reads.", metavar="FILE")],
    server: Annotated[str | None, typer.Option(help=SERVER_HELP, metavar="HOST:PORT")] = None,
    tls: TlsOption = False,
    ca_file: CaFileOption = None,
    model: Annotated[str | None, typer.Option(help="Which model; without it, the service's default.")] = None,
    rtf: Annotated[
        str,
        typer.Option(help="Send audio this many times as fast as it was spoken: 1, 2.5, … or max.", metavar="N|max"),
    ] = "max",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each word and event.")
    ] = False,
    vad: Annotated[
        bool, typer.Option("--vad", help="Show pause probabilities, and split the text into turns.")
    ] = False,
    interim: Annotated[bool, typer.Option("--interim", help="Show words while they grow.")] = False,
    words: Annotated[
        bool | None,
        typer.Option(
            "--words/--no-words",
            help="Print a table of words with start and end; without the flag, if stdout is a terminal.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Transcribe recordings, one after the other, and show the words as they come.

    The text goes to stdout and everything else to stderr.
    Exit codes: 0 done, 1 the service failed, 2 wrong usage, or a file without audio.
    """
    speed = _speed(rtf)
    connection = Connection.from_options(server, tls, ca_file)
    file_paths(files)
    try:
        recordings = [Recording.probe(path) for path in files]
    except NotAudio as error:
        fail(str(error))

    async def run_all(address: str) -> None:
        async with connection.open(address) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            with_words = out.is_terminal if words is None else words
            transcriber = Transcriber(stub, asked_for(server, model), as_json, vad, interim, with_words)
            await transcriber.look_at_model()
            for recording in recordings:
                clock = Clock()
                if len(recordings) > 1 and not as_json:
                    note(str(recording.path))
                await transcriber.run(
                    str(recording.path),
                    rate_hz=recording.rate_hz,
                    duration_s=recording.duration_s,
                    audio=recording.paced(speed, clock),
                    clock=clock,
                    real_time=speed == 1,
                )

    with service_address(server, model) as address:
        try:
            asyncio.run(run_all(address))
        except NotAudio as error:
            fail(str(error))


def _speed(text: str) -> float:
    if text == "max":
        return math.inf
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        fail(f"--rtf: wanted a number above 0 or max, got {text!r}")
    return speed
