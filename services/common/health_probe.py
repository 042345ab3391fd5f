"""Asks a server for its health: `dsm-stt health` calls it, and the health checks of the images run it as a program.

    python -m services.common.health_probe HOST:PORT [NAME]

As a program it loads gRPC and nothing else, since a check runs several times a minute beside the models. Its exit code
is 0 when the server is SERVING.
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 5.0


def probe(
    address: str, name: str = "", *, timeout_s: float = TIMEOUT_S, credentials: grpc.ChannelCredentials | None = None
) -> str:
    """Return what the server at host:port says of a name: SERVING, NOT_SERVING, or SERVICE_UNKNOWN for a name it lacks.

    name: "" for whether calls may come, "liveness" for whether only a restart can help, or that of a gRPC service.
    credentials: for TLS; None for plain text. Raises grpc.RpcError when there is no answer within the timeout.
    """
    channel = grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=timeout_s)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return "SERVICE_UNKNOWN"
            raise
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(arguments: list[str]) -> str | int:
    """Probe; returns what sys.exit takes: 0, or what is wrong."""
    if len(arguments) not in (1, 2):
        return f"wanted HOST:PORT [NAME], got {len(arguments)} arguments"
    try:
        status = probe(*arguments)
    except grpc.RpcError as error:
        return f"{arguments[0]}: {error.code().name}: {error.details()}"
    return 0 if status == "SERVING" else f"{arguments[0]}: {status}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
