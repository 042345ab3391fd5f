"""What people say, and who they are, is in nothing that is exported."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.telemetry import metrics
from tests.speech import Conversation, chunks, config, flush, saying, transcribe, words
from tests.telemetry.conftest import Exported
from tests.test_log_hygiene import FRAMES, SAID, SECRETS, WORDS, TalkingStack

REQUESTS = [config(labels={"customer": "wombat"}), *chunks(saying(FRAMES, SAID)), flush("armadillo")]
CALLERS = ["wombat", "armadillo", "pangolin"]

# Everything that a span or a metric may be labelled with.
ATTRIBUTES = {
    *("rpc.system", "rpc.service", "rpc.method", "rpc.grpc.status_code"),
    *("dsm_stt.request_id", "dsm_stt.session_id", "dsm_stt.model", "dsm_stt.worker", "dsm_stt.lm", "dsm_stt.codec"),
    *("dsm_stt.admission_s", "dsm_stt.audio_s", "dsm_stt.words", "dsm_stt.failovers"),
    *("dsm_stt.reason", "dsm_stt.kind", "dsm_stt.cause", "dsm_stt.failure"),
    *("dsm_stt.frames", "dsm_stt.steps", "dsm_stt.step_time_s", "dsm_stt.queue_time_s", "dsm_stt.replayed_frames"),
}
LABELS = {"service", "model", "kind", "cause", "reason", "code"}


@pytest.fixture
async def everything(exported: Exported) -> tuple[Exported, str]:
    """Have a session whose words are known, that is broken off too; returns all that was exported."""
    async with TalkingStack() as stack:
        assert [text for text, _, _ in words(await transcribe(stack.stub, REQUESTS))] == WORDS
        broken_off = Conversation(stack.stub, metadata=[("x-request-id", "r"), ("authorization", "Bearer pangolin")])
        await broken_off.send(*REQUESTS[:-1])
        await broken_off.until("result")
        broken_off.call.cancel()
        await stack.all_slots_free()
    receiver = await exported.flush()
    return exported, "\n".join([exported.text(), *map(str, receiver.requests)])


async def test_words_audio_and_tokens_are_in_nothing_that_is_exported(everything: tuple[Exported, str]) -> None:
    exported, text = everything
    assert len(exported.receiver.spans) > 10
    # Numbers of that many digits could be times.
    for secret in [*(secret for secret in SECRETS if not secret.lstrip("-").replace(".", "").isdigit()), *CALLERS]:
        assert secret not in text


async def test_spans_have_only_attributes_that_are_known(everything: tuple[Exported, str]) -> None:
    spans = everything[0].receiver.spans
    assert {key for span in spans for key in span.attributes} <= ATTRIBUTES
    assert {span.name for span in spans} <= {
        *("admission", "open lm", "open codec", "flush", "failover"),
        *("lm session", "lm open", "codec session", "codec open"),
        "dsm_stt.speech.v1.SpeechService/StreamingRecognize",
    }


async def test_metrics_have_only_labels_that_are_known(everything: tuple[Exported, str]) -> None:
    points: dict[Any, Any] = everything[0].receiver.points
    assert {label for _, _, labels in points for label, _ in labels} <= LABELS
    known = {named.name for named in metrics.EXPORTED}
    for _, name, _ in points:
        if name.startswith("dsm_stt."):
            plain = name.replace(".", "_")
            assert known & {plain, f"{plain}_seconds", f"{plain}_total", f"{plain}_seconds_total"}, name
