"""Live callers against all three services: how late, how much processor time, how many. `make bench-load` calls it.

1. Real engines on the embedded model, every service a process of its own. The number of callers is doubled until the
   lag is too long, then halved in between (`search.py`); the largest that keeps up is tried once more, for longer.
2. The same with 64 callers, whether that is too many or not.
3. The gateway alone: 64 callers of several kinds, and workers whose engines compute nothing (`fake_worker.py`), so that
   the gateway's use of the machine is that of 64 sessions that are kept up with; and beside it the floor: a gateway
   that receives the same and does nothing with it (`bare_gateway.py`).

What is measured in each trial, and how, says `trial.py`. The callers share the machine with the services; what they
used is in the figures as `callers`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import results, trial
from benchmarks.plot import plot_load
from benchmarks.scripts import Sound
from benchmarks.search import largest
from benchmarks.trial import Trial
from services.cli.local_stack import MODULES, LocalStack

_console = Console(stderr=True)
# The bars of the project.
LAG_BAR_MS = 200.0
GATEWAY_SESSIONS = 64
GATEWAY_BAR_MS = 1.5
_FIRST = 8
# Larger numbers than the one that keeps up in a short trial, but not in a long one, are given up one after another.
_LONG_TRIALS = 2
_FAKES = {**MODULES, "codec": "benchmarks.fake_worker", "lm": "benchmarks.fake_worker"}
_BARE = {**_FAKES, "gateway": "benchmarks.bare_gateway"}
_SOUNDS = (
    Sound(),
    Sound(message_ms=20),
    Sound(rate_hz=24_000),
    Sound(rate_hz=48_000, message_ms=20),
    Sound(vad=True),
)


@dataclass(frozen=True)
class Settings:
    """What is run. trial_s, long_s: of each caller's audio that counts, in a trial and in the last one."""

    model: str
    trial_s: float
    long_s: float
    most: int
    seed: int


def main(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "dsm-tiny-en",
    trial_s: Annotated[float, typer.Option(help="Audio of each caller that counts in a trial, seconds.")] = 15.0,
    long_s: Annotated[float, typer.Option(help="The same, in the trial of the largest number.")] = 45.0,
    most: Annotated[int, typer.Option(help="Try no more sessions than this; slots of each worker.")] = 128,
    seed: Annotated[int, typer.Option(help="Of what the callers say.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS,
) -> None:
    """Measure word latency, lag, processor time and memory against the number of live callers."""
    # So that a run that is stopped leaves no process behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(model, trial_s, long_s, most, seed)
    with LocalStack(model, slots=max(most, GATEWAY_SESSIONS)) as stack:
        found = asyncio.run(_embedded(_Tried(stack, settings)))
    with LocalStack(slots=GATEWAY_SESSIONS, modules=_FAKES) as stack:
        found |= asyncio.run(_gateway(_Tried(stack, settings)))
    with LocalStack(slots=1, modules=_BARE) as stack:
        found["gateway_floor"] = asyncio.run(_Tried(stack, settings).attempt(GATEWAY_SESSIONS, trial_s))
    file = results.write("load", settings, found, folder)
    plot_load(found, file.with_suffix(".svg"))
    _console.print(f"figures: {file}")


class _Tried:
    """A stack, and every trial that it was put to."""

    def __init__(self, stack: LocalStack, settings: Settings) -> None:
        self._stack = stack
        self.settings = settings
        self.trials: list[dict[str, Any]] = []

    async def attempt(self, sessions: int, audio_s: float, sound: Sound | None = None) -> dict[str, Any]:
        """Run a trial and show it."""
        processes = {child.name: child.pid for child in self._stack.children}
        tried = Trial(sessions, audio_s, sound or Sound(), self.settings.seed)
        found = await trial.run(tried, self._stack.address, processes)
        self._stack.check()
        found["keeps_up"] = not found["errors"] and found["lag_ms"]["p99"] < LAG_BAR_MS
        self.trials.append(found)
        _show(found)
        return found


async def _embedded(tried: _Tried) -> dict[str, Any]:
    settings = tried.settings

    async def keeps_up(sessions: int) -> bool:
        return bool((await tried.attempt(sessions, settings.trial_s))["keeps_up"])

    await largest(keeps_up, _FIRST, settings.most)
    good = sorted((found["sessions"] for found in tried.trials if found["keeps_up"]), reverse=True)
    best: dict[str, Any] | None = None
    for sessions in good[:_LONG_TRIALS]:
        found = await tried.attempt(sessions, settings.long_s)
        if found["keeps_up"]:
            best = found
            break
    at_64 = await tried.attempt(GATEWAY_SESSIONS, settings.trial_s)
    return {"lag_bar_ms": LAG_BAR_MS, "largest": best, "at_64": at_64, "trials": tried.trials}


async def _gateway(tried: _Tried) -> dict[str, Any]:
    for sound in _SOUNDS:
        await tried.attempt(GATEWAY_SESSIONS, tried.settings.trial_s, sound)
    return {"gateway_bar_cpu_ms": GATEWAY_BAR_MS, "gateway": tried.trials}


def _show(found: Mapping[str, Any]) -> None:
    late, lag, cpu = found["word_latency_ms"], found["lag_ms"], found["cpu_ms_per_stream_s"]
    used = ", ".join(f"{name} {ms:.2f}" for name, ms in cpu.items())
    _console.print(
        f"{found['sessions']:4} sessions, {found['sound']}: word latency {late['p50']:.0f} / {late['p95']:.0f} / "
        f"{late['p99']:.0f} ms, lag {lag['p50']:.0f} / {lag['p95']:.0f} / {lag['p99']:.0f} ms (p50 / p95 / p99), "
        f"CPU ms per stream-second: {used}{'' if found['keeps_up'] else '  [does not keep up]'}"
        f"{'  ' + str(found['errors'][:2]) if found['errors'] else ''}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
