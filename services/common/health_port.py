"""A port that answers health checks and nothing else.

For probes that cannot speak TLS or have no certificate (those of Kubernetes, for one) while the service's own port
asks for both. It shows whether the process serves, and takes nothing that could be used against it.
"""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2_grpc

_MAX_MESSAGE_BYTES = 4 * 1024


class HealthPort:
    """Listens beside a server and shares its health."""

    def __init__(self, listen: str, servicer: health.aio.HealthServicer) -> None:
        """listen: "host:port", port 0 for any free one."""
        self.listen = listen
        self._server = grpc.aio.server(
            options=[("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
        )
        health_pb2_grpc.add_HealthServicer_to_server(servicer, self._server)
        self.port = 0

    async def start(self) -> None:
        """Bind and listen. Raises RuntimeError when the address cannot be had."""
        self.port = self._server.add_insecure_port(self.listen)
        await self._server.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop(0)
