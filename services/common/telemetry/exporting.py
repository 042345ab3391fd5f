"""Starts and ends what a process sends and serves of its telemetry. Called by `serve` of each service, once."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

import structlog
from opentelemetry import metrics, trace

from services.common.telemetry.settings import TelemetrySettings

_log = structlog.get_logger()

# How long a process that ends tries to send the last of its telemetry.
_LAST_S = 3.0


@contextmanager
def exporting(settings: TelemetrySettings, service: str) -> Iterator[int | None]:
    """Send and serve telemetry as long as the block, and the last of it at its end; nothing unless settings say so.

    Yields the port where the metrics are, None without one. Raises ConfigError when that port cannot be had.
    """
    with ExitStack() as ends:
        if settings.traces_to or settings.metrics_to or settings.metrics_listen:
            yield _start(settings, service, ends)
        else:
            yield None


def _start(settings: TelemetrySettings, service: str, ends: ExitStack) -> int | None:
    # Only here: a process that exports nothing need not load any of it.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    from services.common.telemetry.prometheus import PrometheusPort, PrometheusReader  # noqa: PLC0415

    _log_through_structlog()
    ours = Resource.create(
        {
            "service.namespace": "dsm-stt",
            "service.name": f"dsm-stt-{service}",
            "service.version": version("dsm-stt"),
            "service.instance.id": uuid.uuid4().hex,
        }
    )
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the last word.
    resource = ours.merge(OTELResourceDetector().detect())
    readers: list[MetricReader] = []
    port: int | None = None
    last: list[Callable[[], Any]] = []
    ends.callback(_send_the_last, last)
    if settings.metrics_to:
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=settings.metrics_to)))
    prometheus = PrometheusReader()
    if settings.metrics_listen:
        readers.append(prometheus)
    if readers:
        meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        metrics.set_meter_provider(meters)
        last.append(meters.shutdown)
    if settings.metrics_listen:
        listening = PrometheusPort(settings.metrics_listen, prometheus)
        ends.callback(listening.stop)
        port = listening.port
        _log.info("metrics", address=settings.metrics_listen, port=port)
    if settings.traces_to:
        tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.traces_to)))
        trace.set_tracer_provider(tracers)
        last.append(tracers.shutdown)
    _log.info("telemetry", traces=settings.traces_to, metrics=settings.metrics_to)
    return port


def _send_the_last(shut_down: Sequence[Callable[[], Any]]) -> None:
    """Send what has not been sent, all at once; a collector that does not answer must not hold a stopping process."""
    deadline_s = time.monotonic() + _LAST_S
    threads = [threading.Thread(target=each, daemon=True) for each in shut_down]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        _log.warning("telemetry: the last of it could not be sent", waited_s=_LAST_S)


class _ToStructlog(logging.Handler):
    """What the SDK has to say (a collector that cannot be reached, say) as lines of our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(min(record.levelno, logging.WARNING), "opentelemetry", message=record.getMessage()[:300])


def _log_through_structlog() -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [_ToStructlog()]
    logger.propagate = False
