"""The command line runs in images that have only what one service needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# Of single services, or of nobody's but a desktop's.
EXTRAS = {"av", "soxr", "sounddevice", "torch", "moshi", "huggingface_hub", "safetensors", "sentencepiece"}
RUN_WITHOUT = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"no {{name}} here")

sys.meta_path.insert(0, Missing())
from services.cli.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["gateway", "--help"], ["codec", "--help"], ["lm", "--help"], ["models", "list"]]
)
def test_commands_that_need_no_extra_run_without_any(arguments: list[str]) -> None:
    command = [sys.executable, "-c", RUN_WITHOUT, *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
