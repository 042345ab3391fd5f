"""One set of exporters for all tests of telemetry: OpenTelemetry takes providers once in a process."""

from __future__ import annotations

import asyncio
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import metrics, trace
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from services.common.telemetry.exporting import exporting
from services.common.telemetry.settings import TelemetrySettings
from tests.telemetry.otlp import OtlpReceiver

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@dataclass
class Exported:
    """What this process has exported, both ways."""

    receiver: OtlpReceiver
    port: int

    async def flush(self) -> OtlpReceiver:
        """Have everything sent that was recorded so far."""
        for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
            assert await asyncio.to_thread(provider.force_flush)  # type: ignore[attr-defined]
        return self.receiver

    def text(self, headers: dict[str, str] | None = None) -> str:
        """Scrape, as Prometheus does."""
        return scrape(self.port, headers or OPENMETRICS)

    def samples(self, **labels: str) -> dict[str, Any]:
        """Scrape; returns the samples with these labels by name, the +Inf bucket for a histogram's buckets."""
        return {
            sample.name: sample
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if labels.items() <= sample.labels.items() and sample.labels.get("le", "+Inf") == "+Inf"
        }


def scrape(port: int, headers: dict[str, str]) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        return str(response.read().decode())


@pytest.fixture(scope="session")
def _process() -> Iterator[Exported]:
    # Tests ask for what they want to see; nothing needs to be sent in between.
    os.environ |= {"OTEL_BSP_SCHEDULE_DELAY": "60000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
    with OtlpReceiver() as receiver:
        settings = TelemetrySettings(otlp_endpoint=receiver.endpoint, metrics_listen="127.0.0.1:0")
        with exporting(settings, "test") as port:
            assert port is not None
            yield Exported(receiver, port)


@pytest.fixture
def exported(_process: Exported) -> Exported:
    """What was exported so far; give each test's model a name of its own."""
    _process.receiver.spans.clear()
    _process.receiver.requests.clear()
    return _process
