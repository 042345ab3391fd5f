from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.neural.pace import Pace


def sizes(cost_ms: Sequence[float], first: int = 64, largest: int = 512) -> list[int]:
    """Return the size of each chunk, where a position of each costs so much."""
    now_s = 0.0
    pace = Pace(first=first, largest=largest, clock=lambda: now_s)
    found = []
    for cost in cost_ms:
        with pace:
            found.append(pace.size)
            now_s += pace.size * cost / 1e3
    return found


@pytest.mark.parametrize(
    ("cost_ms", "settled"),
    [(0.01, 512), (0.1, 128), (0.2, 64), (1, 16), (10, 2)],
)
def test_a_chunk_settles_at_what_takes_a_third_of_a_frame(cost_ms: float, settled: int):
    assert sizes([cost_ms] * 12)[-1] == settled
    # 30 ms, where one position takes no more than that.
    assert settled * cost_ms <= 30 or settled == 1


def test_a_machine_too_slow_for_one_position_gets_one_at_a_time():
    assert sizes([100] * 9)[-1] == 1


def test_a_chunk_gets_smaller_when_the_machine_gets_slower_and_grows_again():
    found = sizes([0.1] * 4 + [1] * 6 + [0.1] * 6)
    assert found[3] == 128
    assert found[9] == 16
    assert found[15] == 128
