"""When a caller is told that the service is behind."""

from __future__ import annotations

from services.common.framing import SAMPLE_RATE_HZ
from services.gateway.lag_watch import LagWatch


def behind(watch: LagWatch, received_s: float, processed_s: float, now_s: float) -> float | None:
    return watch.behind_s(round(received_s * SAMPLE_RATE_HZ), round(processed_s * SAMPLE_RATE_HZ), now_s)


def test_a_caller_in_real_time_is_warned_of_more_than_two_seconds() -> None:
    watch = LagWatch(100.0)
    assert behind(watch, 10.0, 8.0, 110.0) is None
    assert behind(watch, 10.0, 7.9, 110.0) == 2.1


def test_a_caller_that_sends_faster_than_real_time_is_not() -> None:
    assert behind(LagWatch(100.0), 60.0, 3.0, 110.0) is None


def test_warnings_are_ten_seconds_apart() -> None:
    watch = LagWatch(0.0)
    assert behind(watch, 20.0, 15.0, 20.0) == 5.0
    assert behind(watch, 29.0, 15.0, 29.0) is None
    assert behind(watch, 30.0, 15.0, 30.0) == 15.0
