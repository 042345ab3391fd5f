"""When a process exports anything, to where, and what it says when it cannot."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from services.common.env import from_environment
from services.common.errors import ConfigError
from services.common.telemetry import metrics
from services.common.telemetry.exporting import exporting
from services.common.telemetry.settings import TelemetrySettings
from services.gateway.config import GatewayConfig
from tests.telemetry.conftest import OPENMETRICS, Exported, scrape


def settings(**environ: str) -> TelemetrySettings:
    return from_environment(TelemetrySettings, environ)


def test_nothing_is_exported_unless_it_is_asked_for() -> None:
    given = from_environment(GatewayConfig, {})
    assert (given.traces_to, given.metrics_to, given.metrics_listen) == ("", "", "")


def test_a_process_that_exports_nothing_loads_nothing_for_it() -> None:
    program = """
import sys, threading
from services.common.telemetry.exporting import exporting
from services.gateway.config import GatewayConfig
import services.gateway.serve
with exporting(GatewayConfig(), "gateway") as port:
    assert port is None
    assert not [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "prometheus_client"))]
    assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_one_endpoint_is_for_traces_and_metrics() -> None:
    given = settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317")
    assert given.traces_to == given.metrics_to == "http://collector:4317"


def test_a_signals_own_endpoint_goes_before_the_common_one() -> None:
    given = settings(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://traces:4317"
    )
    assert (given.traces_to, given.metrics_to) == ("http://traces:4317", "http://collector:4317")
    assert settings(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://metrics:4317").traces_to == ""


def test_a_signal_can_be_switched_off() -> None:
    given = settings(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4317", OTEL_METRICS_EXPORTER="none")
    assert (given.traces_to, given.metrics_to) == ("http://collector:4317", "")


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DSM_METRICS_LISTEN", "9464", "DSM_METRICS_LISTEN: wanted host:port, got '9464'"),
        ("DSM_METRICS_LISTEN", "0.0.0.0:99999", "DSM_METRICS_LISTEN: wanted host:port, got '0.0.0.0:99999'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "wanted grpc, got 'http/protobuf'"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "OTEL_TRACES_EXPORTER: wanted one of otlp, none, got 'zipkin'"),
    ],
)
def test_settings_that_cannot_work_are_refused(variable: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("'", ".")):
        settings(**{variable: value})


def test_a_port_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        program = f"""
from services.common.errors import ConfigError
from services.common.telemetry.exporting import exporting
from services.common.telemetry.settings import TelemetrySettings
try:
    with exporting(TelemetrySettings(metrics_listen={listen!r}), "test"):
        raise SystemExit("it listens")
except ConfigError as error:
    print(error)
"""
        said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert f"DSM_METRICS_LISTEN: cannot listen on {listen}: Address already in use" in said


def test_a_second_scraper_of_another_format_is_served_as_well(exported: Exported) -> None:
    metrics.SLOTS_TOTAL.add(0, {"service": "test"})
    plain, openmetrics = scrape(exported.port, {}), scrape(exported.port, OPENMETRICS)
    assert openmetrics.endswith("# EOF\n")
    assert "# EOF" not in plain
    for text in (plain, openmetrics):
        assert 'service_name="dsm-stt-test"' in text
    assert 'service_namespace="dsm-stt"' in plain


@pytest.mark.usefixtures("exported")
def test_exporting_nothing_leaves_what_is_exported_alone() -> None:
    with exporting(TelemetrySettings(), "other") as port:
        assert port is None


def test_the_operators_names_have_the_last_word() -> None:
    program = """
import urllib.request
from services.common.telemetry.exporting import exporting
from services.common.telemetry.settings import TelemetrySettings
with exporting(TelemetrySettings(metrics_listen="127.0.0.1:0"), "lm") as port:
    from services.common.telemetry import metrics
    metrics.SLOTS_TOTAL.add(1, {"service": "lm"})
    print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode())
"""
    names = {"OTEL_SERVICE_NAME": "ears", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=names).stdout
    assert 'service_name="ears"' in said
    assert 'deployment_environment="test"' in said
    assert 'dsm_stt_slots_total{service="lm"} 1.0' in said


def test_a_collector_that_is_not_there_holds_no_process_up_and_is_told_of_in_the_log() -> None:
    program = """
from services.common.log import configure_logging
from services.common.telemetry import metrics, spans
from services.common.telemetry.exporting import exporting
from services.common.telemetry.settings import TelemetrySettings
configure_logging("info", "json", "test")
with exporting(TelemetrySettings(otlp_endpoint="http://127.0.0.1:9"), "test"):
    with spans.span("lost"):
        metrics.WORDS.add(1)
"""
    # Its own way out would take minutes with these.
    patience = {"OTEL_EXPORTER_OTLP_TIMEOUT": "600", "OTEL_BSP_EXPORT_TIMEOUT": "600000"}
    ended = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=patience, timeout=90
    )
    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert "opentelemetry" in events
    assert events[-1] == "telemetry: the last of it could not be sent"
