"""Plots of benchmark results, as small SVG files beside them. `make plots` draws them again from the figures there are.

Each benchmark draws its own when it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import RESULTS, read

Figures = dict[str, Any]

# Text as text: smaller, readable in a diff, and the same whatever fonts a machine has.
mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dsm-stt", "font.size": 9})


def main() -> None:
    """Draw what there are figures of."""
    for file in sorted(RESULTS.glob("*.json")):
        draw = _drawing(file.stem)
        if draw is not None:
            draw(read(file)["figures"], file.with_suffix(".svg"))
            print(file.with_suffix(".svg").relative_to(RESULTS.parents[1]))


def _drawing(name: str) -> Callable[[Figures, Path], None] | None:
    if name.startswith("step"):
        return lambda found, file: plot_step(found["steps"], file)
    return {"load": plot_load, "file": plot_file, "soak": plot_memory, "long-session": plot_memory}.get(name)


def plot_step(rows: Sequence[Figures], file: Path) -> None:
    """Draw step times, ours and moshi's, over the batch."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
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
        _finish(axis)
    _save(figure, file)


def plot_load(found: Figures, file: Path) -> None:
    """Draw word latency, lag and processor time over the number of callers."""
    trials = sorted(
        {trial["sessions"]: trial for trial in found["trials"] if trial["words"]}.values(),
        key=lambda trial: trial["sessions"],
    )
    sessions = [trial["sessions"] for trial in trials]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    late, lag, cpu = figure.subplots(1, 3)
    for axis, key, title in (
        (late, "word_latency_ms", "word latency beyond the model's delay [ms]"),
        (lag, "lag_ms", "lag [ms]"),
    ):
        for name in ("p50", "p95", "p99"):
            axis.plot(sessions, [trial[key][name] for trial in trials], marker="o", label=name)
        axis.set(title=title, xlabel="live sessions", yscale="log")
        _finish(axis)
    lag.axhline(found["lag_bar_ms"], color="grey", linestyle=":", linewidth=1)
    for name in trials[0]["cpu_ms_per_stream_s"] if trials else ():
        cpu.plot(sessions, [trial["cpu_ms_per_stream_s"][name] for trial in trials], marker="o", label=name)
    cpu.set(title="CPU ms per stream-second", xlabel="live sessions", ylim=(0, None))
    _finish(cpu)
    _save(figure, file)


def plot_file(found: Figures, file: Path) -> None:
    """Draw the speed of every round, the service's and moshi's."""
    figure = Figure(figsize=(5, 1.8), layout="constrained")
    axis = figure.subplots()
    names = list(found["audio_s_per_s"])
    axis.barh(names, [found["audio_s_per_s"][name]["median"] for name in names], color=["tab:blue", "tab:orange"])
    for name in names:
        values = found["audio_s_per_s"][name]["all"]
        axis.plot(values, [name] * len(values), "k|")
    axis.set(xlabel="seconds of audio transcribed in a second")
    axis.grid(visible=True, axis="x", alpha=0.3)
    _save(figure, file)


def plot_memory(found: Figures, file: Path) -> None:
    """Draw the resident memory of every process over time."""
    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.subplots()
    for name, use in found["processes"].items():
        axis.plot([at_s / 60 for at_s, _ in use["rss_series"]], [mib for _, mib in use["rss_series"]], label=name)
    axis.set(xlabel="minutes", ylabel="resident memory [MiB]", ylim=(0, None))
    _finish(axis)
    _save(figure, file)


def _finish(axis: Axes) -> None:
    axis.grid(visible=True, which="both", alpha=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def _save(figure: Figure, file: Path) -> None:
    # Without a date, so that the same figures give the same file.
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
