"""Plots of benchmark results; matplotlib is the one thing here that tests do without."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot_step(rows: list[dict[str, Any]], file: Path) -> bool:
    """Draw step times, ours and moshi's, over the batch. Returns False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return False
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, part in zip(axes, ("lm", "codec"), strict=True):
        for context, style in (("short", "--"), ("full", "-")):
            chosen = [row for row in rows if (row["part"], row["context"]) == (part, context)]
            chosen = [row for row in chosen if row["slots"] == row["active"]]
            for engine, colour in (("ours", "tab:blue"), ("moshi", "tab:orange")):
                points = [(row["slots"], row[engine]["median_ms"]) for row in chosen if engine in row]
                if points:
                    axis.plot(*zip(*points, strict=True), style, marker="o", color=colour, label=f"{engine}, {context}")
        axis.set(title=part, xlabel="sessions stepped", ylabel="step [ms]", xscale="log", yscale="log")
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend()
    figure.savefig(file)
    return True
