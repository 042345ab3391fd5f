"""Whether a worker's steps leave room for one more session, said before the live ones fall behind."""

from __future__ import annotations

from services.common.framing import FRAME_S

# Shares of the budget: from the first on there is no room, and there is again below the second. The gap keeps a worker
# from changing its mind with every session that comes or goes.
_FULL, _ROOM = 0.8, 0.6
# What one step adds to the average: a step that was held up says nothing, ten of them do.
_WEIGHT = 0.1
# With no step for so long nobody is live, and what steps took before says nothing about the next session.
_STALE_S = 1.0


class StepBudget:
    """The average time of a step against what it may take for every live session to keep up: one frame."""

    def __init__(self, budget_s: float = FRAME_S) -> None:
        """budget_s: 0 for none; there is always room then."""
        self.budget_s = budget_s
        # Exponential average; 0 before the first step.
        self.average_s = 0.0
        self._last_s = 0.0
        self._full = False

    def note(self, step_s: float, now_s: float) -> None:
        """Take note of a step that has just ended. Both times in seconds, now_s on the monotonic clock."""
        fresh = not self.average_s or now_s - self._last_s > _STALE_S
        self.average_s = step_s if fresh else (1 - _WEIGHT) * self.average_s + _WEIGHT * step_s
        self._last_s = now_s
        self._full = self.average_s > (_ROOM if self._full and not fresh else _FULL) * self.budget_s

    def exceeded(self, now_s: float) -> bool:
        """Tell whether one more session would make the live ones late."""
        return self.budget_s > 0 and self._full and now_s - self._last_s <= _STALE_S
