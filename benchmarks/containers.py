"""The compose stack, driven as an operator drives it: for the tests of the images and for benchmarks.

    with ComposeStack("dsm-stt-test") as stack:
        stack.up(lms=3)

DOCKER_HOST says which daemon, DSM_STT_TAG which images; they must be there (`make images`).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.results import ROOT

COMPOSE_FILE = ROOT / "deploy" / "docker" / "compose.yaml"
SERVICES = ("gateway", "codec", "lm")
# Models that load while others use the cores.
_START_TIMEOUT_S = 300


class DockerFailed(Exception):
    """A command of docker's failed; the text says which and why."""


@dataclass(frozen=True)
class Container:
    """One container as `docker inspect` showed it."""

    id: str
    name: str
    running: bool
    exit_code: int
    pid: int
    restarts: int
    details: Mapping[str, Any]


class ComposeStack:
    """The stack under a name and on a port of its own; gone after the block, with its volumes."""

    def __init__(self, project: str, environment: Mapping[str, str] | None = None) -> None:
        """project: compose's name for it. environment: variables of compose.yaml."""
        self.address = f"127.0.0.1:{_free_port()}"
        self._environment = {**os.environ, "DSM_STT_LISTEN": self.address, **(environment or {})}
        self._compose = [_compose_program(), "--project-name", project, "--file", str(COMPOSE_FILE)]

    def up(self, lms: int = 1, codecs: int = 1) -> float:
        """Start what is missing and wait until all of it is healthy; returns how long that took, in seconds.

        Containers that run are left as they are.
        """
        began_s = time.monotonic()
        scales = [f"--scale={service}={count}" for service, count in (("lm", lms), ("codec", codecs))]
        waiting = ["--wait", f"--wait-timeout={_START_TIMEOUT_S}"]
        try:
            self._run("up", "--detach", "--no-build", "--no-recreate", "--pull=never", *waiting, *scales)
        except DockerFailed:
            print(self.logs(), file=sys.stderr)
            raise
        return round(time.monotonic() - began_s, 1)

    def stop(self) -> None:
        """Send SIGTERM, gateway first, and wait for the end of everything."""
        self._run("stop")

    def logs(self, *services: str) -> str:
        """Return what containers wrote, all by default."""
        return self._run("logs", "--no-color", "--no-log-prefix", *services)

    def log_lines(self, service: str, event: str) -> Iterator[dict[str, Any]]:
        """Return the lines of one event in a service's log."""
        return log_lines(self.logs(service), event)

    def containers(self, service: str) -> list[Container]:
        """Return the containers of one service, those that have ended too, by their number."""
        ids = self._run("ps", "--all", "--quiet", service).split()
        found = [_container(details) for details in json.loads(docker("inspect", *ids))] if ids else []
        return sorted(found, key=lambda container: container.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._run("down", "--volumes", "--timeout=5")

    def _run(self, *arguments: str) -> str:
        return _output([*self._compose, *arguments], self._environment)


def docker(*arguments: str, errors_too: bool = False) -> str:
    """Run docker; returns what it printed, with errors_too on stderr as well. Raises DockerFailed."""
    return _output(["docker", *arguments], os.environ, errors_too)


def log_lines(log: str, event: str) -> Iterator[dict[str, Any]]:
    """Return the lines of one event in a log of ours."""
    for line in log.splitlines():
        if line.startswith("{") and (fields := json.loads(line)).get("event") == event:
            yield fields


def _output(command: list[str], environment: Mapping[str, str], errors_too: bool = False) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DockerFailed(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout + done.stderr if errors_too else done.stdout


def _container(details: dict[str, Any]) -> Container:
    state = details["State"]
    return Container(
        details["Id"],
        details["Name"].removeprefix("/"),
        state["Running"],
        state["ExitCode"],
        state["Pid"],
        details["RestartCount"],
        details,
    )


def _compose_program() -> str:
    """Return docker-compose: the one installed beside this Python, or that of the system."""
    beside = Path(sys.executable).with_name("docker-compose")
    found = str(beside) if beside.is_file() else shutil.which("docker-compose")
    if found is None:
        raise DockerFailed("docker-compose is missing: make setup installs it")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
