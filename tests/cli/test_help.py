"""Every command explains itself."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run


def test_without_a_command_the_commands_are_listed(run: Run) -> None:
    text = run().output
    for command in ("transcribe", "mic", "serve", "health", "models", "gateway", "codec", "lm"):
        assert f" {command} " in text


@pytest.mark.parametrize("command", ["transcribe", "mic", "serve", "health", "gateway", "codec", "lm"])
def test_help_of_every_command(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: dsm-stt {command} [OPTIONS]" in result.stdout


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    assert run("transcode").exit_code == 2


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").stdout.strip().count(".") == 2
