"""What a worker will say in its spans of one session: counted while it goes on, made into spans when it ends.

Only sessions whose trace somebody records have one, so that the step loop does nothing for the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context

from services.common.telemetry import spans


class WorkerTrace:
    """One session on one worker."""

    __slots__ = ("_began_s", "_frames", "_queue_s", "_replayed", "_step_s", "_steps", "context", "opened_s")

    def __init__(self, context: Context, replayed_frames: int) -> None:
        """context: of the gateway's span that opened it. replayed_frames: of history or audio that came with it."""
        self.context = context
        # When the slot was ready for the first frame, past replayed; None before that.
        self.opened_s: float | None = None
        self._replayed = replayed_frames
        self._began_s = time.monotonic()
        self._frames = 0
        self._steps = 0
        self._step_s = 0.0
        self._queue_s = 0.0

    def note_frame(self, queue_s: float) -> None:
        """Take that a frame goes into a step. queue_s: how long the inbox had waited."""
        self._frames += 1
        self._queue_s += queue_s

    def note_step(self, step_s: float) -> None:
        """Take that a step with frames of this session is done."""
        self._steps += 1
        self._step_s += step_s

    def end(self, labels: Mapping[str, str], failure: str) -> None:
        """Make the spans. labels: of the worker's metrics. failure: the reason, "" if the session was closed."""
        ended_s = time.monotonic()
        session = spans.past(
            spans.WORKER_SESSION.format(**labels),
            self.context,
            self._began_s,
            ended_s,
            model=labels.get("model", ""),
            frames=self._frames,
            steps=self._steps,
            step_time_s=round(self._step_s, 6),
            queue_time_s=round(self._queue_s, 6),
            **({"failure": failure} if failure else {}),
        )
        spans.past(
            spans.WORKER_OPEN.format(**labels),
            trace.set_span_in_context(session, self.context),
            self._began_s,
            ended_s if self.opened_s is None else self.opened_s,
            replayed_frames=self._replayed,
        )
