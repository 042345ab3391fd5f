from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.slots import SlotTable


@given(total=st.integers(0, 6), releases=st.lists(st.integers(0, 5) | st.none(), max_size=40))
def test_the_lowest_free_slot_is_handed_out_and_none_is_lost_or_doubled(total: int, releases: list[int | None]) -> None:
    # Slots used to come back last in, first out, whatever the docstring said.
    table, taken = SlotTable(total), set[int]()
    for release in releases:
        if release is None:
            slot = table.acquire()
            free = set(range(total)) - taken
            assert slot == min(free, default=None)
            if slot is not None:
                taken.add(slot)
        elif release in taken:
            table.release(release)
            taken.remove(release)
        assert table.free == total - len(taken)


def test_a_slot_given_back_twice_or_unknown_is_a_bug() -> None:
    table = SlotTable(2)
    with pytest.raises(AssertionError, match="slot 0 released twice"):
        table.release(0)
    with pytest.raises(AssertionError):
        table.release(2)
