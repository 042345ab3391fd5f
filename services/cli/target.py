"""Which service a command talks to: the one at --server, or a local stack for as long as the command runs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from services.cli.child import ChildDied
from services.cli.console import EXIT_INTERRUPTED, EXIT_SERVICE, fail, note
from services.cli.failure import CallFailed
from services.cli.local_stack import LocalStack, StackStartTimeout
from services.cli.stack_view import StackView, show_death


@contextmanager
def service_address(server: str | None, model: str | None) -> Iterator[str]:
    """Yield host:port of a gateway. Ends the command, with a message, when the service fails or Ctrl-C is pressed."""
    try:
        if server is not None:
            yield server
        else:
            yield from _local_address(model)
    except CallFailed as failure:
        fail(str(failure), failure.next_step, EXIT_SERVICE)
    except ChildDied as died:
        show_death(died)
        raise typer.Exit(EXIT_SERVICE) from None
    except StackStartTimeout as timeout:
        fail(
            str(timeout),
            "Loading a large model can take minutes: dsm-stt serve --log shows what it does.",
            EXIT_SERVICE,
        )
    except KeyboardInterrupt:
        note("stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _local_address(model: str | None) -> Iterator[str]:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    note(f"No --server given: starting the services on this machine{f', model {model}' if model else ''}")
    stack = LocalStack(model)
    try:
        with StackView(keep=False) as view:
            stack.on_progress = view
            stack.start()
        stack.on_progress = lambda _stack: None
        yield stack.address
    except CallFailed:
        # If a process has ended, that explains it better.
        stack.check()
        raise
    finally:
        stack.stop()


def asked_for(server: str | None, model: str | None) -> str | None:
    """Return the model to name in requests: a local stack serves just one, whatever --model called it."""
    return model if server is not None else None


def file_paths(paths: list[Path]) -> None:
    """End the command if one of the files is not there."""
    for path in paths:
        if not path.is_file():
            fail(f"{path} is {'a folder' if path.is_dir() else 'not there'}", "Name recordings, e.g. speech.wav.")
