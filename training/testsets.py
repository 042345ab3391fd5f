"""The sets that evaluation scores on: speech that no training step and no choice has seen."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import vocabulary as v
from training.align import Aligner
from training.clips import SAMPLE_RATE, ClipWriter, Word, read_clips, read_pcm
from training.recordings import Recording, development, isolated, joined, librivox, spoken_part
from training.resampling import resampled
from training.sonnet import sonnet
from training.texts import Texts
from training.voices.commands import (
    ESPEAK_DEVELOPMENT,
    ESPEAK_TEST,
    Espeak,
    Festival,
)
from training.voices.kokoro import HELD_OUT_STYLE, Kokoro, ipa

LEAD_S = 0.6
TAIL_S = 1.8
NO_TIMES = (-1.0, -1.0)
"""Start and end of a word whose times are not known."""

Speak = Callable[[str], tuple[NDArray[np.float32], str]]


@dataclass(frozen=True)
class Utterance:
    """A recording with its in-vocabulary words and where it belongs."""

    set_name: str
    recording: Recording


def digit_strings(words: dict[str, NDArray[np.float32]], count: int, seed: int, name: str) -> list[Recording]:
    """Return strings of 3 to 7 digits joined from recordings of single ones."""
    random = np.random.default_rng(seed)
    out = []
    for index in range(count):
        digits = [str(d) for d in random.choice(v.DIGITS, random.integers(3, 8))]
        parts = [(digit, words[digit]) for digit in digits]
        out.append(joined(f"{name}-{index}", parts, seed + index, gap_s=(0.05, 0.35), lead_s=LEAD_S, tail_s=TAIL_S))
    return out


def through_telephone(recording: Recording) -> Recording:
    """Return the recording as an 8 kHz line carries it."""
    narrow = resampled(recording.pcm, SAMPLE_RATE, 8000)
    return replace(recording, pcm=resampled(narrow, 8000, SAMPLE_RATE))


def synthetic(cache: Path, name: str, speak: Speak, texts: list[str]) -> list[Recording]:
    """Return aligned speech of one held-out voice, made once and kept in the cache."""
    stem = cache / "test" / name
    index, aligned = stem.with_suffix(".jsonl"), stem.with_suffix(".aligned.jsonl")
    if not index.exists():
        with ClipWriter(stem) as writer:
            for text in texts:
                pcm, voice = speak(text)
                writer.append(text, voice, pcm)
    if not aligned.exists():
        aligner = Aligner()
        samples = read_pcm(stem)
        with aligned.open("w") as out:
            for clip in read_clips(index):
                pcm = samples[clip.first_sample :][: clip.samples].astype(np.float32) / 32768
                said = v.normalised(clip.text)
                found = aligner.align(pcm, said)
                # What cannot be aligned still counts for words, only not for times.
                words = found[0] if found else [Word(word, *NO_TIMES) for word in said]
                out.write(json.dumps(asdict(replace(clip, words=words))) + "\n")
    samples = read_pcm(stem)
    random = np.random.default_rng(7)
    out_recordings = []
    for index, clip in enumerate(read_clips(aligned)):
        pcm = samples[clip.first_sample :][: clip.samples].astype(np.float32) / 32768
        lead, tail = int(LEAD_S * SAMPLE_RATE), int(TAIL_S * SAMPLE_RATE)
        pcm = np.pad(0.6 * pcm, (lead, tail))
        pcm += random.normal(0, 3e-4, len(pcm)).astype(np.float32)
        words = [Word(w.word, w.start_s + LEAD_S, w.end_s + LEAD_S) for w in clip.words if w.word in v.VOCABULARY]
        out_recordings.append(Recording(f"{name}-{index}", pcm, words))
    return out_recordings


def phrases(seed: int, count: int) -> list[str]:
    """Return random phrases of vocabulary words."""
    texts = Texts(seed)
    makers = [texts.digits, texts.number, texts.listed, texts.phrase, texts.phrase, texts.menu]
    return [texts.random.choice(makers)() for _ in range(count)]


def sentences(seed: int, count: int) -> list[str]:
    """Return prose of which most words are outside the vocabulary."""
    texts = Texts(seed)
    return [texts.random.choice(texts.prose) for _ in range(count)]


def _kokoro(seed: int, styles: tuple[str, ...]) -> Speak:
    kokoro = Kokoro(seed, styles)
    return lambda text: kokoro.speak(ipa([text])[0])


def _kal(seed: int) -> Speak:
    festival = Festival(seed, ("kal_diphone",))
    return lambda text: festival.speak_all([text])[0]


def tests(cache: Path) -> list[Utterance]:
    """Return the test utterances; for the final evaluation only."""
    words = isolated(Aligner())
    alone = [
        joined(word, [(word, pcm)], index, lead_s=LEAD_S + 0.4, tail_s=TAIL_S)
        for index, (word, pcm) in enumerate(words.items())
    ]
    espeak = Espeak(90, list(ESPEAK_TEST), ("en-us", "en-gb"))
    voices = {
        "kokoro": _kokoro(91, (HELD_OUT_STYLE,)),
        "kal": _kal(92),
        "espeak": espeak.speak,
    }
    out = [Utterance("human digits", r) for r in digit_strings(words, 80, 1000, "digits")]
    out += [Utterance("human words 16 kHz", r) for r in alone]
    out += [Utterance("human words 8 kHz", through_telephone(r)) for r in alone]
    for index, (name, speak) in enumerate(voices.items()):
        spoken = synthetic(cache, f"test-{name}", speak, phrases(5000 + index, 50))
        out += [Utterance(f"unseen {name}", r) for r in spoken]
        spoken = synthetic(cache, f"test-{name}-prose", speak, sentences(6000 + index, 12))
        out += [Utterance(f"prose {name}", r) for r in spoken]
    out += [Utterance("prose human", r) for r in librivox()]
    return out


def developments(cache: Path) -> list[Utterance]:
    """Return the development utterances; choices are made on these."""
    aligner = Aligner()
    spoken = development()
    digits = {r.words[0].word: spoken_part(r.pcm, r.words[0].word, aligner) for r in spoken if len(r.words) == 1}
    silence = np.zeros(int(SAMPLE_RATE * LEAD_S), np.float32)
    out = [Utterance("human digits", r) for r in digit_strings(digits, 30, 2000, "dev")]
    out += [
        Utterance("human words", replace(r, pcm=np.concatenate([silence, r.pcm]))) for r in spoken if len(r.words) > 1
    ]
    espeak = Espeak(80, list(ESPEAK_DEVELOPMENT), ("en-us", "en-gb"))
    texts = phrases(7000, 30)
    out += [Utterance("espeak", r) for r in synthetic(cache, "dev-espeak", espeak.speak, texts)]
    kokoro = _kokoro(81, ("jf_alpha", "jf_gongitsune", "jf_tebukuro", "jm_kumo"))
    texts = phrases(7100, 24)
    out += [Utterance("kokoro", r) for r in synthetic(cache, "dev-kokoro", kokoro, texts)]
    texts = sentences(7200, 10)
    out += [Utterance("prose kokoro", r) for r in synthetic(cache, "dev-kokoro-prose", kokoro, texts)]
    out.append(Utterance("prose human", sonnet(cache)))
    return out
