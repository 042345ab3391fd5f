"""Runs a command while the whole service runs beside it: `scripts/with_stack.py COMMAND ...`.

The tests of clients in other languages run under it, on loopback and with the embedded model. Two services start, each
of its own processes, on free ports; the command finds them in its environment, and nothing of them stays behind.

    DSM_TEST_ADDRESS         host:port in plain text, for everybody
    DSM_TEST_MORTAL_ADDRESS  host:port of a second gateway to the same workers, which a test may kill
    DSM_TEST_MORTAL_PID      its process
    DSM_TEST_SECURE_ADDRESS  host:port with TLS, for those with a key; it has one slot and nobody waits for it
    DSM_TEST_CA_FILE         who signed its certificate
    DSM_TEST_API_KEY         a key that it takes
    DSM_TEST_SAMPLES         the folder of recordings, with references.json
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.child import Child
from services.cli.local_stack import LocalStack
from services.gateway.access.api_key import Grant, new_key
from services.gateway.access.key_file import render_keys
from tests.security.certificates import Authority

_ROOT = Path(__file__).resolve().parent.parent
_START_TIMEOUT_S = 120.0
_POLL_S = 0.1
_OPEN_SLOTS = 4


def main() -> int:
    """Run the command; returns its exit code, 2 without a command."""
    command = sys.argv[1:]
    if not command or command[0] in {"-h", "--help"}:
        print(__doc__)  # noqa: T201  a command line prints
        return 0 if command else 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dsm-stt-") as folder, _services(Path(folder)) as variables:
        return subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


@contextmanager
def _services(folder: Path) -> Iterator[dict[str, str]]:
    with (
        LocalStack("dsm-tiny-en", slots=_OPEN_SLOTS) as everybody,
        LocalStack("dsm-tiny-en", slots=1) as one_slot,
        _mortal_gateway(everybody, folder) as mortal,
        _secure_gateway(one_slot, folder) as secure,
    ):
        samples = _ROOT / "models/dsm-tiny-en/samples"
        yield {"DSM_TEST_ADDRESS": everybody.address, "DSM_TEST_SAMPLES": str(samples), **mortal, **secure}


@contextmanager
def _mortal_gateway(stack: LocalStack, folder: Path) -> Iterator[dict[str, str]]:
    """Start one more gateway for a stack's workers, whose end is nobody's concern."""
    with _gateway("mortal-gateway", stack, folder, {}) as gateway:
        address = _wait_until_serving(gateway, grpc.insecure_channel)
        yield {"DSM_TEST_MORTAL_ADDRESS": address, "DSM_TEST_MORTAL_PID": str(gateway.pid)}


@contextmanager
def _secure_gateway(stack: LocalStack, folder: Path) -> Iterator[dict[str, str]]:
    """Start one more gateway for a stack's workers, with TLS and keys."""
    files = Authority(folder).issue("gateway")
    assert files.ca is not None
    key, entry = new_key("tests", Grant())
    keys_file = folder / "keys.json"
    keys_file.write_text(render_keys([entry]))
    settings = {
        "DSM_ADMISSION_WAIT_S": "0",
        "DSM_API_KEYS_FILE": str(keys_file),
        "DSM_TLS_CERT_FILE": str(files.cert),
        "DSM_TLS_KEY_FILE": str(files.key),
    }
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes())
    with _gateway("secure-gateway", stack, folder, settings) as gateway:
        address = _wait_until_serving(gateway, lambda target: grpc.secure_channel(target, credentials))
        yield {
            "DSM_TEST_SECURE_ADDRESS": address,
            "DSM_TEST_CA_FILE": str(files.ca),
            "DSM_TEST_API_KEY": key,
        }


@contextmanager
def _gateway(name: str, stack: LocalStack, folder: Path, settings: Mapping[str, str]) -> Iterator[Child]:
    workers = {
        "DSM_GATEWAY_LISTEN": "127.0.0.1:0",
        "DSM_GATEWAY_CODECS": stack.address_of("codec"),
        "DSM_GATEWAY_LMS": stack.address_of("lm"),
    }
    gateway = Child(name, "services.gateway", {**workers, "DSM_DRAIN_S": "0", **settings}, folder)
    try:
        yield gateway
    finally:
        gateway.kill()
        gateway.wait(_START_TIMEOUT_S)


def _wait_until_serving(gateway: Child, connect: Callable[[str], grpc.Channel]) -> str:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if (address := gateway.address) is not None:
            with connect(address) as channel:
                request = health_pb2.HealthCheckRequest()
                try:
                    response = health_pb2_grpc.HealthStub(channel).Check(request, timeout=1.0)
                except grpc.RpcError:
                    response = None
            if response is not None and response.status == health_pb2.HealthCheckResponse.SERVING:
                return address
        if gateway.wait(_POLL_S):
            break
    raise SystemExit("\n".join([f"the {gateway.name} does not serve:", *gateway.last_lines()]))


if __name__ == "__main__":
    sys.exit(main())
