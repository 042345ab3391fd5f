from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.common.errors import ApiKeyInvalid, ConfigError, QuotaExceeded
from services.gateway.access.api_key import LEAST_KEY_CHARACTERS, ApiKey, Grant, digest_of
from services.gateway.access.key_file import render_keys
from services.gateway.access.keys import ApiKeys
from tests.gateway.access.keyring import Keyring


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys.json")


def test_without_a_file_everybody_is_the_anonymous_caller() -> None:
    keys = ApiKeys(None)
    assert keys.authenticate([]).key_id == ""
    assert keys.authenticate([("x-api-key", "whatever")]).key_id == ""
    keys.refresh()


@pytest.mark.parametrize("name", ["x-api-key", "authorization"])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_each_key_is_found_in_either_place(ring: Keyring, name: str, scheme: str) -> None:
    texts = {key_id: ring.add(key_id) for key_id in ("a", "b", "c")}
    keys = ApiKeys(ring.path)
    for key_id, text in texts.items():
        value = text if name == "x-api-key" else scheme + text
        assert keys.authenticate([("x-request-id", "1"), (name, value)]).key_id == key_id


def test_x_api_key_has_precedence(ring: Keyring) -> None:
    a, b = ring.add("a"), ring.add("b")
    keys = ApiKeys(ring.path)
    assert keys.authenticate([("authorization", f"Bearer {b}"), ("x-api-key", a)]).key_id == "a"
    assert keys.authenticate([("authorization", "Basic abc"), ("x-api-key", a)]).key_id == "a"
    assert keys.authenticate([("authorization", "Basic abc"), ("authorization", f"Bearer {b}")]).key_id == "b"


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([], "wanted an API key as metadata, x-api-key: KEY or authorization: Bearer KEY; got none"),
        ([("authorization", "Basic KEY")], "got none"),
        ([("authorization", "KEY")], "got none"),
        ([("x-api-key", b"KEY")], "got none"),
        ([("x-api-key", "KEY"), ("x-api-key", "KEY")], "got 2 of them"),
        ([("x-api-key", "")], "at least 43 characters, got 0"),
        ([("x-api-key", "KEY\u00e9")], "wanted a known API key, got another one"),
        ([("x-api-key", "KEYx")], "wanted a known API key, got another one"),
        ([("x-api-key", "xKEY")], "wanted a known API key, got another one"),
    ],
)
def test_what_is_no_key_of_the_file_is_refused(
    ring: Keyring, metadata: list[tuple[str, str | bytes]], message: str
) -> None:
    text = ring.add("a")
    given = [
        (name, value.replace("KEY", text) if isinstance(value, str) else text.encode()) for name, value in metadata
    ]
    with pytest.raises(ApiKeyInvalid, match=message) as raised:
        ApiKeys(ring.path).authenticate(given)
    assert text not in str(raised.value)


def test_a_short_key_is_refused_even_if_the_file_has_its_hash(ring: Keyring) -> None:
    short = "k" * (LEAST_KEY_CHARACTERS - 1)
    salt = bytes(16)
    ring.path.write_text(render_keys([ApiKey("a", salt, digest_of(salt, short), Grant())]))
    with pytest.raises(ApiKeyInvalid, match="at least 43 characters, got 42"):
        ApiKeys(ring.path).authenticate([("x-api-key", short)])


def test_a_revoked_and_an_expired_key_are_told_apart(ring: Keyring) -> None:
    revoked = ring.add("r", revoked=True)
    expired = ring.add("e", expires=datetime(2020, 1, 1, tzinfo=UTC))
    keys = ApiKeys(ring.path)
    with pytest.raises(ApiKeyInvalid, match="API key r is revoked"):
        keys.authenticate([("x-api-key", revoked)])
    with pytest.raises(ApiKeyInvalid, match="API key e expired at 2020"):
        keys.authenticate([("x-api-key", expired)])


def test_all_keys_are_compared_whichever_is_right(ring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [ring.add(str(number)) for number in range(5)]
    keys = ApiKeys(ring.path)
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr("services.gateway.access.api_key.hmac.compare_digest", compare)
    for text in texts:
        compared.clear()
        keys.authenticate([("x-api-key", text)])
        assert len(set(compared)) == 5


@pytest.mark.parametrize("text", [None, "{"])
def test_no_gateway_starts_on_a_file_that_is_missing_or_broken(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "keys.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.json"):
        ApiKeys(path)


def test_a_changed_file_is_taken_up_and_calls_go_on_with_what_they_used(ring: Keyring) -> None:
    old = ring.add("old", max_streams=1)
    keys = ApiKeys(ring.path)
    caller = keys.authenticate([("x-api-key", old)])
    with caller.stream():
        new = ring.add("new")
        with capture_logs() as logs:
            keys.refresh()
        assert logs == [{"event": "API keys read again", "keys": 2, "log_level": "info"}]
        assert keys.authenticate([("x-api-key", new)]).key_id == "new"
        with pytest.raises(QuotaExceeded), keys.authenticate([("x-api-key", old)]).stream():
            pass


def test_a_file_that_did_not_change_is_not_read_again(ring: Keyring) -> None:
    ring.add("a")
    keys = ApiKeys(ring.path)
    with capture_logs() as logs:
        keys.refresh()
    assert logs == []


def test_a_broken_file_keeps_the_old_keys_and_is_told_once(ring: Keyring) -> None:
    text = ring.add("a")
    keys = ApiKeys(ring.path)
    ring.path.write_text('{"keys": [{"id": "b"}]}')
    with capture_logs() as logs:
        keys.refresh()
        keys.refresh()
    assert keys.authenticate([("x-api-key", text)]).key_id == "a"
    assert [(log["log_level"], log["event"]) for log in logs] == [
        ("error", "API keys not read again, the old ones stay")
    ]
    assert "keys[0] (b): salt: wanted" in logs[0]["problem"]


def test_a_file_that_vanishes_keeps_the_old_keys_until_it_is_back(ring: Keyring) -> None:
    text = ring.add("a")
    keys = ApiKeys(ring.path)
    ring.path.unlink()
    keys.refresh()
    assert keys.authenticate([("x-api-key", text)]).key_id == "a"
    new = ring.add("b")
    keys.refresh()
    assert keys.authenticate([("x-api-key", new)]).key_id == "b"


@pytest.mark.parametrize("how", ["revoked", "removed", "replaced"])
def test_a_caller_notices_that_its_key_is_gone(ring: Keyring, how: str) -> None:
    text = ring.add("a")
    keys = ApiKeys(ring.path)
    caller = keys.authenticate([("x-api-key", text)])
    if how == "revoked":
        ring.change("a", revoked=True)
    elif how == "removed":
        ring.remove("a")
    else:
        ring.add("a")
    caller.check()
    keys.refresh()
    with pytest.raises(ApiKeyInvalid, match="API key a is revoked"):
        caller.check()
    with pytest.raises(ApiKeyInvalid):
        keys.authenticate([("x-api-key", text)])


def test_changed_limits_hold_for_open_calls(ring: Keyring) -> None:
    text = ring.add("a")
    now_s = 0.0
    keys = ApiKeys(ring.path, clock=lambda: now_s)
    caller = keys.authenticate([("x-api-key", text)])
    caller.take_audio(1e6)
    ring.change("a", audio_s_per_minute=60.0)
    keys.refresh()
    caller.take_audio(60)
    with pytest.raises(QuotaExceeded):
        caller.take_audio(1)
