"""Settings of a process: a frozen dataclass a service, filled once from the environment and from flags.

A field made with `setting` knows its environment variable and its help line; `from_environment` fills a whole
dataclass and names every wrong value at once, and the command line makes its flags from the same fields. Only the
config modules of the services and the command line call this.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from services.common.errors import ConfigError

ConfigT = TypeVar("ConfigT")

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


def setting(variable: str, help_text: str, *, default: Any = dataclasses.MISSING, secret: bool = False) -> Any:
    """Declare a dataclass field read from an environment variable; a secret is masked when settings are logged."""
    return dataclasses.field(default=default, metadata={"env": variable, "help": help_text, "secret": secret})


def from_environment(
    cls: type[ConfigT], environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> ConfigT:
    """Build a config from environment variables, flags having the last word.

    environ: usually os.environ. overrides: field name to value; None means not given.
    Raises ConfigError naming every variable that is missing or cannot be read, and whatever the class's own
    __post_init__ refuses.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        variable = field.metadata["env"]
        if field.name in given:
            values[field.name] = given[field.name]
        elif environ.get(variable, "").strip():
            try:
                values[field.name] = parse(environ[variable].strip(), hints[field.name])
            except ValueError as error:
                problems.append(f"{variable}: {error}")
        elif field.default is dataclasses.MISSING:
            problems.append(f"{variable} is required: {field.metadata['help']}")
    if problems:
        raise ConfigError("; ".join(problems))
    return cls(**values)


def parse(text: str, kind: Any) -> Any:
    """Read one value: str, int, float, bool, Path, a tuple of str separated by commas, or an optional one of these.

    Raises ValueError saying what was wanted.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is tuple:
        return tuple(item.strip() for item in text.split(",") if item.strip())
    if kind is bool:
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise ValueError(f"wanted true or false, got {text!r}")
    if kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            number = math.nan
        # No setting means anything as "nan" or "inf", and comparisons would let them through.
        if not math.isfinite(number):
            raise ValueError(f"wanted {'a whole number' if kind is int else 'a number'}, got {text!r}")
        return number
    return Path(text) if kind is Path else text


def public_values(config: Any) -> dict[str, Any]:
    """Return the settings for a log line, secrets masked."""
    return {
        field.name: "***"
        if field.metadata["secret"] and getattr(config, field.name)
        else _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
