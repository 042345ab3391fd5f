"""The table of the errors that callers can meet, as the API promises it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode

from services.common import errors
from services.common.grpc_status import CODE_AND_REASON, INTERNAL_MESSAGE, MOST_MESSAGE_CHARACTERS, status_of

TABLE: dict[errors.DsmError, tuple[StatusCode, str]] = {
    errors.BadConfig("m"): (StatusCode.INVALID_ARGUMENT, "BAD_CONFIG"),
    errors.MalformedAudio("m"): (StatusCode.INVALID_ARGUMENT, "MALFORMED_AUDIO"),
    errors.UnknownModel("m"): (StatusCode.NOT_FOUND, "UNKNOWN_MODEL"),
    errors.ApiKeyInvalid("m"): (StatusCode.UNAUTHENTICATED, "API_KEY_INVALID"),
    errors.ApiKeyNotAllowed("m"): (StatusCode.PERMISSION_DENIED, "API_KEY_NOT_ALLOWED"),
    errors.NoCapacity("m", 1): (StatusCode.RESOURCE_EXHAUSTED, "NO_CAPACITY"),
    errors.QuotaExceeded("m", "s"): (StatusCode.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
    errors.WorkerLost("m"): (StatusCode.UNAVAILABLE, "WORKER_LOST"),
    errors.Draining("m"): (StatusCode.UNAVAILABLE, "DRAINING"),
    errors.NotReady("m"): (StatusCode.UNAVAILABLE, "NOT_READY"),
    errors.IdleTimeout("m"): (StatusCode.ABORTED, "IDLE_TIMEOUT"),
    errors.MaxDuration("m"): (StatusCode.OUT_OF_RANGE, "MAX_DURATION"),
    errors.ProtocolViolation("m"): (StatusCode.INVALID_ARGUMENT, "PROTOCOL_VIOLATION"),
    errors.EngineFailed("m"): (StatusCode.UNAVAILABLE, "ENGINE_FAILED"),
    errors.UpstreamFault("m"): (StatusCode.INTERNAL, "INTERNAL"),
    errors.CheckpointError("m"): (StatusCode.INTERNAL, "INTERNAL"),
    errors.ConfigError("m"): (StatusCode.INTERNAL, "INTERNAL"),
}
# Nothing raises these themselves.
BASES = {errors.DsmError, errors.InvalidRequest}


def details(error: BaseException) -> dict[type[Any], Any]:
    """Unpack the details of an error's status, by kind."""
    found = {}
    for packed in status_of(error).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo, error_details_pb2.QuotaFailure):
            if packed.Is(kind.DESCRIPTOR):
                found[kind] = kind()
                packed.Unpack(found[kind])
    return found


@pytest.mark.parametrize(("error", "expected"), TABLE.items(), ids=lambda value: type(value).__name__)
def test_every_error_has_its_code_its_reason_and_its_message(
    error: errors.DsmError, expected: tuple[StatusCode, str]
) -> None:
    code, reason = expected
    status = status_of(error)
    assert status.code == code.value[0]
    assert status.message == (INTERNAL_MESSAGE if code is StatusCode.INTERNAL else "m")
    info = details(error)[error_details_pb2.ErrorInfo]
    assert (info.reason, info.domain) == (reason, "dsm-stt")


def test_no_error_is_missing_and_none_is_made_up() -> None:
    ours = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.DsmError) and kind not in BASES
    }
    assert {type(error) for error in TABLE} == set(CODE_AND_REASON) == ours


def test_no_capacity_says_when_to_come_back() -> None:
    retry = details(errors.NoCapacity("full", retry_after_s=2.5))[error_details_pb2.RetryInfo]
    assert retry.retry_delay.ToMilliseconds() == 2500


def test_a_quota_says_whose_it_is() -> None:
    failure = details(errors.QuotaExceeded("too much", subject="api_key:k1"))[error_details_pb2.QuotaFailure]
    assert [(violation.subject, violation.description) for violation in failure.violations] == [
        ("api_key:k1", "too much")
    ]


@pytest.mark.parametrize("error", [RuntimeError("/secret/path"), KeyError("hush"), errors.UpstreamFault("hush")])
def test_what_is_not_for_callers_shows_no_detail(error: Exception) -> None:
    assert status_of(error).message == INTERNAL_MESSAGE
    assert b"secret" not in status_of(error).SerializeToString()
    assert b"hush" not in status_of(error).SerializeToString()


@pytest.mark.parametrize("character", ["a", "é", "語", "🎙", "\n"])
def test_a_status_fits_the_headers_it_travels_in(character: str) -> None:
    status = status_of(errors.QuotaExceeded(f"wanted less, got {character * 100_000!r}", subject="s" * 64))
    assert len(status.message) == MOST_MESSAGE_CHARACTERS + 2
    # grpc-message has up to three characters for a byte, grpc-status-details-bin four for three bytes.
    assert 3 * len(status.message.encode()) + len(status.SerializeToString()) * 4 / 3 < 8192
