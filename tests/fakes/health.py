"""A server that answers health checks alone, with whatever health a test wants."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class FakeHealth:
    """Serves on `address` inside `with`, in threads of its own."""

    def __init__(self, serving: Mapping[str, bool], credentials: grpc.ServerCredentials | None = None) -> None:
        """serving: by name. credentials: for TLS; without them it speaks plain text."""
        servicer = health.HealthServicer()
        for name, good in serving.items():
            statuses = health_pb2.HealthCheckResponse
            servicer.set(name, statuses.SERVING if good else statuses.NOT_SERVING)
        self._server = grpc.server(ThreadPoolExecutor(2))
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        if credentials is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.address = f"127.0.0.1:{port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.stop(None).wait()
