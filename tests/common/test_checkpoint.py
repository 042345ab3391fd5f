from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.common.checkpoint import Checkpoint, ModelFacts
from services.common.errors import CheckpointError
from services.common.registry import KNOWN_MODELS

CONFIG: dict[str, Any] = {
    "model_type": "stt",
    "mimi_name": "mimi-pytorch-e351c8d8@125.safetensors",
    "tokenizer_name": "tokenizer_en_fr_audio_8000.model",
    "model_id": {"sig": "x"},
    "lm_gen_config": {"temp": 0.0},
    "card": 2048,
    "n_q": 32,
    "dep_q": 0,
    "dim": 2048,
    "text_card": 8000,
    "context": 750,
    "existing_text_padding_id": 3,
    "stt_config": {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.0},
}


def checkpoint(facts: ModelFacts | None = None, stt: dict[str, Any] | None = None, **config: Any) -> Checkpoint:
    stt_config = CONFIG["stt_config"] | (stt or {})
    return Checkpoint("x", "here", CONFIG | config | {"stt_config": stt_config}, {}, facts=facts or ModelFacts())


def test_the_lm_config_has_only_keys_that_the_transformer_knows() -> None:
    assert checkpoint(mimi_config_name="m", lora_name=None, tts_config={}).lm_config.keys() == {
        "card",
        "n_q",
        "dep_q",
        "dim",
        "text_card",
        "context",
        "existing_text_padding_id",
    }


def test_the_codec_is_named_after_the_mimi_file() -> None:
    assert checkpoint().codec_id == "mimi-pytorch-e351c8d8@125"


def test_files_that_config_json_does_not_name_have_the_names_of_moshis_loader() -> None:
    assert checkpoint().lm_name == "model.safetensors"
    assert checkpoint(moshi_name="lm.safetensors").lm_name == "lm.safetensors"


@pytest.mark.parametrize(("delay_s", "frames"), [(0.5, 6), (0.8, 10), (2.5, 31)])
def test_a_delay_that_nobody_knows_in_frames_is_the_one_in_seconds_to_the_nearest_frame(
    delay_s: float, frames: int
) -> None:
    assert checkpoint(stt={"audio_delay_seconds": delay_s}).delay_frames == frames


def test_the_true_delay_of_a_known_model_wins_over_the_one_in_seconds() -> None:
    facts = KNOWN_MODELS["stt-2.6b-en"].facts
    assert checkpoint(facts, {"audio_delay_seconds": 2.5}).delay_frames == 32


def test_config_json_wins_over_what_is_known_of_a_model() -> None:
    facts = ModelFacts(delay_frames=6, language_codes=("en", "fr"))
    own = checkpoint(
        facts,
        {
            "delay_frames": 9,
            "language_codes": ["de"],
            "pause_horizons_ms": [100, 200],
            "word_end_base_ms": 10,
            "word_end_per_character_ms": 20,
            "word_end_apart_ms": 30,
            "trained": False,
        },
        extra_heads_num_heads=2,
    )
    assert own.delay_frames == 9
    assert own.language_codes == ("de",)
    assert own.pause_horizons_ms == (100, 200)
    assert (own.word_end_base_ms, own.word_end_per_character_ms, own.word_end_apart_ms) == (10, 20, 30)
    assert not own.trained


def test_without_word_of_it_a_model_is_trained_and_its_language_undetermined() -> None:
    assert checkpoint().trained
    assert checkpoint().language_codes == ("und",)


def test_silence_before_and_after_the_audio_is_what_moshis_run_inference_pads() -> None:
    stt = {"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1.0}
    assert checkpoint(stt=stt).prefix_samples == 24_000
    assert checkpoint(stt=stt).suffix_samples == 84_000


def test_only_a_model_with_pause_heads_has_horizons() -> None:
    assert checkpoint().pause_horizons_ms == ()
    assert checkpoint(extra_heads_num_heads=4).pause_horizons_ms == (500, 1_000, 2_000, 3_000)


def test_special_tokens_are_those_of_the_config_or_the_models_usual_ones() -> None:
    assert (checkpoint().padding_token, checkpoint().boundary_token) == (3, 0)
    other = checkpoint(existing_text_padding_id=5, existing_text_end_padding_id=6)
    assert (other.padding_token, other.boundary_token) == (5, 6)


def test_without_a_mimi_config_mimi_is_the_full_size_one() -> None:
    assert (checkpoint().mimi_codebooks, checkpoint().mimi_card) == (32, 2048)


def test_a_file_of_a_part_that_was_not_resolved_is_a_clear_error() -> None:
    codec_only = Checkpoint("x", "here", CONFIG, {"mimi_weights": Path("m")})
    assert codec_only.mimi_weights == Path("m")
    with pytest.raises(CheckpointError, match="x was resolved without its lm part, which has the tokenizer"):
        _ = codec_only.tokenizer
