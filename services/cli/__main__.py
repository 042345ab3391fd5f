"""`dsm-stt`: run the services, transcribe recordings and the microphone, look after models."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from services.cli import keys, models
from services.cli.health import health
from services.cli.mic import mic
from services.cli.options import service_command
from services.cli.serve import serve
from services.cli.transcribe import transcribe
from services.codec.config import CodecConfig
from services.gateway.config import GatewayConfig
from services.lm.config import LmConfig

app = typer.Typer(
    name="dsm-stt",
    help="Streaming speech to text over gRPC, on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_USE = "Use it"
_RUN = "Run one service, settings from flags or the environment"


def _codec() -> Callable[[CodecConfig], int]:
    from services.codec.serve import run  # noqa: PLC0415  # not before the settings are known to be good

    return run


def _lm() -> Callable[[LmConfig], int]:
    from services.lm.serve import run  # noqa: PLC0415

    return run


def _gateway() -> Callable[[GatewayConfig], int]:
    from services.gateway.serve import run  # noqa: PLC0415

    return run


app.command(rich_help_panel=_USE)(transcribe)
app.command(rich_help_panel=_USE)(mic)
app.command(rich_help_panel=_USE)(serve)
app.command(rich_help_panel=_USE)(health)
app.add_typer(models.app, name="models", rich_help_panel=_USE)
app.add_typer(keys.app, name="keys", rich_help_panel=_USE)
app.command("gateway", rich_help_panel=_RUN)(
    service_command(GatewayConfig, _gateway, "Run a gateway: the public API, in front of codec and LM workers.")
)
app.command("codec", rich_help_panel=_RUN)(
    service_command(CodecConfig, _codec, "Run a codec worker: audio in, Mimi codes out.")
)
app.command("lm", rich_help_panel=_RUN)(service_command(LmConfig, _lm, "Run an LM worker: codes in, timed words out."))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(version("dsm-stt"))
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


def main() -> None:
    """Run the command line; `dsm-stt` in pyproject.toml."""
    app()


if __name__ == "__main__":
    main()
