"""Services under load, watched: a real Prometheus scrapes them, an OTLP receiver takes their traces.

A worker of each kind is killed on the way, so that there is something to see. What comes of it: the dashboard's panels
as a picture, the spans of one session as a table, and the main figures, as Prometheus answers them.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import results
from benchmarks.dashboard_plot import draw
from benchmarks.live_load import Load, figures
from benchmarks.prometheus import Prometheus, PrometheusMissing
from benchmarks.results import ROOT
from benchmarks.rig import Rig
from tests.telemetry.otlp import OtlpReceiver, ReceivedSpan

PICTURE = ROOT / "docs" / "dashboard.png"
# Two scrapes and an export of spans.
_SETTLE_S = 8.0
QUERIES = {
    "slots": "sum by (service) (dsm_stt_slots_total)",
    "sessions_started": "sum(dsm_stt_sessions_started_total)",
    "audio_s": "sum(dsm_stt_audio_seconds_total)",
    "words": "sum(dsm_stt_words_total)",
    "failovers": "sum by (kind, cause) (dsm_stt_failovers_total) > 0",
    "worker_losses": "sum by (kind, cause) (dsm_stt_worker_losses_total) > 0",
    "step_time_p50_s": "histogram_quantile(0.5, sum by (service, le) (dsm_stt_step_time_seconds_bucket))",
    "step_time_p99_s": "histogram_quantile(0.99, sum by (service, le) (dsm_stt_step_time_seconds_bucket))",
    "word_latency_p50_s": "histogram_quantile(0.5, sum by (le) (dsm_stt_word_latency_seconds_bucket))",
    "word_latency_p95_s": "histogram_quantile(0.95, sum by (le) (dsm_stt_word_latency_seconds_bucket))",
    "lag_p99_s": "histogram_quantile(0.99, sum by (le) (dsm_stt_lag_seconds_bucket))",
    "flush_p95_s": 'histogram_quantile(0.95, sum by (le) (dsm_stt_flush_seconds_bucket{reason="flush"}))',
    "alerts_firing": 'count by (alertname) (ALERTS{alertstate="firing"})',
}


def main(
    sessions: Annotated[int, typer.Option(min=1, help="Callers at once, in real time.")] = 6,
    seconds: Annotated[int, typer.Option(min=40, help="How long they call.")] = 100,
    model: Annotated[str, typer.Option(help="What the workers load.")] = "dsm-tiny-en",
    picture: Annotated[Path, typer.Option(help="Where the panels are drawn.")] = PICTURE,
) -> None:
    """Run services under load, watch them, and write the picture and benchmarks/results/watched.json."""
    settings = {"sessions": sessions, "seconds": seconds, "model": model}
    try:
        found = asyncio.run(_run(sessions, seconds, model, picture))
    except PrometheusMissing as missing:
        raise SystemExit(f"error: {missing}") from None
    for row in found["trace"]:
        print("| " + " | ".join(map(str, row)) + " |")
    print(*(f"{name}: {value}" for name, value in found["prometheus"].items()), sep="\n")
    print(f"picture: {picture}\nfigures: {results.write('watched', settings, found)}")
    # A machine that cannot carry the load refuses sessions, which is no fault of what is tested here.
    failed = [error for error in found["load"]["errors"] if "NO_CAPACITY" not in error]
    if failed or not found["exemplars"] or set(found["targets"].values()) != {"up"}:
        raise SystemExit("error: a call failed, a target was not scraped, or no exemplar came: see the figures")


async def _run(sessions: int, seconds: int, model: str, picture: Path) -> dict[str, Any]:
    with OtlpReceiver() as receiver:
        environment = {
            "DSM_METRICS_LISTEN": "127.0.0.1:0",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": receiver.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
        }
        async with Rig(model, sessions, 2, environment) as rig, Prometheus(rig) as prometheus:
            began_s = time.time()
            load = Load.of(sessions, 20.0, seed=1)
            events: dict[str, float] = {}
            await load.run(rig.address, lambda: _disturb(rig, seconds, events))
            await asyncio.sleep(_SETTLE_S)
            ended_s = time.time()
            # In a thread: the proxies before the workers are in this event loop, and must not fall silent.
            asked = await asyncio.to_thread(_ask, prometheus, began_s, ended_s)
            drawn = await asyncio.to_thread(draw, prometheus, began_s, ended_s, events, picture)
            trace = _table(_chosen(receiver))
            return {**asked, "load": figures(load), "series_drawn": drawn, "spans": len(receiver.spans), "trace": trace}


def _ask(prometheus: Prometheus, began_s: float, ended_s: float) -> dict[str, Any]:
    exemplars = prometheus.exemplars("dsm_stt_word_latency_seconds_bucket", began_s, ended_s)
    return {
        "prometheus_version": prometheus.version(),
        "targets": prometheus.targets(),
        "prometheus": {name: _values(prometheus.query(query)) for name, query in QUERIES.items()},
        "exemplars": len(exemplars),
        "exemplar": exemplars[-1] if exemplars else None,
    }


async def _disturb(rig: Rig, seconds: int, events: dict[str, float]) -> None:
    """Let a third of the time pass, kill an LM worker, and after another third a codec worker."""
    for kind in ("lm", "codec"):
        await asyncio.sleep(seconds / 3)
        events[kind] = time.time()
        victim = rig.of_kind(kind)[0]
        victim.send(signal.SIGKILL)
        await victim.replace()
    await asyncio.sleep(seconds / 3)


def _values(series: list[dict[str, Any]]) -> dict[str, float] | float | None:
    """Return the values by their labels, a single one without labels as it is."""
    found = {" ".join(one["metric"].values()): round(float(one["value"][1]), 4) for one in series}
    return found.get("") if set(found) == {""} else (found or None)


def _chosen(receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """Return a trace that has everything: a session that moved, and its call's end."""
    whole = {span.trace_id for span in receiver.spans if not span.parent_id}
    moved = [span.trace_id for span in receiver.spans if span.name == "failover" and span.trace_id in whole]
    return min((receiver.trace(trace_id) for trace_id in moved or whole), key=len)


def _table(spans: list[ReceivedSpan]) -> list[list[Any]]:
    """Make rows: the span, indented below its parent, its process, its beginning and its length in ms, and the rest."""
    parents = {span.span_id: span.parent_id for span in spans}

    def depth(span_id: str) -> int:
        return 1 + depth(parents[span_id]) if parents.get(span_id) else 0

    def below(parent_id: str) -> list[ReceivedSpan]:
        return [each for span in spans if span.parent_id == parent_id for each in (span, *below(span.span_id))]

    zero_ns = spans[0].start_ns
    kept = ("kind", "cause", "reason", "frames", "steps", "step_time_s", "queue_time_s", "replayed_frames", "words")
    return [
        [
            "&nbsp;" * 4 * depth(span.span_id) + span.name.removeprefix("dsm_stt.speech.v1."),
            span.process.removeprefix("dsm-stt-"),
            round((span.start_ns - zero_ns) / 1e6),
            round(span.took_s * 1000, 1),
            ", ".join(
                f"{name} {value}" for name in kept if (value := span.attributes.get(f"dsm_stt.{name}")) is not None
            ),
        ]
        for span in below("")
    ]


if __name__ == "__main__":
    typer.run(main)
