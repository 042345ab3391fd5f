"""Recordings of people, for development and tests only: no training step hears them.

Tests: Debian `asterisk-core-sounds-en-g722` (Allison Smith, CC-BY-SA 3.0, 16 kHz) and the prose
of `pocketsphinx-testdata` (LibriVox readers, public domain). Development: PyPI `spokennumbers`
(MIT), Debian `alsa-utils`, and a sonnet (`training/sonnet.py`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from training import vocabulary as v
from training.align import Aligner
from training.clips import SAMPLE_RATE, Word
from training.resampling import resampled

PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
ALSA = Path("/usr/share/sounds/alsa")

_NUMBERS = {word: f"digits/{i}" for i, word in enumerate(v.DIGITS + v.TEENS)}
_TENS = {word: f"digits/{20 + 10 * i}" for i, word in enumerate(v.TENS)}
_DAYS = [v.DAYS[6], *v.DAYS[:6]]
PROMPT_OF: dict[str, str] = {
    **_NUMBERS,
    **_TENS,
    **{day: f"digits/day-{i}" for i, day in enumerate(_DAYS)},
    **{month: f"digits/mon-{i}" for i, month in enumerate(v.MONTHS)},
    **{
        word: f"digits/{word}"
        for word in [*v.SCALES[:3], "minus", "pound", "star", "dollars", *v.DAYS[7:]]
    },
    **{word: word for word in ("hello", "goodbye", "hours", "number", "extension", "sorry")},
    "family": "vm-Family", "friends": "vm-Friends", "old": "vm-Old", "urgent": "vm-Urgent",
    "work": "vm-Work", "first": "vm-first", "last": "vm-last", "no": "vm-no",
    "message": "vm-message", "password": "vm-password", "press": "vm-press",
    "november": "digits/mon-10",
}  # fmt: skip
"""Prompt of each isolated word of the vocabulary that the test speaker recorded."""


@dataclass(frozen=True)
class Recording:
    """Speech with its reference; pcm: 24 kHz mono float32 in [-1, 1]."""

    name: str
    pcm: NDArray[np.float32]
    words: list[Word]


def prompt(name: str) -> NDArray[np.float32]:
    """Return one prompt of the test speaker at 24 kHz."""
    import G722  # noqa: PLC0415 - only the test recordings need it

    raw = (PROMPTS / f"{name}.g722").read_bytes()
    pcm = np.asarray(G722.G722(16_000, 64_000).decode(raw), np.float32) / 32768
    return resampled(pcm, 16_000, SAMPLE_RATE)


def spoken_part(pcm: NDArray[np.float32], word: str, aligner: Aligner) -> NDArray[np.float32]:
    """Return the recording of one word cut to its aligned start and end."""
    found = aligner.align(pcm, [word])
    if found is None:
        raise ValueError(f"the recording of {word!r} cannot be aligned")
    first = int(found[0][0].start_s * SAMPLE_RATE)
    last = int(found[0][-1].end_s * SAMPLE_RATE)
    return pcm[first:last]


def isolated(aligner: Aligner) -> dict[str, NDArray[np.float32]]:
    """Return every isolated test word, cut to the word."""
    return {word: spoken_part(prompt(name), word, aligner) for word, name in PROMPT_OF.items()}


def joined(
    name: str,
    parts: list[tuple[str, NDArray[np.float32]]],
    seed: int,
    *,
    gap_s: tuple[float, float] = (0.08, 0.35),
    lead_s: float = 0.5,
    tail_s: float = 1.0,
    floor: float = 3e-4,
) -> Recording:
    """Put cut words after each other with pauses over a quiet noise floor.

    gap_s: shortest and longest pause in seconds. floor: standard deviation of the noise.
    """
    random = np.random.default_rng(seed)
    pieces: list[NDArray[np.float32]] = [np.zeros(int(lead_s * SAMPLE_RATE), np.float32)]
    words: list[Word] = []
    at = len(pieces[0])
    for index, (word, pcm) in enumerate(parts):
        if index:
            gap = int(random.uniform(*gap_s) * SAMPLE_RATE)
            pieces.append(np.zeros(gap, np.float32))
            at += gap
        faded = pcm.copy()
        ramp = np.linspace(0, 1, 120, dtype=np.float32)
        faded[:120] *= ramp
        faded[-120:] *= ramp[::-1]
        pieces.append(faded)
        words.append(Word(word, round(at / SAMPLE_RATE, 3), round((at + len(pcm)) / SAMPLE_RATE, 3)))
        at += len(pcm)
    pieces.append(np.zeros(int(tail_s * SAMPLE_RATE), np.float32))
    out = np.concatenate(pieces)
    out += random.normal(0, floor, len(out)).astype(np.float32)
    return Recording(name, out, words)


def librivox() -> list[Recording]:
    """Return five sentences of prose read by a person; words without times."""
    transcripts = {}
    for line in (LIBRIVOX / "transcription").read_text().splitlines():
        text, name = line.replace("<s>", "").replace("</s>", "").rsplit("(", 1)
        transcripts[name.strip(") ")] = v.normalised(text)
    out = []
    for name, words in sorted(transcripts.items()):
        pcm, rate = soundfile.read(LIBRIVOX / f"{name}.wav", dtype="float32")
        spoken = [Word(word, -1.0, -1.0) for word in words if word in v.VOCABULARY]
        out.append(Recording(name, resampled(pcm, rate, SAMPLE_RATE), spoken))
    return out


def development() -> list[Recording]:
    """Return the recordings of people that choices may be made on."""
    import spokennumbers  # noqa: PLC0415 - only development needs it

    out = []
    folder = Path(spokennumbers.__file__).parent / "default"
    for number, word in enumerate(v.DIGITS):
        pcm, rate = soundfile.read(folder / f"{number}.wav", dtype="float32")
        mono = pcm if pcm.ndim == 1 else pcm.mean(1)
        out.append(Recording(word, resampled(mono, rate, SAMPLE_RATE), [Word(word, -1.0, -1.0)]))
    for path in sorted(ALSA.glob("*_*.wav")):
        pcm, rate = soundfile.read(path, dtype="float32")
        spoken = [Word(word, -1.0, -1.0) for word in path.stem.lower().split("_")]
        mono = pcm if pcm.ndim == 1 else pcm.mean(1)
        out.append(Recording(path.stem, resampled(mono, rate, SAMPLE_RATE), spoken))
    return out
