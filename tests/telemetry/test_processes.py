"""The services as processes of their own: they export what their settings say, and end with nothing unsent."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from dsm_stt.speech.v1 import speech_pb2_grpc
from services.cli.local_stack import LocalStack
from services.common.checkpoint import Checkpoint
from tests.speech import chunks, config, transcribe
from tests.telemetry.conftest import OPENMETRICS, scrape
from tests.telemetry.otlp import OtlpReceiver

# Three processes, two of which load torch, on a machine that may be busy.
pytestmark = pytest.mark.timeout(400)


def metrics_port(log_file: Path) -> int:
    lines = [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]
    return next(int(line["port"]) for line in lines if line["event"] == "metrics")


async def test_one_trace_of_one_session_over_three_processes(mini_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with OtlpReceiver() as receiver:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            # Never while it runs: what comes is what is sent at the end.
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
            "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
            "DSM_METRICS_LISTEN": "127.0.0.1:0",
        }
        stack = LocalStack(
            str(mini_checkpoint.lm_weights.parent), slots=2, environment=environment, log_folder=tmp_path
        )
        with stack:
            async with grpc.aio.insecure_channel(stack.address) as channel:
                stub = speech_pb2_grpc.SpeechServiceStub(channel)
                await transcribe(stub, [config(), *chunks(bytes(20 * 3840))])
            scraped = {
                name: scrape(metrics_port(tmp_path / f"{name}.log"), OPENMETRICS) for name in ("gateway", "codec", "lm")
            }
            assert not receiver.spans
    spans = receiver.trace(receiver.spans[0].trace_id)
    assert len(spans) == len(receiver.spans)
    processes = {span.name: span.process for span in spans}
    assert processes == {
        "dsm_stt.speech.v1.SpeechService/StreamingRecognize": "dsm-stt-gateway",
        "admission": "dsm-stt-gateway",
        "open lm": "dsm-stt-gateway",
        "open codec": "dsm-stt-gateway",
        "flush": "dsm-stt-gateway",
        "lm session": "dsm-stt-lm",
        "lm open": "dsm-stt-lm",
        "codec session": "dsm-stt-codec",
        "codec open": "dsm-stt-codec",
    }
    ids = {span.name: span.span_id for span in spans}
    parents = {span.name: span.parent_id for span in spans}
    assert parents["lm session"] == ids["open lm"]
    assert parents["codec session"] == ids["open codec"]
    for name in ("codec", "lm"):
        assert f'service_name="dsm-stt-{name}"' in scraped[name]
        assert "dsm_stt_slots_total{" in scraped[name]
    assert receiver.value("dsm_stt.sessions.started", service="gateway") == 1
    assert "dsm_stt_sessions_started_total{" in scraped["gateway"]
