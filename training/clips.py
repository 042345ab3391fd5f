"""Speech on disk: one file of 16-bit samples and one of JSON lines per source, both append-only."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 24_000


@dataclass(frozen=True)
class Word:
    """A spoken word with its times in seconds from the start of its clip."""

    word: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Clip:
    """One utterance: where its samples are, what is said and, once aligned, when.

    phones: (phone, start_s, end_s) triples; empty until aligned.
    """

    text: str
    voice: str
    first_sample: int
    samples: int
    words: list[Word] = field(default_factory=list)
    phones: list[tuple[str, float, float]] = field(default_factory=list)


class ClipWriter:
    """Appends clips to `<stem>.pcm` and `<stem>.jsonl`; what is there already is kept. A context manager."""

    def __init__(self, stem: Path) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        self.index = stem.with_suffix(".jsonl").open("a")
        self.pcm = stem.with_suffix(".pcm").open("ab")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close both files."""
        self.index.close()
        self.pcm.close()

    def append(self, text: str, voice: str, pcm: NDArray[np.float32]) -> None:
        """Store one utterance: float samples in [-1, 1] at 24 kHz, scaled to a peak of at most 0.9."""
        peak = float(np.abs(pcm).max(initial=1e-9))
        scaled = pcm * min(1.0, 0.9 / peak) * 32767
        clip = Clip(text, voice, self.pcm.tell() // 2, len(pcm))
        self.pcm.write(scaled.astype("<i2").tobytes())
        self.pcm.flush()
        self.index.write(json.dumps(asdict(clip)) + "\n")
        self.index.flush()


def read_clips(index: Path) -> list[Clip]:
    """Return the clips of one index file; a last line cut short by a crash is dropped."""
    clips = []
    for line in index.read_text().splitlines():
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            continue
        fields["words"] = [Word(**word) for word in fields["words"]]
        fields["phones"] = [(p, s, e) for p, s, e in fields["phones"]]
        clips.append(Clip(**fields))
    return clips


def read_pcm(stem: Path) -> NDArray[np.int16]:
    """Return the samples of one source, mapped from disk."""
    return np.memmap(stem.with_suffix(".pcm"), dtype="<i2", mode="r")
