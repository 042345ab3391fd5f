"""The Grafana dashboard as a picture: each of its panels drawn from its own queries to a real Prometheus."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.prometheus import MONITORING, RATE_INTERVAL, Prometheus

_COLUMNS = 4
_UNITS = {"s": "s", "ops": "1/s", "percentunit": "share", "short": ""}
_MOST_LABELS = 6


def panels() -> list[dict[str, Any]]:
    """Read the panels of the dashboard, without its rows."""
    found = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def expression(target: dict[str, Any]) -> str:
    """Fill in the variables as Grafana does when everything is chosen."""
    asked: str = target["expr"]
    for variable, value in (("$__rate_interval", RATE_INTERVAL), ("$service", ".*"), ("$model", ".*")):
        asked = asked.replace(variable, value)
    return asked


def draw(prometheus: Prometheus, began_s: float, ended_s: float, events: dict[str, float], file: Path) -> int:
    """Draw every panel; returns how many series there were. events: by name, when; a line in each panel."""
    shown = panels()
    rows = math.ceil(len(shown) / _COLUMNS)
    figure = Figure(figsize=(4.2 * _COLUMNS, 2.6 * rows), layout="constrained")
    series = 0
    for axis, panel in zip(figure.subplots(rows, _COLUMNS).flat, shown, strict=False):
        series += _draw_panel(axis, panel, prometheus, began_s, ended_s)
        for at_s in events.values():
            axis.axvline(at_s - began_s, color="tab:red", linewidth=0.8, linestyle=":")
    for axis in figure.axes[len(shown) :]:
        axis.set_visible(False)
    figure.savefig(file, dpi=80)
    return series


def _draw_panel(axis: Any, panel: dict[str, Any], prometheus: Prometheus, began_s: float, ended_s: float) -> int:
    drawn = 0
    for target in panel["targets"]:
        for series in prometheus.query_range(expression(target), began_s, ended_s):
            points = [(float(at) - began_s, float(value)) for at, value in series["values"]]
            label = _legend(target["legendFormat"], series["metric"])
            axis.plot(*zip(*points, strict=True), linewidth=1, label=label if drawn < _MOST_LABELS else None)
            drawn += 1
    unit = _UNITS[panel["fieldConfig"]["defaults"]["unit"]]
    axis.set_title(f"{panel['title']}{f' [{unit}]' if unit else ''}", fontsize=9)
    axis.set_xlim(0, ended_s - began_s)
    axis.set_ylim(bottom=0)
    axis.tick_params(labelsize=7)
    axis.grid(visible=True, alpha=0.3)
    if drawn:
        axis.legend(fontsize=6, loc="best")
    return drawn


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda name: labels.get(name[1], ""), template)
