"""The two terminals of every command: results go to `out`, and whatever is only for people watching to `err`."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

EXIT_SERVICE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def note(message: str) -> None:
    """Tell something that is good to know."""
    err.print(Text(message, style="dim"), soft_wrap=True)


def warn(message: str) -> None:
    """Tell something that should not be overlooked."""
    err.print(Text.assemble(("warning: ", "bold yellow"), message), soft_wrap=True)


def show_error(message: str, hint: str = "") -> None:
    """Say what went wrong and what to do about it."""
    err.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)
    if hint:
        err.print(Text.assemble(("  → ", "cyan"), hint), soft_wrap=True)


def fail(message: str, hint: str = "", code: int = EXIT_USAGE) -> NoReturn:
    """End the command."""
    show_error(message, hint)
    raise typer.Exit(code)
