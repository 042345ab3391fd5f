"""A local stack of fake processes, run as `dsm-stt serve` runs the real one: `python -m tests.fakes.stack`."""

from __future__ import annotations

import typer

from services.cli.local_stack import LocalStack
from services.cli.serve import run_until_stopped

FAKES = dict.fromkeys(("codec", "lm", "gateway"), "tests.fakes.process")


def main() -> None:
    run_until_stopped(LocalStack(modules=FAKES, stop_timeout_s=5), log=True)


if __name__ == "__main__":
    typer.run(main)
