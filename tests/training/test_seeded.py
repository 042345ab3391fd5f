from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from moshi.models import LMGen
from moshi.models.loaders import CheckpointInfo
from numpy.typing import NDArray
from typer.testing import CliRunner

from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_S, FRAME_SAMPLES
from services.common.registry import resolve
from training.seeded import write_seeded_checkpoint
from training.seeded_audio import speech_like

SPEECH_FRAMES = 500
SILENCE_FRAMES = 50
# After this much silence, no frame in Mimi's context has any sound in it.
SETTLED_FRAMES = 25


class Spoken(NamedTuple):
    """What a checkpoint makes of speech-like audio and the silence after it."""

    codes: NDArray[np.int64]  # [frames, codebooks]
    tokens: NDArray[np.int64]  # [frames]
    pauses: NDArray[np.float64]  # [frames, heads]


def moshi_info(checkpoint: Checkpoint) -> CheckpointInfo:
    return CheckpointInfo.from_hf_repo(
        "local",
        checkpoint.lm_weights,
        checkpoint.mimi_weights,
        checkpoint.tokenizer,
        Path(checkpoint.origin) / "config.json",
        checkpoint.files.get("mimi_config"),
    )


@torch.no_grad()
def speak(checkpoint: Checkpoint, audio: torch.Tensor, dtype: torch.dtype = torch.float32) -> Spoken:
    """Decode greedily, frame by frame, with moshi's own classes."""
    info = moshi_info(checkpoint)
    mimi = info.get_mimi()
    lm = LMGen(info.get_moshi(dtype=dtype), use_sampling=False, temp=0, temp_text=0)
    codes, tokens, pauses = [], [], []
    with mimi.streaming(1), lm.streaming(1):
        for frame in audio.split(FRAME_SAMPLES):
            frame_codes = mimi.encode(frame[None, None])
            if not codes:
                lm.step(frame_codes)  # it sees the initial tokens only
            text, heads = lm.step_with_extra_heads(frame_codes)
            codes.append(frame_codes[0, :, 0].numpy())
            tokens.append(int(text[0, 0, 0]))
            pauses.append([float(head.flatten()[0]) for head in heads])
    return Spoken(np.stack(codes), np.array(tokens), np.array(pauses))


def words(checkpoint: Checkpoint, tokens: NDArray[np.int64]) -> list[list[int]]:
    """Split tokens at boundaries and padding."""
    silent = (checkpoint.boundary_token, checkpoint.padding_token)
    return [[int(token) for token in run] for spoken, run in groupby(tokens, lambda t: t not in silent) if spoken]


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models") / "dsm-tiny"
    write_seeded_checkpoint(folder, "tiny")
    return resolve(str(folder))


@pytest.fixture(scope="module", params=["mini_checkpoint", "tiny_checkpoint"])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    found: Checkpoint = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def spoken(checkpoint: Checkpoint) -> Spoken:
    return speak(checkpoint, torch.cat([speech_like(SPEECH_FRAMES, seed=99), torch.zeros(SILENCE_FRAMES * 1920)]))


def test_speech_like_audio_is_in_range_and_the_same_for_the_same_seed() -> None:
    audio = speech_like(20, seed=1)
    assert audio.shape == (20 * FRAME_SAMPLES,)
    assert 0.1 < float(audio.abs().max()) <= 1
    assert torch.equal(audio, speech_like(20, seed=1))
    assert not torch.equal(audio, speech_like(20, seed=2))


def test_every_codebook_uses_most_of_its_entries_on_speech_like_audio(checkpoint: Checkpoint, spoken: Spoken) -> None:
    speech = spoken.codes[:SPEECH_FRAMES]
    for codebook in range(checkpoint.codebooks):
        codes, counts = np.unique(speech[:, codebook], return_counts=True)
        assert len(codes) > 0.7 * checkpoint.card
        # No entry takes all; the first codebook's entry 0 stands for the gaps.
        assert counts[codes != 0].max() < 0.1 * SPEECH_FRAMES
    assert np.mean(np.any(speech[1:] != speech[:-1], axis=1)) > 0.9


def test_digital_silence_has_code_0_in_the_first_codebook(spoken: Spoken) -> None:
    assert not spoken.codes[SPEECH_FRAMES + SETTLED_FRAMES :, 0].any()


def test_the_text_is_a_mix_of_boundaries_pieces_and_padding(checkpoint: Checkpoint, spoken: Spoken) -> None:
    speech = spoken.tokens[:SPEECH_FRAMES]
    assert 0.05 < np.mean(speech == checkpoint.boundary_token) < 0.3
    assert 0.3 < np.mean(speech == checkpoint.padding_token) < 0.85
    per_minute = len(words(checkpoint, speech)) / (SPEECH_FRAMES * FRAME_S / 60)
    assert 60 < per_minute < 200


def test_words_begin_at_a_boundary_and_have_one_to_three_pieces_of_text(checkpoint: Checkpoint, spoken: Spoken) -> None:
    vocabulary = moshi_info(checkpoint).get_text_tokenizer()
    found = words(checkpoint, spoken.tokens[:SPEECH_FRAMES])
    assert np.mean([len(word) <= 3 for word in found]) > 0.9
    assert any(len(word) > 1 for word in found)
    assert all(vocabulary.id_to_piece(word[0]).startswith("▁") for word in found)
    texts = {vocabulary.decode(word) for word in found}
    assert all(text.isalpha() for text in texts)
    assert len(texts) > 0.4 * len(found)


def test_silence_has_no_words(checkpoint: Checkpoint, spoken: Spoken) -> None:
    assert set(spoken.tokens[SPEECH_FRAMES + SETTLED_FRAMES :]) == {checkpoint.padding_token}


def test_pause_heads_tell_silence_from_speech(spoken: Spoken) -> None:
    assert spoken.pauses[SPEECH_FRAMES + SETTLED_FRAMES :].min() > 0.8
    assert np.mean(spoken.pauses[:SPEECH_FRAMES] > 0.5) < 0.2


def test_other_audio_has_other_text(checkpoint: Checkpoint, spoken: Spoken) -> None:
    other = speak(checkpoint, speech_like(100, seed=3))
    assert np.mean(other.tokens != spoken.tokens[:100]) > 0.2


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(
    mini_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    write_seeded_checkpoint(tmp_path / "same", "mini", seed=0)
    write_seeded_checkpoint(tmp_path / "other", "mini", seed=1)
    for file in Path(mini_checkpoint.origin).iterdir():
        assert (tmp_path / "same" / file.name).read_bytes() == file.read_bytes(), file.name
    lm = Path(mini_checkpoint.origin, "model.safetensors").read_bytes()
    assert (tmp_path / "other" / "model.safetensors").read_bytes() != lm
    # Codes of one are no codes for the other.
    assert resolve(str(tmp_path / "other")).codec_id != mini_checkpoint.codec_id


def test_seeded_weights_say_that_they_never_saw_speech(checkpoint: Checkpoint) -> None:
    assert not checkpoint.trained


def test_the_mini_mimi_has_more_codebooks_than_the_lm_reads(mini_checkpoint: Checkpoint) -> None:
    assert mini_checkpoint.mimi_codebooks > mini_checkpoint.codebooks


def test_the_command_writes_a_checkpoint_in_bf16(tmp_path: Path) -> None:
    from training import seeded  # noqa: PLC0415

    app = seeded.typer.Typer()
    app.command()(seeded.main)
    result = CliRunner().invoke(
        app, [str(tmp_path / "x"), "--architecture", "mini", "--seed", "2", "--dtype", "bfloat16"]
    )
    assert result.exit_code == 0, result.output
    assert "untrained mini model, seed 2" in result.output
    checkpoint = resolve(str(tmp_path / "x"))
    assert moshi_info(checkpoint).get_moshi().dtype == torch.bfloat16
    assert checkpoint.lm_weights.stat().st_size < 350_000


@pytest.fixture
def large_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for gigabytes, which pytest would keep for three sessions."""
    yield tmp_path / "large"
    shutil.rmtree(tmp_path / "large", ignore_errors=True)


@pytest.mark.slow
def test_a_full_size_1b_checkpoint_loads_and_speaks(large_folder: Path) -> None:
    write_seeded_checkpoint(large_folder, "1b", dtype="bfloat16")
    checkpoint = resolve(str(large_folder))
    assert checkpoint.lm_weights.stat().st_size == pytest.approx(1.98e9, rel=0.01)
    spoken = speak(checkpoint, speech_like(100, seed=99), torch.bfloat16)
    assert all(len(np.unique(codes)) > 60 for codes in spoken.codes.T)
    assert len(words(checkpoint, spoken.tokens)) > 3


@pytest.mark.slow
def test_a_full_size_26b_checkpoint_is_written_in_little_memory_and_is_whole(large_folder: Path) -> None:
    write_seeded_checkpoint(large_folder, "2.6b", dtype="bfloat16")
    checkpoint = resolve(str(large_folder))
    assert checkpoint.lm_weights.stat().st_size == pytest.approx(5_234_275_128, abs=20_000)
    assert (checkpoint.delay_frames, checkpoint.pause_heads) == (32, 0)
