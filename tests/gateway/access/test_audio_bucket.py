from __future__ import annotations

import pytest

from services.gateway.access.bucket import AudioBucket


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_full_bucket_gives_the_burst_and_no_more(clock: Clock) -> None:
    bucket = AudioBucket(60, 10, clock)
    assert [bucket.take(5), bucket.take(5), bucket.take(0.08)] == [True, True, False]


def test_time_puts_back_what_the_rate_allows(clock: Clock) -> None:
    bucket = AudioBucket(120, 10, clock)
    assert bucket.take(10)
    clock.now_s += 3
    assert not bucket.take(6.1)
    assert bucket.take(6)


def test_a_refused_piece_takes_nothing(clock: Clock) -> None:
    bucket = AudioBucket(60, 10, clock)
    assert bucket.take(6)
    assert not bucket.take(5)
    assert bucket.take(4)


def test_it_never_holds_more_than_the_burst(clock: Clock) -> None:
    bucket = AudioBucket(60, 10, clock)
    clock.now_s += 3600
    assert bucket.take(10)
    assert not bucket.take(0.08)


def test_it_says_how_long_to_wait(clock: Clock) -> None:
    bucket = AudioBucket(30, 10, clock)
    assert bucket.wait_s(10) == 0
    bucket.take(10)
    assert bucket.wait_s(4) == pytest.approx(8)
    clock.now_s += bucket.wait_s(4)
    assert bucket.take(4)


def test_a_piece_longer_than_the_burst_passes_when_full_and_leaves_a_debt(clock: Clock) -> None:
    bucket = AudioBucket(60, 2, clock)
    assert bucket.take(5)
    clock.now_s += 3
    assert not bucket.take(0.08)
    assert bucket.wait_s(2) == pytest.approx(2)


def test_no_audio_passes_whatever_the_debt(clock: Clock) -> None:
    bucket = AudioBucket(60, 2, clock)
    bucket.take(5)
    assert bucket.take(0)


def test_frames_that_add_up_to_the_burst_all_pass(clock: Clock) -> None:
    bucket = AudioBucket(60, 60, clock)
    assert all(bucket.take(0.08) for _ in range(750))
    assert not bucket.take(0.08)


def test_a_live_stream_at_its_rate_goes_on_for_ever(clock: Clock) -> None:
    bucket = AudioBucket(60, 1, clock)
    for _ in range(10_000):
        assert bucket.take(0.08)
        clock.now_s += 0.08


def test_a_smaller_burst_cuts_what_was_saved_up(clock: Clock) -> None:
    bucket = AudioBucket(60, 100, clock)
    bucket.change(60, 10)
    assert bucket.take(10)
    assert not bucket.take(1)


def test_another_rate_counts_from_the_change_on(clock: Clock) -> None:
    bucket = AudioBucket(60, 100, clock)
    bucket.take(100)
    clock.now_s += 10
    bucket.change(600, 100)
    clock.now_s += 1
    assert bucket.take(20)
    assert not bucket.take(1)
