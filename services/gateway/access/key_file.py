"""The keys file: which API keys there are and what each allows, as JSON.

    {"keys": [{"id": "acme", "salt": "<32 hex digits>", "hash": "<64 hex digits>",
               "models": ["stt-1b-en_fr"], "max_streams": 20,
               "audio_s_per_minute": 1200, "audio_burst_s": 3600,
               "expires": "2027-01-01T00:00:00Z", "revoked": false}]}

Only id, salt and hash are required; what else is absent or null sets no limit. `hash` is SHA-256 over the salt's bytes
followed by the key. Messages name entry and field, never what stands in salt or hash: somebody may have put a key
there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from services.common.errors import ConfigError
from services.gateway.access.api_key import KEY_PREFIX, SALT_BYTES, ApiKey, Grant

# Ids are in logs and messages, so a key put there by mistake must not pass as one.
KEY_ID = re.compile(rf"(?!{KEY_PREFIX})[A-Za-z0-9._-]{{1,64}}")
KEY_ID_WANTED = f"1 to 64 of A-Z a-z 0-9 . _ -, not beginning with {KEY_PREFIX}"

_DIGEST_BYTES = 32
_MOST = 1e9


def read_keys(path: Path) -> list[ApiKey]:
    """Read a keys file. Raises ConfigError for one that cannot be read or has a mistake."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the API keys: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        # The text of a decoding error says where, and quotes nothing but a byte.
        raise ConfigError(f"{path}: wanted JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list) or len(document) != 1:
        raise ConfigError(f'{path}: wanted an object with one field, "keys", a list')
    keys: list[ApiKey] = []
    for index, entry in enumerate(document["keys"]):
        key = _EntryReader(f"{path}: keys[{index}]", entry).read()
        if any(key.key_id == other.key_id for other in keys):
            raise ConfigError(f"{path}: keys[{index}] ({key.key_id}): id: another entry has it too")
        keys.append(key)
    return keys


def render_keys(keys: Iterable[ApiKey]) -> str:
    """Write keys as `read_keys` reads them; limits that are not set are left out."""
    return json.dumps({"keys": [_rendered(key) for key in keys]}, indent=2) + "\n"


def _rendered(key: ApiKey) -> dict[str, Any]:
    grant = key.grant
    fields = {
        "id": key.key_id,
        "salt": key.salt.hex(),
        "hash": key.digest.hex(),
        "models": list(grant.models) or None,
        "max_streams": grant.max_streams,
        "audio_s_per_minute": grant.audio_s_per_minute,
        "audio_burst_s": grant.audio_burst_s,
        "expires": grant.expires.isoformat() if grant.expires else None,
        "revoked": grant.revoked,
    }
    return {name: value for name, value in fields.items() if value is not None}


class _EntryReader:
    """Reads one entry; takes fields out, so that what is left at the end is a field nobody knows."""

    def __init__(self, where: str, entry: object) -> None:
        self._where = where
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: wanted an object")
        self._fields = dict(entry)

    def read(self) -> ApiKey:
        """Return the entry. Raises ConfigError."""
        key_id = self._key_id()
        self._where += f" ({key_id})"
        salt, digest = self._hex("salt", SALT_BYTES, 64), self._hex("hash", _DIGEST_BYTES, _DIGEST_BYTES)
        grant = Grant(
            models=self._models(),
            max_streams=self._whole_number("max_streams"),
            audio_s_per_minute=self._number("audio_s_per_minute"),
            audio_burst_s=self._number("audio_burst_s"),
            expires=self._time("expires"),
            revoked=self._flag("revoked"),
        )
        if grant.audio_burst_s is not None and grant.audio_s_per_minute is None:
            self._refuse("audio_burst_s", "audio_s_per_minute beside it")
        for name in self._fields:
            # A limit under a wrong name must not become no limit.
            self._refuse(name, "no field of this name")
        return ApiKey(key_id, salt, digest, grant)

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        raise ConfigError(f"{self._where}: {name}: wanted {wanted}")

    def _key_id(self) -> str:
        value = self._fields.pop("id", None)
        if not isinstance(value, str) or not KEY_ID.fullmatch(value):
            self._refuse("id", KEY_ID_WANTED)
        return value

    def _hex(self, name: str, least_bytes: int, most_bytes: int) -> bytes:
        value = self._fields.pop(name, None)
        digits = f"{2 * least_bytes}" + (f" to {2 * most_bytes}" if most_bytes > least_bytes else "")
        wanted = f"{digits} hex digits"
        if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2})*", value):
            self._refuse(name, wanted)
        if not least_bytes <= len(value) // 2 <= most_bytes:
            self._refuse(name, f"{wanted}, got {len(value)}")
        return bytes.fromhex(value)

    def _models(self) -> tuple[str, ...]:
        value = self._fields.pop("models", None)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(model, str) and model for model in value):
            self._refuse("models", "a list of names, or null for all")
        return tuple(value)

    def _whole_number(self, name: str) -> int | None:
        value = self._fields.pop(name, None)
        # To Python, true is a 1.
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST):
            self._refuse(name, f"a whole number from 1 to {_MOST:g}, or null for no limit")
        return value

    def _number(self, name: str) -> float | None:
        value = self._fields.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _MOST:
            self._refuse(name, f"seconds, more than 0 and at most {_MOST:g}, or null for no limit")
        return float(value)

    def _time(self, name: str) -> datetime | None:
        value = self._fields.pop(name, None)
        if value is None:
            return None
        wanted = "a time with its zone, such as 2027-01-01T00:00:00Z, or null for never"
        if not isinstance(value, str):
            self._refuse(name, wanted)
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self._refuse(name, wanted)
        if time.tzinfo is None:
            self._refuse(name, wanted)
        return time

    def _flag(self, name: str) -> bool:
        value = self._fields.pop(name, False)
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value
