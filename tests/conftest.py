"""What tests of several services share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.common.checkpoint import Checkpoint
from tests.checkpoints import write_mini_checkpoint

# moshi compiles its kernels when first used, which takes minutes on a CPU.
os.environ.setdefault("NO_TORCH_COMPILE", "1")
# Models this small gain nothing from threads, and lose everything when others use the cores too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Without a GPU, Triton's kernels are interpreted; where there is one, tests run what it compiles.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def mini_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The smallest whole checkpoint, with seeded weights; read only: `copy_of` makes one to change."""
    folder: Path = tmp_path_factory.mktemp("models") / "dsm-mini"
    return write_mini_checkpoint(folder)
