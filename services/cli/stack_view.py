"""What a person sees while the local stack starts, runs and stops: a line a process, and their logs if asked for."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Self

from rich.console import RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from services.cli.child import Child, ChildDied, State
from services.cli.console import err, show_error
from services.cli.local_stack import LocalStack

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue")


class StackView:
    """Pass it to LocalStack as on_progress, inside a `with`; without a terminal it prints a line a change."""

    def __init__(self, keep: bool, follow_logs: bool = False) -> None:
        """keep: leave the table on the screen when done."""
        self._keep = keep
        self._follow_logs = follow_logs
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")
        self._states: dict[str, State] = {}
        self._read_bytes: dict[str, int] = {}

    def __call__(self, stack: LocalStack) -> None:
        """Show how far the children are."""
        if self._follow_logs:
            self.print_logs(stack)
        if self._live is not None:
            self._live.update(self._table(stack.children), refresh=True)
            return
        for child in stack.children:
            if self._states.get(child.name) != child.state:
                self._states[child.name] = child.state
                err.print(f"{child.name}: {child.state} {child.address or ''}".rstrip(), markup=False)

    def print_logs(self, stack: LocalStack) -> None:
        """Print what the children have logged since the last time, each line with its process's name before it."""
        for index, child in enumerate(stack.children):
            with child.log_file.open("rb") as log:
                log.seek(self._read_bytes.get(child.name, 0))
                text = log.read()
            complete = text[: text.rfind(b"\n") + 1]
            self._read_bytes[child.name] = self._read_bytes.get(child.name, 0) + len(complete)
            for line in complete.decode(errors="replace").splitlines():
                err.print(
                    Text.assemble((f"{child.name:9}", _COLOURS[index % len(_COLOURS)]), ("│ ", "dim"), line),
                    soft_wrap=True,
                )

    def _table(self, children: list[Child]) -> Table:
        table = Table.grid(padding=(0, 2))
        for child in children:
            mark: RenderableType
            if child.state is State.SERVING:
                mark, detail = Text("✓", style="green"), Text(f"{child.serving_after_s:.1f} s", style="dim")
            elif child.state is State.ENDED:
                mark, detail = Text("✗", style="red"), Text("ended", style="red")
            else:
                waited_s = time.monotonic() - child.started_s
                mark, detail = (
                    self._spinner.render(time.monotonic()),
                    Text(f"{child.state} {waited_s:.0f} s", style="dim"),
                )
            table.add_row(" ", mark, Text(child.name, style="bold"), Text(child.address or "", style="cyan"), detail)
        return table

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._live = Live(console=err, auto_refresh=False, transient=not self._keep)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def show_death(error: ChildDied) -> None:
    """Say which process ended, and the last it had to say."""
    for line in error.last_lines:
        err.print(Text.assemble(("  │ ", "dim"), (_readable(line), "dim")), soft_wrap=True)
    show_error(str(error))


def _readable(line: str) -> str:
    """Shorten a JSON log line for people; other lines stay as they are."""
    try:
        record = json.loads(line)
    except ValueError:
        return line
    if not isinstance(record, dict):
        return line
    return str(record.get("exception") or record.get("event") or line)
