"""One long recording as fast as it goes: the whole service against moshi.run_inference. `make bench-file` calls it.

The same audio, the same float32 weights, the same machine, in turns: first through gateway, codec and LM as separate
processes, as `dsm-stt transcribe --rtf max` sends it, then through moshi's own loop in this process, with one thread or
one for each core, whichever is faster on the first seconds. Each of the two has the machine while it runs. What is
timed is a recording from its first sample to its last word, models loaded and warm.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import grpc
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from benchmarks import results
from benchmarks.callers import Heard, call
from benchmarks.plot import plot_file
from benchmarks.reference_run import ReferenceRun
from benchmarks.scripts import Script, audio_config, pieces, speech
from dsm_stt.speech.v1 import speech_pb2 as pb
from dsm_stt.speech.v1 import speech_pb2_grpc
from services.cli.local_stack import LocalStack
from services.cli.recording import FAST_PIECE_S
from services.common.framing import SAMPLE_RATE_HZ
from services.common.registry import resolve

_console = Console(stderr=True)
_WARM_UP_S = 5.0


@dataclass(frozen=True)
class Settings:
    """What is run. audio_s: length of the recording. rounds: how often each transcribes it."""

    model: str
    audio_s: float
    rounds: int
    seed: int


def main(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "dsm-tiny-en",
    minutes: Annotated[float, typer.Option(help="Length of the recording.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="How often each of the two transcribes it.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the order of the samples and the pauses between them.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS,
) -> None:
    """Measure seconds of audio transcribed in a second, and the same of moshi.run_inference."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(model, 60 * minutes, rounds, seed)
    with LocalStack(model, slots=1) as stack:
        found = _compare(settings, stack)
    file = results.write("file", settings, found, folder)
    plot_file(found, file.with_suffix(".svg"))
    _console.print(f"figures: {file}")


def _compare(settings: Settings, stack: LocalStack) -> dict[str, Any]:
    # 24 kHz, so that neither of the two resamples.
    audio = speech(random.Random(settings.seed), settings.audio_s, SAMPLE_RATE_HZ)
    pcm = np.frombuffer(audio, "<i2").astype(np.float32) / 32768
    reference = ReferenceRun(resolve(settings.model))
    warm_up = round(_WARM_UP_S * SAMPLE_RATE_HZ)
    asyncio.run(_serve(stack.address, audio[: 2 * warm_up]))
    threads = _best_threads(reference, pcm[:warm_up])
    walls: dict[str, list[float]] = {"service": [], "moshi": []}
    heard, text = Heard(), ""
    for number in range(settings.rounds):
        heard = _timed(walls["service"], lambda: asyncio.run(_serve(stack.address, audio)))
        text = _timed(walls["moshi"], lambda: reference.transcribe(pcm))
        _console.print(f"round {number + 1}: service {walls['service'][-1]:.1f} s, moshi {walls['moshi'][-1]:.1f} s")
    speeds = {name: [round(settings.audio_s / wall_s, 2) for wall_s in times] for name, times in walls.items()}
    return {
        "audio_s": settings.audio_s,
        "words": len(heard.words),
        "same_text": " ".join(word.text for word in heard.words) == " ".join(text.split()),
        "audio_s_per_s": {name: {"median": round(median(values), 2), "all": values} for name, values in speeds.items()},
        "moshi_threads": threads,
        "ratio": round(median(walls["moshi"]) / median(walls["service"]), 2),
    }


def _best_threads(reference: ReferenceRun, pcm: NDArray[np.float32]) -> int:
    """Set and return the number of threads with which moshi is faster: a small model gains nothing by two."""
    walls: dict[int, float] = {}
    for threads in (1, os.cpu_count() or 1):
        torch.set_num_threads(threads)
        reference.transcribe(pcm)  # the first time warms up
        walls[threads] = -time.perf_counter()
        reference.transcribe(pcm)
        walls[threads] += time.perf_counter()
    best = min(walls, key=lambda threads: walls[threads])
    torch.set_num_threads(best)
    return best


def _timed(walls: list[float], work: Callable[[], Any]) -> Any:
    began_s = time.perf_counter()
    result = work()
    walls.append(time.perf_counter() - began_s)
    return result


async def _serve(address: str, audio: bytes) -> Heard:
    requests = [
        pb.StreamingRecognizeRequest(config=audio_config(rate_hz=SAMPLE_RATE_HZ)),
        *(
            pb.StreamingRecognizeRequest(audio=piece)
            for piece in pieces(audio, round(SAMPLE_RATE_HZ * FAST_PIECE_S) * 2)
        ),
    ]
    async with grpc.aio.insecure_channel(address) as channel:
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        heard = await call(stub, Script(requests, len(audio) / 2 / SAMPLE_RATE_HZ), speed=math.inf)
    if heard.error:
        raise SystemExit(f"the service did not transcribe the recording: {heard.error}")
    return heard


if __name__ == "__main__":
    typer.run(main)
