from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.framing import FRAME_SAMPLES
from services.gateway.timeline import Timeline

F = FRAME_SAMPLES


def test_audio_alone_maps_frame_by_frame():
    timeline = Timeline()
    timeline.add_audio(3 * F)
    assert [timeline.offset_samples(frame) for frame in range(4)] == [0, F, 2 * F, 3 * F]


def test_no_position_lies_beyond_the_audio_fed():
    timeline = Timeline()
    assert timeline.offset_samples(0) == timeline.offset_samples(9) == 0
    timeline.add_audio(F + 500)
    assert timeline.offset_samples(2) == timeline.offset_samples(9) == F + 500


def test_silence_before_the_audio_takes_no_time():
    timeline = Timeline()
    timeline.add_silence(2 * F)
    timeline.add_audio(2 * F)
    assert [timeline.offset_samples(frame) for frame in range(5)] == [0, 0, 0, F, 2 * F]


def test_silence_before_the_audio_need_not_be_whole_frames():
    # One second is 12.5 frames: the audio starts in the middle of frame 12.
    timeline = Timeline()
    timeline.add_silence(24_000)
    timeline.add_audio(24_000)
    assert [timeline.offset_samples(frame) for frame in (11, 12, 13, 14)] == [0, 0, F // 2, F // 2 + F]
    assert timeline.offset_samples(25) == 24_000
    assert timeline.fed_frames == 25


def test_silence_of_a_flush_collapses_to_its_point():
    timeline = Timeline()
    timeline.add_audio(2 * F)
    timeline.add_silence(3 * F)
    timeline.add_audio(F)
    assert [timeline.offset_samples(frame) for frame in range(7)] == [0, F, 2 * F, 2 * F, 2 * F, 2 * F, 3 * F]


def test_a_last_frame_filled_up_with_silence_counts_its_audio_only():
    timeline = Timeline()
    timeline.add_audio(F + 700)
    timeline.add_silence(F - 700)
    timeline.add_silence(2 * F)
    timeline.add_audio(F)
    assert [timeline.offset_samples(frame) for frame in range(6)] == [0, F, F + 700, F + 700, F + 700, 2 * F + 700]


def test_frames_with_silence_of_the_service_are_known():
    timeline = Timeline()
    timeline.add_silence(F // 2)
    timeline.add_audio(2 * F)
    timeline.add_silence(F // 2 + F)
    timeline.add_audio(F)
    assert [timeline.injected(frame) for frame in range(5)] == [True, False, True, True, False]


def test_a_session_that_continues_another_starts_at_its_base():
    timeline = Timeline(base_samples=100_000)
    timeline.add_silence(F)
    timeline.add_audio(F)
    assert [timeline.offset_samples(frame) for frame in range(3)] == [100_000, 100_000, 100_000 + F]
    assert timeline.audio_samples == F
    assert timeline.end_samples == 100_000 + F


def test_after_a_reset_frames_count_from_0_and_time_goes_on():
    timeline = Timeline(base_samples=10)
    timeline.add_audio(5 * F)
    timeline.reset()
    assert timeline.fed_frames == 0
    assert timeline.offset_samples(0) == 10 + 5 * F
    timeline.add_silence(F)
    timeline.add_audio(2 * F)
    assert timeline.fed_frames == 3
    assert timeline.audio_samples == 7 * F
    assert [timeline.offset_samples(frame) for frame in range(4)] == [10 + 5 * F, 10 + 5 * F, 10 + 6 * F, 10 + 7 * F]


def test_adding_nothing_changes_nothing():
    timeline = Timeline()
    timeline.add_audio(F)
    timeline.add_silence(0)
    timeline.add_audio(0)
    timeline.add_audio(F)
    assert [timeline.offset_samples(frame) for frame in range(3)] == [0, F, 2 * F]


def test_hours_without_a_flush_take_no_memory():
    timeline = Timeline()
    for _ in range(45_000):
        timeline.add_audio(F)
    assert len(timeline._starts) == 1
    assert timeline.offset_samples(44_999) == 44_999 * F


def test_thousands_of_flushes_take_no_memory_once_forgotten():
    timeline = Timeline()
    for _ in range(5_000):
        timeline.add_audio(2 * F)
        timeline.add_silence(F)
        timeline.forget_before(timeline.fed_frames - 6)
        assert len(timeline._starts) <= 6
    assert timeline.offset_samples(timeline.fed_frames - 2) == timeline.end_samples - F


def test_frames_that_were_forgotten_get_the_oldest_position_known():
    timeline = Timeline()
    timeline.add_audio(2 * F)
    timeline.add_silence(2 * F)
    timeline.add_audio(2 * F)
    timeline.forget_before(4)
    assert timeline.offset_samples(0) == 2 * F
    assert timeline.offset_samples(5) == 3 * F
    timeline.forget_before(1_000)
    assert timeline.offset_samples(6) == 4 * F


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.integers(0, 3 * F)),
        st.tuples(st.just("silence"), st.integers(0, 3 * F)),
        st.tuples(st.just("audio"), st.integers(1, 3).map(lambda frames: frames * F)),
        st.tuples(st.just("silence"), st.integers(1, 3).map(lambda frames: frames * F)),
    ),
    max_size=25,
)
quick = settings(deadline=None, max_examples=150)


def fed(steps: list[tuple[str, int]], base: int = 0) -> Timeline:
    timeline = Timeline(base)
    for kind, samples in steps:
        if kind == "audio":
            timeline.add_audio(samples)
        else:
            timeline.add_silence(samples)
    return timeline


@quick
@given(STEPS, st.integers(0, 10**9))
def test_the_position_of_a_frame_is_the_audio_fed_before_it(steps, base):
    timeline = fed(steps, base)
    total = sum(samples for _, samples in steps)
    for frame in range(total // F + 2):
        left, audio = frame * F, 0
        for kind, samples in steps:
            taken = min(left, samples)
            left -= taken
            audio += taken if kind == "audio" else 0
        assert timeline.offset_samples(frame) == base + audio


@quick
@given(STEPS)
def test_positions_never_run_backwards_and_advance_by_at_most_a_frame(steps):
    timeline = fed(steps)
    positions = [timeline.offset_samples(frame) for frame in range(timeline.fed_frames + 3)]
    assert all(0 <= after - before <= F for before, after in itertools.pairwise(positions))
    assert all(position <= timeline.end_samples == timeline.audio_samples for position in positions)


@quick
@given(STEPS, STEPS)
def test_feeding_more_moves_no_position_of_frames_fed(before, after):
    short, long = fed(before), fed(before + after)
    for frame in range(short.fed_frames + 1):
        if frame * F <= sum(samples for _, samples in before):
            assert short.offset_samples(frame) == long.offset_samples(frame)


@quick
@given(STEPS, st.integers(0, 80))
def test_forgetting_changes_no_later_position(steps, frame):
    whole, forgetful = fed(steps), fed(steps)
    forgetful.forget_before(frame)
    for later in range(frame, whole.fed_frames + 2):
        assert whole.offset_samples(later) == forgetful.offset_samples(later)


@quick
@given(STEPS, STEPS)
def test_no_position_after_a_reset_lies_before_one_of_before(before, after):
    timeline = fed(before)
    last = timeline.offset_samples(timeline.fed_frames)
    timeline.reset()
    for kind, samples in after:
        if kind == "audio":
            timeline.add_audio(samples)
        else:
            timeline.add_silence(samples)
    assert timeline.offset_samples(0) >= last
