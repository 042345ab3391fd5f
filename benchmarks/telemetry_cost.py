"""What recording metrics costs a gateway for a frame of a live session, and a worker for a step.

Each way of exporting is measured in a process of its own, as OpenTelemetry takes exporters once in a process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Annotated

import typer

from benchmarks import results
from services.common.framing import FRAME_SAMPLES
from services.common.telemetry.exporting import exporting
from services.common.telemetry.settings import TelemetrySettings

FRAMES = 20_000
# Of 2.5 words a second, as fast as people speak.
_FRAMES_A_WORD = 5
_REPEATS = 5
_UNREACHED = "http://127.0.0.1:9"
EXPORTS = {
    "nothing": TelemetrySettings(),
    "prometheus": TelemetrySettings(metrics_listen="127.0.0.1:0"),
    "prometheus and otlp": TelemetrySettings(
        metrics_listen="127.0.0.1:0", otlp_metrics_endpoint=_UNREACHED, otlp_traces_endpoint=_UNREACHED
    ),
}


def measure(exports: TelemetrySettings) -> dict[str, float]:
    """Return µs of CPU, the least of five runs each: for a session's frame in a gateway, and for a worker's step."""
    with exporting(exports, "benchmark"):
        from services.common.telemetry import metrics, spans  # noqa: PLC0415
        from services.gateway.session_meter import SessionMeter  # noqa: PLC0415

        spans.begin_call("/benchmark.Service/Call", {})
        meter = SessionMeter("benchmark")
        # Everything is recorded of a live session only, and this one is fed faster than that.
        meter._began_s -= 1e9
        context = spans.here()
        labels = {"service": "lm", "model": "benchmark"}

        def frame(number: int) -> None:
            meter.note_received(FRAME_SAMPLES, 1)
            meter.note_fed(silence=False)
            meter.note_answer(int(number % _FRAMES_A_WORD == 0), number * FRAME_SAMPLES)

        def step(_number: int) -> None:
            metrics.STEP_TIME_S.record(0.03, labels, context)
            metrics.QUEUE_TIME_S.record(0.01, labels, context)
            metrics.STEP_SESSIONS.record(32, labels, context)

        return {"frame_us": _microseconds(frame), "step_us": _microseconds(step)}


def _microseconds(once: Callable[[int], None]) -> float:
    times = []
    for _ in range(_REPEATS):
        # Of this thread alone: the machine may have others to serve.
        began_s = time.thread_time()
        for number in range(FRAMES):
            once(number)
        times.append((time.thread_time() - began_s) / FRAMES * 1e6)
    return round(min(times), 2)


def main(
    only: Annotated[str, typer.Option(help="Measure one way of exporting and print its figures as JSON.")] = "",
) -> None:
    """Measure every way of exporting and write benchmarks/results/telemetry-cost.json."""
    if only:
        print(json.dumps(measure(EXPORTS[only])))
        return
    figures = {}
    for name in EXPORTS:
        command = [sys.executable, "-m", "benchmarks.telemetry_cost", "--only", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        figures[name] = json.loads(said.splitlines()[-1])
        frame_us, step_us = figures[name]["frame_us"], figures[name]["step_us"]
        frame_us, step_us = figures[name]["frame_us"], figures[name]["step_us"]
        print(f"exporting {name}: {frame_us} µs of CPU a session's frame, {step_us} µs a step")
    print(f"figures: {results.write('telemetry-cost', {'frames': FRAMES, 'repeats': _REPEATS}, figures)}")


if __name__ == "__main__":
    typer.run(main)
