"""The metrics in Prometheus's format, on a port of their own: collected when they are scraped, and not before.

OpenTelemetry's own Prometheus exporter leaves out exemplars, which lead from a slow step or a late word to its trace;
so the translation is here, and prometheus_client writes the format.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import Histogram, HistogramDataPoint, Metric, MetricReader, MetricsData, Sum
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import InfoMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from services.common.errors import ConfigError


class PrometheusReader(MetricReader):
    """Reads the metrics of this process for one registry. Implements prometheus_client's Collector."""

    def __init__(self) -> None:
        super().__init__()
        # Scrapes come in threads of their own, and may come together.
        self._lock = threading.Lock()
        self._received: MetricsData | None = None

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> None:
        self._received = metrics_data

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Have nothing to send; collecting now would take the exemplars away from the next scrape."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Have nothing to end."""

    def read(self) -> Iterator[Family]:
        """Collect now; yields prometheus_client's metric families."""
        with self._lock:
            self._received = None
            # The scrape of a registry calls its collectors' `collect`, which a MetricReader has for other purposes.
            self.collect()
            data = self._received
        yield from _families(data)


class _Collector:
    """A registry's view of the reader."""

    def __init__(self, reader: PrometheusReader) -> None:
        self._reader = reader

    def collect(self) -> Iterator[Family]:
        return self._reader.read()


class PrometheusPort:
    """Serves /metrics until it is stopped, in threads of its own."""

    def __init__(self, listen: str, reader: PrometheusReader) -> None:
        """listen: "host:port", port 0 for any free one. Raises ConfigError when the address cannot be had."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(reader))
        host, _, port = listen.rpartition(":")
        try:
            self._server, self._thread = start_http_server(int(port), host.strip("[]"), registry)
        except OSError as error:
            raise ConfigError(f"DSM_METRICS_LISTEN: cannot listen on {listen}: {error.strerror}") from None
        self.port: int = self._server.server_port

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _families(data: MetricsData | None) -> Iterator[Family]:
    for resource_metrics in data.resource_metrics if data else ():
        # Who this process is, as the OpenTelemetry specification wants it.
        target = InfoMetricFamily("target", "What OpenTelemetry calls the resource")
        labels = {key.replace(".", "_"): str(value) for key, value in resource_metrics.resource.attributes.items()}
        target.add_sample("target_info", labels, 1)
        yield target
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                yield _family(metric)


def _family(metric: Metric) -> Family:
    unit = "seconds" if metric.unit == "s" else ""
    name = metric.name.replace(".", "_") + (f"_{unit}" if unit else "")
    data = metric.data
    if isinstance(data, Histogram):
        family = Family(name, metric.description or "", "histogram", unit)
        for point in data.data_points:
            _add_histogram(family, point)
        return family
    assert isinstance(data, Sum), f"{metric.name}: we have no metric of this kind"
    family = Family(name, metric.description or "", "counter" if data.is_monotonic else "gauge", unit)
    suffix = "_total" if data.is_monotonic else ""
    for number in data.data_points:
        family.add_sample(name + suffix, _labels(number.attributes), number.value)
    return family


def _add_histogram(family: Family, point: HistogramDataPoint) -> None:
    labels = _labels(point.attributes)
    exemplars = _by_bucket(point)
    bounds = [*map(floatToGoString, point.explicit_bounds), "+Inf"]
    count = 0
    for index, (bound, of_bucket) in enumerate(zip(bounds, point.bucket_counts, strict=True)):
        count += of_bucket
        family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count, exemplar=exemplars.get(index))
    family.add_sample(f"{family.name}_count", labels, point.count)
    family.add_sample(f"{family.name}_sum", labels, point.sum)


def _by_bucket(point: HistogramDataPoint) -> dict[int, Exemplar]:
    """Return the newest exemplar of each bucket, by its index."""
    found: dict[int, Exemplar] = {}
    bounds: Sequence[float] = point.explicit_bounds
    for exemplar in sorted(point.exemplars, key=lambda exemplar: exemplar.time_unix_nano):
        if exemplar.trace_id is None or exemplar.span_id is None:
            continue
        trace = {"trace_id": format_trace_id(exemplar.trace_id), "span_id": format_span_id(exemplar.span_id)}
        found[bisect_left(bounds, exemplar.value)] = Exemplar(trace, exemplar.value, exemplar.time_unix_nano / 1e9)
    return found


def _labels(attributes: Any) -> dict[str, str]:
    return {key: str(value) for key, value in (attributes or {}).items()}
