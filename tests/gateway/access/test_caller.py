from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.common.errors import ApiKeyInvalid, ApiKeyNotAllowed, QuotaExceeded
from services.gateway.access.api_key import Grant
from services.gateway.access.caller import Caller

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


def test_without_limits_everything_is_allowed() -> None:
    caller = Caller("", Grant())
    caller.check()
    caller.check_model("any")
    caller.take_audio(1e9)
    with caller.stream(), caller.stream():
        pass


def test_a_model_that_is_not_the_keys_is_refused_with_those_that_are() -> None:
    caller = Caller("acme", Grant(models=("a", "b")))
    caller.check_model("b")
    with pytest.raises(ApiKeyNotAllowed, match=r"^API key acme: wanted one of its models, a, b; got 'c'$"):
        caller.check_model("c")


def test_streams_are_counted_at_once_and_given_back_after_errors() -> None:
    caller = Caller("acme", Grant(max_streams=2))
    with caller.stream():
        with pytest.raises(KeyError), caller.stream():
            raise KeyError
        with caller.stream():
            with pytest.raises(QuotaExceeded, match="wanted at most 2 streams at once") as raised, caller.stream():
                pass
            assert raised.value.subject == "api_key:acme"
        with caller.stream():
            pass


def test_fewer_streams_refuse_new_ones_and_end_none() -> None:
    caller = Caller("acme", Grant(max_streams=2))
    with caller.stream():
        with caller.stream():
            caller.change(Grant(max_streams=1))
        with pytest.raises(QuotaExceeded, match="at most 1 stream at once"), caller.stream():
            pass
    with caller.stream():
        pass


def test_audio_beyond_the_rate_is_refused_with_the_time_to_wait() -> None:
    now_s = 0.0
    caller = Caller("acme", Grant(audio_s_per_minute=120, audio_burst_s=10), clock=lambda: now_s)
    caller.take_audio(10)
    with pytest.raises(QuotaExceeded) as raised:
        caller.take_audio(1)
    assert str(raised.value) == (
        "API key acme: wanted at most 120 s of audio a minute, got more; room for the next 1 s in 0.5 s"
    )
    assert raised.value.subject == "api_key:acme"
    now_s = 0.5
    caller.take_audio(1)


def test_the_burst_is_a_minutes_worth_unless_told() -> None:
    caller = Caller("acme", Grant(audio_s_per_minute=120), clock=lambda: 0.0)
    caller.take_audio(120)
    with pytest.raises(QuotaExceeded):
        caller.take_audio(0.08)


def test_another_grant_keeps_what_was_used() -> None:
    caller = Caller("acme", Grant(audio_s_per_minute=60), clock=lambda: 0.0)
    caller.take_audio(60)
    caller.change(Grant(audio_s_per_minute=120))
    with pytest.raises(QuotaExceeded):
        caller.take_audio(1)
    caller.change(Grant())
    caller.take_audio(1e6)


def test_a_key_expires_at_its_time_and_not_before() -> None:
    now = NOON - timedelta(seconds=1)
    caller = Caller("acme", Grant(expires=NOON), now=lambda: now)
    caller.check()
    now = NOON
    with pytest.raises(ApiKeyInvalid, match=r"^API key acme expired at 2027-01-01T12:00:00\+00:00$"):
        caller.check()


def test_a_revoked_key_is_refused() -> None:
    with pytest.raises(ApiKeyInvalid, match=r"^API key acme is revoked$"):
        Caller("acme", Grant(revoked=True)).check()
