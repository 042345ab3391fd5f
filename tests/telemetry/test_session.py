"""One session over all three services, through real ports: its trace and what it adds to the metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from services.common.telemetry import metrics
from tests.fakes.delayed import DAY, NO, TO, YES, DelayedLmEngine
from tests.fakes.engines import FakeCodecEngine
from tests.gateway.test_failover import in_use, kill
from tests.speech import Conversation, Request, chunks, config, flush, names, reason, saying, transcribe, words
from tests.stack import FakeModel, FakeStack, Stack, fake_codec, fake_lm
from tests.telemetry.conftest import Exported
from tests.telemetry.otlp import ReceivedSpan

CALLERS_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLERS_SPAN = "00f067aa0ba902b7"
TRACED = {"metadata": [("traceparent", f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-01")]}

# Three words in 40 frames.
AUDIO = saying(40, {4: [YES], 12: [TO, DAY], 24: [NO]})
REQUESTS = [config(), *chunks(AUDIO[: 20 * 3840]), flush(), *chunks(AUDIO[20 * 3840 :])]
CALL = "dsm_stt.speech.v1.SpeechService/StreamingRecognize"


def tree(spans: list[ReceivedSpan], parent_id: str = CALLERS_SPAN) -> dict[str, Any]:
    """Return the spans below one as nested names, in the order in which they began."""
    return {
        f"{span.name} {span.attributes.get('dsm_stt.reason', '')}".strip(): tree(spans, span.span_id)
        for span in spans
        if span.parent_id == parent_id
    }


def by_name(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    return {span.name: span for span in spans}


async def in_real_time(stub: Any, requests: list[Request], **call: Any) -> list[Any]:
    """Hold a session whose caller waits for each frame to be processed, and so is never ahead."""
    conversation = Conversation(stub, **call)
    await conversation.send(requests[0])
    await conversation.until("session_started")
    for request in requests[1:]:
        await conversation.send(request)
        await asyncio.sleep(0.08)
    return await conversation.finish()


async def test_a_session_is_one_trace_over_all_three_services_below_the_callers(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="traced")) as stack:
        await transcribe(stack.stub, REQUESTS, **TRACED)
        await stack.all_slots_free()
        spans = (await exported.flush()).trace(CALLERS_TRACE)
    assert tree(spans) == {
        CALL: {
            "admission": {
                "open lm": {"lm session": {"lm open": {}}},
                "open codec": {"codec session": {"codec open": {}}},
            },
            "flush flush": {},
            "flush end": {},
        }
    }
    assert not any(span.failed for span in spans)


async def test_the_spans_of_workers_say_what_the_session_cost_there(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="counted")) as stack:
        await transcribe(stack.stub, REQUESTS, **TRACED)
        await stack.all_slots_free()
        spans = by_name((await exported.flush()).trace(CALLERS_TRACE))
        steps = len(stack.codec_engine.steps), len(stack.lm_engine.steps)
    codec, lm = spans["codec session"], spans["lm session"]
    assert (codec.attributes["dsm_stt.frames"], lm.attributes["dsm_stt.frames"]) == steps
    assert (codec.attributes["dsm_stt.steps"], lm.attributes["dsm_stt.steps"]) == steps
    for session, opening in ((codec, spans["codec open"]), (lm, spans["lm open"])):
        assert 0 < session.attributes["dsm_stt.step_time_s"] <= session.took_s
        assert session.attributes["dsm_stt.queue_time_s"] > 0
        assert opening.attributes["dsm_stt.replayed_frames"] == 0
        assert session.start_ns == opening.start_ns <= opening.end_ns <= session.end_ns


async def test_the_span_of_the_call_says_what_its_log_line_says(exported: Exported) -> None:
    labels = {"customer": "quokka"}
    async with FakeStack(model=FakeModel(name="said")) as stack:
        await transcribe(stack.stub, [config(labels=labels), *REQUESTS[1:]], **TRACED)
        await stack.all_slots_free()
        call = by_name((await exported.flush()).trace(CALLERS_TRACE))[CALL]
    found = call.attributes
    assert (found["dsm_stt.model"], found["dsm_stt.words"], found["dsm_stt.audio_s"]) == ("said", 3, 3.2)
    assert found["rpc.grpc.status_code"] == 0
    assert "quokka" not in str(found)


async def test_without_a_trace_of_the_callers_the_session_begins_one(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="rootless")) as stack:
        await transcribe(stack.stub, REQUESTS)
        await stack.all_slots_free()
        spans = (await exported.flush()).spans
    assert {span.trace_id for span in spans} == {spans[0].trace_id}
    assert list(tree(spans, parent_id="")) == [CALL]


async def test_a_trace_that_the_caller_does_not_sample_is_recorded_nowhere(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="unsampled")) as stack:
        await transcribe(stack.stub, REQUESTS, metadata=[("traceparent", f"00-{CALLERS_TRACE}-{CALLERS_SPAN}-00")])
        await stack.all_slots_free()
        assert not (await exported.flush()).spans


async def test_metrics_after_a_session_by_otlp_and_on_the_prometheus_port(exported: Exported) -> None:
    async with FakeStack(slots=3, model=FakeModel(name="exact")) as stack:
        assert words(await transcribe(stack.stub, REQUESTS)) != []
        await stack.all_slots_free()
        received = await exported.flush()
        samples = exported.samples(model="exact")
        steps = len(stack.lm_engine.steps)
    exact = {
        "dsm_stt.sessions.started": 1,
        "dsm_stt.sessions": 0,
        "dsm_stt.words": 3,
        "dsm_stt.slots.total": 3,
        "dsm_stt.slots.used": 0,
    }
    assert {name: received.value(name, model="exact") for name in exact} == exact
    assert received.value("dsm_stt.audio", model="exact") == pytest.approx(40 * 0.08)
    assert received.histogram("dsm_stt.admission.wait", model="exact").count == 1
    assert received.histogram("dsm_stt.flush", model="exact", reason="flush").count == 1
    assert received.histogram("dsm_stt.step.time", model="exact").count == steps

    assert samples["dsm_stt_sessions_started_total"].value == 1
    assert samples["dsm_stt_sessions"].value == 0
    assert samples["dsm_stt_words_total"].value == 3
    assert samples["dsm_stt_audio_seconds_total"].value == pytest.approx(40 * 0.08)
    assert (samples["dsm_stt_slots_total"].value, samples["dsm_stt_slots_used"].value) == (3, 0)
    assert samples["dsm_stt_step_time_seconds_bucket"].value == steps
    assert samples["dsm_stt_worker_links_up"].labels == {"service": "gateway", "kind": "lm", "model": "exact"}


async def test_slots_and_sessions_count_while_they_are_open(exported: Exported) -> None:
    async with FakeStack(slots=3, model=FakeModel(name="open")) as stack:
        calls = [Conversation(stack.stub) for _ in range(2)]
        for call in calls:
            await call.send(config())
            await call.until("session_started")
        samples = exported.samples(model="open")
        assert samples["dsm_stt_sessions"].value == samples["dsm_stt_slots_used"].value == 2
        for call in calls:
            await call.finish()
        await stack.all_slots_free()
        samples = exported.samples(model="open")
        assert samples["dsm_stt_sessions"].value == samples["dsm_stt_slots_used"].value == 0


async def test_words_of_a_live_caller_are_timed_each_and_lead_to_its_trace(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="live")) as stack:
        await in_real_time(stack.stub, [config(), *chunks(AUDIO)], **TRACED)
        await stack.all_slots_free()
        received = await exported.flush()
        text = exported.text()
    latency = received.histogram("dsm_stt.word.latency", model="live")
    assert latency.count == 3
    assert {exemplar.trace_id.hex() for exemplar in latency.exemplars} == {CALLERS_TRACE}
    assert received.histogram("dsm_stt.lag", model="live").count >= 3
    lines = [line for line in text.splitlines() if 'model="live"' in line and " # {" in line]
    for name in ("dsm_stt_word_latency_seconds", "dsm_stt_lag_seconds", "dsm_stt_step_time_seconds"):
        (*_, newest) = [line for line in lines if line.startswith(f"{name}_bucket")]
        assert f'trace_id="{CALLERS_TRACE}"' in newest


async def test_a_caller_that_sends_faster_than_it_could_speak_is_not_in_the_latency(exported: Exported) -> None:
    audio = saying(300, {4: [YES], 250: [NO]})
    async with FakeStack(model=FakeModel(name="ahead")) as stack:
        stack.lm_engine.step_time_s = 0.001
        assert len(words(await transcribe(stack.stub, [config(), *chunks(audio, 1_048_576)]))) == 2
        received = await exported.flush()
    assert received.value("dsm_stt.words", model="ahead") == 2
    assert received.histogram("dsm_stt.word.latency", model="ahead") is None
    assert received.histogram("dsm_stt.lag", model="ahead") is None


async def test_rejections_are_counted_by_reason(exported: Exported) -> None:
    async with FakeStack(slots=1, model=FakeModel(name="full"), admission_wait_s=0.05) as stack:
        holding = Conversation(stack.stub)
        await holding.send(config())
        await holding.until("session_started")
        for requests, expected in (
            ([config()], "NO_CAPACITY"),
            ([config(), Request()], "NO_CAPACITY"),
            ([config(model="nobody")], "UNKNOWN_MODEL"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await transcribe(stack.stub, requests, **TRACED)
            assert reason(caught.value) == expected
        await holding.finish()
        received = await exported.flush()
    assert received.value("dsm_stt.rejections", reason="NO_CAPACITY", model="full", service="gateway") == 2
    assert received.value("dsm_stt.rejections", reason="UNKNOWN_MODEL", model="", service="gateway") == 1
    failed = [span for span in received.trace(CALLERS_TRACE) if span.name == CALL]
    assert [(span.failed, span.message) for span in failed] == [
        (True, "NO_CAPACITY"),
        (True, "NO_CAPACITY"),
        (True, "UNKNOWN_MODEL"),
    ]


@pytest.mark.parametrize(("kind", "replayed"), [("lm", True), ("codec", True)])
async def test_a_move_to_another_worker_shows_in_trace_and_metrics(
    exported: Exported, kind: str, replayed: bool
) -> None:
    model = FakeModel(name=f"moved-{kind}")
    codecs = [fake_codec(FakeCodecEngine()) for _ in range(2)]
    async with Stack(codecs, [fake_lm(DelayedLmEngine(), model) for _ in range(2)]) as stack:
        call = Conversation(stack.stub, **TRACED)
        await call.send(*REQUESTS[:22])
        await call.until("flush_done")
        await kill(await in_use(stack.lms if kind == "lm" else stack.codecs))
        await call.send(*REQUESTS[22:])
        assert names(await call.finish())[-1] == "session_ended"
        await stack.all_slots_free()
        received = await exported.flush()
    labels = {"model": model.name, "kind": kind, "cause": "lost"}
    assert received.value("dsm_stt.failovers", **labels) == 1
    assert received.histogram("dsm_stt.failover", **labels).count == 1
    spans = received.trace(CALLERS_TRACE)
    assert tree(spans)[CALL]["failover"] == {f"open {kind}": {f"{kind} session": {f"{kind} open": {}}}}
    openings = sorted(
        (span for span in spans if span.name == f"{kind} open"),
        key=lambda span: span.attributes["dsm_stt.replayed_frames"],
    )
    assert [span.attributes["dsm_stt.replayed_frames"] > 0 for span in openings] == [False, replayed]


async def test_a_worker_that_is_lost_is_counted_and_not_up(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="gone")) as stack:
        up = {"kind": "lm", "model": "gone"}
        assert (await exported.flush()).value("dsm_stt.worker.links.up", **up) == 1
        before = exported.receiver.value("dsm_stt.worker.losses", kind="lm") or 0
        await kill(stack.lms[0])
        async with asyncio.timeout(20):
            while stack.gateway.workers.models():
                await asyncio.sleep(0.01)
        received = await exported.flush()
        assert received.value("dsm_stt.worker.links.up", **up) == 0
        assert received.value("dsm_stt.worker.losses", kind="lm") == before + 1


async def test_counters_that_alerts_watch_are_there_before_anything_happens(exported: Exported) -> None:
    """Prometheus takes a counter's first value for where it began, so a first loss that is its first value is none."""
    async with FakeStack(model=FakeModel(name="calm")) as stack:
        received = await exported.flush()
        for cause in metrics.LOSS_CAUSES:
            for kind in ("codec", "lm"):
                assert received.value("dsm_stt.worker.losses", kind=kind, cause=cause) is not None
        for cause in metrics.FAILOVER_CAUSES:
            assert received.value("dsm_stt.failovers", model="calm", cause=cause) == 0
        for reason_ in ("NO_CAPACITY", "WORKER_LOST", "INTERNAL"):
            assert received.value("dsm_stt.rejections", model="calm", reason=reason_) == 0
        assert received.value("dsm_stt.engine.failures", model="calm") == 0
        assert stack.slots_free == ([4], [4])


async def test_a_worker_that_drains_is_no_loss(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="drained")) as stack:
        before = (await exported.flush()).value("dsm_stt.worker.losses", cause="drained", kind="lm") or 0
        await stack.lms[0].stop()
        async with asyncio.timeout(20):
            while stack.gateway.workers.models():
                await asyncio.sleep(0.01)
        received = await exported.flush()
        assert received.value("dsm_stt.worker.losses", cause="drained", kind="lm") == before + 1


async def test_an_engine_that_fails_is_counted(exported: Exported) -> None:
    async with FakeStack(model=FakeModel(name="broken"), failover_wait_s=0.05) as stack:
        assert (await exported.flush()).value("dsm_stt.engine.failures", model="broken") == 0
        stack.lm_engine.fail_at_step = 3
        with pytest.raises(grpc.aio.AioRpcError):
            await transcribe(stack.stub, REQUESTS, **TRACED)
        received = await exported.flush()
        assert received.value("dsm_stt.engine.failures", model="broken") == 1
        session = by_name(received.trace(CALLERS_TRACE))["lm session"]
        assert session.attributes["dsm_stt.failure"] == "FAILURE_REASON_ENGINE"
