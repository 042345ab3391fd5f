"""Makes synthetic speech: `python -m training.generate --source kokoro --minutes 60`.

Resumable: a source that has its minutes is left alone; otherwise more is appended.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import Progress

from training.clips import SAMPLE_RATE, ClipWriter, read_clips
from training.texts import Texts
from training.voices.commands import Espeak, Festival, Flite, espeak_variants
from training.voices.kokoro import Kokoro, ipa
from training.voices.manner import Varied
from training.voices.piper import Piper

CACHE = Path("training/cache")
MINUTES = {"kokoro": 52.0, "piper": 75.0, "flite": 100.0, "festival": 50.0, "espeak": 100.0}
"""Minutes of speech of each training source."""

Speech = tuple[str, str, NDArray[np.float32]]


def spoken(source: str, texts: Iterator[str], seed: int) -> Iterator[Speech]:
    """Yield (text, voice, 24 kHz samples) without end."""
    if source == "kokoro":
        kokoro = Kokoro(seed, manner=Varied())
        while True:
            batch = list(islice(texts, 32))
            for text, phonemes in zip(batch, ipa(batch), strict=True):
                audio, voice = kokoro.speak(phonemes)
                yield text, voice, audio
    elif source == "festival":
        festival = Festival(seed, ("ked_diphone", "ked_diphone", "cmu_us_slt_arctic_hts"), Varied())
        while True:
            batch = list(islice(texts, 40))
            speech = festival.speak_all(batch)
            if len(speech) == len(batch):
                for text, (audio, voice) in zip(batch, speech, strict=True):
                    yield text, voice, audio
    else:
        engine: Espeak | Flite | Piper
        if source == "espeak":
            engine = Espeak(seed, espeak_variants(), manner=Varied())
        else:
            engine = Flite(seed, manner=Varied()) if source == "flite" else Piper(seed, manner=Varied())
        for text in texts:
            audio, voice = engine.speak(text)
            yield text, voice, audio


def generate(
    source: Annotated[str, typer.Option(help=f"one of {', '.join(MINUTES)}")],
    minutes: Annotated[float | None, typer.Option(help="speech wanted in all")] = None,
    seed: Annotated[int, typer.Option()] = 1,
    part: Annotated[str, typer.Option(help="suffix, to run a source in several processes")] = "",
    cache: Annotated[Path, typer.Option()] = CACHE,
) -> None:
    """Append speech of one source to the cache until it has the wanted minutes."""
    wanted = minutes if minutes is not None else MINUTES[source]
    stem = cache / (source + part)
    index = stem.with_suffix(".jsonl")
    clips = read_clips(index) if index.exists() else []
    done = sum(clip.samples for clip in clips) / SAMPLE_RATE / 60
    # A resumed run must not say the same texts again.
    run_seed = seed * 1000 + list(MINUTES).index(source) * 100_000 + len(clips) + 7919 * len(part)
    with ClipWriter(stem) as writer, Progress() as progress:
        task = progress.add_task(source, total=wanted, completed=done)
        for text, voice, audio in spoken(source, iter(Texts(run_seed)), run_seed):
            if done >= wanted:
                break
            if len(audio) < SAMPLE_RATE * 0.2 or len(audio) > SAMPLE_RATE * 15:
                continue
            writer.append(text, voice, audio)
            done += len(audio) / SAMPLE_RATE / 60
            progress.update(task, completed=done)


if __name__ == "__main__":
    typer.run(generate)
