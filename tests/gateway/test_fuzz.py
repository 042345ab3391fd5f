"""Requests that make no sense: documented errors only, no slot leaked, workers alive. `make fuzz` does many more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import Caller, FuzzedStack, callers, documented, recordings

FEW = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[FuzzedStack]:
    with FuzzedStack() as stack:
        yield stack


def test_the_table_of_errors_can_be_read():
    assert ("INVALID_ARGUMENT", "BAD_CONFIG") in documented()
    assert ("RESOURCE_EXHAUSTED", "NO_CAPACITY") in documented()
    assert not any(code == "INTERNAL" for code, _ in documented())


@FEW
@given(group=st.lists(callers(), min_size=1, max_size=3))
def test_a_stream_of_anything_ends_as_documented(fuzzed: FuzzedStack, group: list[Caller]) -> None:
    fuzzed.stream(group)


@FEW
@given(request=recordings())
def test_a_recording_of_anything_ends_as_documented(fuzzed: FuzzedStack, request: bytes) -> None:
    fuzzed.recognize(request)
