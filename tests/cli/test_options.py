"""Flags made from the settings of a service."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from services.cli.options import service_command
from services.codec.config import CodecConfig
from services.common.env import setting
from services.common.errors import CheckpointError, ConfigError
from services.gateway.config import GatewayConfig
from services.lm.config import LmConfig
from tests.cli.conftest import Run


@dataclass(frozen=True)
class Settings:
    host: str = setting("T_HOST", "Where to listen [really]")
    slots: int = setting("T_SLOTS", "Rows", default=4)
    ratio: float | None = setting("T_RATIO", "A share", default=None)
    names: tuple[str, ...] = setting("T_NAMES", "Who", default=("a", "b"))
    folder: Path = setting("T_FOLDER", "Where", default=Path("x"))
    loud: bool = setting("T_LOUD", "Shout", default=False)
    key: str = setting("T_KEY", "Opens the door", default="", secret=True)

    def __post_init__(self) -> None:
        if self.slots > 99:
            raise ConfigError("T_SLOTS: wanted at most 99")


Invoke = Callable[..., Result]


@pytest.fixture
def seen() -> list[Settings]:
    return []


@pytest.fixture
def invoke(seen: list[Settings]) -> Invoke:
    def run(settings: Settings) -> int:
        seen.append(settings)
        if settings.host == "broken":
            raise CheckpointError("no such model")
        return 3

    app = typer.Typer(rich_markup_mode="rich")
    app.command()(service_command(Settings, lambda: run, "Run it."))

    def run_app(*arguments: str, **environment: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", **environment})

    return run_app


def test_flags_have_precedence_over_the_environment_and_the_exit_code_is_the_services(
    invoke: Invoke, seen: list[Settings]
) -> None:
    result = invoke("--slots", "8", "--names", "c, d", "--loud", "on", T_HOST="h", T_SLOTS="2", T_RATIO="0.5")
    assert result.exit_code == 3
    assert seen == [Settings(host="h", slots=8, ratio=0.5, names=("c", "d"), loud=True)]


def test_help_shows_variable_default_and_what_is_required(invoke: Invoke) -> None:
    text = invoke("--help").stdout
    for piece in (
        "Where to listen [really] [T_HOST; required]",
        "Rows [T_SLOTS; default 4]",
        "A share [T_RATIO]",
        "Who [T_NAMES; default a,b]",
        "Shout [T_LOUD; default off]",
        "on|off",
    ):
        assert piece in text


def test_a_secret_has_no_flag(invoke: Invoke) -> None:
    text = invoke("--help").stdout
    assert "--key" not in text
    assert "T_KEY: Opens the door" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--slots", "many"), "--slots: wanted a whole number, got 'many'"),
        (("--slots", "x", "--ratio", "y"), "--ratio: wanted a number, got 'y'"),
        (("--loud", "maybe"), "--loud: wanted true or false, got 'maybe'"),
        (("--slots", "100"), "T_SLOTS: wanted at most 99"),
    ],
)
def test_a_wrong_setting_is_wrong_usage(
    invoke: Invoke, seen: list[Settings], arguments: tuple[str], message: str
) -> None:
    result = invoke(*arguments, T_HOST="h")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not seen


def test_a_missing_setting_is_named(invoke: Invoke) -> None:
    result = invoke()
    assert result.exit_code == 2
    assert "T_HOST is required: Where to listen" in result.stderr


def test_a_service_that_cannot_start_says_why(invoke: Invoke) -> None:
    result = invoke("--host", "broken")
    assert (result.exit_code, result.stderr) == (1, "error: no such model\n")


@pytest.mark.parametrize(
    ("command", "config_class"), [("gateway", GatewayConfig), ("codec", CodecConfig), ("lm", LmConfig)]
)
def test_every_setting_of_a_service_is_in_its_help(run: Run, command: str, config_class: type) -> None:
    text = run(command, "--help").stdout
    for field in dataclasses.fields(config_class):
        assert field.metadata["env"] in text
        assert field.metadata["secret"] or f"--{field.name.replace('_', '-')} " in text
