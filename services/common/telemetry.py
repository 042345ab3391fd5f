"""The names of all metrics, in one place. Without an exporter configured, recording them costs next to nothing."""

from __future__ import annotations

from opentelemetry import metrics

_meter = metrics.get_meter("dsm_stt")

# Buckets around the budget of one frame, 80 ms: below it a worker keeps up, above it does not.
_STEP_BUCKETS_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0]

STEP_TIME_S = _meter.create_histogram(
    "dsm_stt.step.time", unit="s", description="One batched step", explicit_bucket_boundaries_advisory=_STEP_BUCKETS_S
)
QUEUE_TIME_S = _meter.create_histogram(
    "dsm_stt.queue.time",
    unit="s",
    description="From a frame's arrival at the worker to the start of its step: the oldest frame of each step",
    explicit_bucket_boundaries_advisory=_STEP_BUCKETS_S,
)
STEP_SESSIONS = _meter.create_histogram(
    "dsm_stt.step.sessions", unit="{session}", description="Sessions advanced by one step"
)
SESSIONS = _meter.create_up_down_counter("dsm_stt.sessions", unit="{session}", description="Open sessions")
REJECTIONS = _meter.create_counter(
    "dsm_stt.rejections", unit="{session}", description="Sessions refused or ended by an error, by reason"
)
FAILOVERS = _meter.create_counter(
    "dsm_stt.failovers", unit="{session}", description="Sessions moved to another worker, by kind of worker"
)
AUDIO_S = _meter.create_counter("dsm_stt.audio", unit="s", description="Audio transcribed")
