"""What a watched process used over time."""

from __future__ import annotations

import os
from itertools import pairwise

from benchmarks.resources import Usage
from benchmarks.watch import Watch, series


async def test_a_process_is_looked_at_at_the_beginning_and_at_the_end() -> None:
    async with Watch({"mine": os.getpid()}) as watch:
        pass
    (found,) = watch.figures().values()
    assert found["rss_mib"]["first"] > 10
    assert found["files"]["last"] > 0
    assert found["rss_series"]


def test_a_series_is_short_and_hides_no_peak() -> None:
    looks = [(float(at_s), Usage(100.0 + (at_s == 777), 5, 1, 0.0)) for at_s in range(1000)]
    thinned = series(looks)
    assert len(thinned) <= 60
    assert all(before < after for (before, _), (after, _) in pairwise(thinned))
    assert [mib for _, mib in thinned].count(101.0) == 1
    assert thinned[-1][0] == 999
