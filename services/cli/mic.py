"""`dsm-stt mic`: what is said into a microphone, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer

from dsm_stt.speech.v1 import speech_pb2_grpc
from services.cli.clock import Clock
from services.cli.connection import CaFileOption, Connection, TlsOption
from services.cli.console import fail, note, out
from services.cli.microphone import Microphone, NoMicrophone, load_audio_system
from services.cli.target import asked_for, service_address
from services.cli.transcribe import SERVER_HELP, Transcriber


def mic(
    server: Annotated[str | None, typer.Option(help=SERVER_HELP, metavar="HOST:PORT")] = None,
    tls: TlsOption = False,
    ca_file: CaFileOption = None,
    model: Annotated[str | None, typer.Option(help="Which model; without it, the service's default.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Number or part of the name of an input device.", metavar="DEVICE")
    ] = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="List the audio devices and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line for each word and event.")
    ] = False,
    vad: Annotated[
        bool, typer.Option("--vad", help="Show pause probabilities, and split the text into turns.")
    ] = False,
    interim: Annotated[bool, typer.Option("--interim/--no-interim", help="Show words while they grow.")] = True,
) -> None:
    """Transcribe the microphone until Ctrl-C, which brings out the last words; a second one stops at once."""
    connection = Connection.from_options(server, tls, ca_file)
    try:
        system = load_audio_system()
        if list_devices:
            print(system.query_devices())
            return
        microphone = Microphone(system, int(device) if device and device.isdecimal() else device)
    except NoMicrophone as error:
        fail(str(error), error.next_step)

    async def record(address: str) -> None:
        stopping, clock = asyncio.Event(), Clock()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            stopping.set()
            loop.remove_signal_handler(signal.SIGINT)

        async with connection.open(address) as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            transcriber = Transcriber(stub, asked_for(server, model), as_json, vad, interim, with_words=out.is_terminal)
            await transcriber.look_at_model()
            loop.add_signal_handler(signal.SIGINT, stop)
            note(f"Listening to {microphone.name}. Ctrl-C ends.")
            audio = microphone.pieces(stopping, clock)
            await transcriber.run(
                "mic", rate_hz=microphone.rate_hz, duration_s=None, audio=audio, clock=clock, real_time=True
            )

    with service_address(server, model) as address:
        asyncio.run(record(address))
