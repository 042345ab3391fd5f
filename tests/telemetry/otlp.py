"""An OTLP receiver in this process: what services send to it can be looked at as plain values.

with OtlpReceiver() as receiver:
    ... environment={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint} ...
    await receiver.until(lambda: receiver.named("admission"))
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as plain values. process: the service.name of who sent it."""

    process: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    failed: bool
    message: Any

    @property
    def took_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9


class OtlpReceiver:
    """Keeps every span, and the newest value of every metric."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        # By process (its instance id), name and labels: a number, or a histogram's data point.
        self.points: dict[tuple[str, str, frozenset[tuple[str, str]]], Any] = {}
        # Everything as it came, to look for what must not be there.
        self.requests: list[Any] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Traces(self), self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(_Metrics(self), self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self.endpoint = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until what has come fulfils a condition."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await asyncio.sleep(0.02)

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """Return the spans of a trace, in the order in which they began."""
        return sorted((span for span in list(self.spans) if span.trace_id == trace_id), key=lambda span: span.start_ns)

    def value(self, name: str, **labels: str) -> Any:
        """Return the sum of a metric's numbers over all processes, those with other labels included."""
        return sum(self._found(name, labels)) if self._found(name, labels) else None

    def histogram(self, name: str, **labels: str) -> Any:
        """Return the only data point of a histogram with these labels, None without one."""
        found = self._found(name, labels)
        assert len(found) < 2, found
        return found[0] if found else None

    def _found(self, name: str, labels: dict[str, str]) -> list[Any]:
        with self._lock:
            return [
                point
                for (_, named, having), point in self.points.items()
                if named == name and labels.items() <= dict(having).items()
            ]

    def take_spans(self, request: Any) -> None:
        with self._lock:
            self.requests.append(request)
            for of_resource in request.resource_spans:
                process = _attributes(of_resource.resource)["service.name"]
                for of_scope in of_resource.scope_spans:
                    self.spans.extend(_span(process, span) for span in of_scope.spans)

    def take_metrics(self, request: Any) -> None:
        with self._lock:
            self.requests.append(request)
            for of_resource in request.resource_metrics:
                process = _attributes(of_resource.resource)["service.instance.id"]
                for of_scope in of_resource.scope_metrics:
                    for metric in of_scope.metrics:
                        for point in getattr(metric, metric.WhichOneof("data")).data_points:
                            labels = frozenset(_attributes(point).items())
                            number = getattr(point, "as_int", 0) or getattr(point, "as_double", 0)
                            value = point if metric.HasField("histogram") else number
                            self.points[process, metric.name, labels] = value


class _Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, _context: Any) -> Any:
        self._receiver.take_spans(request)
        return trace_service_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self, receiver: OtlpReceiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, _context: Any) -> Any:
        self._receiver.take_metrics(request)
        return metrics_service_pb2.ExportMetricsServiceResponse()


def _span(process: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        process=process,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        message=span.status.message,
    )


def _attributes(of: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in of.attributes}
