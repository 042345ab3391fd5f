"""Responses of a session on their way to its caller.

Bounded without ever dropping: whoever makes responses looks at `has_room` before it causes more, so a caller that
leaves its responses unread slows its own session and nobody else's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from dsm_stt.speech.v1 import speech_pb2
from services.gateway.durations import from_samples

# Responses that may wait before a session is fed no more; what is on its way by then may still be added.
ROOM = 64


class Cursors:
    """How far a session's audio has come, in samples at 24 kHz of session time."""

    def __init__(self, base_samples: int) -> None:
        self.received = base_samples
        self.processed = base_samples
        self.finalized = base_samples

    def to_proto(self) -> speech_pb2.Cursors:
        """Make the message; rounding in resampling must not show as processed audio that was not received."""
        return speech_pb2.Cursors(
            received=from_samples(max(self.received, self.processed)),
            processed=from_samples(self.processed),
            finalized=from_samples(min(self.finalized, self.processed)),
        )


class Outbox:
    """The queue of one session's responses; numbers them and writes the cursors."""

    def __init__(self, cursors: Cursors) -> None:
        self.cursors = cursors
        self.on_room: Callable[[], None] = lambda: None
        self._responses: deque[speech_pb2.StreamingRecognizeResponse] = deque()
        self._sequence = 0
        self._wake = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None

    @property
    def has_room(self) -> bool:
        """Tell whether more responses may be caused."""
        return len(self._responses) < ROOM

    @property
    def ended(self) -> bool:
        """Tell whether nothing more can be put in."""
        return self._ended

    def put(self, response: speech_pb2.StreamingRecognizeResponse) -> None:
        """Add a response whose event is set; after the end, it is dropped."""
        if self._ended:
            return
        self._sequence += 1
        response.sequence = self._sequence
        response.cursors.CopyFrom(self.cursors.to_proto())
        self._responses.append(response)
        self._wake.set()

    def end(self, error: BaseException | None = None) -> None:
        """Let the caller's stream end after what is queued, with an error if there is one. The first call counts."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake.set()

    async def get(self) -> speech_pb2.StreamingRecognizeResponse | None:
        """Take the next response; None at the end. Raises the error that the session ended with."""
        while not self._responses:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._wake.clear()
            await self._wake.wait()
        response = self._responses.popleft()
        if len(self._responses) == ROOM - 1:
            self.on_room()
        return response
