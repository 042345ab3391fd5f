"""All services on this machine, as separate processes on loopback: for `serve`, `transcribe`, tests and benchmarks.

    with LocalStack(model="dsm-tiny-en") as stack:
        channel = grpc.aio.insecure_channel(stack.address)

Settings that are not arguments here reach the services through the environment (DSM_DEVICE, DSM_LM_SLOTS, …).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from services.cli.child import Child, State

MODULES = {"codec": "services.codec", "lm": "services.lm", "gateway": "services.gateway"}
# For gateways, which have many connections: gRPC reads them in the thread that waits for them. Its default hands each
# message from thread to thread, which costs a fifth more. gRPC looks at this as it is imported.
GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener"
_POLL_S = 0.1
_TLS_VARIABLES = (
    "DSM_TLS_CERT_FILE",
    "DSM_TLS_KEY_FILE",
    "DSM_MTLS_CERT_FILE",
    "DSM_MTLS_KEY_FILE",
    "DSM_MTLS_CA_FILE",
    "DSM_MTLS_SERVER_NAME",
)


class StackStartTimeout(Exception):
    """The services did not all serve in time."""


class LocalStack:
    """Codec, LM and gateway processes that start together and stop together."""

    def __init__(
        self,
        model: str | None = None,
        *,
        port: int = 0,
        codec_port: int = 0,
        lm_port: int = 0,
        codecs: int = 1,
        lms: int = 1,
        slots: int | None = None,
        environment: Mapping[str, str] | None = None,
        log_folder: Path | None = None,
        start_timeout_s: float = 600.0,
        stop_timeout_s: float = 30.0,
        modules: Mapping[str, str] = MODULES,
    ) -> None:
        """Describe the stack; entering it starts the processes.

        model: a name, a repository or a folder; None for the services' own default. port: the gateway's; 0 for any
        free one, like codec_port and lm_port (of the first of each). codecs, lms: how many workers. environment: more
        variables for all. log_folder: kept afterwards; without it logs are in a temporary one that is not.
        stop_timeout_s: for the gateway, and again for the workers, before they are killed.
        """
        # Models that share the cores by time instead of by core wait for each other in every layer: on two cores, 25
        # times slower was seen.
        threads = os.environ.get("DSM_THREADS", str(max(1, (os.cpu_count() or 1) // (codecs + lms))))
        settings = {"DSM_LOG_LEVEL": "info", "DSM_LOG_FORMAT": "json", "DSM_THREADS": threads}
        # It is for development, on loopback: reflection on, and no certificates, which the probes here do not have.
        settings |= {"DSM_REFLECTION": os.environ.get("DSM_REFLECTION", "true"), "DSM_HEALTH_LISTEN": ""}
        # One port cannot be that of several processes; OTLP works, and who wants ports can ask for port 0.
        settings["DSM_METRICS_LISTEN"] = ""
        settings |= dict.fromkeys(_TLS_VARIABLES, "")
        self._environment = {**settings, **(environment or {})}
        for service in ("CODEC", "LM"):
            if model is not None:
                self._environment[f"DSM_{service}_MODEL"] = model
            if slots is not None:
                self._environment[f"DSM_{service}_SLOTS"] = str(slots)
        self._ports = {"codec": codec_port, "lm": lm_port, "gateway": port}
        self._workers = {"codec": codecs, "lm": lms}
        self._keep_logs = log_folder is not None
        self._folder = log_folder
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        # Called again and again while the stack waits for its processes.
        self.on_progress: Callable[[LocalStack], None] = lambda _stack: None
        self._modules = modules
        self.children: list[Child] = []

    @property
    def address(self) -> str:
        """Return the gateway's host:port."""
        return self.address_of("gateway")

    def address_of(self, name: str) -> str:
        """Return the host:port of a child, by its name: gateway, codec, lm, lm-2 and so on."""
        child = next(child for child in self.children if child.name == name)
        assert child.address is not None
        return child.address

    def start(self) -> None:
        """Start everything and wait until the gateway serves.

        Raises ChildDied, StackStartTimeout or whatever interrupts the wait; nothing is left running then.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="dsm-stt-"))
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline_s = time.monotonic() + self._start_timeout_s
        try:
            for service, count in self._workers.items():
                for index in range(count):
                    self._start_child(service, index, {})
            self._wait(lambda child: child.address is not None, deadline_s)
            workers = {
                f"DSM_GATEWAY_{service.upper()}S": ",".join(
                    child.address or "" for child in self.children if child.name.split("-")[0] == service
                )
                for service in self._workers
            }
            experiments = os.environ.get("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)
            self._start_child("gateway", 0, {**workers, "GRPC_EXPERIMENTS": experiments})
            self._wait(lambda child: child.state is State.SERVING, deadline_s)
        except BaseException:
            self.stop(at_once=True)
            raise

    def check(self) -> None:
        """Raise ChildDied if a process has ended."""
        for child in self.children:
            child.poll()

    def stop(self, at_once: bool = False) -> None:
        """Stop the gateway, which drains its calls, then the workers; kill what takes too long. May be repeated."""
        try:
            if not at_once:
                for group in (self.children[-1:], self.children):
                    self._stop_group(group)
        finally:
            for child in self.children:
                child.kill()
            for child in self.children:
                child.wait(self._stop_timeout_s)
            if self._folder is not None and not self._keep_logs:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _stop_group(self, children: list[Child]) -> None:
        for child in children:
            child.terminate()
        deadline_s = time.monotonic() + self._stop_timeout_s
        for child in children:
            while not child.wait(_POLL_S) and time.monotonic() < deadline_s:
                self.on_progress(self)

    def _start_child(self, service: str, index: int, environment: Mapping[str, str]) -> None:
        assert self._folder is not None
        port = self._ports[service] if index == 0 else 0
        name = service if index == 0 else f"{service}-{index + 1}"
        listen = {f"DSM_{service.upper()}_LISTEN": f"127.0.0.1:{port}"}
        self.children.append(
            Child(name, self._modules[service], {**self._environment, **environment, **listen}, self._folder)
        )

    def _wait(self, ready: Callable[[Child], bool], deadline_s: float) -> None:
        while True:
            self.check()
            self.on_progress(self)
            waiting = [child.name for child in self.children if not ready(child)]
            if not waiting:
                return
            if time.monotonic() > deadline_s:
                raise StackStartTimeout(f"not ready after {self._start_timeout_s:.0f} s: {', '.join(waiting)}")
            time.sleep(_POLL_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
