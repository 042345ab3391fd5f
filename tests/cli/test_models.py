from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.models import app
from services.common.checkpoint import Checkpoint
from services.common.registry import KNOWN_MODELS
from tests.checkpoints import copy_of
from tests.fakes.hub import COMMIT, FakeHub, fill_cache, running


def models(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def models_in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does: huggingface_hub reads its environment when it is imported."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", "from services.cli.models import app; app()", *arguments],
        env=inherited | {"COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_verifying_a_folder_prints_a_line_for_each_file(mini_checkpoint: Checkpoint) -> None:
    result = models("verify", mini_checkpoint.origin)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"dsm-mini from {mini_checkpoint.origin}"
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [
        ["✓", "config.json:"],
        ["✓", "mimi-seeded-mini-0.safetensors:"],
        ["✓", "model.safetensors:"],
        ["✓", "tokenizer_seeded_120.model:"],
    ]


def test_verifying_seeded_weights_says_that_they_are_untrained(mini_checkpoint: Checkpoint) -> None:
    assert "never saw speech" in models("verify", mini_checkpoint.origin).stderr


def test_verifying_one_part_leaves_the_other_alone(mini_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = copy_of(mini_checkpoint, tmp_path / "half")
    (folder / "model.safetensors").unlink()
    assert models("verify", folder, "--part", "codec").exit_code == 0
    assert models("verify", folder, "--part", "codec", "--part", "lm").exit_code == 1


def test_verifying_a_spoiled_folder_ends_with_the_clear_line_and_status_1(
    mini_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = copy_of(mini_checkpoint, tmp_path / "spoiled")
    (folder / "tokenizer_seeded_120.model").write_bytes(b"not a tokenizer")
    result = models("verify", folder)
    assert result.exit_code == 1
    assert "✓ model.safetensors" in result.stdout
    assert result.stderr == f"error: {folder / 'tokenizer_seeded_120.model'} is not a sentencepiece model\n"


def test_verifying_what_is_no_model_names_the_models() -> None:
    result = models("verify", "stt-3b")
    assert result.exit_code == 1
    assert "no model 'stt-3b': wanted one of stt-1b-en_fr, stt-2.6b-en, dsm-tiny-en" in result.stderr


def test_pulling_fetches_a_repository_into_the_cache_and_checks_it(mini_checkpoint: Checkpoint, tmp_path: Path) -> None:
    with running(FakeHub({"kyutai/stt-mini": Path(mini_checkpoint.origin)})) as hub:
        done = models_in_a_process(
            "pull",
            "kyutai/stt-mini",
            HF_HOME=str(tmp_path),
            HF_ENDPOINT=hub.endpoint,
            TQDM_POSITION="-1",  # bars even though this is no terminal
        )
    assert done.returncode == 0, done.stderr
    assert f"stt-mini from kyutai/stt-mini@{COMMIT}" in done.stdout
    assert done.stdout.count("✓") == 4
    assert "100%" in done.stderr  # the hub's own bars
    offline = models_in_a_process("verify", "kyutai/stt-mini", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr


def test_pulling_offline_ends_with_the_next_step(tmp_path: Path) -> None:
    done = models_in_a_process("pull", "stt-2.6b-en", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    pinned = KNOWN_MODELS["stt-2.6b-en"].repositories["kyutai/stt-2.6b-en"]
    assert f"config.json of kyutai/stt-2.6b-en@{pinned} is not in the cache and HF_HUB_OFFLINE is set" in done.stderr


def test_the_list_says_what_a_model_is_and_whether_it_is_here(mini_checkpoint: Checkpoint, tmp_path: Path) -> None:
    files = copy_of(mini_checkpoint, tmp_path / "files")
    snapshot = fill_cache(tmp_path / "hub", "kyutai/stt-1b-en_fr-candle", files)
    done = models_in_a_process("list", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    rows = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert rows[0] == "name languages delay pause heads here where"
    assert rows[1].startswith("stt-1b-en_fr en, fr 0.48 s 4 yes ")
    assert str(snapshot) in "".join(done.stdout.split())
    assert "stt-2.6b-en en 2.56 s 0 no kyutai/stt-2.6b-en" in rows
    assert any(row.startswith("dsm-tiny-en en ") for row in rows)


def test_a_broken_model_does_not_break_the_list(mini_checkpoint: Checkpoint, tmp_path: Path) -> None:
    files = copy_of(mini_checkpoint, tmp_path / "files")
    (files / "config.json").write_text("oops")
    fill_cache(tmp_path / "hub", "kyutai/stt-2.6b-en", files)
    done = models_in_a_process("list", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.returncode == 0
    assert "stt-2.6b-en en 2.56 s 0 broken" in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", ["list", "pull", "verify"])
def test_every_command_explains_itself(command: str) -> None:
    assert models(command, "--help").exit_code == 0
