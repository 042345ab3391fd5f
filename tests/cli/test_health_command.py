"""`dsm-stt health`, and the program that the images' health checks run."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.cli.conftest import Run
from tests.fakes.health import FakeHealth
from tests.security.certificates import Authority

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def loading() -> Iterator[FakeHealth]:
    with FakeHealth({"": False, "liveness": True}) as service:
        yield service


def test_a_service_that_serves_is_healthy(run: Run) -> None:
    with FakeHealth({"": True}) as service:
        result = run("health", service.address)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "SERVING\n", "")


def test_one_that_loads_is_not_but_needs_no_restart_either(run: Run, loading: FakeHealth) -> None:
    result = run("health", loading.address)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"error: {loading.address}: NOT_SERVING" in result.stderr
    assert run("health", loading.address, "--service", "liveness").exit_code == 0


def test_a_name_that_it_does_not_know_is_told_from_no_answer(run: Run, loading: FakeHealth) -> None:
    result = run("health", loading.address, "--service", "nobody")
    assert result.exit_code == 1
    assert "SERVICE_UNKNOWN" in result.stderr


def test_nobody_there_is_not_healthy(run: Run, nobody: str) -> None:
    result = run("health", nobody)
    assert result.exit_code == 1
    assert f"{nobody}: UNAVAILABLE" in result.stderr


def test_one_that_does_not_answer_is_not_healthy(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = run("health", f"127.0.0.1:{silent.getsockname()[1]}", "--timeout-s", "0.2")
    assert result.exit_code == 1
    assert "DEADLINE_EXCEEDED" in result.stderr


def test_tls_is_spoken_with_the_ca_that_is_named(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ours")
    files = authority.issue("public")
    credentials = grpc.ssl_server_credentials([(files.key.read_bytes(), files.cert.read_bytes())])
    with FakeHealth({"": True}, credentials) as service:
        assert run("health", service.address, "--ca-file", authority.ca_file).exit_code == 0
        assert run("health", service.address).exit_code == 1


@pytest.mark.parametrize("arguments", [(), ("a", "b", "c")])
def test_the_program_wants_an_address(arguments: tuple[str, ...]) -> None:
    result = program(*arguments)
    assert result.returncode == 1
    assert result.stderr == f"wanted HOST:PORT [NAME], got {len(arguments)} arguments\n"


def test_the_program_says_by_its_exit_code_whether_calls_may_come(loading: FakeHealth, nobody: str) -> None:
    assert program(loading.address, "liveness").returncode == 0
    assert program(loading.address).stderr == f"{loading.address}: NOT_SERVING\n"
    result = program(nobody)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{nobody}: UNAVAILABLE")


def test_the_program_loads_neither_the_command_line_nor_a_model(loading: FakeHealth) -> None:
    code = f"import sys, services.common.health_probe as p; p.main([{loading.address!r}]); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    assert not {"typer", "torch", "numpy"} & set(loaded.stdout.split())


@pytest.fixture
def nobody() -> str:
    """An address that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.common.health_probe", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
