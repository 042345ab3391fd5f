"""Certificate files with a mistake: no process starts on them, and a message says which file and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.common.errors import ConfigError
from services.common.tls import Certificates, certificate_files
from services.gateway.config import GatewayConfig
from tests.fakes.engines import FakeCodecEngine
from tests.security.certificates import DAY, Authority, pem_of, serial_of
from tests.stack import SETTINGS, codec_worker


def test_a_good_certificate_is_read_with_its_end(authority: Authority) -> None:
    files = authority.issue("worker", ends_in=20 * DAY)
    certificate = files.read()
    assert certificate.key == files.key.read_bytes()
    assert abs(certificate.expires - datetime.now(UTC) - 20 * DAY) < timedelta(minutes=5)


def test_a_certificate_of_the_far_future_is_read(authority: Authority) -> None:
    # From 2050 on, times have four digits of the year.
    assert authority.issue("worker", ends_in=timedelta(days=365 * 60)).read().expires.year > 2080


@pytest.mark.parametrize("which", ["cert", "key", "ca"])
@pytest.mark.parametrize(
    ("content", "problem"), [(None, "cannot read it"), (b"", "wanted a PEM"), (b"\0\xff not PEM", "wanted a PEM")]
)
def test_a_file_that_is_missing_or_no_pem(
    authority: Authority, which: str, content: bytes | None, problem: str
) -> None:
    files = authority.issue("worker")
    path: Path = getattr(files, which)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        files.read()
    assert str(path) in str(raised.value)
    assert problem in str(raised.value)


@pytest.mark.parametrize("kept", [0, 3, 40, 300])
def test_a_certificate_that_is_cut_off(authority: Authority, kept: int) -> None:
    files = authority.issue("worker")
    head, *body = files.cert.read_text().splitlines()
    files.cert.write_text("\n".join([head, "".join(body[:-1])[:kept], body[-1]]))
    with pytest.raises(ConfigError, match=f"{files.cert}"):
        files.read()


def test_a_key_of_another_certificate(authority: Authority) -> None:
    files, other = authority.issue("worker"), authority.issue("other")
    files.key.write_bytes(other.key.read_bytes())
    with pytest.raises(ConfigError, match="the key does not belong to the certificate in"):
        files.read()


def test_a_key_with_a_passphrase(authority: Authority) -> None:
    files = authority.issue("worker")
    files.key.write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret"))
    with pytest.raises(ConfigError, match="without a passphrase"):
        files.read()


def test_a_certificate_outside_its_time(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="expired at 20"):
        authority.issue("old", ends_in=-DAY).read()
    with pytest.raises(ConfigError, match="not valid before 20"):
        authority.issue("early", begins_in=DAY).read()


def test_settings_given_by_halves_name_what_is_missing(authority: Authority) -> None:
    files = authority.issue("gateway")
    with pytest.raises(ConfigError, match="DSM_TLS_KEY_FILE is not set"):
        GatewayConfig(tls_cert_file=files.cert)
    with pytest.raises(ConfigError, match="DSM_MTLS_KEY_FILE and DSM_MTLS_CA_FILE is not set"):
        GatewayConfig(mtls_cert_file=files.cert)
    with pytest.raises(ConfigError, match="DSM_MTLS_SERVER_NAME"):
        GatewayConfig(mtls_server_name="worker")
    assert certificate_files({"A": None, "B": None}) is None


async def test_a_worker_does_not_start_on_a_bad_certificate(authority: Authority) -> None:
    files = authority.issue("worker", ends_in=-DAY)
    settings = replace(SETTINGS, mtls_cert_file=files.cert, mtls_key_file=files.key, mtls_ca_file=files.ca)
    with pytest.raises(ConfigError, match="expired"):
        codec_worker(FakeCodecEngine(1), settings)


def test_a_new_certificate_is_taken_and_a_broken_one_is_not(authority: Authority) -> None:
    files = authority.issue("worker")
    certificates = Certificates(files)
    first = certificates.current()
    assert certificates.current() is first
    authority.issue("worker")
    second = certificates.current()
    assert serial_of(second.chain) != serial_of(first.chain)
    key = files.key.read_bytes()
    for broken in (b"", authority.issue("other").key.read_bytes()):
        files.key.write_bytes(broken)
        assert certificates.current() is second
    files.key.unlink()
    assert certificates.current() is second
    files.key.write_bytes(key)
    assert certificates.current() == second


def test_no_key_gets_into_a_log_line_or_a_message(authority: Authority, capsys: pytest.CaptureFixture[str]) -> None:
    files = authority.issue("worker")
    certificates = Certificates(files)
    secret = files.key.read_text().splitlines()[1]
    # The key where the certificate should be.
    files.cert.write_bytes(files.key.read_bytes())
    certificates.current()
    with pytest.raises(ConfigError) as raised:
        files.read()
    assert secret not in str(raised.value)
    logged = "".join(capsys.readouterr())
    assert "certificate not read again" in logged
    assert secret not in logged
    assert secret not in repr(certificates.current())
