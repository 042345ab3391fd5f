"""`--tls` and `--ca-file`, against a service that speaks TLS."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from services.cli.connection import Connection
from tests.cli.conftest import Run
from tests.fakes.speech import FakeSpeech
from tests.security.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "theirs", "another CA")


def secured(authority: Authority) -> FakeSpeech:
    files = authority.issue("public")
    pair = (files.key.read_bytes(), files.cert.read_bytes())
    return FakeSpeech(credentials=grpc.ssl_server_credentials([pair]))


def test_a_recording_goes_through_tls_to_a_service_of_a_ca_that_is_named(
    run: Run, recording: Path, authority: Authority
) -> None:
    with secured(authority) as service:
        result = run("transcribe", recording, "--server", service.address, "--ca-file", authority.ca_file)
    assert result.exit_code == 0, result.output
    assert result.stdout == "good morning to you\n"


@pytest.mark.parametrize("trust", ["the system's CAs", "another CA"])
def test_a_service_whose_ca_is_not_trusted_is_not_talked_to(
    run: Run, recording: Path, authority: Authority, stranger: Authority, trust: str
) -> None:
    flags = ["--tls"] if trust == "the system's CAs" else ["--ca-file", stranger.ca_file]
    with secured(authority) as service:
        result = run("transcribe", recording, "--server", service.address, *flags)
        assert not service.metadata
    assert result.exit_code == 1
    assert "error: the service's certificate is not trusted" in result.stderr
    assert "--ca-file names the CAs to trust" in result.stderr


def test_plain_text_to_a_service_with_tls_leads_to_the_flags(run: Run, recording: Path, authority: Authority) -> None:
    with secured(authority) as service:
        result = run("transcribe", recording, "--server", service.address)
    assert result.exit_code == 1
    assert "the service cannot be reached" in result.stderr
    assert "say --tls or --ca-file" in result.stderr


@pytest.mark.parametrize("command", ["transcribe", "mic"])
def test_tls_without_a_server_is_wrong_usage(run: Run, recording: Path, command: str) -> None:
    result = run(command, *([recording] if command == "transcribe" else []), "--tls")
    assert result.exit_code == 2
    assert "--tls and --ca-file: wanted --server too" in result.stderr


@pytest.mark.parametrize(("content", "message"), [(None, "cannot read"), ("a CA", "wanted certificates in PEM")])
def test_a_ca_file_that_is_none_is_wrong_usage(
    run: Run, recording: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    result = run("transcribe", recording, "--server", "127.0.0.1:1", "--ca-file", path)
    assert result.exit_code == 2
    assert message in result.stderr
    assert str(path) in result.stderr


def test_without_flags_it_is_plain_text() -> None:
    assert Connection.from_options("127.0.0.1:1", tls=False, ca_file=None).credentials is None
