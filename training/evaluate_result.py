"""Where the figures of the final evaluation are: written by `training.evaluate`, read by `training.card`."""

from pathlib import Path

RESULT = Path("benchmarks/results/tiny-en-evaluation.json")
