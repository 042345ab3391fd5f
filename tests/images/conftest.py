"""The compose stack of the images that `make images` has built, one for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from benchmarks.containers import SERVICES, ComposeStack

# The sessions of both workers fit on one, and a slow machine refuses nobody: words are asked for here, not speed.
ENVIRONMENT = {"DSM_LM_SLOTS": "8", "DSM_CODEC_SLOTS": "8", "DSM_STEP_BUDGET_S": "0"}


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
