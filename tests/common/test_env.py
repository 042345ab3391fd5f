from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.codec.config import CodecConfig
from services.common.env import from_environment, parse, public_values, setting
from services.common.errors import ConfigError
from services.gateway.config import GatewayConfig
from services.lm.config import LmConfig


@dataclass(frozen=True, kw_only=True)
class Settings:
    model: str = setting("T_MODEL", "Which model")
    slots: int = setting("T_SLOTS", "How many", default=4)
    wait_s: float = setting("T_WAIT_S", "How long", default=1.5)
    verbose: bool = setting("T_VERBOSE", "Say more", default=False)
    folder: Path | None = setting("T_FOLDER", "Where", default=None)
    workers: tuple[str, ...] = setting("T_WORKERS", "Who", default=())
    key: str = setting("T_KEY", "A secret", default="", secret=True)

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ConfigError(f"T_SLOTS: wanted 1 or more, got {self.slots}")


def test_a_config_is_read_from_its_variables() -> None:
    environ = {
        "T_MODEL": " tiny ",
        "T_SLOTS": "8",
        "T_WAIT_S": "0.25",
        "T_VERBOSE": "Yes",
        "T_FOLDER": "/models",
        "T_WORKERS": "a:1, b:2,,",
        "T_KEY": "hush",
        "UNRELATED": "x",
    }
    assert from_environment(Settings, environ) == Settings(
        model="tiny",
        slots=8,
        wait_s=0.25,
        verbose=True,
        folder=Path("/models"),
        workers=("a:1", "b:2"),
        key="hush",
    )


def test_what_is_absent_or_blank_has_its_default() -> None:
    assert from_environment(Settings, {"T_MODEL": "m", "T_SLOTS": "  ", "T_FOLDER": ""}) == Settings(model="m")


def test_flags_have_the_last_word_where_they_are_given() -> None:
    environ = {"T_SLOTS": "not read at all", "T_WAIT_S": "2"}
    overrides = {"model": "flag", "slots": 2, "wait_s": None, "verbose": False}
    assert from_environment(Settings, environ, overrides) == Settings(model="flag", slots=2, wait_s=2.0)


def test_every_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        from_environment(Settings, {"T_SLOTS": "four", "T_WAIT_S": "soon", "T_VERBOSE": "2"})
    assert str(raised.value).split("; ") == [
        "T_MODEL is required: Which model",
        "T_SLOTS: wanted a whole number, got 'four'",
        "T_WAIT_S: wanted a number, got 'soon'",
        "T_VERBOSE: wanted true or false, got '2'",
    ]


def test_what_the_class_itself_refuses_is_refused() -> None:
    with pytest.raises(ConfigError, match="T_SLOTS: wanted 1 or more, got 0"):
        from_environment(Settings, {"T_MODEL": "m", "T_SLOTS": "0"})


@pytest.mark.parametrize("text", ["1", "true", "YES", "on", "0", "False", "no", "OFF"])
def test_booleans(text: str) -> None:
    assert parse(text, bool) is (text.lower() in {"1", "true", "yes", "on"})


@pytest.mark.parametrize("kind", [int, float, float | None])
@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "", "1,5", "0x10", "four"])
def test_what_is_no_number_of_anything_is_refused(text: str, kind: Any) -> None:
    # "nan" and "inf" used to pass, and then every check of a range: DSM_DRAIN_S=nan drained for ever.
    with pytest.raises(ValueError, match="wanted a"):
        parse(text, kind)


def test_secrets_are_masked_and_paths_are_text_where_settings_are_shown() -> None:
    shown = public_values(Settings(model="m", folder=Path("/models"), key="hush"))
    assert shown["key"] == "***"
    assert shown["folder"] == "/models"
    assert shown["slots"] == 4
    assert public_values(Settings(model="m"))["key"] == ""


@pytest.mark.parametrize("config", [CodecConfig, LmConfig, GatewayConfig])
def test_the_services_start_without_any_setting_and_show_nothing_secret(config: type[Any]) -> None:
    shown = public_values(from_environment(config, {}))
    assert {value for name, value in shown.items() if "key" in name or "secret" in name} <= {"***", "", None}
    assert logging.getLevelName(shown["log_level"].upper()) == logging.INFO
