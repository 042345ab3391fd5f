"""No word lost: live sessions while workers are killed, paused, cut off and replaced. `make chaos` calls it.

First every caller says its script undisturbed; then again and again while faults happen, and once more while all
workers are restarted in turn. Every transcript must be the undisturbed one, word for word and time for time.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import results
from benchmarks.faults import inject, plan, restart_in_turn
from benchmarks.live_load import Load, compare, figures
from benchmarks.rig import Rig

_console = Console(stderr=True)


@dataclass(frozen=True)
class Settings:
    """What is run."""

    model: str
    sessions: int
    audio_s: float
    faults: int
    workers: int
    seed: int
    rolling: bool


def main(
    model: Annotated[str, typer.Option(help="Name or folder of a model.")] = "dsm-tiny-en",
    sessions: Annotated[int, typer.Option(help="Live sessions at once.")] = 32,
    audio_s: Annotated[float, typer.Option(help="Mean length of a session, seconds.")] = 60.0,
    faults: Annotated[int, typer.Option(help="How many faults.")] = 60,
    workers: Annotated[int, typer.Option(help="Workers of each kind.")] = 2,
    seed: Annotated[int, typer.Option(help="Of scripts and faults.")] = 1,
    rolling: Annotated[bool, typer.Option(help="Restart all workers in turn at the end.")] = True,
    folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS,
) -> None:
    """Disturb live sessions and compare their transcripts with undisturbed ones."""
    # So that a run that is stopped leaves no process behind, and no stopped one either.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = Settings(model, sessions, audio_s, faults, workers, seed, rolling)
    found = asyncio.run(_run(settings))
    name = "chaos" if faults else "rolling"
    _console.print(f"figures: {results.write(name, settings, found, folder)}")
    phases = [found[phase] for phase in ("chaos", "rolling") if phase in found]
    if any(phase["sessions_different"] or phase["errors"] for phase in (*phases,)) or found["calm"]["errors"]:
        raise typer.Exit(1)


async def _run(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Workers that are left must hold the sessions of those that are not, however long their steps take; callers that
    # come anew meanwhile are part of the load, and what is looked at here is not whether they are let in.
    environment = {"DSM_STEP_BUDGET_S": "0"}
    async with Rig(settings.model, settings.sessions, settings.workers, environment) as rig:
        calm = Load.of(settings.sessions, settings.audio_s, settings.seed)
        _console.print(f"undisturbed: {settings.sessions} sessions in real time …")
        began = _now()
        await calm.run(rig.address)
        found["calm"] = {**figures(calm), **_since(began)}
        _show("undisturbed", found["calm"])
        if found["calm"]["errors"]:
            return found
        if settings.faults:
            disturbed = Load(calm.scripts)
            began = _now()
            happened = await disturbed.run(rig.address, lambda: _disturb(rig, settings))
            found["chaos"] = {**figures(disturbed), **compare(calm, disturbed), **_since(began)}
            found["chaos"]["failovers"] = _failovers(rig)
            found["chaos"]["faults"] = happened
            _show("chaos", found["chaos"])
        if settings.rolling:
            before = sum(1 for _ in rig.log_lines("session moved"))
            restarted = Load(calm.scripts)
            began = _now()
            await restarted.run(rig.address, lambda: restart_in_turn(rig))
            found["rolling"] = {**figures(restarted), **compare(calm, restarted), **_since(began)}
            found["rolling"]["moved"] = sum(1 for _ in rig.log_lines("session moved")) - before
            _show("rolling restart", found["rolling"])
    return found


async def _disturb(rig: Rig, settings: Settings) -> dict[str, Any]:
    chance = random.Random(settings.seed)
    happened: list[dict[str, Any]] = []
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console) as progress:
        task = progress.add_task("faults", total=settings.faults)
        for fault in plan(settings.faults, settings.seed):
            progress.update(task, description=fault.name)
            await asyncio.sleep(fault.wait_s)
            began_s = time.monotonic()
            victims = await inject(rig, fault, chance)
            happened.append({**asdict(fault), "victims": victims, "over_after_s": round(time.monotonic() - began_s, 1)})
            progress.advance(task)
    return {"count": len(happened), "by_kind": _by_kind(happened), "list": happened}


def _by_kind(happened: list[dict[str, Any]]) -> dict[str, int]:
    kinds = [f"{fault['kind']} of {len(fault['victims'])}" for fault in happened]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _failovers(rig: Rig) -> dict[str, Any]:
    moved = list(rig.log_lines("session moved"))
    return {
        "count": len(moved),
        "by_kind": {kind: sum(line["kind"] == kind for line in moved) for kind in ("codec", "LM")},
        "took_s": results.percentiles([line["took_s"] for line in moved]),
    }


def _now() -> tuple[float, os.times_result]:
    return time.monotonic(), os.times()


def _since(began: tuple[float, os.times_result]) -> dict[str, float]:
    return {"wall_s": round(time.monotonic() - began[0], 1), "load": round(os.getloadavg()[0], 2)}


def _show(title: str, found: dict[str, Any]) -> None:
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in found.items():
        if name == "faults":
            table.add_row("faults", str({"count": value["count"], **value["by_kind"]}))
        elif name == "differences":
            for difference in value[:5]:
                table.add_row("difference", str(difference))
        elif name == "errors":
            table.add_row("errors", f"{len(value)} {value[:3]}")
        else:
            table.add_row(name, str(value))
    _console.print(table)


if __name__ == "__main__":
    typer.run(main)
