"""Finds when each word and phone of the generated speech is said: `python -m training.align`.

Forced alignment by PyPI `pocketsphinx` (its US English model, BSD). Resumable and incremental:
clips that have been aligned are not aligned again. A clip that cannot be aligned is dropped.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track

from training.clips import SAMPLE_RATE, Clip, Word, read_clips, read_pcm
from training.generate import CACHE
from training.onsets import corrected
from training.resampling import resampled
from training.vocabulary import normalised

ALIGNER_HZ = 16_000
FRAME_S = 0.01
WINDOW_CENTRE_S = 0.008
"""Half of the aligner's analysis window less half of its step: where a frame's sound is."""

PADDING_S = 0.2
"""Silence put before and after the clip while it is aligned."""

Phone = tuple[str, float, float]
Aligned = tuple[list[Word], list[Phone]]


class Aligner:
    """Aligns one utterance at a time."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder  # noqa: PLC0415 - not needed to train on aligned speech

        self.decoder = Decoder(samprate=ALIGNER_HZ, loglevel="FATAL")

    def align(self, pcm: NDArray[np.float32], words: list[str]) -> Aligned | None:
        """Return the words and phones with their times, or None if the words do not fit.

        pcm: 24 kHz mono in [-1, 1]. words: all in the aligner's dictionary.
        """
        # Without silence around it, a word that starts the clip would be aligned from 0.
        audio = np.pad(resampled(pcm, SAMPLE_RATE, ALIGNER_HZ), int(PADDING_S * ALIGNER_HZ))
        audio += np.random.default_rng(0).normal(0, 1e-4, len(audio)).astype(np.float32)
        raw = (np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()
        try:
            self.decoder.set_align_text(" ".join(words))
            self._run(raw)
            if self.decoder.hyp() is None:
                return None
            self.decoder.set_alignment()
            self._run(raw)
            # Entries are only valid while the alignment is being walked.
            entries = [
                (entry.name, _span(entry), [(phone.name, *_span(phone)) for phone in entry])
                for entry in self.decoder.get_alignment()
            ]
        except RuntimeError:
            return None
        spoken = [entry for entry in entries if not entry[0].startswith(("<", "+", "["))]
        if [name.split("(")[0] for name, _, _ in spoken] != words:
            return None
        spans = corrected([span for _, span, _ in spoken], pcm, SAMPLE_RATE)
        timed = [Word(word, *span) for word, span in zip(words, spans, strict=True)]
        phones = [
            phone
            for (_, _, inside), (start_s, end_s) in zip(spoken, spans, strict=True)
            for phone in _stretched(inside, start_s, end_s)
        ]
        return timed, phones

    def _run(self, raw: bytes) -> None:
        self.decoder.start_utt()
        self.decoder.process_raw(raw, full_utt=True)
        self.decoder.end_utt()


def _span(entry: object) -> tuple[float, float]:
    start: int = entry.start  # type: ignore[attr-defined]
    duration: int = entry.duration  # type: ignore[attr-defined]
    first = start * FRAME_S + WINDOW_CENTRE_S - PADDING_S
    return round(max(0.0, first), 3), round(max(0.0, first + duration * FRAME_S), 3)


def _stretched(phones: list[Phone], start_s: float, end_s: float) -> list[Phone]:
    """Return a word's phones with the outer edges at the word's; silence between words is left out."""
    inner = [min(max(start, start_s), end_s) for _, start, _ in phones[1:]]
    edges = [start_s, *inner, end_s]
    return [
        (name, edge, following) for (name, _, _), edge, following in zip(phones, edges[:-1], edges[1:], strict=True)
    ]


def plausible(clip: Clip) -> bool:
    """Return whether no word or phone of an aligned clip is impossibly long."""
    longest = max((end - start for _, start, end in clip.phones), default=0)
    return bool(clip.words) and longest < 0.6


def align(
    cache: Annotated[Path, typer.Option()] = CACHE,
    source: Annotated[str | None, typer.Option(help="only this source")] = None,
) -> None:
    """Align what is new in every source of the cache."""
    aligner = Aligner()
    for index in sorted(cache.glob("*.jsonl")):
        if index.name.endswith(".aligned.jsonl") or (source and index.stem != source):
            continue
        stem = index.with_suffix("")
        target = stem.with_suffix(".aligned.jsonl")
        clips = read_clips(index)
        seen = {clip.first_sample for clip in read_clips(target)} if target.exists() else set()
        new = [clip for clip in clips if clip.first_sample not in seen]
        if not new:
            continue
        pcm = read_pcm(stem)
        kept = 0
        with target.open("a") as out:
            for clip in track(new, description=index.stem):
                samples = pcm[clip.first_sample : clip.first_sample + clip.samples]
                found = aligner.align(samples.astype(np.float32) / 32768, normalised(clip.text))
                if found is None:
                    continue
                aligned = replace(clip, words=found[0], phones=found[1])
                if plausible(aligned):
                    out.write(json.dumps(asdict(aligned)) + "\n")
                    kept += 1
        typer.echo(f"{index.stem}: {kept} of {len(new)} clips aligned")


if __name__ == "__main__":
    typer.run(align)
