"""How a command reaches the gateway at --server: in plain text, or by TLS with the CAs that it trusts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import grpc
import typer

from services.cli.console import fail

TlsOption = Annotated[
    bool, typer.Option("--tls", help="Speak TLS with --server, trusting the CAs that the system trusts.")
]
CaFileOption = Annotated[
    Path | None, typer.Option(help="Speak TLS with --server, trusting only the CAs in this PEM file.", metavar="FILE")
]


@dataclass(frozen=True)
class Connection:
    """What a channel is opened with. credentials: None for plain text."""

    credentials: grpc.ChannelCredentials | None = None

    @classmethod
    def from_options(cls, server: str | None, tls: bool, ca_file: Path | None) -> Connection:
        """Read the flags. Ends the command when they make no sense together or the file cannot be used."""
        if not tls and ca_file is None:
            return cls()
        if server is None:
            fail("--tls and --ca-file: wanted --server too; services on this machine speak plain text on loopback")
        return cls(grpc.ssl_channel_credentials(None if ca_file is None else _certificates(ca_file)))

    def open(self, address: str) -> grpc.aio.Channel:
        """Open a channel to host:port."""
        if self.credentials is None:
            return grpc.aio.insecure_channel(address)
        return grpc.aio.secure_channel(address, self.credentials)


def _certificates(path: Path) -> bytes:
    """Read a PEM file; grpc says of a wrong one only that the handshake failed."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        fail(f"--ca-file: cannot read {path}: {error.strerror}")
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        fail(f"--ca-file: wanted certificates in PEM, found none in {path}")
    return pem
