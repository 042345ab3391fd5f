from __future__ import annotations

import pytest

from benchmarks.search import largest


class Machine:
    """Keeps up with so many sessions; remembers what it was tried with."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.tried: list[int] = []

    async def keeps_up(self, sessions: int) -> bool:
        self.tried.append(sessions)
        return sessions <= self.capacity


@pytest.mark.parametrize("capacity", [1, 7, 8, 9, 23, 31, 64, 100])
async def test_the_largest_number_is_found_within_a_twentieth(capacity: int) -> None:
    machine = Machine(capacity)
    found = await largest(machine.keeps_up, first=8, most=128)
    assert found <= capacity
    assert capacity - found <= max(1, 0.05 * capacity)
    assert len(machine.tried) <= 10


async def test_no_number_is_tried_twice_nor_beyond_the_most() -> None:
    machine = Machine(1000)
    assert await largest(machine.keeps_up, first=8, most=50) == 50
    assert machine.tried == [8, 16, 32, 50]


async def test_a_machine_that_keeps_up_with_nobody_ends_the_search() -> None:
    machine = Machine(0)
    assert await largest(machine.keeps_up, first=8, most=128) == 0
    assert len(machine.tried) == len(set(machine.tried))
