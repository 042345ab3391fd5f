"""The package as PyPI would have it: a wheel, in an environment of its own, without anything of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from services.cli.local_stack import LocalStack

PACKAGE = Path(__file__).resolve().parents[1]
DIGITS = PACKAGE.parents[1] / "models" / "dsm-tiny-en" / "samples" / "digits.wav"
# Nothing of the test's own environment.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*command: object, folder: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment with the wheel in it; its dependencies come from PyPI."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=PACKAGE)
    (wheel,) = folder.glob("dsm_stt_client-*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, folder=folder)
    return python


def test_the_package_brings_what_it_needs_and_no_torch(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys, dsm_stt_client, importlib.metadata as metadata, importlib.util as util\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('torch', 'numpy', 'services', 'dsm_stt')]\n"
        "assert util.find_spec('torch') is None\n"
        "files = {str(file) for file in metadata.files('dsm-stt-client')}\n"
        "assert 'dsm_stt_client/py.typed' in files and any(name.endswith('licenses/LICENSE') for name in files)\n"
        "print(metadata.version('dsm-stt-client'), dsm_stt_client.__version__)"
    )
    version, same = run(installed, "-W", "error", "-c", code, folder=tmp_path).split()
    assert version == same


@pytest.mark.parametrize("example", ["transcribe_file.py", "live_microphone.py"])
def test_the_examples_explain_themselves(installed: Path, tmp_path: Path, example: str) -> None:
    text = run(installed, PACKAGE / "examples" / example, "--help", folder=tmp_path)
    assert "--server HOST:PORT" in text
    assert f"python {example}" in text


def test_the_file_example_prints_the_words(installed: Path, tmp_path: Path, service: LocalStack) -> None:
    example = PACKAGE / "examples" / "transcribe_file.py"
    text = run(installed, example, DIGITS, "--server", service.address, folder=tmp_path)
    assert "seven one nine two" in text
    words = run(installed, example, DIGITS, "--words", "--server", service.address, folder=tmp_path).splitlines()
    assert words[1].split()[2] == "seven"
    assert len(words) == len(text.split())


def test_the_live_example_prints_words_turn_by_turn(installed: Path, tmp_path: Path, service: LocalStack) -> None:
    example = PACKAGE / "examples" / "live_microphone.py"
    text = run(installed, example, "--simulate", DIGITS, "--server", service.address, folder=tmp_path)
    assert "seven one nine two" in " ".join(text.split())


def test_an_example_says_what_went_wrong(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("no audio")
    done = subprocess.run(
        [installed, PACKAGE / "examples" / "live_microphone.py", "--simulate", "notes.wav"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
