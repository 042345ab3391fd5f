"""Puts clips, single words, prose and silence together into training windows with their targets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.augment import recorded, tilted, warped
from training.clips import SAMPLE_RATE, Clip, Word, read_clips, read_pcm
from training.targets import pause_targets, phone_targets, text_targets
from training.vocabulary import VOCABULARY

WEIGHTS = {"kokoro": 2.4, "piper": 1.6, "flite": 1.6, "festival": 1.2, "espeak": 1.4}
"""How often each source is drawn; the ones that sound like people more often."""
ENOUGH_MINUTES = 20.0
"""A source with less speech than this is drawn less, or its few clips would be learned by heart."""
CUT_GAP_S = 0.04
"""Silence that a word taken out of its clip brings along on each side, where there is some."""
SHORTEST_CUT_S = 0.14


@dataclass(frozen=True)
class Window:
    """One training example; T frames of 80 ms.

    pcm: [1920 T] float32. text: [T + 1]. phones: [2 T]. pauses: [4, T + 1].
    """

    pcm: NDArray[np.float32]
    text: NDArray[np.int64]
    phones: NDArray[np.int64]
    pauses: NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """A word of the vocabulary that can be taken out of its clip."""

    clip: Clip
    word: Word
    first_s: float
    last_s: float


class Source:
    """The clips of one engine: phrases, prose, and single words by word."""

    def __init__(self, stem: Path) -> None:
        clips = read_clips(stem.with_suffix(".aligned.jsonl"))
        self.pcm = read_pcm(stem)
        self.inside = [c for c in clips if any(w.word in VOCABULARY for w in c.words)]
        self.outside = [c for c in clips if not all(w.word in VOCABULARY for w in c.words)]
        self.cuts: dict[str, list[Cut]] = {}
        self.strange: list[Cut] = []
        for clip in clips:
            for cut in _cuts(clip):
                if cut.word.word in VOCABULARY:
                    self.cuts.setdefault(cut.word.word, []).append(cut)
                else:
                    self.strange.append(cut)

    def samples(self, clip: Clip, first_s: float, last_s: float) -> NDArray[np.float32]:
        """Return a part of a clip as float32 with 5 ms of fade on both sides."""
        first = clip.first_sample + max(0, int(first_s * SAMPLE_RATE))
        last = clip.first_sample + min(clip.samples, int(last_s * SAMPLE_RATE))
        out = self.pcm[first:last].astype(np.float32) / 32768
        ramp = np.linspace(0, 1, min(120, len(out)), dtype=np.float32)
        out[: len(ramp)] *= ramp
        out[len(out) - len(ramp) :] *= ramp[::-1]
        return out


def _cuts(clip: Clip) -> list[Cut]:
    """Return every word of a clip with at most CUT_GAP_S of what is around it, never a neighbour."""
    out = []
    length_s = clip.samples / SAMPLE_RATE
    for index, word in enumerate(clip.words):
        before_s = clip.words[index - 1].end_s if index else 0.0
        after_s = clip.words[index + 1].start_s if index + 1 < len(clip.words) else length_s
        if word.end_s - word.start_s >= SHORTEST_CUT_S:
            first = max(word.start_s - CUT_GAP_S, (before_s + word.start_s) / 2)
            last = min(word.end_s + CUT_GAP_S, (after_s + word.end_s) / 2)
            out.append(Cut(clip, word, first, last))
    return out


class WindowMaker:
    """An endless, seeded supply of windows."""

    def __init__(self, cache: Path, seed: int, frames: int, delay_frames: int) -> None:
        self.random = np.random.default_rng(seed)
        self.frames = frames
        self.delay_frames = delay_frames
        self.seconds = frames / 12.5
        stems = sorted(p.with_suffix("").with_suffix("") for p in cache.glob("*.aligned.jsonl"))
        self.sources = [Source(stem) for stem in stems]
        weights = np.array(
            [
                next(value for key, value in WEIGHTS.items() if stem.name.startswith(key))
                / sum(other.name.rstrip("bcd") == stem.name.rstrip("bcd") for other in stems)
                * min(1.0, len(source.pcm) / SAMPLE_RATE / 60 / ENOUGH_MINUTES)
                for stem, source in zip(stems, self.sources, strict=True)
            ]
        )
        self.weights = weights / weights.sum()
        self.words = sorted(set().union(*(source.cuts for source in self.sources)))

    def window(self) -> Window:
        """Return the next window."""
        random = self.random
        pcm = np.zeros(self.frames * 1920, np.float32)
        words: list[Word] = []
        phones: list[tuple[str, float, float]] = []
        at_s = random.uniform(0.0, 1.0)
        scene = random.random()
        # Isolated words with long silence; prose only; nothing at all; everything mixed.
        kind = "alone" if scene < 0.22 else "prose" if scene < 0.34 else "mixed"
        if scene > 0.97:
            at_s = self.seconds
        source = self._source()
        while at_s < self.seconds - 0.25:
            if random.random() < 0.35:
                source = self._source()
            part = self._part(source, kind)
            for clip, first_s, last_s in part:
                audio = source.samples(clip, first_s, last_s)
                audio, factor = warped(audio, random)
                if random.random() < 0.6:
                    audio = tilted(audio, random)
                audio *= self._gain(audio)
                first = int(at_s * SAMPLE_RATE)
                room = min(len(audio), len(pcm) - first)
                if room <= 0:
                    break
                pcm[first : first + room] += audio[:room]
                for word in clip.words:
                    if first_s < (word.start_s + word.end_s) / 2 < last_s:
                        start = at_s + max(word.start_s - first_s, 0.0) / factor
                        end = at_s + min(word.end_s - first_s, last_s - first_s) / factor
                        words.append(Word(word.word, start, end))
                phones += [
                    (name, at_s + (start - first_s) / factor, at_s + (end - first_s) / factor)
                    for name, start, end in clip.phones
                    if first_s < (start + end) / 2 < last_s
                ]
                at_s += len(audio) / SAMPLE_RATE + self._gap_s()
            at_s += random.exponential(1.6) if kind == "alone" else random.exponential(0.35)
        steps = self.frames + 1
        spans = [(word.start_s, word.end_s) for word in words]
        return Window(
            recorded(pcm, random),
            text_targets(words, steps, self.delay_frames),
            phone_targets(phones, 2 * self.frames)[: 2 * self.frames],
            pause_targets(spans, steps),
        )

    def _source(self) -> Source:
        return self.sources[int(self.random.choice(len(self.sources), p=self.weights))]

    def _gap_s(self) -> float:
        if self.random.random() < 0.6:
            return float(self.random.uniform(0.0, 0.15))
        return float(self.random.uniform(0.1, 0.6))

    def _gain(self, audio: NDArray[np.float32]) -> np.float32:
        level = float(np.sqrt((audio**2).mean())) + 1e-4
        return np.float32(0.1 / level * np.exp(self.random.normal(0, 0.3)))

    def _part(self, source: Source, kind: str) -> list[tuple[Clip, float, float]]:
        """Draw the pieces that are said one after the other: (clip, first_s, last_s)."""
        random = self.random
        draw = random.random()
        if kind == "alone":
            if draw < 0.2 and source.strange:
                return [self._piece(self._any(source.strange))]
            return [self._piece(self._cut(source)) for _ in range(random.integers(1, 3))]
        if (kind == "prose" or draw < 0.14) and source.outside:
            clip = self._any(source.outside)
            return [(clip, 0.0, clip.samples / SAMPLE_RATE)]
        if draw < 0.42:
            clip = self._any(source.inside)
            return [(clip, 0.0, clip.samples / SAMPLE_RATE)]
        count = random.integers(2, 8)
        cuts = [self._cut(source) for _ in range(count)]
        if random.random() < 0.1 and source.strange:
            cuts[int(random.integers(count))] = self._any(source.strange)
        return [self._piece(cut) for cut in cuts]

    def _cut(self, source: Source) -> Cut:
        if self.random.random() < 0.25:
            word = str(self.random.choice(["zero", "one", "two", "three", "four", "five", "six",
                                           "seven", "eight", "nine"]))  # fmt: skip
        else:
            word = self.words[int(self.random.integers(len(self.words)))]
        choices = source.cuts.get(word)
        if not choices:
            choices = source.cuts[self._any(sorted(source.cuts))]
        return self._any(choices)

    def _piece(self, cut: Cut) -> tuple[Clip, float, float]:
        return cut.clip, cut.first_s, cut.last_s

    def _any(self, items: list) -> object:  # type: ignore[type-arg]
        return items[int(self.random.integers(len(items)))]
