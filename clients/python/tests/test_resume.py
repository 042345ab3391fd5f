"""Streams that outlive their connection, and their gateway: no word is lost, none is doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from conftest import Connect
from gateways import Gateways
from saying import FRAME_BYTES, config, frames, gather, long_audio, turns, until, words

from dsm_stt_client import (
    NO_RETRIES,
    AudioFormat,
    CallerMistake,
    Encoding,
    Event,
    FlushDone,
    Result,
    RetryPolicy,
    SessionEnded,
    SessionStarted,
    TurnOptions,
    Unavailable,
    UpdateApplied,
    Vad,
)
from tests.fakes.delayed import GO, YES
from tests.speech import saying

# A fifth of the usual waits, as nobody else is there to be spared.
QUICK = RetryPolicy(first_delay_s=0.05, max_delay_s=0.5)
AUDIO, WORDS = long_audio(60)


def resumptions(events: list[Event]) -> int:
    return sum(isinstance(event, SessionStarted) and event.resumed for event in events)


class Speaker:
    """Sends frames, and does something between two of them: when the words so far are there, or at once."""

    def __init__(self, audio: bytes, after_frames: dict[int, object]) -> None:
        self._frames = frames(audio)
        self._after = after_frames

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, frame in enumerate(self._frames):
            if (act := self._after.get(number)) is not None:
                await act()  # type: ignore[operator]
            yield frame
            await asyncio.sleep(0.002)


async def transcribe(client: object, speaker: Speaker, **options: object) -> list[Event]:
    async with client.stream(config(**options), resume=True) as stream:  # type: ignore[attr-defined]
        stream.send_from(speaker)
        return await gather(stream)


@pytest.mark.parametrize("at_frame", [1, 2, 3, 8, 9, 10, 60, 100, 101, 102, 103, 104, 105, 360])
async def test_no_word_is_lost_or_doubled_wherever_the_connection_breaks(connect: Connect, at_frame: int) -> None:
    async with Gateways() as stack, connect(stack.front, retry=QUICK) as client:

        async def lose() -> None:
            stack.lose(then=stack.address)

        events = await transcribe(client, Speaker(AUDIO, {at_frame: lose}))
        assert words(events) == WORDS
        assert resumptions(events) == 1
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        finalized = [event.cursors.finalized_s for event in events]
        assert finalized == sorted(finalized)
        ended = events[-1]
        assert isinstance(ended, SessionEnded)
        assert (ended.audio_duration_s, ended.words) == (pytest.approx(len(AUDIO) / 48_000), 60)
        await stack.all_slots_free()


async def test_a_stream_may_break_many_times(connect: Connect) -> None:
    async with Gateways() as stack, connect(stack.front, retry=QUICK) as client:

        async def lose() -> None:
            stack.lose(then=stack.address)

        events = await transcribe(client, Speaker(AUDIO, dict.fromkeys(range(30, 360, 50), lose)))
        assert words(events) == WORDS
        assert resumptions(events) == 7
        await stack.all_slots_free()


async def test_a_gateway_that_dies_is_waited_for_and_the_audio_kept(connect: Connect) -> None:
    async with Gateways() as stack, connect(stack.front, retry=QUICK) as client:
        coming: list[asyncio.Task[None]] = []

        async def lose() -> None:
            stack.lose(then=None)
            coming.append(asyncio.create_task(come_up()))

        async def come_up() -> None:
            address = await stack.start_another()
            # All of the audio is sent by then, into nothing.
            await asyncio.sleep(0.7)
            stack.behind = address

        events = await transcribe(client, Speaker(AUDIO, {200: lose}))
        assert words(events) == WORDS
        assert resumptions(events) == 1


async def test_when_a_gateway_stops_its_stream_moves_before_it_has_to(connect: Connect) -> None:
    """The drain would last a minute: that it ends at once shows that the stream has left in good order."""
    async with Gateways(drain_s=60.0) as stack, connect(stack.front, retry=QUICK) as client:
        left = asyncio.Event()

        async def stop() -> None:
            stack.behind = await stack.start_another()
            stack.stopping.set()
            asyncio.ensure_future(stack._gateway_task).add_done_callback(lambda _: left.set())

        events = await transcribe(client, Speaker(AUDIO, {100: stop, 340: left.wait}))
        assert words(events) == WORDS
        assert resumptions(events) == 1


async def test_turns_are_neither_repeated_nor_dropped(connect: Connect) -> None:
    """A turn of two words, a second of pause, and so on: broken within a turn, in the pause, and between the two."""
    said = {start: [YES if start % 50 == 2 else GO] for first in range(2, 302, 50) for start in (first, first + 8)}
    pauses = [frame for first in range(2, 302, 50) for frame in range(first + 25, first + 38)]
    audio = saying(310, said, pauses)
    wanted = None
    for breaks in ([], [5, 68, 129, 160], [12, 90, 185], [27, 80, 131, 240], [40, 95, 148, 199, 275]):
        async with Gateways(heads=4) as stack, connect(stack.front, retry=QUICK) as client:

            async def lose(stack: Gateways = stack) -> None:
                stack.lose(then=stack.address)

            events = await transcribe(client, Speaker(audio, dict.fromkeys(breaks, lose)), turns=TurnOptions())
        assert resumptions(events) == len(breaks)
        by_turn = [
            (event.turn_index, word.text)
            for event in events
            if isinstance(event, Result) and event.is_final
            for word in event.words
        ]
        found = (turns(events), by_turn, words(events))
        wanted = wanted or found
        assert found == wanted
    assert wanted is not None
    assert wanted[0] == [(kind, turn) for turn in range(6) for kind in ("START", "END")]


async def test_a_flush_under_way_and_what_was_changed_survive(connect: Connect) -> None:
    async with Gateways(heads=4) as stack, connect(stack.front, retry=QUICK) as client:
        async with client.stream(config(), resume=True) as stream:
            for frame in frames(AUDIO)[:100]:
                await stream.send(frame)
            await stream.update(vad_interval_s=0.08)
            for frame in frames(AUDIO)[100:200]:
                await stream.send(frame)
            first = await stream.flush()
            before = stream.received()
            stack.lose(then=None)
            for frame in frames(AUDIO)[200:300]:
                await stream.send(frame)
            flushing = asyncio.create_task(stream.flush(flush_id="over the gap"))
            await asyncio.sleep(0.1)
            stack.behind = stack.address
            second = await flushing
            for frame in frames(AUDIO)[300:]:
                await stream.send(frame)
            stream.finish()
            events = before + await gather(stream)
    assert words(events) == WORDS
    assert [event.flush_id for event in events if isinstance(event, FlushDone)] == [first.flush_id, "over the gap"]
    assert second.audio_offset_s == pytest.approx(24.0)
    assert sum(isinstance(event, UpdateApplied) for event in events) == 1
    offsets = [event.audio_offset_s for event in events if isinstance(event, Vad)]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] > 28.0


async def test_without_resume_a_broken_stream_is_an_error_after_its_words(connect: Connect) -> None:
    async with Gateways() as stack, connect(stack.front, retry=QUICK) as client:
        async with client.stream(config()) as stream:
            await stream.send(AUDIO[: FRAME_BYTES * 50])
            await stream.flush()
            stack.lose(then=stack.address)
            heard, _ = await until(Unavailable, stream)
            assert words(heard) == WORDS[:8]


@pytest.mark.parametrize("policy", [NO_RETRIES, RetryPolicy(first_delay_s=0.01, max_attempts=3)])
async def test_attempts_are_bounded_when_nobody_comes_back(connect: Connect, policy: RetryPolicy) -> None:
    async with Gateways() as stack, connect(stack.front, retry=policy) as client:
        async with client.stream(config(), resume=True) as stream:
            await stream.send(AUDIO[: FRAME_BYTES * 50])
            await stream.flush()
            stack.lose(then=None)
            with pytest.raises(Unavailable):
                await gather(stream)


async def test_audio_that_is_kept_is_bounded(connect: Connect) -> None:
    async with Gateways() as stack, connect(stack.front, retry=QUICK) as client:
        async with client.stream(config(), resume=True, most_kept_s=2.0) as stream:
            stack.lose(then=None)
            sending = asyncio.create_task(stream.send(AUDIO))
            await asyncio.wait([sending], timeout=0.3)
            assert not sending.done(), "it took all of the audio while nobody was there"
            stack.behind = stack.address
            await sending
            stream.finish()
            assert words(await gather(stream)) == WORDS


async def test_long_silence_does_not_fill_what_is_kept(connect: Connect) -> None:
    """Nobody spoke for a minute: no event came, so no cursor moved, and `send` waited for ever."""
    async with Gateways() as stack, connect(stack.front, retry=QUICK) as client:
        async with client.stream(config(), resume=True, most_kept_s=10.0) as stream:
            await stream.send(bytes(FRAME_BYTES * 500), timeout_s=20.0)
            await stream.send(AUDIO, timeout_s=20.0)
            stream.finish()
            events = await gather(stream)
    assert [text for text, _ in words(events)] == [text for text, _ in WORDS]
    assert not any(isinstance(event, UpdateApplied) for event in events)


async def test_compressed_audio_cannot_resume(connect: Connect) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(CallerMistake, match="got OGG_OPUS, which cannot be sent again from the middle"):
            client.stream(config(audio_format=AudioFormat(encoding=Encoding.OGG_OPUS, sample_rate_hz=0)), resume=True)
