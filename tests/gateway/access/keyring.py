"""A keys file for tests, and a caller who has one of its keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from services.gateway.access.api_key import ApiKey, Grant, new_key
from services.gateway.access.key_file import render_keys

# Seconds of audio a minute: as good as none for as long as a test takes.
NO_REFILL = 0.001


class Keyring:
    """The file at `path`, written anew with every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys: dict[str, ApiKey] = {}
        self._write()

    def add(self, key_id: str, **grant: Any) -> str:
        """Make a key; returns its text."""
        key, self._keys[key_id] = new_key(key_id, Grant(**grant))
        self._write()
        return key

    def change(self, key_id: str, **grant: Any) -> None:
        """Change some of what a key allows."""
        key = self._keys[key_id]
        self._keys[key_id] = replace(key, grant=replace(key.grant, **grant))
        self._write()

    def remove(self, key_id: str) -> None:
        del self._keys[key_id]
        self._write()

    def secrets(self) -> list[str]:
        """Return what must be in no log: salts and hashes as the file has them."""
        return [text for key in self._keys.values() for text in (key.salt.hex(), key.digest.hex())]

    def _write(self) -> None:
        self.path.write_text(render_keys(self._keys.values()))


class Keyed:
    """A stub whose calls carry metadata."""

    def __init__(self, stub: Any, *metadata: tuple[str, str]) -> None:
        self._stub = stub
        self._metadata = metadata

    def __getattr__(self, rpc: str) -> Any:
        def call(*requests: Any) -> Any:
            return getattr(self._stub, rpc)(*requests, metadata=self._metadata)

        return call


def with_key(stub: Any, key: str) -> Keyed:
    """Let a stub's calls carry a key."""
    return Keyed(stub, ("x-api-key", key))
