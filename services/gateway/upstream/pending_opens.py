"""Opens that wait to be sent to a worker, in order, in messages that the worker accepts.

A session that moves brings its history, megabytes of it, and when a worker is lost all its sessions move at once.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

# A worker accepts messages of 8 MiB, and frames may take one of them. A history alone has less than this: see
# GatewayConfig.
MOST_BYTES = 4 * 1024 * 1024


class Open(Protocol):
    """An open message of either protocol."""

    @property
    def session(self) -> int: ...  # noqa: D102
    def ByteSize(self) -> int: ...  # noqa: D102, N802


OpenT = TypeVar("OpenT", bound=Open)


class PendingOpens(Generic[OpenT]):
    """A queue of opens. Their number is bounded by the worker's slots, as no more are asked for."""

    def __init__(self) -> None:
        self._waiting: deque[OpenT] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, opening: OpenT) -> None:
        """Append one."""
        self._waiting.append(opening)

    def take(self) -> list[OpenT]:
        """Take the first ones out: as many as fit into a message, but one at least."""
        taken: list[OpenT] = []
        left_bytes = MOST_BYTES
        while self._waiting:
            left_bytes -= self._waiting[0].ByteSize()
            if taken and left_bytes < 0:
                break
            taken.append(self._waiting.popleft())
        return taken

    def drop(self, session: int) -> bool:
        """Take the open of a session out; returns False when it is not here: it was sent, or never was one."""
        for opening in self._waiting:
            if opening.session == session:
                self._waiting.remove(opening)
                return True
        return False
