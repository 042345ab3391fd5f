"""The names of all metrics, in one place; docs/observability.md says what each means.

Names are OpenTelemetry's; in the Prometheus format dots become underscores, the unit "s" becomes the suffix "_seconds",
and counters end in "_total". Labels take few values: no session, no caller, no address.
"""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry import metrics

_meter = metrics.get_meter("dsm_stt")

# Around the budget of one frame, 80 ms: below it a worker keeps up, above it does not.
_STEP_S = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.1, 0.15, 0.25, 0.5, 1.0]
_WAIT_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0]
# Whole frames, then up to where callers are warned (2 s) and beyond.
_LAG_S = [0.08, 0.16, 0.24, 0.4, 0.8, 1.2, 2.0, 4.0, 8.0]
_WORD_S = [0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.24, 0.4, 0.8, 1.6, 3.2]
_FLUSH_S = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0]
_BATCH = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]


class Named(NamedTuple):
    """A metric by the name that Prometheus sees, without the suffixes of its samples."""

    name: str
    kind: str


# Every metric there is, for the tests of dashboards, alerts and documentation.
EXPORTED: list[Named] = []


def _note(name: str, kind: str, unit: str) -> None:
    total = "_total" if kind == "counter" else ""
    seconds = "_seconds" if unit == "s" else ""
    EXPORTED.append(Named(name.replace(".", "_") + seconds + total, kind))


def _counter(name: str, unit: str, description: str) -> metrics.Counter:
    _note(name, "counter", unit)
    return _meter.create_counter(name, unit=unit, description=description)


def _level(name: str, unit: str, description: str) -> metrics.UpDownCounter:
    """Make what goes up and down by what is opened and closed; a gauge to Prometheus."""
    _note(name, "gauge", unit)
    return _meter.create_up_down_counter(name, unit=unit, description=description)


def _histogram(name: str, unit: str, buckets: list[float], description: str) -> metrics.Histogram:
    _note(name, "histogram", unit)
    return _meter.create_histogram(
        name, unit=unit, description=description, explicit_bucket_boundaries_advisory=buckets
    )


# Workers

SLOTS_USED = _level("dsm_stt.slots.used", "{slot}", "Slots that sessions hold")
SLOTS_TOTAL = _level("dsm_stt.slots.total", "{slot}", "Slots that there are")
STEP_TIME_S = _histogram("dsm_stt.step.time", "s", _STEP_S, "One batched step; the budget is 0.08")
QUEUE_TIME_S = _histogram(
    "dsm_stt.queue.time", "s", _STEP_S, "From a frame's arrival to the start of its step: the oldest frame of each step"
)
STEP_SESSIONS = _histogram("dsm_stt.step.sessions", "{session}", [*_BATCH], "Sessions advanced by one step")
ENGINE_FAILURES = _counter("dsm_stt.engine.failures", "{failure}", "Models that raised; the process ends after it")

# Gateways

SESSIONS = _level("dsm_stt.sessions", "{session}", "Open sessions")
SESSIONS_STARTED = _counter("dsm_stt.sessions.started", "{session}", "Sessions that got their slots")
ADMISSION_WAITING = _level("dsm_stt.admission.waiting", "{session}", "Sessions waiting for a slot now")
ADMISSION_WAIT_S = _histogram("dsm_stt.admission.wait", "s", _WAIT_S, "From a session's first message to both slots")
LAG_S = _histogram("dsm_stt.lag", "s", _LAG_S, "Audio received and not yet processed, once a second of a live session")
WORD_LATENCY_S = _histogram(
    "dsm_stt.word.latency", "s", _WORD_S, "From the arrival of the audio that a word needed to the word; live sessions"
)
FLUSH_S = _histogram("dsm_stt.flush", "s", _FLUSH_S, "From the last audio before a flush being fed to flush_done")
AUDIO_S = _counter("dsm_stt.audio", "s", "Audio transcribed")
WORDS = _counter("dsm_stt.words", "{word}", "Final words sent")
WARNINGS = _counter("dsm_stt.warnings", "{warning}", "Warnings sent to callers, by code")
FAILOVERS = _counter("dsm_stt.failovers", "{session}", "Sessions moved to another worker")
FAILOVER_S = _histogram(
    "dsm_stt.failover", "s", _WAIT_S, "How long a move took, as long as the session's frames waited"
)
WORKER_LINKS = _level("dsm_stt.worker.links", "{worker}", "Workers that the gateway knows of")
WORKER_LINKS_UP = _level("dsm_stt.worker.links.up", "{worker}", "Workers that the gateway is connected to")
WORKER_LOSSES = _counter("dsm_stt.worker.losses", "{worker}", "Workers lost while connected, by cause")

# All services

REJECTIONS = _counter("dsm_stt.rejections", "{call}", "Calls refused or ended by an error, by reason")

LOSS_CAUSES = ("drained", "ended", "silent", "hung", "broken")
FAILOVER_CAUSES = ("lost", "draining")
# Of rejections, those that are the service's own fault.
_FAULTS = ("NO_CAPACITY", "WORKER_LOST", "INTERNAL")


def begin_worker_kind(kind: str) -> None:
    """Let a gateway's counters of a kind of worker begin at 0: a counter's first rise shows only from a value before.

    Prometheus takes the increase of a counter that appears as 1 for nothing, so the first loss would raise no alert.
    """
    ADMISSION_WAITING.add(0, {"service": "gateway", "kind": kind})
    for cause in LOSS_CAUSES:
        WORKER_LOSSES.add(0, {"service": "gateway", "kind": kind, "cause": cause})


def begin_model(model: str) -> None:
    """Let a gateway's counters of a model begin at 0."""
    labels = {"service": "gateway", "model": model}
    SESSIONS.add(0, labels)
    SESSIONS_STARTED.add(0, labels)
    for reason in _FAULTS:
        REJECTIONS.add(0, {**labels, "reason": reason})
    for kind in ("codec", "lm"):
        for cause in FAILOVER_CAUSES:
            FAILOVERS.add(0, {**labels, "kind": kind, "cause": cause})
