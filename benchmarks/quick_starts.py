"""From nothing to a transcript: each client's quick start, letter by letter, in a fresh clone.

`make quick-starts` calls it. The commands are those of the READMEs in `clients/`, so what this runs is what a reader
runs. Every client is tried twice: with empty caches of packages, and again with what the first time has left. The time
that counts ends with the first word on the screen.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.results import ROOT
from services.common.health_probe import probe

_console = Console(stderr=True)
# Those of Go and Java tell how to start the service first.
CLIENTS = {"python": 0, "go": 1, "java": 1}
_ADDRESS = "127.0.0.1:50051"
_START_TIMEOUT_S = 120.0
_RECORDING = re.compile(r"models/dsm-tiny-en/samples/\w+\.wav")
_BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main(folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS) -> None:
    """Follow every client's quick start in a fresh clone, and time it up to the first word."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="dsm-quick-", ignore_cleanup_errors=True) as temporary:
        clone, caches = Path(temporary) / "clone", Path(temporary) / "caches"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)  # noqa: S607 - wherever it is
        _console.print("make setup …")
        began_s = time.monotonic()
        command = ["make", "setup"]
        subprocess.run(command, cwd=clone, check=True, stdout=subprocess.DEVNULL)
        found: dict[str, Any] = {"setup_s": round(time.monotonic() - began_s, 1)}
        with _service(clone):
            for name, index in CLIENTS.items():
                _console.print(f"{name} …")
                commands = quick_start((clone / "clients" / name / "README.md").read_text(encoding="utf-8"), index)
                found[name] = {kind: _follow(commands, clone, caches / name) for kind in ("empty_caches", "again")}
    _console.print(_table(found))
    _console.print(f"figures: {results.write('quick-starts', {}, found, folder)}")


def quick_start(readme: str, index: int) -> str:
    """Return the commands of a README's section "Quick start": its block of this number.

    Raises ValueError if there is no such block.
    """
    _, _, rest = readme.partition("\n## Quick start\n")
    blocks = _BLOCK.findall(rest.partition("\n## ")[0])
    if index >= len(blocks):
        raise ValueError(f"README: wanted {index + 1} blocks of bash under 'Quick start', got {len(blocks)}")
    commands: str = blocks[index]
    return commands


@contextmanager
def _service(clone: Path) -> Iterator[None]:
    process = subprocess.Popen([clone / ".venv/bin/dsm-stt", "serve"], cwd=clone, stdout=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while not _serves():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"dsm-stt serve does not serve on {_ADDRESS}; is the port taken?")
            time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _serves() -> bool:
    try:
        return probe(_ADDRESS) == "SERVING"
    except grpc.RpcError:
        return False


def _follow(commands: str, clone: Path, caches: Path) -> dict[str, Any]:
    shutil.rmtree(clone / "build", ignore_errors=True)
    expected = _expected(commands, clone)
    began_s = time.monotonic()
    first_s = None
    heard: list[str] = []
    command = ["bash", "-euo", "pipefail", "-c", commands]
    with subprocess.Popen(command, cwd=clone, env=_environment(caches), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            words = [word for word in line.split() if word in expected]
            if words and first_s is None:
                first_s = time.monotonic() - began_s
            heard += words
    if process.returncode or heard != expected or first_s is None:
        raise SystemExit(f"wanted {expected}, got {heard} and exit code {process.returncode} from:\n{commands}")
    return {"first_word_s": round(first_s, 1), "whole_s": round(time.monotonic() - began_s, 1), "words": len(heard)}


def _expected(commands: str, clone: Path) -> list[str]:
    """Return the words that the service hears in the recording that the commands name."""
    (recording,) = _RECORDING.findall(commands)
    command = [clone / ".venv/bin/dsm-stt", "transcribe", "--server", _ADDRESS, clone / recording]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def _environment(caches: Path) -> Mapping[str, str]:
    return {
        **os.environ,
        "PIP_CACHE_DIR": str(caches / "pip"),
        "GOCACHE": str(caches / "go-build"),
        "GOMODCACHE": str(caches / "go-modules"),
        "GOFLAGS": "-modcacherw",
        "MAVEN_OPTS": f"-Dmaven.repo.local={caches / 'maven'}",
    }


def _table(found: Mapping[str, Any]) -> Table:
    table = Table("client", "first word, empty caches", "again", title=f"make setup: {found['setup_s']} s")
    for name in CLIENTS:
        table.add_row(name, *(f"{found[name][kind]['first_word_s']} s" for kind in ("empty_caches", "again")))
    return table


if __name__ == "__main__":
    typer.run(main)
