"""What asyncio tasks wait on until something of a shared state has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Signal:
    """As `threading.Condition`, without a lock, since tasks are interrupted only where they wait."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def notify(self) -> None:
        """Wake all that wait."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next change."""
        await self._next.wait()

    async def wait_for(self, predicate: Callable[[], object], timeout_s: float | None = None) -> bool:
        """Wait until the predicate is true; False if it is not after timeout_s."""
        try:
            async with asyncio.timeout(timeout_s):
                while not predicate():
                    await self._next.wait()
        except TimeoutError:
            return bool(predicate())
        return True
