"""LM workers from 1 to 3 under live load, as containers: `make scaling` calls it.

Every caller says its script once with one worker, then again and again while `docker compose up --scale lm=2`, then 3,
add workers; gateway and codec are not touched. Sessions stay where they are and new ones spread. Every transcript must
be the first one. Who was where comes from the gateway's log, a line a call.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.containers import ComposeStack, Container, docker, log_lines
from benchmarks.live_load import Load, compare, figures

_console = Console(stderr=True)
_WORKERS = (1, 2, 3)


@dataclass(frozen=True)
class Settings:
    """What is run."""

    sessions: int
    audio_s: float
    slots: int
    hold_s: float
    seed: int


@dataclass(frozen=True)
class Span:
    """One session: where its LM was, and when, in seconds since the epoch."""

    worker: str
    began_s: float
    ended_s: float


def main(
    sessions: Annotated[int, typer.Option(help="Live sessions at once.")] = 12,
    audio_s: Annotated[float, typer.Option(help="Mean length of a session, seconds.")] = 20.0,
    slots: Annotated[int, typer.Option(help="Slots of each LM worker.")] = 16,
    hold_s: Annotated[float, typer.Option(help="How long each number of workers is kept, seconds.")] = 50.0,
    seed: Annotated[int, typer.Option(help="Of scripts.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS,
) -> None:
    """Add LM containers under live load and count where sessions go."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(sessions, audio_s, slots, hold_s, seed)
    # Where sessions go is asked here, not how many a machine can bear: no worker refuses one because steps are slow.
    environment = {"DSM_LM_SLOTS": str(slots), "DSM_CODEC_SLOTS": str(2 * sessions), "DSM_STEP_BUDGET_S": "0"}
    with ComposeStack("dsm-stt-scaling", environment) as stack:
        found = asyncio.run(_run(stack, settings))
    _show(found)
    _console.print(f"figures: {results.write('scaling', settings, found, folder)}")
    load = found["load"]
    if load["errors"] or load["sessions_different"] or found["untouched"] != ["codec", "gateway"]:
        raise typer.Exit(1)


async def _run(stack: ComposeStack, settings: Settings) -> dict[str, Any]:
    _console.print("starting the stack with one LM worker …")
    started_s = {1: await asyncio.to_thread(stack.up)}
    _console.print(f"undisturbed: {settings.sessions} sessions in real time …")
    calm = Load.of(settings.sessions, settings.audio_s, settings.seed)
    await calm.run(stack.address)
    before = _fixed(stack)
    phases: list[tuple[int, float, float]] = []

    async def grow() -> None:
        for count in _WORKERS:
            if count > 1:
                _console.print(f"{count} LM workers …")
                started_s[count] = await asyncio.to_thread(stack.up, lms=count)
            began_s = time.time()
            await asyncio.sleep(settings.hold_s)
            phases.append((count, began_s, time.time()))

    load = Load(calm.scripts)
    await load.run(stack.address, grow)
    workers = {_address(worker): worker for worker in stack.containers("lm")}
    spans = _spans(stack, {address: worker.name for address, worker in workers.items()})
    after = _fixed(stack)
    return {
        "calm": figures(calm),
        "load": {**figures(load), **compare(calm, load)},
        "up_took_s": started_s,
        "untouched": sorted(name for name in before if before[name] == after.get(name)),
        "phases": [_phase(spans, workers.values(), *phase) for phase in phases],
        "sessions_by_second": _by_second(spans, phases[0][1], phases[-1][2]),
        "starts": [_start(stack, address, worker, spans) for address, worker in workers.items()],
    }


def _fixed(stack: ComposeStack) -> dict[str, list[tuple[str, str]]]:
    """Return which containers of gateway and codec run, and since when."""
    return {
        service: [(found.id, found.details["State"]["StartedAt"]) for found in stack.containers(service)]
        for service in ("gateway", "codec")
    }


def _address(worker: Container) -> str:
    (network,) = worker.details["NetworkSettings"]["Networks"].values()
    return f"{network['IPAddress']}:50062"


def _spans(stack: ComposeStack, names: dict[str, str]) -> list[Span]:
    spans = []
    for line in stack.log_lines("gateway", "call"):
        if line.get("lm") in names:
            ended_s = _epoch_s(line["timestamp"])
            spans.append(Span(names[line["lm"]], ended_s - line["duration_s"], ended_s))
    return spans


def _phase(
    spans: Sequence[Span], workers: Iterable[Container], count: int, began_s: float, ended_s: float
) -> dict[str, Any]:
    started = Counter(span.worker for span in spans if began_s <= span.began_s < ended_s)
    at_end = _at(spans, ended_s)
    names = sorted(worker.name for worker in workers)[:count]
    return {
        "workers": count,
        "lasted_s": round(ended_s - began_s, 1),
        "sessions_started": {name: started[name] for name in names},
        "sessions_at_end": {name: at_end[name] for name in names},
    }


def _at(spans: Sequence[Span], moment_s: float) -> Counter[str]:
    return Counter(span.worker for span in spans if span.began_s <= moment_s < span.ended_s)


def _by_second(spans: Sequence[Span], began_s: float, ended_s: float) -> dict[str, list[int]]:
    moments = [began_s + second for second in range(round(ended_s - began_s))]
    return {
        worker: [_at(spans, moment_s)[worker] for moment_s in moments]
        for worker in sorted({span.worker for span in spans})
    }


def _start(stack: ComposeStack, address: str, worker: Container, spans: Sequence[Span]) -> dict[str, Any]:
    """Return how long a worker took from the start of its container to each step."""
    began_s = _epoch_s(worker.details["State"]["StartedAt"])
    own = docker("logs", worker.id, errors_too=True)
    connected = [line for line in stack.log_lines("gateway", "worker connected") if line["target"] == address]
    moments = {
        "listening": next(log_lines(own, "listening"))["timestamp"],
        "serving": next(log_lines(own, "serving"))["timestamp"],
        "known_to_the_gateway": connected[0]["timestamp"],
    }
    after_s = {name: round(_epoch_s(moment) - began_s, 1) for name, moment in moments.items()}
    first_s = min((span.began_s for span in spans if span.worker == worker.name), default=None)
    return {"worker": worker.name, **after_s, "first_session": first_s and round(first_s - began_s, 1)}


def _epoch_s(text: str) -> float:
    """Read a time as Docker (nanoseconds) and our logs (microseconds) write it."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6] or '0':0<6}+00:00").timestamp()


def _show(found: dict[str, Any]) -> None:
    table = Table("LM workers", "up took", "sessions started", "sessions at the end", title="scaling")
    for phase in found["phases"]:
        columns = [" ".join(map(str, phase[key].values())) for key in ("sessions_started", "sessions_at_end")]
        table.add_row(str(phase["workers"]), f"{found['up_took_s'][phase['workers']]} s", *columns)
    _console.print(table)
    for start in found["starts"]:
        _console.print(start)
    shown = ("sessions", "words", "errors", "lag_s", "sessions_compared", "sessions_different", "differences")
    _console.print({key: found["load"][key] for key in shown})


if __name__ == "__main__":
    typer.run(main)
