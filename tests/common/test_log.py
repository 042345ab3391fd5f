from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from services.common.errors import ConfigError
from services.common.log import configure_logging


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_one_json_object_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", "lm")
    structlog.get_logger().info("call", audio_s=1.5, model="tiny", message='two\nlines and "quotes"')
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    logged = json.loads(line)
    timestamp = logged.pop("timestamp")
    assert timestamp.endswith("Z")
    assert logged == {
        "event": "call",
        "service": "lm",
        "level": "info",
        "audio_s": 1.5,
        "model": "tiny",
        "message": 'two\nlines and "quotes"',
    }


def test_an_error_is_logged_whole_and_still_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", "lm")
    try:
        try:
            raise KeyError("the cause")
        except KeyError as error:
            raise RuntimeError("what happened") from error
    except RuntimeError as error:
        structlog.get_logger().error("engine failed", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    traceback = json.loads(line)["exception"]
    assert "KeyError: 'the cause'" in traceback
    assert "RuntimeError: what happened" in traceback
    assert "in test_an_error_is_logged_whole" in traceback


def test_a_value_that_is_no_json_does_not_cost_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json", "lm")
    structlog.get_logger().info("call", sessions={1}, error=ValueError("odd"))
    logged = json.loads(capsys.readouterr().err)
    assert (logged["sessions"], logged["error"]) == ("{1}", "ValueError('odd')")


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_left_out(level: str, events: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level, "json", "lm")
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == events


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console", "gateway")
    structlog.get_logger().info("serving", slots=4)
    err = capsys.readouterr().err
    assert "serving" in err
    assert "slots=4" in err
    # No colours into a file.
    assert "\x1b" not in err


def test_levels_and_formats_that_there_are_not() -> None:
    with pytest.raises(ConfigError, match="log level: wanted debug, info, warning or error, got 'loud'"):
        configure_logging("loud", "json", "lm")
    with pytest.raises(ConfigError, match="log format: wanted one of json, console, got 'xml'"):
        configure_logging("info", "xml", "lm")
