"""A checkpoint in Kyutai's format, as the services see it: files, and the numbers that follow from its config.json.

`registry.resolve` makes one; the engines load the files it names; `CodecInfo` and `LmInfo` are filled from it.
Reads nothing itself and imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from services.common.errors import CheckpointError
from services.common.framing import FRAME_S, SAMPLE_RATE_HZ

# Keys of config.json that speak about the files and the use of the model. moshi's loader takes these out and hands
# whatever is left to the transformer, which refuses what it does not know.
NOT_FOR_THE_LM = frozenset(
    {
        "moshi_name",
        "mimi_name",
        "mimi_config_name",
        "tokenizer_name",
        "lora_name",
        "model_type",
        "lm_gen_config",
        "tts_config",
        "stt_config",
        "model_id",
    }
)

# What moshi's loader takes when config.json names no file. The candle repositories name none for the LM.
DEFAULT_LM_NAME = "model.safetensors"
DEFAULT_MIMI_NAME = "tokenizer-e351c8d8-checkpoint125.safetensors"
DEFAULT_TOKENIZER_NAME = "tokenizer_spm_32k_3.model"

# Mimi's full-size codebooks, used where there is no mimi_config.
MIMI_CODEBOOKS = 32
MIMI_CARDINALITY = 2048


class Part(StrEnum):
    """What a process needs of a checkpoint besides config.json."""

    CODEC = "codec"  # the Mimi weights and, where there is one, the Mimi config
    LM = "lm"  # the LM weights and the text tokenizer


ALL_PARTS = frozenset(Part)


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model but not written in its config.json; None and empty mean not known.

    The keys of `stt_config` with the same names as these fields take precedence over them.
    """

    # Frames between a sound and its text. Not simply the delay in seconds: see Checkpoint.delay_frames.
    delay_frames: int | None = None
    # BCP-47.
    language_codes: tuple[str, ...] = ()
    # One a pause head, rising.
    pause_horizons_ms: tuple[int, ...] = (500, 1_000, 2_000, 3_000)
    # How long a word probably lasts: base + characters * per_character. Chosen, not measured on the Kyutai models:
    # fluent read English has about 12 phones a second and 1.2 to 1.3 letters a phone, so 60 to 65 ms a letter, and
    # the start is known to a frame (80 ms) only, which the base covers: "the" 260 ms, "seven" 380 ms,
    # "transcription" 860 ms. Long rather than short, as the next word's start cuts an estimate that is too long.
    word_end_base_ms: int = 80
    word_end_per_character_ms: int = 60
    # What is added for a word that begins after a pause; not measured on the Kyutai models either.
    word_end_apart_ms: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """The files of one model and its numbers; files of parts that were not resolved are absent."""

    # What callers ask for, e.g. "stt-1b-en_fr".
    name: str
    # Where it came from, for people: "kyutai/stt-2.6b-en@main" or a folder.
    origin: str
    # config.json as it is.
    config: Mapping[str, Any]
    # Keys: "lm_weights", "tokenizer", "mimi_weights", "mimi_config".
    files: Mapping[str, Path]
    # The Mimi config as it is; None means the full-size Mimi (or that the codec part was not resolved).
    mimi_config: Mapping[str, Any] | None = None
    facts: ModelFacts = field(default_factory=ModelFacts)

    @property
    def lm_weights(self) -> Path:
        """Return the LM's safetensors file. Raises CheckpointError if the LM part was not resolved."""
        return self._file("lm_weights", Part.LM)

    @property
    def tokenizer(self) -> Path:
        """Return the sentencepiece model. Raises CheckpointError if the LM part was not resolved."""
        return self._file("tokenizer", Part.LM)

    @property
    def mimi_weights(self) -> Path:
        """Return Mimi's safetensors file. Raises CheckpointError if the codec part was not resolved."""
        return self._file("mimi_weights", Part.CODEC)

    @property
    def lm_config(self) -> dict[str, Any]:
        """Return what moshi's get_moshi_lm takes as lm_kwargs: config.json without the keys that are not the LM's."""
        return {key: value for key, value in self.config.items() if key not in NOT_FOR_THE_LM}

    @property
    def stt_config(self) -> Mapping[str, Any]:
        """Return the speech-to-text section of config.json, empty if there is none."""
        section: Mapping[str, Any] = self.config.get("stt_config") or {}
        return section

    @property
    def lm_name(self) -> str:
        """Return the name of the LM's weights file in its repository or folder."""
        return str(self.config.get("moshi_name") or DEFAULT_LM_NAME)

    @property
    def mimi_name(self) -> str:
        """Return the name of Mimi's weights file in its repository or folder."""
        return str(self.config.get("mimi_name") or DEFAULT_MIMI_NAME)

    @property
    def tokenizer_name(self) -> str:
        """Return the name of the tokenizer file in its repository or folder."""
        return str(self.config.get("tokenizer_name") or DEFAULT_TOKENIZER_NAME)

    @property
    def codec_id(self) -> str:
        """Return which Mimi weights the LM's codes come from: the name of the file without its extension."""
        return Path(self.mimi_name).stem

    @property
    def codebooks(self) -> int:
        """Return the codebooks in a frame of codes."""
        return int(self.config["n_q"])

    @property
    def card(self) -> int:
        """Return the entries of a codebook; codes are below it, and it is itself the initial audio token."""
        return int(self.config["card"])

    @property
    def text_card(self) -> int:
        """Return the size of the text vocabulary, which is also the initial text token."""
        return int(self.config["text_card"])

    @property
    def padding_token(self) -> int:
        """Return the text token that says nothing."""
        return int(self.config.get("existing_text_padding_id", 3))

    @property
    def boundary_token(self) -> int:
        """Return the text token that marks where a word begins."""
        return int(self.config.get("existing_text_end_padding_id", 0))

    @property
    def context_frames(self) -> int:
        """Return how many frames the LM attends to, the newest included."""
        return int(self.config["context"])

    @property
    def pause_heads(self) -> int:
        """Return the number of pause heads, 0 for a model without."""
        return int(self.config.get("extra_heads_num_heads") or 0)

    @property
    def pause_horizons_ms(self) -> tuple[int, ...]:
        """Return the horizon of each pause head in milliseconds, rising; as many as there are heads."""
        horizons = self.stt_config.get("pause_horizons_ms", self.facts.pause_horizons_ms)
        return tuple(int(horizon) for horizon in horizons)[: self.pause_heads]

    @property
    def delay_frames(self) -> int:
        """Return the frames between a sound and its text.

        Of stt_config.delay_frames if it is there, else the fact known of the model, else audio_delay_seconds to the
        nearest frame. The last may be one off: the 2.6B model's 2.5 s are 31.25 frames and its true delay is 32.
        """
        frames = self.stt_config.get("delay_frames", self.facts.delay_frames)
        return round(self._delay_s / FRAME_S) if frames is None else int(frames)

    @property
    def prefix_samples(self) -> int:
        """Return the silence the model wants before the first audio, in samples at 24 kHz.

        Not whole frames: the 2.6B model's one second is 12.5 of them, and the audio then starts inside a frame.
        """
        return int(float(self.stt_config.get("audio_silence_prefix_seconds", 0.0)) * SAMPLE_RATE_HZ)

    @property
    def suffix_samples(self) -> int:
        """Return the silence that brings out the last words: the delay and one second, in samples at 24 kHz.

        Source: moshi.run_inference, which pads by int((delay + 1) * 24000) samples.
        """
        return int((self._delay_s + 1.0) * SAMPLE_RATE_HZ)

    @property
    def language_codes(self) -> tuple[str, ...]:
        """Return the BCP-47 codes of the languages it transcribes; "und" (undetermined) if nothing says."""
        codes = self.stt_config.get("language_codes", self.facts.language_codes)
        return tuple(str(code) for code in codes) or ("und",)

    @property
    def word_end_base_ms(self) -> int:
        """Return the part of a word's probable length that does not depend on its letters, in milliseconds."""
        return int(self.stt_config.get("word_end_base_ms", self.facts.word_end_base_ms))

    @property
    def word_end_per_character_ms(self) -> int:
        """Return what each character adds to a word's probable length, in milliseconds."""
        return int(self.stt_config.get("word_end_per_character_ms", self.facts.word_end_per_character_ms))

    @property
    def word_end_apart_ms(self) -> int:
        """Return what a pause before a word adds to its probable length, in milliseconds."""
        return int(self.stt_config.get("word_end_apart_ms", self.facts.word_end_apart_ms))

    @property
    def trained(self) -> bool:
        """Return False for seeded weights that never saw speech."""
        return bool(self.stt_config.get("trained", True))

    @property
    def mimi_codebooks(self) -> int:
        """Return the codebooks that the Mimi weights hold; at least `codebooks`, of which the first are used."""
        return MIMI_CODEBOOKS if self.mimi_config is None else int(self.mimi_config["quantizer"]["n_q"])

    @property
    def mimi_card(self) -> int:
        """Return the entries of a codebook of the Mimi weights."""
        return MIMI_CARDINALITY if self.mimi_config is None else int(self.mimi_config["quantizer"]["bins"])

    @property
    def _delay_s(self) -> float:
        return float(self.stt_config.get("audio_delay_seconds", 0.0))

    def _file(self, key: str, part: Part) -> Path:
        if key not in self.files:
            raise CheckpointError(f"{self.name} was resolved without its {part} part, which has the {key}")
        return self.files[key]
