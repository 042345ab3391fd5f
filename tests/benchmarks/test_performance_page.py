"""docs/performance.md says what the figures say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.performance_doc import PAGE, render

ORIGIN: dict[str, Any] = {
    "at": "2030-01-02T03:04:05+00:00",
    "commit": "abc1234",
    "machine": {"cpu": "Z80", "cores": 2, "memory_gib": 23.5, "system": "Linux 6", "load_at_end": 0.5},
    "versions": {"python": "3.11"},
    "settings": {"model": "m", "long_s": 60.0},
}


def trial(sessions: int, gateway_ms: float = 1.25, lag_ms: float = 80.0) -> dict[str, Any]:
    three = {"p50": lag_ms, "p95": lag_ms, "p99": lag_ms}
    processes = ("codec", "lm", "gateway", "callers")
    return {
        "sessions": sessions,
        "sound": "16 kHz, 80 ms messages",
        "word_latency_ms": three,
        "lag_ms": three,
        "cpu_ms_per_stream_s": dict.fromkeys(processes, gateway_ms),
        "rss_mib": dict.fromkeys(processes, 100.0),
        "errors": [],
        "keeps_up": lag_ms < 200,
    }


def load(folder: Path, **changes: Any) -> Path:
    figures = {
        "lag_bar_ms": 200.0,
        "largest": trial(24),
        "trials": [trial(24), trial(25, lag_ms=400.0)],
        "gateway_bar_cpu_ms": 1.5,
        "gateway": [trial(64)],
        "gateway_floor": trial(64, gateway_ms=0.75),
    }
    (folder / "load.json").write_text(json.dumps({**ORIGIN, "figures": {**figures, **changes}}))
    return folder


def test_the_page_says_what_the_figures_say() -> None:
    assert render(PAGE.read_text()) == PAGE.read_text(), "run `make performance-doc`"


def test_a_figure_changed_by_hand_is_written_over(tmp_path: Path) -> None:
    page = "<!-- figures: load -->\n**9876 live sessions**\n<!-- end of figures -->"
    rendered = render(page, load(tmp_path))
    assert "9876" not in rendered
    assert "**24 live sessions**" in rendered
    assert "commit `abc1234` on 2 cores (Z80)" in rendered
    assert rendered == render(rendered, tmp_path)


def test_a_number_that_does_not_keep_up_is_called_too_slow(tmp_path: Path) -> None:
    rows = render("<!-- figures: load -->\n<!-- end of figures -->", load(tmp_path)).splitlines()
    (slow,) = [row for row in rows if row.startswith("| 25 ")]
    assert slow.endswith("| too slow |")


def test_a_bar_that_is_missed_is_called_missed(tmp_path: Path) -> None:
    page = "<!-- figures: gateway -->\n<!-- end of figures -->"
    assert "is met: 1.25 ms" in render(page, load(tmp_path))
    assert "is **missed**: 1.75 ms" in render(page, load(tmp_path, gateway=[trial(64, gateway_ms=1.75)]))


def test_what_has_no_figures_is_called_unmeasured(tmp_path: Path) -> None:
    page = "<!-- figures: file -->\nold\n<!-- end of figures -->"
    assert "Not measured yet: `make bench-file`" in render(page, tmp_path)


def test_sizes_are_those_of_the_floors(tmp_path: Path) -> None:
    """512 sessions of the 1B model with full contexts: 50 GB of cache and 2 GB of weights are 12 ms."""
    rows = render("<!-- figures: sizes -->\n<!-- end of figures -->", tmp_path).splitlines()
    (row,) = [row for row in rows if row.startswith("| 1b | 512 ")]
    moved_gib, memory_ms = (float(cell) for cell in row.split("|")[3:5])
    assert 46 < moved_gib < 52
    assert 11 < memory_ms < 13


def test_steps_stand_beside_moshis_and_their_floors(tmp_path: Path) -> None:
    times = {"median_ms": 2.0, "least_ms": 1.5, "cpu_ms": 2.0}
    floor = {"weight_bytes": 8e6, "cache_bytes": 1e6, "operations": 4e6, "ms": 0.5, "share": 0.25}
    row = {"part": "lm", "context": "full", "slots": 16, "active": 4, "ours": times, "floor": floor}
    steps = [row | {"moshi": {**times, "median_ms": 6.0}, "speedup": 3.0}, row | {"part": "codec"}]
    (tmp_path / "step-1b.json").write_text(json.dumps({**ORIGIN, "figures": {"steps": steps}}))
    rendered = render("<!-- figures: steps -->\n<!-- end of figures -->", tmp_path)
    assert "| lm | full | 4 of 16 | 2.00 | 6.00 | 3.0 | 9.0 | 4 | 0.50 | 25% |" in rendered
    assert "| codec | full | 4 of 16 | 2.00 |  |  | 9.0 | 4 | 0.50 | 25% |" in rendered


def test_the_embedded_models_steps_come_first_and_say_how_fast_a_replay_is(tmp_path: Path) -> None:
    delay = {"without": 6.0, "with": 9.4}
    replay = {"frames": 750, "stepped_ms": 800.0, "replayed_ms": 20.0, "speedup": 40.0, "chunks": 4, "live_sessions": 8}
    found = {"steps": [], "replay": replay | {"longest_live_delay_ms": delay}}
    for name, figures in (("step-1b", {"steps": []}), ("step", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**ORIGIN, "figures": figures}))
        (tmp_path / f"{name}.svg").touch()
    rendered = render("<!-- figures: steps -->\n<!-- end of figures -->", tmp_path)
    assert "20.0 ms, stepping them 800 ms: **40 times** as fast" in rendered
    assert "no step came later than 9.4 ms, without it 6.0 ms" in rendered
    assert rendered.index("A replay") < rendered.index("step-1b.svg")
