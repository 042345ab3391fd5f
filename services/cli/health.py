"""`dsm-stt health`: whether a service serves, for people, scripts and supervisors."""

from __future__ import annotations

from typing import Annotated

import grpc
import typer

from services.cli.connection import CaFileOption, Connection, TlsOption
from services.cli.console import EXIT_SERVICE, fail, out
from services.common.health_probe import TIMEOUT_S, probe

_HINTS = {
    "NOT_SERVING": "It loads, drains or lacks workers: its log says which.",
    "SERVICE_UNKNOWN": 'It answers for "", "liveness" and its own gRPC service.',
}


def health(
    address: Annotated[
        str, typer.Argument(help="Of a gateway or a worker; with mTLS, its health port.", metavar="HOST:PORT")
    ],
    service: Annotated[
        str,
        typer.Option(
            help="Whose health: that of a gRPC service, or liveness, which says whether only a restart can help. "
            "Default: whether calls may come.",
            metavar="NAME",
            show_default=False,
        ),
    ] = "",
    timeout_s: Annotated[float, typer.Option(min=0.001, help="How long to wait for an answer, seconds.")] = TIMEOUT_S,
    tls: TlsOption = False,
    ca_file: CaFileOption = None,
) -> None:
    """Ask a service for its health and print the answer.

    Exit codes: 0 SERVING, 1 anything else or no answer, 2 wrong usage.
    """
    credentials = Connection.from_options(address, tls, ca_file).credentials
    try:
        status = probe(address, service, timeout_s=timeout_s, credentials=credentials)
    except grpc.RpcError as error:
        fail(f"{address}: {error.code().name}: {error.details()}", "Does a service listen there?", EXIT_SERVICE)
    if status != "SERVING":
        fail(f"{address}: {status}", _HINTS.get(status, ""), EXIT_SERVICE)
    out.print(status)
