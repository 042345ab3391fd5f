"""Does anything grow? Minutes of real-time load below capacity, and one session of hours. `make soak` calls it."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import results
from benchmarks.callers import call
from benchmarks.live_load import Load, figures
from benchmarks.plot import plot_memory
from benchmarks.rig import Rig
from benchmarks.scripts import RATE_HZ, Script, audio_config, recordings
from benchmarks.watch import Watch
from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc

_console = Console(stderr=True)
_CALIBRATION_S = 20.0
# Audio of a message of the long session, seconds, and of the silence between its recordings.
_PIECE_S = 0.48
_SILENCE_S = 10.0


@dataclass(frozen=True)
class Settings:
    """What is run. capacity: sessions; 0: measured. hours: of audio of the long session; 0 for none."""

    model: str
    minutes: float
    share: float
    capacity: float
    slots: int
    audio_s: float
    hours: float
    seed: int


def main(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "dsm-tiny-en",
    minutes: Annotated[float, typer.Option(help="How long; 0 for the long session alone.")] = 30.0,
    share: Annotated[float, typer.Option(help="Load as a share of the capacity.")] = 0.8,
    capacity: Annotated[
        float, typer.Option(help="Live sessions that `make bench-load` found; 0: by throughput, measured here.")
    ] = 0.0,
    slots: Annotated[int, typer.Option(help="Slots of each worker; the most sessions.")] = 32,
    audio_s: Annotated[float, typer.Option(help="Mean length of a session, seconds.")] = 60.0,
    hours: Annotated[float, typer.Option(help="Audio of the long session, hours; 0 for none.")] = 2.0,
    seed: Annotated[int, typer.Option(help="Of what the callers say.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS,
) -> None:
    """Load the services for minutes, then hold one session for hours of audio, and see what grows."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(model, minutes, share, capacity, slots, audio_s, hours, seed)
    failed = False
    if minutes:
        found = asyncio.run(_soak(settings))
        failed |= bool(found["errors"])
        _show("soak", settings, found, folder)
    if hours:
        found = asyncio.run(_long_session(settings))
        failed |= bool(found["error"]) or not found["times_monotone"]
        _show("long-session", settings, found, folder)
    if failed:
        raise typer.Exit(1)


def _show(name: str, settings: Settings, found: dict[str, Any], folder: Path) -> None:
    file = results.write(name, settings, found, folder)
    plot_memory(found, file.with_suffix(".svg"))
    _console.print(found)
    _console.print(f"figures: {file}")


async def _soak(settings: Settings) -> dict[str, Any]:
    async with Rig(settings.model, settings.slots, workers=1) as rig:
        capacity = settings.capacity or await _capacity(rig, settings)
        sessions = max(1, min(settings.slots, math.floor(settings.share * capacity)))
        _console.print(f"capacity {capacity:.1f} sessions; {sessions} sessions for {settings.minutes:g} minutes …")
        load = Load.of(sessions, settings.audio_s, settings.seed)
        async with Watch(rig.processes()) as watch:
            await load.run(rig.address, lambda: _wait(60 * settings.minutes))
        return {
            "capacity_sessions": round(capacity, 1),
            "live_sessions": sessions,
            **figures(load),
            "transcripts_differing_between_repeats": _differing(load),
            "processes": watch.figures(),
        }


async def _wait(whole_s: float) -> None:
    began_s = time.monotonic()
    with _progress() as progress:
        task = progress.add_task("load", total=whole_s)
        while (passed_s := time.monotonic() - began_s) < whole_s:
            progress.update(task, completed=passed_s)
            await asyncio.sleep(min(1.0, whole_s - passed_s))


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=_console)


async def _capacity(rig: Rig, settings: Settings) -> float:
    """Measure how many seconds of audio all slots together get transcribed in a second."""
    load = Load.of(settings.slots, _CALIBRATION_S, settings.seed)
    for _ in range(2):  # the first time warms up
        began_s = time.monotonic()
        await load.run(rig.address, speed=math.inf)
    return sum(heard.audio_s for heard in load.heard()) / (time.monotonic() - began_s)


def _differing(load: Load) -> int:
    """Count sessions that did not hear what the same caller's first one did."""
    return sum(heard.transcript != first.transcript for first, *rest in load.sessions for heard in rest)


async def _long_session(settings: Settings) -> dict[str, Any]:
    progress = _progress()
    task = progress.add_task("audio", total=settings.hours * 3600)
    said = Script(_LongTalk(settings.hours, lambda sent_s: progress.advance(task, sent_s)), settings.hours * 3600)
    async with Rig(settings.model, 4, workers=1) as rig, grpc.aio.insecure_channel(rig.address) as channel:
        _console.print(f"one session of {settings.hours:g} h of audio, as fast as it goes …")
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        with progress:
            async with Watch(rig.processes()) as watch:
                heard = await call(stub, said, speed=math.inf)
    starts = [word.start_s for word in heard.words]
    ordered = all(before <= after for before, after in pairwise(starts))
    return {
        "audio_s": heard.audio_s,
        "wall_s": round(heard.wall_s, 1),
        "speed": round(heard.audio_s / heard.wall_s, 1),
        "words": len(heard.words),
        "last_word_s": round(starts[-1], 2) if starts else None,
        "times_monotone": ordered and all(word.start_s <= word.end_s for word in heard.words),
        "error": heard.error,
        "warnings_of_lag": heard.lag_warnings,
        "processes": watch.figures(),
    }


class _LongTalk:
    """Requests of hours: a recording, silence, the next recording; made as they are taken."""

    def __init__(self, hours: float, on_sent: Callable[[float], None]) -> None:
        """on_sent: told the seconds of audio of every message."""
        self._bytes = round(hours * 3600 * RATE_HZ) * 2
        self._on_sent = on_sent

    def __iter__(self) -> Iterator[pb.StreamingRecognizeRequest]:
        yield pb.StreamingRecognizeRequest(config=audio_config())
        left, piece_bytes, turn = self._bytes, round(_PIECE_S * RATE_HZ) * 2, 0
        while left > 0:
            spoken = recordings()[turn % len(recordings())] + bytes(2 * round(_SILENCE_S * RATE_HZ))
            turn += 1
            for start in range(0, min(left, len(spoken)), piece_bytes):
                piece = spoken[start : min(left, start + piece_bytes)]
                yield pb.StreamingRecognizeRequest(audio=piece)
                self._on_sent(len(piece) / 2 / RATE_HZ)
            left -= len(spoken)


if __name__ == "__main__":
    typer.run(main)
