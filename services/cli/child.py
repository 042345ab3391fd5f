"""One service process of the local stack: started on loopback, watched, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import grpc

from services.common.grpc_server import PORT_FILE_VARIABLE
from services.common.health_probe import probe

_HEALTH_TIMEOUT_S = 1.0
_LAST_LINES = 12


class State(StrEnum):
    """How far a child has come."""

    STARTING = "starting"
    LOADING = "loading"  # it listens, but does not serve yet
    SERVING = "serving"
    ENDED = "ended"


class ChildDied(Exception):
    """A service process ended that nobody had told to."""

    def __init__(self, name: str, exit_code: int, last_lines: Sequence[str]) -> None:
        super().__init__(f"{name} ended with exit code {exit_code}")
        self.name = name
        self.exit_code = exit_code
        self.last_lines = tuple(last_lines)


class Child:
    """A service started as `python -m MODULE`, settings in its environment, output in a file."""

    def __init__(self, name: str, module: str, environment: Mapping[str, str], folder: Path) -> None:
        """folder: where its log and its port file go. environment: added to this process's own."""
        self.name = name
        self.log_file = folder / f"{name}.log"
        self.state = State.STARTING
        self.started_s = time.monotonic()
        self.serving_after_s: float | None = None
        self._port_file = folder / f"{name}.port"
        self._port_file.unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.cli.leash", str(os.getpid()), module],
                env={**os.environ, **environment, PORT_FILE_VARIABLE: str(self._port_file), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own session: a Ctrl-C in the terminal reaches only us, and we stop the children in order.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return its process id, which is that of its process group too."""
        return self._process.pid

    @property
    def address(self) -> str | None:
        """Return host:port once it listens."""
        try:
            return f"127.0.0.1:{int(self._port_file.read_text())}"
        except (FileNotFoundError, ValueError):
            return None

    def poll(self) -> State:
        """Look how far it has come, without waiting. Raises ChildDied."""
        if (code := self._process.poll()) is not None:
            self.state = State.ENDED
            raise ChildDied(self.name, code if code >= 0 else 128 - code, self.last_lines())
        if self.state is not State.SERVING and (address := self.address):
            self.state = State.SERVING if _is_serving(address) else State.LOADING
            if self.state is State.SERVING:
                self.serving_after_s = time.monotonic() - self.started_s
        return self.state

    def terminate(self) -> None:
        """Ask it to drain and end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now, and whatever it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False if it still runs after the timeout."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self.state = State.ENDED
        return True

    def last_lines(self) -> list[str]:
        """Return the end of its log."""
        return self.log_file.read_text(errors="replace").splitlines()[-_LAST_LINES:]


def _is_serving(address: str) -> bool:
    try:
        return probe(address, timeout_s=_HEALTH_TIMEOUT_S) == "SERVING"
    except grpc.RpcError:
        return False
