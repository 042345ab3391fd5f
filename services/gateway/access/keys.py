"""All API keys of a gateway: finds the caller behind a call's metadata, and follows changes of the keys file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from services.common.errors import ApiKeyInvalid, ConfigError
from services.common.file_version import file_version
from services.gateway.access.api_key import LEAST_KEY_CHARACTERS, ApiKey, Grant
from services.gateway.access.caller import Caller, utc_now
from services.gateway.access.key_file import read_keys

KEY_HEADER = "x-api-key"
AUTHORIZATION_HEADER = "authorization"

_BEARER = "bearer "
_WANTED = f"wanted an API key as metadata, {KEY_HEADER}: KEY or {AUTHORIZATION_HEADER}: Bearer KEY"

_log = structlog.get_logger()


class ApiKeys:
    """The keys of one keys file; without a file, everybody is the anonymous caller, who has no limits."""

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Read the file. Raises ConfigError when it cannot be used: no gateway starts open by mistake."""
        self._path = path
        self._clock = clock
        self._now = now
        self._anonymous = Caller("", Grant())
        self._keys: dict[str, tuple[ApiKey, Caller]] = {}
        # Which version of the file was looked at last, whether it was good or not.
        self._version: tuple[int, ...] = ()
        if path is not None:
            self._version = file_version(path)
            self._take(read_keys(path))

    def authenticate(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Find out who calls. Raises ApiKeyInvalid: no key, an unknown one, or one that is revoked or expired."""
        if self._path is None:
            return self._anonymous
        given = _given_key(metadata)
        found: Caller | None = None
        # Every key is compared, so that the time does not tell which ones are there.
        for key, caller in self._keys.values():
            if key.matches(given):
                found = caller
        if found is None:
            raise ApiKeyInvalid("wanted a known API key, got another one")
        found.check()
        return found

    async def follow_changes(self, every_s: float) -> None:
        """Look for a new version of the file again and again, until cancelled."""
        while self._path is not None:
            await asyncio.sleep(every_s)
            self.refresh()

    def refresh(self) -> None:
        """Read the file again if it changed. A file with a mistake is logged, and the keys stay what they were."""
        if self._path is None or (version := file_version(self._path)) == self._version:
            return
        self._version = version
        try:
            self._take(read_keys(self._path))
        except ConfigError as error:
            _log.error("API keys not read again, the old ones stay", problem=str(error))
        else:
            _log.info("API keys read again", keys=len(self._keys))

    def _take(self, keys: list[ApiKey]) -> None:
        """Go by these keys; a key that was there before keeps what it has used."""
        before, self._keys = self._keys, {}
        for key in keys:
            old, caller = before.get(key.key_id, (None, None))
            if caller is None or old is None or (old.salt, old.digest) != (key.salt, key.digest):
                caller = Caller(key.key_id, key.grant, self._clock, self._now)
            else:
                del before[key.key_id]
                caller.change(key.grant)
            self._keys[key.key_id] = (key, caller)
        for key, caller in before.values():
            # It may have streams open.
            caller.change(replace(key.grant, revoked=True))


def _given_key(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Take the key out of a call's metadata: x-api-key, or else authorization. Raises ApiKeyInvalid."""
    values: dict[str, list[str]] = {KEY_HEADER: [], AUTHORIZATION_HEADER: []}
    for name, value in metadata:
        if name in values and isinstance(value, str):
            values[name].append(value)
    bearers = [value for value in values[AUTHORIZATION_HEADER] if value[: len(_BEARER)].lower() == _BEARER]
    keys = values[KEY_HEADER] or [value[len(_BEARER) :] for value in bearers]
    if not keys:
        raise ApiKeyInvalid(f"{_WANTED}; got none")
    if len(keys) > 1:
        raise ApiKeyInvalid(f"{_WANTED}; got {len(keys)} of them")
    key = keys[0].strip()
    if len(key) < LEAST_KEY_CHARACTERS:
        raise ApiKeyInvalid(f"wanted an API key of at least {LEAST_KEY_CHARACTERS} characters, got {len(key)}")
    return key
