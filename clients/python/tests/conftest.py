"""What the tests share: both kinds of client, and a running service with the embedded model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from threaded import ThreadedClient

from dsm_stt_client import AsyncClient
from services.cli.local_stack import LocalStack

Connect = Callable[..., Any]


@pytest.fixture(params=["asyncio", "synchronous"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Either client, with the methods of AsyncClient."""
    return AsyncClient if request.param == "asyncio" else ThreadedClient


@pytest.fixture(scope="session")
def service() -> Iterator[LocalStack]:
    """The services as processes of their own, with the embedded model."""
    with LocalStack("dsm-tiny-en", slots=4) as stack:
        yield stack
