"""A CA for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """A CA that nobody trusts."""
    return Authority(tmp_path / "theirs", "another CA")
