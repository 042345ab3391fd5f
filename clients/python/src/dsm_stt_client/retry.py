"""When a call is tried again, and how long to wait first."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from dsm_stt_client.errors import SpeechError


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Bounds of the attempts at one call, or at one reconnection of a stream.

    A full service says when to come back (RetryInfo): then that is waited, and up to `jitter` of it more, so that
    callers do not all come back at once. Else waits grow from first_delay_s by a factor of 2 to max_delay_s, and a
    random part, up to `jitter`, is taken off. No wait begins that would end after budget_s since the first attempt.
    attempt_timeout_s bounds how long a stream waits for its session to start.
    """

    max_attempts: int = 8
    first_delay_s: float = 0.25
    max_delay_s: float = 5.0
    jitter: float = 0.3
    budget_s: float = 60.0
    attempt_timeout_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if self.max_attempts < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(
                f"wanted max_attempts of 1 or more and jitter of 0 to 1, got {self.max_attempts} and {self.jitter}"
            )
        if min(self.first_delay_s, self.max_delay_s, self.budget_s) < 0 or self.attempt_timeout_s <= 0:
            raise ValueError("wanted delays and budget of 0 s or more, and attempt_timeout_s of more than 0 s")


NO_RETRIES = RetryPolicy(max_attempts=1)


class Backoff:
    """The attempts at one thing, counted."""

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Begin with the first attempt. chance: returns numbers in [0, 1)."""
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._began_s = clock()
        self._failures = 0

    def delay_s(self, error: SpeechError) -> float | None:
        """Return how long to wait after this failure; None to give up."""
        policy = self._policy
        self._failures += 1
        if not error.temporary or self._failures >= policy.max_attempts:
            return None
        if error.retry_after_s is not None:
            delay_s = error.retry_after_s * (1 + policy.jitter * self._chance())
        else:
            grown_s = policy.first_delay_s * 2.0 ** (self._failures - 1)
            delay_s = min(policy.max_delay_s, grown_s) * (1 - policy.jitter * self._chance())
        return delay_s if self._clock() + delay_s - self._began_s <= policy.budget_s else None
