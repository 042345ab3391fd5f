"""The largest number of sessions that something keeps up with: doubled until it does not, then halved in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

# Two numbers of sessions this close, as a share of the larger, are not told apart.
_NEAR = 0.05


async def largest(keeps_up: Callable[[int], Awaitable[bool]], first: int, most: int) -> int:
    """Return the largest number tried that was kept up with, 0 for none. first, most: where to begin and to stop."""
    good, bad = 0, most + 1
    wanted = min(first, most)
    while True:
        if await keeps_up(wanted):
            good = wanted
        else:
            bad = wanted
        if bad - good <= max(1, round(_NEAR * bad)) or good == most:
            return good
        wanted = min(2 * good, most) if bad > most else (good + bad) // 2
