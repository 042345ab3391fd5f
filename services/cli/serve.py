"""`dsm-stt serve`: the whole service on this machine, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from services.cli.child import ChildDied
from services.cli.console import EXIT_SERVICE, err, fail, note, out
from services.cli.local_stack import LocalStack, StackStartTimeout
from services.cli.stack_view import StackView, show_death

_WATCH_EVERY_S = 0.2


def serve(
    model: Annotated[
        str | None, typer.Option(help="A model's name, a repository (name@revision) or a folder.", metavar="NAME")
    ] = None,
    port: Annotated[int, typer.Option(help="Where the gateway listens on 127.0.0.1; 0 for any free port.")] = 50051,
    codec_port: Annotated[int, typer.Option(help="The first codec worker's; 0 for any free port.")] = 0,
    lm_port: Annotated[int, typer.Option(help="The first LM worker's; 0 for any free port.")] = 0,
    codecs: Annotated[int, typer.Option(min=1, help="Codec workers.")] = 1,
    lms: Annotated[int, typer.Option(min=1, help="LM workers.")] = 1,
    slots: Annotated[int | None, typer.Option(min=1, help="Sessions at once in each worker.")] = None,
    log: Annotated[bool, typer.Option("--log", help="Print the logs of all processes.")] = False,
    log_folder: Annotated[Path | None, typer.Option(help="Write the logs to files in this folder.")] = None,
) -> None:
    """Start a codec, an LM and a gateway on this machine, each a process of its own, on 127.0.0.1.

    Their other settings come from the environment: see the help of [bold]codec[/], [bold]lm[/] and [bold]gateway[/].
    """
    stack = LocalStack(
        model,
        port=port,
        codec_port=codec_port,
        lm_port=lm_port,
        codecs=codecs,
        lms=lms,
        slots=slots,
        log_folder=log_folder,
        environment={"DSM_LOG_FORMAT": "console"} if log else None,
    )
    run_until_stopped(stack, log)


def run_until_stopped(stack: LocalStack, log: bool = False) -> None:
    """Start the stack and keep it until Ctrl-C, SIGTERM or the end of one of its processes, which is an error."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with StackView(keep=True, follow_logs=log) as view:
            stack.on_progress = view
            stack.start()
        stack.on_progress = view.print_logs if log else lambda _stack: None
        out.print(Text.assemble("\nServing on ", (stack.address, "bold cyan")))
        note(f"dsm-stt transcribe FILE --server {stack.address}\nCtrl-C stops.\n")
        while True:
            stack.check()
            if log:
                view.print_logs(stack)
            time.sleep(_WATCH_EVERY_S)
    except KeyboardInterrupt:
        err.print("\nStopping; sessions may end. Ctrl-C again stops at once.", style="dim")
    except ChildDied as died:
        show_death(died)
        raise typer.Exit(died.exit_code or EXIT_SERVICE) from None
    except StackStartTimeout as timeout:
        fail(str(timeout), "Loading a large model can take minutes: see --log.", EXIT_SERVICE)
    finally:
        stack.stop()
