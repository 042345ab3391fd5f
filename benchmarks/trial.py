"""One trial: so many callers in real time for so long, and what they and the services went through meanwhile.

Two delays are measured, both on top of the delay that the model has by design:

- word latency: from when the last sample of the frame that completed a word was spoken, which is when the word could
  have come at the earliest, to when the caller had it. Which frame that was, `cursors.processed` of the word's response
  says. When a sample is spoken follows from the script, not from when it was sent, so a caller that is held up by flow
  control, or by the machine, counts as late.
- lag: `cursors.received - cursors.processed` of every response, as the gateway saw it when it made the response. It
  moves in whole messages.

Counted is what belongs to audio that was spoken while all callers spoke, whenever it came: what is late is not lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.callers import Heard, call, open_channel
from benchmarks.results import percentiles
from benchmarks.scripts import Script, Sound, talk
from benchmarks.watch import Watch
from dsm_stt.speech.v1 import speech_pb2_grpc

# A session that is not over this long after its last audio has failed.
_PATIENCE_S = 15.0


@dataclass(frozen=True)
class Trial:
    """What is tried. audio_s: of each session that counts."""

    sessions: int
    audio_s: float
    sound: Sound
    seed: int = 1
    # Sessions open one after another within this time, so their messages are spread evenly too.
    opening_s: float = 2.0
    # All callers speak for a while before anything counts, and go on for a while after it.
    warm_s: float = 3.0
    tail_s: float = 1.0

    @property
    def script_s(self) -> float:
        """Return how long each caller speaks."""
        return self.opening_s + self.warm_s + self.audio_s + self.tail_s


@dataclass(frozen=True)
class Window:
    """The time that counts, on the clock of time.monotonic()."""

    from_s: float
    until_s: float

    def has(self, heard: Heard, position_s: float) -> bool:
        """Tell whether a position in a session's audio was spoken in it."""
        return self.from_s <= heard.began_s + position_s < self.until_s


async def run(trial: Trial, address: str, processes: Mapping[str, int]) -> dict[str, Any]:
    """Run a trial against a gateway. processes: ids by name, of those whose use of the machine is measured."""
    scripts = [talk(1000 * trial.seed + number, trial.script_s, trial.sound) for number in range(trial.sessions)]
    everything = [Heard() for _ in scripts]
    calls = [
        asyncio.create_task(_caller(address, script, heard, trial.opening_s * number / trial.sessions))
        for number, (script, heard) in enumerate(zip(scripts, everything, strict=True))
    ]
    try:
        await asyncio.sleep(trial.opening_s + trial.warm_s)
        from_s = time.monotonic()
        async with Watch({**processes, "callers": os.getpid()}) as watch:
            await asyncio.sleep(trial.audio_s)
        window = Window(from_s, time.monotonic())
        await asyncio.wait(calls, timeout=trial.opening_s + trial.tail_s + _PATIENCE_S)
    finally:
        for task in calls:
            task.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    return _figures(trial, everything, window, watch)


async def _caller(address: str, script: Script, heard: Heard, wait_s: float) -> None:
    await asyncio.sleep(wait_s)
    # A connection each, as callers have.
    async with open_channel(address) as channel:
        await call(speech_pb2_grpc.SpeechServiceStub(channel), script, heard=heard)


def _figures(trial: Trial, everything: list[Heard], window: Window, watch: Watch) -> dict[str, Any]:
    words = [
        1000 * (word.came_s - word.heard_s)
        for heard in everything
        for word in heard.words
        if window.has(heard, word.heard_s)
    ]
    lags = [1000 * look.lag_s for heard in everything for look in heard.looks if window.has(heard, look.processed_s)]
    uses = watch.figures()
    return {
        "sessions": trial.sessions,
        "sound": trial.sound.name,
        "words": len(words),
        "word_latency_ms": percentiles(words, 1),
        "lag_ms": percentiles(lags, 1),
        "sent_late_ms": percentiles([1000 * late_s for heard in everything for late_s in heard.sent_late_s], 1),
        "cpu_ms_per_stream_s": {name: round(1000 * use["cores"] / trial.sessions, 3) for name, use in uses.items()},
        "cores": {name: use["cores"] for name, use in uses.items()},
        "rss_mib": {name: use["rss_mib"]["last"] for name, use in uses.items()},
        "errors": sorted({heard.error or "not over in time" for heard in everything if not heard.complete}),
    }
