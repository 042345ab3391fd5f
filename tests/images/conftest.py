"""The compose stack of the images that `make images` has built, one for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from benchmarks.containers import SERVICES, ComposeStack

# Sessions of those that are left find room on the other worker.
ENVIRONMENT = {"DSM_LM_SLOTS": "8", "DSM_CODEC_SLOTS": "8", "DSM_DRAIN_S": "25"}


@pytest.fixture(scope="session")
def stack() -> Iterator[ComposeStack]:
    with ComposeStack("dsm-stt-test", ENVIRONMENT) as stack:
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Names by service."""
    tag = os.environ.get("DSM_STT_TAG", "latest")
    suffixes = {"gateway": "", "codec": "-cpu", "lm": "-cpu"}
    return {service: f"ghcr.io/dsm-stt/dsm-stt-{service}:{tag}{suffixes[service]}" for service in SERVICES}
