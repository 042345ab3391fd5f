"""Who makes a call, and how much more they may: the quotas of one key, counted over all its calls.

What is counted is counted in this process. With several gateways behind one address, a key has its quota in each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from services.common.errors import ApiKeyInvalid, ApiKeyNotAllowed, QuotaExceeded
from services.gateway.access.api_key import Grant
from services.gateway.access.bucket import AudioBucket


def utc_now() -> datetime:
    """Return the time that keys expire by."""
    return datetime.now(UTC)


class Caller:
    """One key in use: the same object for all of its calls, before and after the keys file was read again."""

    def __init__(
        self,
        key_id: str,
        grant: Grant,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """key_id: for logs and messages; "" for the anonymous caller of a gateway without keys."""
        self.key_id = key_id
        self._clock = clock
        self._now = now
        self._streams = 0
        self._bucket: AudioBucket | None = None
        self.change(grant)

    def change(self, grant: Grant) -> None:
        """Go by another grant from now on; what is used already stays used."""
        self._grant = grant
        if grant.audio_s_per_minute is None:
            self._bucket = None
            return
        rate = (grant.audio_s_per_minute, grant.audio_burst_s or grant.audio_s_per_minute)
        if self._bucket is None:
            self._bucket = AudioBucket(*rate, self._clock)
        else:
            self._bucket.change(*rate)

    def check(self) -> None:
        """Make sure that the key is still good. Raises ApiKeyInvalid."""
        if self._grant.revoked:
            raise ApiKeyInvalid(f"API key {self.key_id} is revoked")
        expires = self._grant.expires
        if expires is not None and self._now() >= expires:
            raise ApiKeyInvalid(f"API key {self.key_id} expired at {expires.isoformat(timespec='seconds')}")

    def allows(self, model: str) -> bool:
        """Tell whether the key is for this model."""
        return not self._grant.models or model in self._grant.models

    def check_model(self, model: str) -> None:
        """Make sure that the key is for this model. Raises ApiKeyNotAllowed."""
        if not self.allows(model):
            raise ApiKeyNotAllowed(
                f"API key {self.key_id}: wanted one of its models, {', '.join(self._grant.models)}; got {model!r}"
            )

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count a stream as long as the block. Raises QuotaExceeded when there are as many as the key allows."""
        most = self._grant.max_streams
        if most is not None and self._streams >= most:
            raise self._exceeded(f"wanted at most {most} {'stream' if most == 1 else 'streams'} at once, got one more")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1

    def take_audio(self, audio_s: float) -> None:
        """Count audio, in seconds, before it is worked on. Raises QuotaExceeded when it comes faster than allowed."""
        if self._bucket is not None and not self._bucket.take(audio_s):
            wait_s = self._bucket.wait_s(audio_s)
            raise self._exceeded(
                f"wanted at most {self._grant.audio_s_per_minute:g} s of audio a minute, got more; "
                f"room for the next {audio_s:.2g} s in {wait_s:.1f} s"
            )

    def _exceeded(self, message: str) -> QuotaExceeded:
        return QuotaExceeded(f"API key {self.key_id}: {message}", subject=f"api_key:{self.key_id}")
