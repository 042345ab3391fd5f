from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.common.checkpoint import Checkpoint, Part
from services.common.errors import CheckpointError
from services.common.hub import Hub
from services.common.registry import KNOWN_MODELS, in_reach, locate, resolve
from tests.checkpoints import copy_of, edit_config, edit_tensors
from tests.fakes.hub import COMMIT, FakeHub, fill_cache, running

CONFIG_ONLY: frozenset[Part] = frozenset()


def published_config(name: str, **more: Any) -> str:
    """A config.json with the shapes of a known model."""
    shape = dict(KNOWN_MODELS[name].shape)
    stt = {
        "audio_delay_seconds": shape.pop("audio_delay_seconds"),
        "audio_silence_prefix_seconds": 1.0 if name == "stt-2.6b-en" else 0.0,
    }
    config = {
        "model_type": "stt",
        "mimi_name": "mimi-pytorch-e351c8d8@125.safetensors",
        "dep_q": 0,
        "delays": [0] * 33,
        "gating": "silu",
        "norm": "rms_norm_f32",
        "positional_embedding": "rope",
        "stt_config": stt,
    }
    return json.dumps(config | shape | more)


@pytest.fixture
def fake(mini_checkpoint: Checkpoint, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with a small model in PyTorch form, the same in candle form, and the configs of the published ones."""
    pytorch = copy_of(mini_checkpoint, tmp_path / "pytorch")
    repositories = {"kyutai/stt-mini": pytorch, "kyutai/stt-mini-candle": candle_form(pytorch, tmp_path / "candle")}
    configs = {
        "kyutai/stt-1b-en_fr": published_config("stt-1b-en_fr"),
        "kyutai/stt-1b-en_fr-candle": published_config(
            "stt-1b-en_fr", extra_heads_num_heads=4, extra_heads_dim=6, moshi_name="model.safetensors"
        ),
        "kyutai/stt-2.6b-en": published_config("stt-2.6b-en"),
    }
    for name, config in configs.items():
        repositories[name] = tmp_path / name
        repositories[name].mkdir(parents=True)
        (repositories[name] / "config.json").write_text(config)
    with running(FakeHub(repositories)) as hub:
        yield hub


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path) -> Hub:
    return Hub(endpoint=fake.endpoint, cache_folder=tmp_path / "cache")


def candle_form(pytorch: Path, folder: Path) -> Path:
    """The files as in the candle repositories: no name for the LM, and the tensors' old names."""
    shutil.copytree(pytorch, folder)
    edit_config(folder, without=("moshi_name",))
    edit_tensors(
        folder / "model.safetensors",
        lambda tensors: {
            name.replace("in_projs.0.weight", "in_proj_weight").replace("out_projs.0", "out_proj"): tensor
            for name, tensor in tensors.items()
        },
    )
    return folder


def test_a_repository_in_pytorch_form_is_fetched_and_checked(hub: Hub, tmp_path: Path) -> None:
    checkpoint = resolve("kyutai/stt-mini", hub=hub)
    assert checkpoint.name == "stt-mini"
    assert checkpoint.origin == f"kyutai/stt-mini@{COMMIT}"
    assert checkpoint.lm_weights.is_relative_to(tmp_path / "cache")
    assert checkpoint.pause_heads == 4


def test_a_repository_in_candle_form_is_fetched_and_loads_in_moshi(hub: Hub) -> None:
    from moshi.models.loaders import get_moshi_lm  # noqa: PLC0415

    checkpoint = resolve("kyutai/stt-mini-candle", hub=hub)
    lm = get_moshi_lm(checkpoint.lm_weights, checkpoint.lm_config)
    assert len(lm.extra_heads) == checkpoint.pause_heads == 4


def test_a_worker_fetches_only_the_files_it_needs(hub: Hub, fake: FakeHub) -> None:
    resolve("kyutai/stt-mini", {Part.CODEC}, hub=hub)
    assert [request for request in fake.requests if request.startswith("GET")] == [
        "GET config.json",
        "GET mimi_config.json",
        "GET mimi-seeded-mini-0.safetensors",
    ]
    fake.requests.clear()
    resolve("kyutai/stt-mini", {Part.LM}, hub=hub)
    assert [request for request in fake.requests if request.startswith("GET")] == [
        "GET tokenizer_seeded_120.model",
        "GET model.safetensors",
    ]


def test_what_is_in_the_cache_needs_no_hub(mini_checkpoint: Checkpoint, tmp_path: Path) -> None:
    fill_cache(tmp_path / "cache", "kyutai/stt-mini", Path(mini_checkpoint.origin))
    unreachable = Hub(endpoint="http://127.0.0.1:9", cache_folder=tmp_path / "cache")
    assert resolve("kyutai/stt-mini", hub=unreachable).origin == f"kyutai/stt-mini@{COMMIT}"


def test_all_files_are_of_the_commit_that_config_json_came_from(hub: Hub, fake: FakeHub) -> None:
    resolve("kyutai/stt-mini", {Part.CODEC}, hub=hub)
    fake.commit = "f" * 40
    with pytest.raises(CheckpointError, match=f"stt-mini has no revision {COMMIT}"):
        resolve("kyutai/stt-mini", {Part.LM}, hub=hub)
    assert locate("kyutai/stt-mini", CONFIG_ONLY, refresh=True, hub=hub).origin == f"kyutai/stt-mini@{'f' * 40}"


def test_a_revision_can_be_asked_for(hub: Hub) -> None:
    assert locate(f"kyutai/stt-mini@{COMMIT}", CONFIG_ONLY, hub=hub).origin.endswith(COMMIT)
    assert locate(f"stt-2.6b-en@{COMMIT}", CONFIG_ONLY, hub=hub).name == "stt-2.6b-en"
    with pytest.raises(CheckpointError, match="kyutai/stt-mini has no revision v2"):
        resolve("kyutai/stt-mini@v2", hub=hub)


def test_the_name_of_the_1b_model_means_its_candle_form_which_has_the_pause_heads(hub: Hub) -> None:
    checkpoint = locate("stt-1b-en_fr", CONFIG_ONLY, hub=hub)
    pinned = "095e38f6242006a93c2541149b181988397f5c7c"
    assert checkpoint.origin == f"kyutai/stt-1b-en_fr-candle@{pinned}"
    assert checkpoint.name == "stt-1b-en_fr"
    assert checkpoint.delay_frames == 6
    assert checkpoint.language_codes == ("en", "fr")
    assert checkpoint.pause_horizons_ms == (500, 1_000, 2_000, 3_000)
    assert checkpoint.codec_id == "mimi-pytorch-e351c8d8@125"


def test_the_pytorch_form_of_the_1b_model_goes_by_the_same_name_without_pause_heads(hub: Hub) -> None:
    checkpoint = locate("kyutai/stt-1b-en_fr", CONFIG_ONLY, hub=hub)
    assert (checkpoint.name, checkpoint.delay_frames, checkpoint.pause_heads) == ("stt-1b-en_fr", 6, 0)


def test_the_26b_model_has_a_delay_of_32_frames_and_a_second_of_silence_before(hub: Hub) -> None:
    checkpoint = locate("stt-2.6b-en", CONFIG_ONLY, hub=hub)
    assert checkpoint.delay_frames == 32
    assert (checkpoint.prefix_samples, checkpoint.suffix_samples) == (24_000, 84_000)
    assert checkpoint.language_codes == ("en",)


def test_a_repository_that_holds_another_model_than_its_name_says_is_refused(hub: Hub, fake: FakeHub) -> None:
    fake.repositories["kyutai/stt-2.6b-en"] = fake.repositories["kyutai/stt-1b-en_fr"]
    with pytest.raises(CheckpointError, match=r"is not that of stt-2\.6b-en: num_heads is 16 instead of 32"):
        locate("stt-2.6b-en", CONFIG_ONLY, hub=hub)


def test_a_local_copy_of_a_published_model_is_recognised_by_its_shape(tmp_path: Path) -> None:
    copy = tmp_path / "my-model"
    copy.mkdir()
    (copy / "config.json").write_text(published_config("stt-2.6b-en"))
    checkpoint = locate(str(copy), CONFIG_ONLY)
    assert (checkpoint.name, checkpoint.delay_frames) == ("my-model", 32)


def test_a_folder_is_served_under_its_own_name(mini_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(mini_checkpoint.origin)
    assert resolve(str(folder)).name == folder.name
    monkeypatch.chdir(folder)
    assert resolve(".").name == folder.name


def test_a_mimi_in_another_repository_is_fetched_from_there(
    mini_checkpoint: Checkpoint, tmp_path: Path, hub: Hub
) -> None:
    folder = copy_of(mini_checkpoint, tmp_path / "tuned")
    (folder / "mimi-seeded-mini-0.safetensors").unlink()
    edit_config(folder, mimi_name="hf://kyutai/stt-mini/mimi-seeded-mini-0.safetensors")
    checkpoint = resolve(str(folder), hub=hub)
    assert checkpoint.codec_id == "mimi-seeded-mini-0"
    edit_config(folder, mimi_name="hf://kyutai")
    with pytest.raises(CheckpointError, match=r"'hf://kyutai' in config\.json is no file on the hub"):
        resolve(str(folder), hub=hub)


def test_the_embedded_model_is_the_trained_one_or_else_its_stand_in(
    mini_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"dsm-tiny-en has no weights in .*: write .*training.seeded .*untrained"):
        resolve("dsm-tiny-en", models_folder=tmp_path)
    assert in_reach(KNOWN_MODELS["dsm-tiny-en"], models_folder=tmp_path) is None

    stand_in = copy_of(mini_checkpoint, tmp_path / "untrained" / "dsm-tiny-en")
    found = resolve("dsm-tiny-en", models_folder=tmp_path)
    assert (found.name, found.origin, found.trained) == ("dsm-tiny-en", str(stand_in), False)

    trained = tmp_path / "dsm-tiny-en"
    trained.mkdir()
    (trained / "README.md").write_text("Weights to come.")
    assert resolve("dsm-tiny-en", models_folder=tmp_path).origin == str(stand_in)
    shutil.copytree(stand_in, trained, dirs_exist_ok=True)
    edit_config(trained, stt={"trained": True})
    assert resolve("dsm-tiny-en", models_folder=tmp_path).trained
    assert in_reach(KNOWN_MODELS["dsm-tiny-en"], models_folder=tmp_path) == str(trained)


def test_the_embedded_model_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="comes with this repository and has no revisions"):
        resolve("dsm-tiny-en@v1", models_folder=tmp_path)


@pytest.mark.parametrize("spec", ["stt-3b", "./nowhere/at/all", "", "a/b/c"])
def test_what_is_no_model_is_told_what_one_would_be(spec: str) -> None:
    with pytest.raises(CheckpointError, match=r"wanted one of stt-1b-en_fr, stt-2\.6b-en, dsm-tiny-en, a repository"):
        resolve(spec)


def test_a_published_model_is_in_reach_when_all_its_files_are_cached(tmp_path: Path) -> None:
    model = KNOWN_MODELS["stt-2.6b-en"]
    hub = Hub(cache_folder=tmp_path / "cache")
    files = tmp_path / "files"
    files.mkdir()
    assert in_reach(model, hub=hub) is None
    (files / "config.json").write_text(published_config("stt-2.6b-en", tokenizer_name="t.model"))
    for name in ("mimi-pytorch-e351c8d8@125.safetensors", "t.model"):
        (files / name).touch()
    snapshot = fill_cache(tmp_path / "cache", "kyutai/stt-2.6b-en", files)
    assert in_reach(model, hub=hub) is None
    (snapshot / "model.safetensors").touch()
    assert in_reach(model, hub=hub) == str(snapshot)
