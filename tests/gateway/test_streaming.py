"""StreamingRecognize through real ports over fake engines: exact words, times, order of events."""

from __future__ import annotations

import itertools

import pytest

from dsm_stt.speech.v1 import speech_pb2 as pb
from tests.fakes.delayed import DAY, GO, NO, STOP, TO, YES
from tests.speech import (
    Conversation,
    Request,
    as_s,
    chunks,
    config,
    flush,
    names,
    saying,
    seconds,
    transcribe,
    words,
)
from tests.stack import FakeModel, FakeStack

# "yes" from frame 2, "today" from frame 10, "stop" from frame 18; an end is 80 ms + 60 ms a letter after its start.
AUDIO = saying(20, {2: [YES], 10: [TO, DAY], 18: [STOP]})
WORDS = [("yes", 0.16, 0.4), ("today", 0.8, 1.2), ("stop", 1.44, 1.6)]


async def test_words_have_their_text_and_times() -> None:
    async with FakeStack() as stack:
        responses = await transcribe(stack.stub, [config(), *chunks(AUDIO)])
    assert words(responses) == WORDS
    assert names(responses) == ["session_started", "result", "result", "result", "session_ended"]
    ended = responses[-1].session_ended
    assert (as_s(ended.audio_duration), ended.words) == (1.6, 3)


@pytest.mark.parametrize("size", [1, 2, 480, 3840, 10_000, len(AUDIO)])
async def test_the_size_of_chunks_changes_nothing(size: int) -> None:
    async with FakeStack() as stack:
        assert words(await transcribe(stack.stub, [config(), *chunks(AUDIO, size)])) == WORDS


async def test_session_started_says_what_the_session_is() -> None:
    async with FakeStack(heads=4) as stack:
        first, *_ = await transcribe(stack.stub, [config(idle_timeout=seconds(7))])
    started = first.session_started
    assert started.model == "fake"
    assert len(started.session_id) == 32
    assert as_s(started.delay) == 0.48
    assert as_s(started.frame_duration) == 0.08
    assert [as_s(horizon) for horizon in started.pause_horizons] == [0.5, 1, 2, 3]
    assert as_s(started.idle_timeout) == 7
    assert as_s(started.max_duration) == 14_400


async def test_responses_are_numbered_and_cursors_never_run_backwards() -> None:
    async with FakeStack(heads=4) as stack:
        request = config(results=pb.ResultOptions(vad_interval=seconds(0.08), interim_results=True))
        responses = await transcribe(stack.stub, [request, *chunks(AUDIO), flush(), *chunks(AUDIO)])
    assert [response.sequence for response in responses] == list(range(1, len(responses) + 1))
    cursors = [
        tuple(
            as_s(cursor)
            for cursor in (response.cursors.received, response.cursors.processed, response.cursors.finalized)
        )
        for response in responses
    ]
    assert all(received >= processed >= finalized for received, processed, finalized in cursors)
    for before, after in itertools.pairwise(cursors):
        assert all(old <= new for old, new in zip(before, after, strict=True))
    assert cursors[-1] == (3.2, 3.2, 3.2)


async def test_no_word_comes_that_starts_before_the_finalized_cursor_sent_earlier() -> None:
    async with FakeStack(heads=4) as stack:
        request = config(results=pb.ResultOptions(vad_interval=seconds(0.08)))
        responses = await transcribe(stack.stub, [request, *chunks(AUDIO), flush(), *chunks(AUDIO)])
    finalized = 0.0
    for response in responses:
        for word in response.result.words:
            assert as_s(word.start_offset) >= finalized
        finalized = as_s(response.cursors.finalized)


async def test_a_word_comes_when_its_pieces_are_complete_and_not_with_the_next_one() -> None:
    async with FakeStack() as stack:
        call = Conversation(stack.stub)
        # Frame 2 + delay 6 - 2 says the boundary, the next the piece, the one after that closes the word.
        await call.send(config(), *chunks(saying(20, {2: [YES]})[: 9 * 3840]))
        result = await call.until("result")
        assert result.result.words[0].text == "yes"
        await call.finish()


async def test_flush_is_a_barrier_for_every_word_before_it() -> None:
    async with FakeStack() as stack:
        call = Conversation(stack.stub)
        await call.send(config(), *chunks(AUDIO), flush("first"))
        done = await call.until("flush_done")
        assert done.flush_done.flush_id == "first"
        assert as_s(done.flush_done.audio_offset) == 1.6
        assert as_s(done.cursors.finalized) == 1.6
        assert words(call.responses) == WORDS
        await call.finish()


async def test_silence_of_a_flush_is_in_no_offset() -> None:
    later = [(text, start + 1.6, end + 1.6) for text, start, end in WORDS]
    async with FakeStack() as stack:
        responses = await transcribe(stack.stub, [config(), *chunks(AUDIO), flush(), *chunks(AUDIO), flush("again")])
    assert [word[0] for word in words(responses)] == [word[0] for word in WORDS + later]
    assert [word[1:] for word in words(responses)] == [pytest.approx(word[1:]) for word in WORDS + later]
    assert as_s(responses[-1].session_ended.audio_duration) == 3.2


async def test_a_flush_inside_a_frame_keeps_the_time_to_the_sample() -> None:
    async with FakeStack() as stack:
        # 10.5 frames, a flush, and then a word that starts 2 frames on: at 12.5 frames, one second.
        requests = [config(), *chunks(saying(10) + bytes(1920)), flush(), *chunks(saying(8, {2: [YES]}))]
        responses = await transcribe(stack.stub, requests)
    assert words(responses) == [("yes", 1.0, 1.24)]
    assert as_s(responses[-1].session_ended.audio_duration) == 1.48


async def test_flushes_on_nothing_and_one_after_another_are_all_answered() -> None:
    async with FakeStack() as stack:
        responses = await transcribe(
            stack.stub, [config(), flush("a"), flush("b"), *chunks(AUDIO), flush("c"), flush("d")]
        )
    answered = [response.flush_done.flush_id for response in responses if response.HasField("flush_done")]
    assert answered == ["a", "b", "c", "d"]
    assert words(responses) == WORDS


async def test_reset_context_starts_the_model_afresh_and_time_goes_on() -> None:
    async with FakeStack(slots=1) as stack:
        requests = [config(), *chunks(AUDIO), flush(reset_context=True), *chunks(AUDIO)]
        responses = await transcribe(stack.stub, requests)
        engine = stack.lms[0].process.worker.loop
        assert engine.slots.total == 1
    assert [word[0] for word in words(responses)] == ["yes", "today", "stop"] * 2
    assert words(responses)[3][1] == pytest.approx(1.76)
    # A fresh LM session: opened for the call, and once more for the reset.
    assert [slot for slot, _ in stack.lm_engine.opened] == [0, 0]
    assert [slot for slot, _ in stack.codec_engine.opened] == [0, 0]


@pytest.mark.parametrize("prefix_samples", [0, 1920, 24_000])
async def test_the_prefix_that_a_model_wants_is_in_no_time(prefix_samples: int) -> None:
    async with FakeStack(model=FakeModel(prefix_samples=prefix_samples)) as stack:
        responses = await transcribe(stack.stub, [config(), *chunks(AUDIO)])
    if prefix_samples % 1920 == 0:
        assert words(responses) == WORDS
    assert as_s(responses[-1].session_ended.audio_duration) == 1.6


async def test_as_many_frames_are_fed_as_the_published_method_feeds() -> None:
    """run_inference pads (prefix, audio, suffix) to one signal and keeps whole frames; 2.6B: 24 000 and 84 000."""
    for samples in (0, 1, 959, 960, 1920, 30_001):
        async with FakeStack(model=FakeModel(prefix_samples=24_000, suffix_samples=84_000)) as stack:
            await transcribe(stack.stub, [config(), *chunks(bytes(2 * samples))])
            # One step more than frames: the initial tokens.
            assert len(stack.lm_engine.steps) - 1 == (24_000 + samples + 84_000) // 1920, samples


async def test_interim_results_grow_into_final_ones() -> None:
    async with FakeStack() as stack:
        request = config(results=pb.ResultOptions(interim_results=True))
        responses = await transcribe(stack.stub, [request, *chunks(AUDIO)])
    seen = [
        (response.result.is_final, response.result.words[0].text)
        for response in responses
        if response.HasField("result")
    ]
    assert seen == [
        (False, "yes"),
        (True, "yes"),
        (False, "to"),
        (False, "today"),
        (True, "today"),
        (False, "stop"),
        (True, "stop"),
    ]


async def test_vad_events_come_at_their_interval_and_not_for_injected_silence() -> None:
    async with FakeStack(heads=4) as stack:
        request = config(results=pb.ResultOptions(vad_interval=seconds(0.2)))
        responses = await transcribe(stack.stub, [request, *chunks(saying(9, pauses=[3, 4, 5])), flush()])
    events = [response.vad for response in responses if response.HasField("vad")]
    assert [as_s(event.audio_offset) for event in events] == pytest.approx([0.08, 0.32, 0.56])
    assert [list(event.pause_probabilities) for event in events] == [[0] * 4, [1] * 4, [0] * 4]


async def test_silence_counts_as_audio() -> None:
    async with FakeStack() as stack:
        silence = Request(silence=pb.Silence(duration=seconds(0.8)))
        responses = await transcribe(stack.stub, [config(), silence, *chunks(AUDIO), silence])
    assert [(text, start) for text, start, _ in words(responses)] == [("yes", 0.96), ("today", 1.6), ("stop", 2.24)]
    assert as_s(responses[-1].session_ended.audio_duration) == pytest.approx(3.2)


async def test_a_session_without_audio_ends_well() -> None:
    async with FakeStack() as stack:
        responses = await transcribe(stack.stub, [config()])
    assert names(responses) == ["session_started", "session_ended"]


async def test_keep_alive_changes_nothing() -> None:
    keep_alive = Request(keep_alive=pb.KeepAlive())
    async with FakeStack() as stack:
        requests = [config(), keep_alive, *chunks(AUDIO[:7000]), keep_alive, *chunks(AUDIO[7000:]), keep_alive]
        assert words(await transcribe(stack.stub, requests)) == WORDS


async def test_an_untrained_model_is_said_to_be_one() -> None:
    async with FakeStack(model=FakeModel(trained=False)) as stack:
        responses = await transcribe(stack.stub, [config()])
    assert responses[1].warning.code == pb.WARNING_CODE_UNTRAINED_MODEL


async def test_a_resumed_stream_goes_on_in_the_old_streams_time() -> None:
    """The old stream broke after its finalized cursor stood at 1.0 s; the audio is sent again from 0.4 s on."""
    resume = pb.Resume(audio_offset=seconds(0.4), words_from=seconds(1.0), turn_index=7)
    async with FakeStack() as stack:
        request = config(resume=resume, turns=pb.TurnOptions(enabled=True))
        responses = await transcribe(stack.stub, [request, *chunks(AUDIO[5 * 3840 :])])
    assert words(responses) == [("stop", 1.44, 1.6)]
    started = next(response.turn for response in responses if response.HasField("turn"))
    assert started.turn_index == 7
    assert as_s(responses[-1].cursors.finalized) == 1.6


class TestTurns:
    """The detector has its own tests; here, that the pipeline asks it, and in the right order."""

    async def test_a_pause_head_ends_a_turn_at_once(self) -> None:
        audio = saying(60, {14: [YES], 40: [GO]}, pauses=range(24, 38))
        async with FakeStack(heads=4) as stack:
            responses = await transcribe(stack.stub, [config(turns=pb.TurnOptions(enabled=True)), *chunks(audio)])
        assert self.told(responses) == [
            ("START", 0, 1.12),
            ("yes", 0, 1.12),
            ("END", 0, 2.0),
            ("START", 1, 3.2),
            ("go", 1, 3.2),
            ("END", 1, 4.8),
        ]

    async def test_with_flush_on_end_the_end_comes_after_all_words_of_the_turn(self) -> None:
        # The pause is heard in frame 20, before the word of frame 18 can be said.
        audio = saying(60, {14: [YES], 18: [NO], 40: [GO]}, pauses=range(21, 38))
        turns = pb.TurnOptions(enabled=True, flush_on_end=True)
        async with FakeStack(heads=4) as stack:
            responses = await transcribe(stack.stub, [config(turns=turns), *chunks(audio)])
        told = self.told(responses)
        assert [name for name, _, _ in told] == ["START", "yes", "no", "END", "START", "go", "END"]
        assert [turn for _, turn, _ in told] == [0, 0, 0, 0, 1, 1, 1]
        assert [(name, time) for name, _, time in told if name in {"yes", "no", "go"}] == [
            ("yes", 1.12),
            ("no", 1.44),
            ("go", 3.2),
        ]

    async def test_without_pause_heads_silence_between_words_ends_a_turn(self) -> None:
        audio = saying(60, {2: [YES], 40: [GO]})
        turns = pb.TurnOptions(enabled=True, min_silence=seconds(0.8))
        async with FakeStack() as stack:
            responses = await transcribe(stack.stub, [config(turns=turns), *chunks(audio)])
        told = self.told(responses)
        assert [name for name, _, _ in told] == ["START", "yes", "END", "START", "go", "END"]
        assert told[2][2] == pytest.approx(1.2)

    async def test_a_flush_can_end_the_turn(self) -> None:
        turns = pb.TurnOptions(enabled=True)
        async with FakeStack() as stack:
            requests = [config(turns=turns), *chunks(AUDIO), flush(end_turn=True), *chunks(AUDIO)]
            responses = await transcribe(stack.stub, requests)
        order = [name for name in names(responses) if name != "result"]
        assert order == ["session_started", "turn", "turn", "flush_done", "turn", "turn", "session_ended"]
        assert {response.result.turn_index for response in responses if response.HasField("result")} == {0, 1}

    async def test_an_update_takes_effect_behind_the_audio_before_it(self) -> None:
        update = Request(update=pb.Update(update_id="u", turns=pb.TurnOptions(enabled=True)))
        async with FakeStack() as stack:
            # Words due after the update's place start the turn, those before it do not.
            requests = [config(), *chunks(AUDIO), flush(), update, *chunks(AUDIO)]
            responses = await transcribe(stack.stub, requests)
        order = names(responses)
        assert order.index("turn") > order.index("update_applied") > order.index("flush_done")
        applied = next(response for response in responses if response.HasField("update_applied"))
        assert applied.update_applied.update_id == "u"

    @staticmethod
    def told(responses: list[pb.StreamingRecognizeResponse]) -> list[tuple[str, int, float]]:
        """List turn events and words, each with its turn and time."""
        out = []
        for response in responses:
            if response.HasField("turn"):
                turn = response.turn
                name = pb.TurnEvent.Name(turn.event).removeprefix("TURN_EVENT_")
                out.append((name, turn.turn_index, as_s(turn.audio_offset)))
            result = response.result
            out.extend((word.text, result.turn_index, as_s(word.start_offset)) for word in result.words)
        return out
