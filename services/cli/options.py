"""Flags of a service's command, made from the fields of its config, so that the two cannot differ."""

from __future__ import annotations

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape

from services.cli.console import EXIT_SERVICE, fail
from services.common import env
from services.common.errors import ConfigError, DsmError

ConfigT = TypeVar("ConfigT")
Run = Callable[[ConfigT], int]


def service_command(
    config_class: type[ConfigT], load_run: Callable[[], Run[ConfigT]], summary: str
) -> Callable[..., None]:
    """Make a function that typer turns into a command with one flag a setting.

    A flag has precedence over its environment variable. load_run: imports and returns the service's `run(config)`,
    whose result is the exit code; not called before the settings are known to be good, since it may import torch.
    """

    def command(**flags: str | None) -> None:
        try:
            config = env.from_environment(config_class, os.environ, _parsed(config_class, flags))
        except ConfigError as error:
            fail(str(error), "Each setting has an environment variable and a flag: see --help.")
        try:
            code = load_run()(config)
        except DsmError as error:
            fail(str(error), code=EXIT_SERVICE)
        raise typer.Exit(code)

    hints = typing.get_type_hints(config_class)
    fields = [field for field in dataclasses.fields(config_class) if not field.metadata["secret"]]  # type: ignore[arg-type]
    # What is particular to the service first, what it shares with others after.
    fields.sort(key=lambda field: field.name not in config_class.__annotations__)
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_parameter(field, hints[field.name]) for field in fields]
    )
    command.__doc__ = summary + _secrets_note(config_class)
    return command


def _parameter(field: dataclasses.Field[Any], kind: Any) -> inspect.Parameter:
    option = typer.Option(
        "--" + field.name.replace("_", "-"),
        help=f"{escape(field.metadata['help'])} [dim]{escape(_origin(field))}[/dim]",
        metavar=_metavar(kind),
        show_default=False,
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, option]
    )


def _origin(field: dataclasses.Field[Any]) -> str:
    if field.default is dataclasses.MISSING:
        return f"[{field.metadata['env']}; required]"
    default = field.default
    if isinstance(default, tuple):
        default = ",".join(default)
    if default in (None, ""):
        return f"[{field.metadata['env']}]"
    if isinstance(default, bool):
        default = "on" if default else "off"
    return f"[{field.metadata['env']}; default {default}]"


def _parsed(config_class: type[Any], flags: dict[str, str | None]) -> dict[str, Any]:
    """Read flags as the environment is read. Raises ConfigError naming every flag that cannot be."""
    hints = typing.get_type_hints(config_class)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in flags.items():
        try:
            values[name] = None if value is None else env.parse(value, hints[name])
        except ValueError as error:
            problems.append(f"--{name.replace('_', '-')}: {error}")
    if problems:
        raise ConfigError("; ".join(problems))
    return values


def _metavar(kind: Any) -> str:
    kind = _without_none(kind)
    if typing.get_origin(kind) is tuple:
        return "A,B,…"
    return {int: "INTEGER", float: "NUMBER", bool: "on|off", Path: "PATH"}.get(kind, "TEXT")


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(option for option in typing.get_args(kind) if option is not type(None))
    return kind


def _secrets_note(config_class: type[Any]) -> str:
    secrets = [field for field in dataclasses.fields(config_class) if field.metadata["secret"]]
    if not secrets:
        return ""
    lines = "\n\n".join(f"{field.metadata['env']}: {escape(field.metadata['help'])}" for field in secrets)
    return f"\n\nOnly from the environment, since everybody on a machine can read the flags of a process:\n\n{lines}"
