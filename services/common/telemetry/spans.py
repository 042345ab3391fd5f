"""The names of all spans, and how they hang together; docs/observability.md draws one session's.

A span is made for what a session does once or now and then, never for a frame, a step or a word. Between processes the
W3C trace context travels: from the caller in gRPC metadata, to the workers in a session's open message. What callbacks
of shared streams do for a session is not in the context of its call, so whoever needs it keeps `here()`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ADMISSION = "admission"
OPEN_LM = "open lm"
OPEN_CODEC = "open codec"
FLUSH = "flush"
FAILOVER = "failover"
# On a worker: the life of a session, and the first part of it.
WORKER_SESSION = "{service} session"
WORKER_OPEN = "{service} open"

# When time.monotonic began; the wall clock may be set anew now and then.
_epoch_ns = time.time_ns() - time.monotonic_ns()
_CLOCK_SLACK_NS = 1_000_000

_tracer = trace.get_tracer("dsm_stt")
_w3c = TraceContextTextMapPropagator()


def begin_call(method: str, metadata: Mapping[str, str]) -> Span:
    """Begin the span of a call, as a child of the caller's if there is one, and make it that of this task.

    Nothing undoes it: the task is the call's own.
    """
    service, _, name = method.lstrip("/").rpartition("/")
    span = _tracer.start_span(
        f"{service}/{name}",
        _w3c.extract(metadata, Context()),
        SpanKind.SERVER,
        {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
    )
    context.attach(trace.set_span_in_context(span, Context()))
    return span


def end_call(span: Span, code: int, reason: str, fields: Mapping[str, Any]) -> None:
    """End the span of a call. code: of gRPC. reason: why it failed, "" if it did not. fields: those of its log line."""
    if span.is_recording():
        span.set_attribute("rpc.grpc.status_code", code)
        # Labels are the caller's own words.
        span.set_attributes({f"dsm_stt.{name}": value for name, value in fields.items() if name != "labels"})
        if reason:
            span.set_status(Status(StatusCode.ERROR, reason))
    span.end()


@contextmanager
def span(name: str, **attributes: str) -> Iterator[Span]:
    """Record what the block does; an error is noted by its kind, as its text may quote what a caller sent."""
    named = {f"dsm_stt.{key}": value for key, value in attributes.items()}
    with _tracer.start_as_current_span(
        name, attributes=named, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def past(name: str, parent: Context, began_s: float, ended_s: float, **attributes: str | int | float) -> Span:
    """Record what is over. began_s, ended_s: on time.monotonic's clock."""
    named = {f"dsm_stt.{key}": value for key, value in attributes.items()}
    made = _tracer.start_span(name, parent, attributes=named, start_time=_wall_ns(began_s))
    made.end(_wall_ns(ended_s))
    return made


def _wall_ns(at_s: float) -> int:
    global _epoch_ns  # noqa: PLW0603  # one for the process, so that spans made one after another agree
    epoch_ns = time.time_ns() - time.monotonic_ns()
    if abs(epoch_ns - _epoch_ns) > _CLOCK_SLACK_NS:
        _epoch_ns = epoch_ns
    return _epoch_ns + round(at_s * 1e9)


def trace_id(span: Span) -> str:
    """Return the id of a span's trace for log lines, "" for one that nobody records."""
    found = span.get_span_context()
    return trace.format_trace_id(found.trace_id) if found.trace_flags.sampled else ""


def here() -> Context:
    """Return the context of this task, for callbacks that run in another's."""
    return context.get_current()


def traceparent() -> str:
    """Return the W3C trace context of this task, "" if there is none."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent", "")


def sampled(traceparent: str) -> Context | None:
    """Return the context that an open message brought; None unless somebody records that trace."""
    if not traceparent:
        return None
    remote = _w3c.extract({"traceparent": traceparent}, Context())
    return remote if trace.get_current_span(remote).get_span_context().trace_flags.sampled else None
