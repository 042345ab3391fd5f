"""What every benchmark writes beside its numbers: the commit, the machine and the versions they hold for."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "moshi", "numpy")
_ROOT = Path(__file__).parents[1]


def write_result(name: str, rows: list[dict[str, Any]], **settings: Any) -> Path:
    """Write benchmarks/results/<name>.json; returns its path."""
    file = _ROOT / "benchmarks" / "results" / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    result = {"commit": _commit(), "machine": _machine(), "versions": _versions(), "settings": settings, "rows": rows}
    file.write_text(json.dumps(result, indent=1) + "\n")
    return file


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _machine() -> dict[str, Any]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        # Above the cores used, the numbers were taken beside other work.
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
    }


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{package: metadata.version(package) for package in _PACKAGES}}
