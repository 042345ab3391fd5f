"""Streams through the real gateway and workers, whose models are fakes; both kinds of client."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Connect
from saying import AUDIO, FORMAT, WORDS, config, frames, gather, streamed, turns, until, words

from dsm_stt_client import (
    NO_RETRIES,
    AsyncClient,
    AsyncStream,
    AudioFormat,
    CallerMistake,
    DeadlineExceeded,
    Encoding,
    Event,
    FlushDone,
    IdleTimeout,
    InvalidRequest,
    MalformedAudio,
    NoCapacity,
    Result,
    SessionEnded,
    SessionStarted,
    TurnOptions,
    Unavailable,
    UnknownModel,
    UpdateApplied,
    Vad,
    Warning,
    WarningCode,
)
from services.common import errors
from tests.fakes.speech import FakeSpeech
from tests.stack import FakeModel, FakeStack


async def test_words_come_typed_in_order_with_cursors_and_an_end(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        async with client.stream(config()) as stream:
            stream.send_from(streamed(frames(AUDIO)))
            events = await gather(stream)
    started, ended = events[0], events[-1]
    assert isinstance(started, SessionStarted)
    assert (started.model, started.delay_s, started.resumed) == ("fake", 0.48, False)
    assert len(started.request_id) == 32
    assert words(events) == WORDS
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert isinstance(ended, SessionEnded)
    assert (ended.audio_duration_s, ended.words) == (pytest.approx(3.2), 4)
    assert ended.cursors.received_s == ended.cursors.processed_s == ended.cursors.finalized_s == pytest.approx(3.2)


async def test_samples_may_be_split_between_sends_and_a_send_may_hold_many_seconds(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        for size in (1, 4097, len(AUDIO) + 1):
            audio = AUDIO if size > 1 else AUDIO[: 3840 * 6]
            async with client.stream(config()) as stream:
                stream.send_from(streamed(audio[start : start + size] for start in range(0, len(audio), size)))
                assert words(await gather(stream)) == (WORDS if size > 1 else WORDS[:1])


async def test_every_option_arrives(connect: Connect) -> None:
    options = {
        "interim_results": True,
        "vad_interval_s": 0.16,
        "turns": TurnOptions(end_threshold=0.9, min_silence_s=0.2, max_silence_s=4.0, pause_horizon_s=1.0),
        "language_codes": ["en-GB"],
        "idle_timeout_s": 7.0,
        "labels": {"team": "radio"},
        "model": "fake",
    }
    async with FakeStack(heads=4) as stack, connect(stack.address) as client:
        async with client.stream(config(**options)) as stream:
            stream.send_from(streamed(frames(AUDIO)))
            events = await gather(stream)
    assert isinstance(events[0], SessionStarted)
    assert events[0].idle_timeout_s == 7.0
    assert events[0].pause_horizons_s == (0.5, 1.0, 2.0, 3.0)
    assert any(isinstance(event, Result) and not event.is_final for event in events)
    assert len(next(event for event in events if isinstance(event, Vad)).pause_probabilities) == 4
    assert turns(events) == [("START", 0), ("END", 0)]
    assert words(events) == WORDS


async def test_a_flush_returns_when_every_word_before_it_is_there(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        async with client.stream(config()) as stream:
            await stream.send(AUDIO[: 3840 * 22])
            done = await stream.flush(flush_id="half")
            received = stream.received()
            assert words(received) == WORDS[:3]
            assert received[-1] == done
            assert isinstance(done, FlushDone)
            assert (done.flush_id, done.audio_offset_s) == ("half", pytest.approx(1.76))
            await stream.send(AUDIO[3840 * 22 :])
            stream.finish()
            assert words(await gather(stream)) == WORDS[3:]


async def test_a_flush_needs_nobody_to_take_the_events(connect: Connect) -> None:
    async with FakeStack(heads=4) as stack, connect(stack.address) as client:
        async with client.stream(config(vad_interval_s=0.08), most_unread=1) as stream:
            await stream.send(AUDIO)
            await stream.flush()
            assert words(stream.received()) == WORDS


async def test_updates_silence_and_signs_of_life_go_through(connect: Connect) -> None:
    async with FakeStack(heads=4) as stack, connect(stack.address) as client:
        async with client.stream(config()) as stream:
            await stream.silence(0.8)
            await stream.keep_alive()
            update_id = await stream.update(vad_interval_s=0.08, turns=TurnOptions())
            await stream.send(AUDIO)
            stream.finish()
            stream.finish()
            events = await gather(stream)
    applied = next(index for index, event in enumerate(events) if isinstance(event, UpdateApplied))
    assert events[applied].update_id == update_id  # type: ignore[attr-defined]
    assert any(isinstance(event, Vad) for event in events[applied:])
    assert turns(events)[0] == ("START", 0)
    assert words(events) == [(text, round(start + 0.8, 2)) for text, start in WORDS]


async def test_a_warning_has_its_code(connect: Connect) -> None:
    async with FakeStack(model=FakeModel(trained=False)) as stack, connect(stack.address) as client:
        async with client.stream(config()) as stream:
            stream.finish()
            warning = (await gather(stream))[1]
    assert isinstance(warning, Warning)
    assert warning.code is WarningCode.UNTRAINED_MODEL


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        ({"audio_format": AudioFormat(sample_rate_hz=7)}, InvalidRequest, "BAD_CONFIG"),
        ({"audio_format": AudioFormat(encoding=Encoding.MP3, sample_rate_hz=0)}, InvalidRequest, "BAD_CONFIG"),
        ({"model": "none-such"}, UnknownModel, "UNKNOWN_MODEL"),
    ],
)
async def test_what_is_refused_is_refused_when_the_stream_is_opened(
    connect: Connect, options: dict[str, object], kind: type[Exception], reason: str
) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        with pytest.raises(kind) as caught:
            async with client.stream(config(**options)):
                pytest.fail("it opened")
    assert caught.value.reason == reason  # type: ignore[attr-defined]
    assert caught.value.request_id in str(caught.value)  # type: ignore[attr-defined]


async def test_an_error_in_the_middle_comes_after_the_words_before_it(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        async with client.stream(config(idle_timeout_s=1.0)) as stream:
            await stream.send(AUDIO[: 3840 * 20])
            heard, _ = await until(IdleTimeout, stream)
            assert words(heard)[:1] == WORDS[:1]
            with pytest.raises(IdleTimeout):
                await stream.send(AUDIO)


async def test_the_services_status_is_told_however_the_caller_is_writing(connect: Connect) -> None:
    """grpc.aio makes INTERNAL of a write that fails because the service has ended the call."""
    with FakeSpeech(error=errors.WorkerLost("the LM went away")) as fake:
        async with connect(fake.address, retry=NO_RETRIES) as client:
            for _ in range(25):
                async with client.stream(config()) as stream:
                    stream.send_from(streamed([bytes(3840)] * 400))
                    events, error = await until(Unavailable, stream)
                    assert (error.message, error.reason) == ("the LM went away", "WORKER_LOST")
                    assert words(events) == [("good", 0.0)]


async def test_audio_that_ends_inside_a_sample_is_the_services_to_judge(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        async with client.stream(config()) as stream:
            await stream.send(AUDIO[:3841])
            stream.finish()
            with pytest.raises(MalformedAudio):
                await gather(stream)


async def send_without_end(stream: AsyncStream, sent: list[bytes]) -> None:
    while len(sent) < 400:
        await stream.send(bytes(3840 * 50), timeout_s=0.5)
        sent.append(b"")


async def test_a_caller_that_takes_no_events_is_slowed_and_loses_nothing(connect: Connect) -> None:
    async with FakeStack(heads=4) as stack, connect(stack.address) as client:
        async with client.stream(config(vad_interval_s=0.08), most_unread=4) as stream:
            sent: list[bytes] = []
            with pytest.raises(DeadlineExceeded, match=r"no room for 0.5 s; 4 events wait to be taken"):
                await send_without_end(stream, sent)
            sender = asyncio.create_task(stream.send(AUDIO))
            events: list[Event] = []
            async for event in stream:
                events.append(event)
                if sender.done():
                    stream.finish()
    texts = [text for text, _ in words(events)]
    assert texts == [text for text, _ in WORDS]
    # Every frame of the sound had its event; frames of the first second are heard, too.
    assert sum(isinstance(event, Vad) for event in events) >= 50 * len(sent)


async def test_leaving_the_block_frees_the_slot(connect: Connect) -> None:
    async with FakeStack(slots=1) as stack, connect(stack.address) as client:
        for _ in range(3):
            async with client.stream(config()) as stream:
                await stream.send(AUDIO)
                assert stack.slots_free == ([0], [0])
            await stack.all_slots_free()
            with pytest.raises(CallerMistake, match="the stream is closed"):
                await stream.send(AUDIO)


async def test_cancelling_the_task_frees_the_slot() -> None:
    async with FakeStack(slots=1) as stack, AsyncClient(stack.address) as client:
        opened = asyncio.Event()

        async def listen() -> None:
            async with client.stream(config()) as stream:
                opened.set()
                await gather(stream)

        task = asyncio.create_task(listen())
        await opened.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await stack.all_slots_free()


async def test_cancelling_an_opening_that_waits_leaves_nothing_behind() -> None:
    async with FakeStack(slots=1, admission_wait_s=60.0) as stack, AsyncClient(stack.address) as client:
        async with client.stream(config()):
            waiting = asyncio.create_task(client.stream(config()).__aenter__())
            # Until it waits in the gateway's line, or a little before: whatever it does then, nothing may stay.
            for _ in range(50):
                await asyncio.sleep(0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await stack.all_slots_free()


async def test_a_stream_has_a_deadline(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        async with client.stream(config(), timeout_s=0.5) as stream:
            with pytest.raises(DeadlineExceeded):
                await gather(stream)
        await stack.all_slots_free()


async def test_what_the_audio_raises_reaches_who_listens(connect: Connect) -> None:
    async def broken() -> object:
        yield AUDIO[:3840]
        raise OSError("the microphone is gone")

    async with FakeStack() as stack, connect(stack.address) as client:
        async with client.stream(config()) as stream:
            stream.send_from(broken())
            with pytest.raises(OSError, match="the microphone is gone"):
                await gather(stream)
        await stack.all_slots_free()


async def test_after_the_end_nothing_can_be_sent(connect: Connect) -> None:
    async with FakeStack() as stack, connect(stack.address) as client:
        stream = client.stream(config())
        with pytest.raises(CallerMistake, match="not open"):
            await stream.send(AUDIO)
        async with stream:
            stream.finish()
            with pytest.raises(CallerMistake, match="finished"):
                await stream.send(AUDIO)


async def test_a_full_service_says_so_with_its_delay(connect: Connect) -> None:
    async with (
        FakeStack(slots=1, admission_wait_s=0.05) as stack,
        connect(stack.address, retry=NO_RETRIES) as client,
        client.stream(config()),
    ):
        with pytest.raises(NoCapacity) as caught:
            async with client.stream(config()):
                pytest.fail("it opened")
        assert caught.value.retry_after_s > 0  # type: ignore[operator]


async def test_streams_at_once_do_not_mix(connect: Connect) -> None:
    async def one(client: AsyncClient, start: int) -> list[tuple[str, float]]:
        async with client.stream(config()) as stream:
            stream.send_from(streamed(frames(AUDIO[start * 3840 :])))
            return words(await gather(stream))

    async with FakeStack(slots=3) as stack, connect(stack.address) as client:
        results = await asyncio.gather(*(one(client, start) for start in (0, 5, 15)))
    assert [len(result) for result in results] == [4, 3, 2]
    assert FORMAT.frame_bytes == 2
