"""One API key as the keys file describes it: a salted hash, never the key, and what the key allows."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

# Marks a string as a key of this service, for people and for scanners that look for leaked secrets.
KEY_PREFIX = "dsm_"
# 256 random bits in base64, the prefix not counted.
LEAST_KEY_CHARACTERS = 43
SALT_BYTES = 16
_KEY_BYTES = 32


@dataclass(frozen=True)
class Grant:
    """What a key allows; the default is everything, for ever."""

    # Empty: all.
    models: tuple[str, ...] = ()
    # StreamingRecognize and Recognize calls at once, 1 or more; None: any number.
    max_streams: int | None = None
    # Seconds of audio in each minute of time, above 0; 60 is one live stream. None: any amount.
    audio_s_per_minute: float | None = None
    # Seconds of audio that may be saved up and sent at once, above 0. None: those of one minute.
    audio_burst_s: float | None = None
    # With a time zone.
    expires: datetime | None = None
    revoked: bool = False


@dataclass(frozen=True)
class ApiKey:
    """One entry of the keys file."""

    key_id: str
    salt: bytes
    digest: bytes
    grant: Grant

    def matches(self, key: str) -> bool:
        """Tell whether this is the entry of a key, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(digest_of(self.salt, key), self.digest)


def digest_of(salt: bytes, key: str) -> bytes:
    """Return what is kept of a key: SHA-256 of the salt followed by the key's text.

    One fast hash is enough, and only because keys are 256 random bits: nobody can try them all. For passwords that
    people choose it would be wrong, which is why short keys are refused.
    """
    return hashlib.sha256(salt + key.encode()).digest()


def new_key(key_id: str, grant: Grant) -> tuple[str, ApiKey]:
    """Make a random key: the text to hand out, which is kept nowhere, and the entry for the keys file."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    salt = secrets.token_bytes(SALT_BYTES)
    return key, ApiKey(key_id, salt, digest_of(salt, key), grant)
