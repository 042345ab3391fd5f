"""The stubs in the package are what the repository's speech.proto gives; its dependencies are no older than they."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
STUBS = PACKAGE / "src" / "dsm_stt_client" / "proto"


def test_committed_stubs_are_generated_from_the_committed_proto(tmp_path: Path) -> None:
    subprocess.run([PACKAGE / "generate_stubs.sh", tmp_path], env={**os.environ, "PYTHON": sys.executable}, check=True)
    generated = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in STUBS.glob("speech_pb2*")}
    assert len(generated) == 4
    assert committed.keys() == generated.keys()
    stale = [name for name in committed if committed[name] != generated[name]]
    assert not stale, f"run `make stubs` and commit: {stale}"


def test_the_package_wants_what_its_stubs_want() -> None:
    dependencies = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["dependencies"]
    # 7.35.1 of Python is what the stubs check, as three numbers.
    numbers = re.search(r"Domain\.PUBLIC,\s+(\d+),\s+(\d+),\s+(\d+)", (STUBS / "speech_pb2.py").read_text())
    assert numbers is not None
    assert f"protobuf>={'.'.join(numbers.groups())}" in dependencies
    grpc_version = re.search(r"GRPC_GENERATED_VERSION = '(.+)'", (STUBS / "speech_pb2_grpc.py").read_text())
    assert grpc_version is not None
    assert f"grpcio>={grpc_version[1]}" in dependencies


def test_the_licence_is_the_repositorys() -> None:
    assert (PACKAGE / "LICENSE").read_text() == (PACKAGE.parents[1] / "LICENSE").read_text()


def test_the_package_imports_no_service() -> None:
    for path in (PACKAGE / "src").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (services|dsm_stt|torch|numpy)\b", path.read_text(), re.MULTILINE), (
            path
        )
