"""Certificates of our servers and links: checked when read, and read again when their files change.

Nothing polls: the files are looked at whenever a connection begins. New files that cannot be used are logged, and
the certificate stays what it was. Keys are in no message and in no log line.
"""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import grpc
import structlog

from services.common.errors import ConfigError
from services.common.file_version import file_version
from services.common.x509 import Validity, validities

_PRIVATE_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----")
_ENCRYPTED = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")

_log = structlog.get_logger()


@dataclass(frozen=True)
class Certificate:
    """What a side of a TLS connection shows, and whom it trusts."""

    chain: bytes
    key: bytes = field(repr=False)
    # Who must have signed the other side's certificate; None: on a server, nobody needs one.
    roots: bytes | None
    expires: datetime


@dataclass(frozen=True)
class CertificateFiles:
    """Where a certificate chain, its key and the CA of the other side are, all PEM."""

    cert: Path
    key: Path
    ca: Path | None = None

    def version(self) -> tuple[tuple[int, ...], ...]:
        """Return what changes when one of the files does."""
        return tuple(file_version(path) for path in (self.cert, self.key, self.ca) if path is not None)

    def read(self) -> Certificate:
        """Read and check all files. Raises ConfigError naming the file and what is wrong with it."""
        before = self.version()
        chain, key = _read(self.cert), _read(self.key)
        validity = _certificates(self.cert, chain)[0]
        _check_time(self.cert, validity)
        if any(mark in key for mark in _ENCRYPTED):
            raise ConfigError(f"{self.key}: wanted a private key without a passphrase, got one with")
        if not _PRIVATE_KEY.search(key):
            raise ConfigError(f"{self.key}: wanted a PEM private key, found none in it")
        self._check_pair()
        roots = None
        if self.ca is not None:
            roots = _read(self.ca)
            # While a CA is being replaced there are two, and the older one may have ended.
            _check_time(self.ca, max(_certificates(self.ca, roots), key=lambda validity: validity.ends))
        if self.version() != before:
            raise ConfigError(f"{self.cert} and {self.key}: changed while they were read")
        return Certificate(chain, key, roots, validity.ends)

    def _check_pair(self) -> None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"{self.key}: the key does not belong to the certificate in {self.cert}") from None
            raise ConfigError(f"{self.cert} and {self.key}: cannot be used: {error.reason or error}") from None
        except OSError as error:
            raise ConfigError(f"{self.cert} and {self.key}: cannot read them: {error.strerror}") from None


def certificate_files(given: Mapping[str, Path | None]) -> CertificateFiles | None:
    """Make one of two or three settings, by the names of their variables: certificate, key, CA; None without any.

    Raises ConfigError when some are given and others not.
    """
    paths = [path for path in given.values() if path is not None]
    if not paths:
        return None
    if len(paths) < len(given):
        missing = [variable for variable, path in given.items() if path is None]
        raise ConfigError(f"{' and '.join(given)}: wanted all or none, but {' and '.join(missing)} is not set")
    return CertificateFiles(*paths)


class Certificates:
    """A certificate in use: what its files last held that was good."""

    def __init__(self, files: CertificateFiles) -> None:
        """Read the files. Raises ConfigError: no process starts with a certificate that nobody would accept."""
        self._files = files
        # gRPC asks from threads of its own.
        self._lock = threading.Lock()
        self._version = files.version()
        self._current = files.read()
        self._log_current("certificate")

    def current(self) -> Certificate:
        """Return the certificate for a connection that begins now."""
        with self._lock:
            version = self._files.version()
            if version != self._version:
                self._version = version
                try:
                    self._current = self._files.read()
                except ConfigError as error:
                    _log.error("certificate not read again, the old one stays", problem=str(error))
                else:
                    self._log_current("certificate read again")
            return self._current

    def server_credentials(self) -> grpc.ServerCredentials:
        """Make credentials for a port; with a CA, callers must have a certificate that it signed."""
        handed = self.current()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal handed
            certificate = self.current()
            if certificate is handed:
                return None
            handed = certificate
            return _configuration(certificate)

        return grpc.dynamic_ssl_server_credentials(
            _configuration(handed),
            # None means unchanged; the published types forget it.
            fetch,  # type: ignore[arg-type]
            require_client_authentication=handed.roots is not None,
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Make credentials for one connection."""
        certificate = self.current()
        return grpc.ssl_channel_credentials(certificate.roots, certificate.key, certificate.chain)

    def _log_current(self, event: str) -> None:
        _log.info(event, file=str(self._files.cert), expires=self._current.expires.isoformat())


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)], certificate.roots)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read it: {error.strerror or error}") from None


def _certificates(path: Path, pem: bytes) -> list[Validity]:
    try:
        found = validities(pem)
    except ValueError:
        raise ConfigError(f"{path}: wanted a PEM certificate, got one that is broken") from None
    if not found:
        raise ConfigError(f"{path}: wanted a PEM certificate, found none in it")
    return found


def _check_time(path: Path, validity: Validity) -> None:
    now = datetime.now(UTC)
    if now >= validity.ends:
        raise ConfigError(f"{path}: the certificate expired at {validity.ends.isoformat()}")
    if now < validity.begins:
        raise ConfigError(f"{path}: the certificate is not valid before {validity.begins.isoformat()}")
