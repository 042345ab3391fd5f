from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.common.checkpoint import Checkpoint, Part
from services.common.checkpoint_check import check_config, verify
from services.common.errors import CheckpointError
from services.common.lm_tensors import lm_tensors
from services.common.registry import resolve
from tests.checkpoints import copy_of, edit_config, edit_tensors

# Sizes of the published weights (kyutai/stt-2.6b-en, bf16) and tensors of kyutai/stt-1b-en_fr-candle.
PUBLISHED_26B_BYTES = 5_234_275_128
PUBLISHED_1B_TENSORS = 135


@pytest.fixture
def folder(mini_checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return copy_of(mini_checkpoint, tmp_path / "spoiled")


def refusal(folder: Path) -> str:
    """The one line that says what is wrong."""
    with pytest.raises(CheckpointError) as caught:
        resolve(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_checkpoint_passes_with_a_line_for_each_file(mini_checkpoint: Checkpoint) -> None:
    assert [line.partition(":")[0] for line in verify(mini_checkpoint)] == [
        "config.json",
        "mimi-seeded-mini-0.safetensors",
        "model.safetensors",
        "tokenizer_seeded_120.model",
    ]


def test_only_the_files_of_the_wanted_part_are_looked_at(folder: Path) -> None:
    for file in ("model.safetensors", "tokenizer_seeded_120.model"):
        (folder / file).unlink()
    codec = resolve(str(folder), {Part.CODEC})
    assert codec.codec_id == "mimi-seeded-mini-0"
    assert len(list(verify(codec, {Part.CODEC}))) == 2


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "mimi_config.json",
        "mimi-seeded-mini-0.safetensors",
        "model.safetensors",
        "tokenizer_seeded_120.model",
    ],
)
def test_a_missing_file_is_named_with_the_place_where_it_was_looked_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert refusal(folder) == f"{name} is missing: looked for it in {folder}"


@pytest.mark.parametrize("name", ["config.json", "mimi_config.json"])
def test_what_is_not_json_is_told_with_the_line(folder: Path, name: str) -> None:
    (folder / name).write_text('{"card": 64,\n oops}')
    assert refusal(folder).startswith(f"{folder / name} is not JSON: ")
    assert "line 2" in refusal(folder)
    (folder / name).write_text("[]")
    assert refusal(folder) == f"{folder / name} is not a JSON object"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model_type": "moshi"}, "model_type is 'moshi', wanted 'stt'"),
        ({"n_q": "6"}, "n_q is '6', wanted a whole number above 0"),
        ({"context": None}, "context is None, wanted a whole number above 0"),
        ({"dep_q": 8}, "dep_q is 8, wanted 0"),
        ({"delays": [0] * 6 + [1]}, "delays must be n_q + 1 = 7 zeros, got [0, 0, 0, 0, 0, 0, 1]"),
        ({"delays": [0]}, "delays must be n_q + 1 = 7 zeros, got [0]"),
        ({"gating": "none"}, "gating is 'none', wanted 'silu'"),
        ({"norm": "layer_norm"}, "norm is 'layer_norm', wanted 'rms_norm_f32'"),
        ({"num_heads": 5}, "dim 64 is not a multiple of num_heads 5"),
        ({"lora_name": "lora.safetensors"}, "asks for a LoRA adapter: merge it"),
        ({"conditioners": {"cfg": {}}}, "asks for conditioners"),
        ({"extra_heads_num_heads": 4, "stt": {"pause_horizons_ms": [1, 2, 3]}}, "must be 4 rising numbers"),
        ({"extra_heads_num_heads": 4, "stt": {"pause_horizons_ms": [1, 2, 2, 3]}}, "must be 4 rising numbers"),
        ({"extra_heads_num_heads": 2, "stt": {"pause_horizons_ms": None}}, "no stt_config.pause_horizons_ms says"),
        ({"stt": {"audio_delay_seconds": None}}, "lacks stt_config.audio_delay_seconds"),
    ],
)
def test_a_config_that_no_speech_to_text_model_has_is_refused(folder: Path, changes: dict[str, Any], line: str) -> None:
    edit_config(folder, **changes)
    assert f"config.json of {folder}" in refusal(folder)
    assert line in refusal(folder)


def test_missing_keys_are_all_named_at_once(folder: Path) -> None:
    edit_config(folder, without=("dim", "dep_q", "delays"))
    assert refusal(folder) == f"config.json of {folder} lacks dim, dep_q, delays"


def test_a_config_of_another_kind_of_model_is_refused_before_anything_else() -> None:
    with pytest.raises(CheckpointError, match="model_type is 'moshi'"):
        check_config({}, "somewhere")


def drop(prefix: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}


@pytest.mark.parametrize(
    ("prefix", "line"),
    [
        ("emb.5.", "audio embedding tables (emb), one a codebook (n_q): found 5, config.json asks for 6"),
        ("transformer.layers.1.", "transformer layers (num_layers): found 1, config.json asks for 2"),
        ("extra_heads.", "pause heads (extra_heads_num_heads): found 0, config.json asks for 4"),
        ("text_emb.", "has no tensor text_emb.weight, of shape 121 x 64"),
        ("out_norm.", "has no tensor out_norm.alpha, of shape 1 x 1 x 64"),
    ],
)
def test_lm_tensors_that_are_missing_are_named(folder: Path, prefix: str, line: str) -> None:
    edit_tensors(folder / "model.safetensors", drop(prefix))
    assert str(folder / "model.safetensors") in refusal(folder)
    assert line in refusal(folder)


def test_lm_tensors_of_another_shape_are_named_with_both_shapes(folder: Path) -> None:
    edit_tensors(
        folder / "model.safetensors",
        lambda tensors: tensors | {"text_linear.weight": tensors["text_linear.weight"][:100].clone()},
    )
    assert "text_linear.weight: found 100 x 64, config.json asks for 120 x 64" in refusal(folder)


def test_lm_tensors_that_nobody_asked_for_are_named(folder: Path) -> None:
    edit_tensors(
        folder / "model.safetensors",
        lambda tensors: tensors | {f"depformer.{name}": tensors["emb.0.weight"].clone() for name in "ab"},
    )
    assert "holds depformer.a and 1 more, which config.json does not ask for" in refusal(folder)


def test_quantized_weights_are_told_from_broken_ones(folder: Path) -> None:
    edit_tensors(
        folder / "model.safetensors",
        lambda tensors: tensors | {"emb.0.weight": tensors["emb.0.weight"].char()},
    )
    assert "holds I8: quantized weights are not supported" in refusal(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "mimi-seeded-mini-0.safetensors"])
def test_a_file_that_was_cut_short_is_told_with_both_sizes(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-1000])
    assert refusal(folder).startswith(
        f"{folder / name} is cut short: {len(whole) - 1000} bytes where its header speaks of {len(whole)}"
    )


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 100, b"\x10" + b"\0" * 7 + b"{not a header}}" + b"\0" * 9]
)
def test_what_is_no_safetensors_file_is_told(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    assert f"{folder / 'model.safetensors'} is not a safetensors file" in refusal(folder)


def test_a_git_lfs_pointer_names_the_command_that_fetches_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "is a Git LFS pointer, not the weights: run `git lfs pull`" in refusal(folder)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"n_q": 9, "delays": [0] * 10}, "Mimi has 8 codebooks of 64, the LM reads 9 of 64: they do not belong"),
        ({"card": 32}, "Mimi has 8 codebooks of 64, the LM reads 6 of 32: they do not belong"),
        ({"mimi_config_name": None}, "without mimi_config_name in config.json the full-size Mimi is meant"),
    ],
)
def test_a_mimi_that_does_not_make_the_lms_codes_is_refused(folder: Path, config: dict[str, Any], line: str) -> None:
    edit_config(folder, **config)
    assert line in refusal(folder)


@pytest.mark.parametrize(
    ("section", "key", "value", "line"),
    [
        ("quantizer", "n_q", 7, "codebooks: found 8, config.json asks for 7"),
        ("quantizer", "dimension", 8, "embedding_sum: found 64 x 16, config.json asks for 64 x 8"),
        ("transformer", "num_layers", 3, "transformer layers: found 2, config.json asks for 3"),
        ("seanet", "n_filters", 8, "encoder.model.0.conv.conv.weight: found 4, config.json asks for 8"),
        ("seanet", "dimension", 64, "input_proj.weight: found 16 x 32 x 1, config.json asks for 16 x 64 x 1"),
        ("seanet", "dimension", None, "mimi_config.json of"),
    ],
)
def test_mimi_weights_that_do_not_fit_the_mimi_config_are_refused(
    folder: Path, section: str, key: str, value: int | None, line: str
) -> None:
    file = folder / "mimi_config.json"
    mimi = json.loads(file.read_text())
    mimi[section][key] = value
    file.write_text(json.dumps(mimi))
    assert line in refusal(folder)


def test_a_mimi_of_another_frame_rate_is_refused(folder: Path) -> None:
    file = folder / "mimi_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"frame_rate": 25.0}))
    assert "frames of 960 samples at 24000 Hz, wanted 1920 at 24000 Hz" in refusal(folder)


def test_another_models_tokenizer_is_named_with_both_sizes(folder: Path) -> None:
    edit_config(folder, text_card=100)
    edit_tensors(
        folder / "model.safetensors",
        lambda tensors: (
            tensors
            | {
                "text_emb.weight": tensors["text_emb.weight"][:101].clone(),
                "text_linear.weight": tensors["text_linear.weight"][:100].clone(),
            }
        ),
    )
    assert refusal(folder) == (
        f"{folder / 'tokenizer_seeded_120.model'} has 120 pieces, text_card in config.json is 100: "
        "it is another model's tokenizer"
    )


def test_what_is_no_tokenizer_is_told(folder: Path) -> None:
    (folder / "tokenizer_seeded_120.model").write_bytes(b"not a tokenizer")
    assert refusal(folder) == f"{folder / 'tokenizer_seeded_120.model'} is not a sentencepiece model"


def test_without_sentencepiece_the_tokenizer_is_not_read(
    mini_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    assert list(verify(mini_checkpoint))[-1].endswith("not read, sentencepiece is not installed")


def test_the_shapes_of_the_published_models_are_those_of_the_published_files() -> None:
    shape = {"dim": 2048, "n_q": 32, "card": 2048, "hidden_scale": 4.125, "depformer_multi_linear": True}
    large = lm_tensors(shape | {"num_layers": 48, "text_card": 4000})
    data_bytes = 2 * sum(math.prod(tensor) for tensor in large.values())
    # The rest is the header.
    assert 0 < PUBLISHED_26B_BYTES - data_bytes < 50_000
    small = lm_tensors(shape | {"num_layers": 16, "text_card": 8000, "extra_heads_num_heads": 4})
    assert len(small) == PUBLISHED_1B_TENSORS


def test_what_moshi_makes_besides_is_asked_for_too() -> None:
    """The embedded model was refused for a bias and for a projection to a depformer that it does not have."""
    plain = {"dim": 8, "n_q": 2, "card": 4, "num_layers": 1, "text_card": 5}
    least = lm_tensors(plain | {"depformer_multi_linear": True})
    besides = lm_tensors(plain | {"bias_proj": True}).keys() - least.keys()
    assert besides == {"text_linear.bias", "depformer_in.0.weight"}
