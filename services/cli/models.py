"""`dsm-stt models`: which models there are, fetching one, and checking that one is whole."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from services.cli.console import EXIT_SERVICE, fail, note, out
from services.common.checkpoint import ALL_PARTS, Part
from services.common.checkpoint_check import verify as run_checks
from services.common.errors import CheckpointError
from services.common.framing import FRAME_S
from services.common.registry import KNOWN_MODELS, KnownModel, in_reach, locate

app = typer.Typer(help="List, fetch and check models.", no_args_is_help=True)

Spec = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A model's name, a repository on the hub (both with an optional @revision), or a folder.",
    ),
]
Parts = Annotated[
    list[Part] | None,
    typer.Option("--part", help="Only what one service needs; give it twice for both. Default: everything."),
]


@app.command("list")
def list_models() -> None:
    """List the known models and where they are."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "languages", "delay", "pause heads", "here"):
        table.add_column(heading, no_wrap=True)
    table.add_column("where", overflow="fold")
    for model in KNOWN_MODELS.values():
        table.add_row(model.name, *_row(model))
    out.print(table)


@app.command()
def pull(name: Spec, part: Parts = None) -> None:
    """Fetch a model into the hub's cache, its newest commit unless NAME has a revision, and check it."""
    _check(name, part, refresh=True)


@app.command()
def verify(name: Spec, part: Parts = None) -> None:
    """Check that a model is whole and that its parts fit; what is not on this machine is fetched."""
    _check(name, part, refresh=False)


def _check(name: str, part: list[Part] | None, *, refresh: bool) -> None:
    parts = frozenset(part) if part else ALL_PARTS
    try:
        checkpoint = locate(name, parts, refresh=refresh)
        out.print(f"{checkpoint.name} from {checkpoint.origin}", markup=False, soft_wrap=True)
        for line in run_checks(checkpoint, parts):
            out.print(f"  [green]✓[/green] {line}", soft_wrap=True)
    except CheckpointError as error:
        fail(str(error), code=EXIT_SERVICE)
    if not checkpoint.trained:
        note("These weights are random and never saw speech: good for tests and benchmarks, not for transcripts.")


def _row(model: KnownModel) -> tuple[str, str, str, str, str]:
    languages = ", ".join(model.facts.language_codes)
    delay_frames, heads = model.facts.delay_frames, model.pause_heads
    where = next(iter(model.repositories)) if model.repositories else "comes with the code"
    try:
        found = in_reach(model)
        if found and model.folders:
            checkpoint = locate(model.name, frozenset())
            delay_frames, heads = checkpoint.delay_frames, checkpoint.pause_heads
            state = "yes" if checkpoint.trained else "yes, untrained"
        else:
            state = "yes" if found else "no"
        where = found or where
    except CheckpointError as error:
        state, where = "broken", str(error)
    delay = "?" if delay_frames is None else f"{delay_frames * FRAME_S:.2f} s"
    return languages, delay, "?" if heads is None else str(heads), state, where
