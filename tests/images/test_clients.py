"""The images serve callers in every language: each client's example program transcribes a recording of a person."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from benchmarks.containers import ComposeStack
from benchmarks.results import ROOT
from benchmarks.scripts import SAMPLES

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

CLIENTS = ROOT / "clients"
RECORDING = SAMPLES / "telephone.wav"
# A frame is 80 ms; the model hears a beginning within one of it.
START_TOLERANCE_S = 0.2


def python(server: str) -> list[str]:
    program = CLIENTS / "python" / "examples" / "transcribe_file.py"
    return [sys.executable, str(program), "--words", "--server", server, str(RECORDING)]


def go(server: str) -> list[str]:
    return ["go", "-C", str(CLIENTS / "go"), "run", "./examples/transcribe", "--server", server, str(RECORDING)]


def java(server: str) -> list[str]:
    maven = ["mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "--file", str(CLIENTS / "java")]
    return [*maven, "compile", "exec:java", f"-Dexec.args=--server {server} '{RECORDING}'"]


@pytest.mark.parametrize("program", [python, go, java])
def test_a_client_hears_what_was_said_and_when(stack: ComposeStack, program: Callable[[str], list[str]]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(CLIENTS / "python" / "src")}
    done = subprocess.run(program(stack.address), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # A word a line: its start first, itself last. In front of the first one, Maven writes a colour.
    heard = re.findall(r"(\d+\.\d\d) .*?(\S+)$", done.stdout, re.MULTILINE)
    references = {item["file"]: item["words"] for item in json.loads((SAMPLES / "references.json").read_text())}
    said = references[RECORDING.name]
    assert [word for _, word in heard] == [spoken["word"] for spoken in said], done.stdout
    for (start_s, word), spoken in zip(heard, said, strict=True):
        assert abs(float(start_s) - spoken["start_s"]) <= START_TOLERANCE_S, word
