"""The committed stubs are what the committed .proto files give."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def stubs_under(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*_pb2*"))
        if path.suffix in {".py", ".pyi"}
    }


def test_committed_stubs_are_generated_from_the_committed_protos(tmp_path: Path) -> None:
    subprocess.run(
        [ROOT / "scripts" / "generate_stubs.sh", tmp_path], env={**os.environ, "PYTHON": sys.executable}, check=True
    )
    generated, committed = stubs_under(tmp_path), stubs_under(ROOT / "proto")

    assert generated, "the script wrote nothing"
    assert committed.keys() == generated.keys()
    stale = [name for name in committed if committed[name] != generated[name]]
    assert not stale, f"run `make stubs` and commit: {stale}"
