"""Clients and services of the last release understand this one: `buf breaking` against `proto/released.binpb`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUF = Path(sys.executable).with_name("buf")


def breaking(folder: Path) -> subprocess.CompletedProcess[str]:
    against = ROOT / "proto" / "released.binpb"
    command = [BUF, "breaking", "--against", against]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_what_was_released_still_works() -> None:
    found = breaking(ROOT)
    assert found.returncode == 0, f"this would break callers, or a rolling upgrade:\n{found.stdout}{found.stderr}"


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("speech/v1/speech.proto", "string text = 1;", "bytes text = 1;", 'changed type from "string" to "bytes"'),
        ("speech/v1/speech.proto", "string text = 1;", "string word = 1;", 'changed name from "text" to "word"'),
        ("codec/v1/codec.proto", "  uint32 codebooks = 2;\n", "", "was deleted"),
        ("lm/v1/lm.proto", "rpc Generate(", "rpc Step(", '"Generate"'),
    ],
)
def test_a_change_that_breaks_is_found(file: str, old: str, new: str, complaint: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    changed = tmp_path / "proto" / "dsm_stt" / file
    text = changed.read_text()
    assert old in text
    changed.write_text(text.replace(old, new))

    found = breaking(tmp_path)

    assert found.returncode != 0
    assert complaint in found.stdout
