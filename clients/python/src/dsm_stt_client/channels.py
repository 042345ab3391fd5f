"""One connection for all calls of a client, and a new one when the gateway at its other end is going away.

A channel stays with its gateway as long as that is there. A stream that is told to go elsewhere asks for a new one; the
old one is closed when its last call is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

ChannelT = TypeVar("ChannelT")


class Channels(Generic[ChannelT]):
    """Counts the calls on each channel; safe in threads. Who gets a channel back closes it."""

    def __init__(self, make: Callable[[], ChannelT]) -> None:
        """make: opens a channel."""
        self._make = make
        self._lock = threading.Lock()
        self._newest: ChannelT | None = None
        self._calls: dict[int, int] = {}
        self._open: dict[int, ChannelT] = {}

    def take(self) -> ChannelT:
        """Return the newest channel, for one call."""
        with self._lock:
            if self._newest is None:
                self._newest = self._make()
                self._open[id(self._newest)] = self._newest
            self._calls[id(self._newest)] = self._calls.get(id(self._newest), 0) + 1
            return self._newest

    def give_back(self, channel: ChannelT) -> ChannelT | None:
        """End one call's use; returns the channel if it is to be closed."""
        with self._lock:
            self._calls[id(channel)] -= 1
            return self._drop(channel)

    def replace(self, channel: ChannelT) -> None:
        """Let later calls have another channel than this."""
        with self._lock:
            if self._newest is channel:
                self._newest = None

    def take_all(self) -> list[ChannelT]:
        """Return every open channel, to be closed."""
        with self._lock:
            channels, self._newest = list(self._open.values()), None
            self._open.clear()
            return channels

    def _drop(self, channel: ChannelT) -> ChannelT | None:
        if self._calls[id(channel)] or channel is self._newest:
            return None
        del self._calls[id(channel)]
        return self._open.pop(id(channel), None)
