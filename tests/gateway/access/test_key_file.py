from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import ConfigError
from services.gateway.access.api_key import KEY_PREFIX, LEAST_KEY_CHARACTERS, ApiKey, Grant, digest_of, new_key
from services.gateway.access.key_file import read_keys, render_keys

ENTRY = {"id": "acme", "salt": "0f" * 16, "hash": "a1" * 32}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def write(path: Path, *entries: Any) -> Path:
    path.write_text(json.dumps({"keys": entries}))
    return path


def test_only_id_salt_and_hash_are_required(path: Path) -> None:
    assert read_keys(write(path, ENTRY)) == [ApiKey("acme", b"\x0f" * 16, b"\xa1" * 32, Grant())]


def test_null_and_an_empty_list_of_models_set_no_limit(path: Path) -> None:
    fields = ("max_streams", "audio_s_per_minute", "audio_burst_s", "expires")
    entry = {**ENTRY, **dict.fromkeys(fields), "models": [], "revoked": False}
    assert read_keys(write(path, entry))[0].grant == Grant()


def test_every_limit_is_read(path: Path) -> None:
    entry = {
        **ENTRY,
        "models": ["a", "b"],
        "max_streams": 3,
        "audio_s_per_minute": 90.5,
        "audio_burst_s": 600,
        "expires": "2027-01-01T01:00:00+01:00",
        "revoked": True,
    }
    expires = datetime(2027, 1, 1, tzinfo=UTC)
    assert read_keys(write(path, entry))[0].grant == Grant(("a", "b"), 3, 90.5, 600, expires, True)


def test_a_file_without_keys_lets_nobody_in_but_is_no_mistake(path: Path) -> None:
    assert read_keys(write(path)) == []


@pytest.mark.parametrize(
    "grant",
    [
        Grant(),
        Grant(("a",), 1, 0.5, 60.25, datetime(2027, 1, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-7))), True),
    ],
)
def test_what_is_written_is_read_again(path: Path, grant: Grant) -> None:
    keys = [new_key("one", grant)[1], new_key("two", Grant())[1]]
    path.write_text(render_keys(keys))
    assert read_keys(path) == keys


MISTAKES: dict[str, tuple[Any, str]] = {
    "no object": ([1], r"keys\[0\]: wanted an object"),
    "no id": ([{**ENTRY, "id": None}], r"keys\[0\]: id: wanted 1 to 64 of"),
    "an id with a space": ([{**ENTRY, "id": "a b"}], r"keys\[0\]: id: wanted"),
    "the same id again": ([ENTRY, ENTRY], r"keys\[1\] \(acme\): id: another entry"),
    "no salt": ([{"id": "acme", "hash": "a1" * 32}], r"keys\[0\] \(acme\): salt: wanted 32 to 128 hex digits"),
    "a short salt": ([{**ENTRY, "salt": "0f" * 15}], r"salt: wanted 32 to 128 hex digits, got 30"),
    "a hash that is none": ([{**ENTRY, "hash": "x" * 64}], r"hash: wanted 64 hex digits"),
    "a hash too short": ([{**ENTRY, "hash": "a1" * 31}], r"hash: wanted 64 hex digits, got 62"),
    "an unknown field": ([{**ENTRY, "max_stream": 1}], r"\(acme\): max_stream: wanted no field of this name"),
    "a model that is no list": ([{**ENTRY, "models": "a"}], r"models: wanted a list of names"),
    "a model without a name": ([{**ENTRY, "models": [""]}], r"models: wanted a list of names"),
    "no streams": ([{**ENTRY, "max_streams": 0}], r"max_streams: wanted a whole number from 1"),
    "half a stream": ([{**ENTRY, "max_streams": 1.5}], r"max_streams: wanted a whole number"),
    "true streams": ([{**ENTRY, "max_streams": True}], r"max_streams: wanted a whole number"),
    "no audio": ([{**ENTRY, "audio_s_per_minute": 0}], r"audio_s_per_minute: wanted seconds, more than 0"),
    "audio as text": ([{**ENTRY, "audio_s_per_minute": "60"}], r"audio_s_per_minute: wanted seconds"),
    "audio that is no number": ([{**ENTRY, "audio_s_per_minute": float("nan")}], r"audio_s_per_minute: wanted"),
    "audio without end": ([{**ENTRY, "audio_s_per_minute": float("inf")}], r"audio_s_per_minute: wanted"),
    "a burst without a rate": ([{**ENTRY, "audio_burst_s": 9}], r"audio_burst_s: wanted audio_s_per_minute beside it"),
    "an end without a zone": ([{**ENTRY, "expires": "2027-01-01"}], r"expires: wanted a time with its zone"),
    "an end that is none": ([{**ENTRY, "expires": "soon"}], r"expires: wanted a time with its zone"),
    "an end as a number": ([{**ENTRY, "expires": 1}], r"expires: wanted a time with its zone"),
    "revoked as text": ([{**ENTRY, "revoked": "no"}], r"revoked: wanted true or false"),
}


@pytest.mark.parametrize(("entries", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_by_file_entry_and_field(path: Path, entries: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        read_keys(write(path, *entries))
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("field", ["id", "salt", "hash"])
def test_a_key_put_where_its_hash_should_be_is_not_repeated(path: Path, field: str) -> None:
    key, _ = new_key("acme", Grant())
    with pytest.raises(ConfigError) as raised:
        read_keys(write(path, {**ENTRY, field: key}))
    assert key not in str(raised.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"keys": {}}', '{"keys": [], "more": 1}', "\x00", "[" * 100_000]
)
def test_what_is_no_keys_file_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigError, match="wanted"):
        read_keys(path)


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b'{"keys": ["\xff"]}')
    with pytest.raises(ConfigError, match="wanted JSON"):
        read_keys(path)


def test_a_file_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.json: cannot read the API keys: No such file"):
        read_keys(path)


def test_a_new_key_is_random_long_enough_and_matched_by_nothing_else() -> None:
    key, entry = new_key("acme", Grant())
    other, _ = new_key("acme", Grant())
    assert key != other
    assert key.startswith(KEY_PREFIX)
    assert len(key.removeprefix(KEY_PREFIX)) >= LEAST_KEY_CHARACTERS
    assert entry.matches(key)
    assert not entry.matches(other)
    assert not entry.matches(key + "a")


def test_the_hash_is_sha256_of_salt_and_key() -> None:
    # printf 'salt%s' key | sha256sum
    assert digest_of(b"salt", "key").hex() == "4a466ea0657e479545b1d6c2d994824f80d8eecd7030f3092ff42a9bcad751d8"
