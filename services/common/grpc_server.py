"""A grpc.aio server as all our services run it: health, limits, TLS, one interceptor, graceful stop on a signal.

Health answers two questions. May calls come here? "" and the service's own name: NOT_SERVING from the first moment,
SERVING when `set_serving(True)` is called, NOT_SERVING again before the server stops. Should a supervisor end the
process? The name "liveness": SERVING from the first moment, while loading, draining or without workers too, and
NOT_SERVING only after `set_alive(False)`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.common.errors import ConfigError
from services.common.health_port import HealthPort
from services.common.interceptors import CallInterceptor
from services.common.server_settings import ServerSettings
from services.common.tls import Certificates

_log = structlog.get_logger()

# The health name of what only a restart can heal.
LIVENESS = "liveness"
# Where a child started with port 0 tells which port it got.
PORT_FILE_VARIABLE = "DSM_PORT_FILE"
# A connection without calls is closed after this; clients open another when they need one.
_MAX_IDLE_MS = 600_000


class GrpcServer:
    """One listening server; the composition root of each service adds its servicers to `server`."""

    def __init__(
        self,
        listen: str,
        services: Sequence[str],
        max_message_bytes: int,
        settings: ServerSettings,
        certificates: Certificates | None,
        *,
        name: str,
        traced: bool = False,
    ) -> None:
        """listen: "host:port", port 0 for any free one. services: full names, for health and reflection.

        certificates: for TLS; callers must have a certificate too if there is a CA to check it. name: of the service,
        for its metrics. traced: each call is a session's, and gets a span.
        """
        self._listen = listen
        self._names = ("", *services)
        self._certificates = certificates
        self.server = grpc.aio.server(
            interceptors=[CallInterceptor(name, traced=traced)],
            options=[
                ("grpc.max_receive_message_length", max_message_bytes),
                ("grpc.max_send_message_length", max_message_bytes),
                # Two processes on one port would share calls at random; a second one must fail.
                ("grpc.so_reuseport", 0),
                # Peers may ping idle streams this often, to notice a dead connection.
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                *_connection_limits(settings),
            ],
        )
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        self.health_port = HealthPort(settings.health_listen, self._health) if settings.health_listen else None
        if settings.reflection:
            names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self.server)
        self.port = 0

    async def start(self) -> int:
        """Bind and listen, not yet serving; returns the port. Raises ConfigError when the address cannot be had."""
        await self.set_serving(False)
        await self.set_alive(True)
        address = self._listen
        try:
            self.port = self._bind()
            if self.health_port is not None:
                address = self.health_port.listen
                await self.health_port.start()
        except RuntimeError:
            raise ConfigError(
                f"cannot listen on {address}: not an address of this machine, or the port is taken"
            ) from None
        await self.server.start()
        if PORT_FILE_VARIABLE in os.environ:
            path = Path(os.environ[PORT_FILE_VARIABLE])
            # Renamed into place, so that nobody reads half a number.
            partial = path.with_name(f"{path.name}.partial")
            try:
                partial.write_text(f"{self.port}\n")
                partial.rename(path)
            except OSError as error:
                await self.server.stop(None)
                raise ConfigError(f"{PORT_FILE_VARIABLE}: cannot write {path}: {error.strerror}") from None
        _log.info("listening", address=self._listen, port=self.port, tls=self._certificates is not None)
        return self.port

    def _bind(self) -> int:
        if self._certificates is None:
            return self.server.add_insecure_port(self._listen)
        return self.server.add_secure_port(self._listen, self._certificates.server_credentials())

    async def set_serving(self, serving: bool) -> None:
        """Say whether calls may come: the health of "" and of the service's name."""
        for name in self._names:
            await self._health.set(name, _status(serving))

    async def set_alive(self, alive: bool) -> None:
        """Say whether the process can go on without a restart: the health of "liveness"."""
        await self._health.set(LIVENESS, _status(alive))

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, wait for the present ones, cancel what is left after grace_s."""
        await self._health.enter_graceful_shutdown()
        await self.server.stop(grace_s)
        if self.health_port is not None:
            await self.health_port.stop()


def _status(good: bool) -> health_pb2.HealthCheckResponse.ServingStatus:
    return health_pb2.HealthCheckResponse.SERVING if good else health_pb2.HealthCheckResponse.NOT_SERVING


def _connection_limits(settings: ServerSettings) -> Sequence[tuple[str, int]]:
    limits = [
        ("grpc.max_concurrent_streams", settings.max_streams_per_connection),
        # TLS and the first frames of HTTP/2 together.
        ("grpc.server_handshake_timeout_ms", round(1000 * settings.handshake_timeout_s)),
        ("grpc.max_connection_idle_ms", _MAX_IDLE_MS),
    ]
    if settings.max_connection_age_s:
        limits.append(("grpc.max_connection_age_ms", round(1000 * settings.max_connection_age_s)))
    return limits


def stop_on_signals() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping
