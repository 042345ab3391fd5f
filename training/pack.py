"""Makes the cached speech small enough to travel to a machine with a GPU: `python -m training.pack`, there `--unpack`.

Only what training reads is packed: the aligned clips, one Ogg Opus file a source and their words and phones beside it.
A pack made on one machine and unpacked on another is trained on like the cache itself.
"""

import gzip
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from rich.progress import track

from training.clips import SAMPLE_RATE, Clip, read_clips, read_pcm
from training.generate import CACHE

PACKED = Path("training/packed")
MIB = 2**20
MOST_BIT_RATE = 32_000
LEAST_BIT_RATE = 12_000
"""Bits a second; below this, consonants are hard to tell apart."""
SPARE = 0.93
"""Part of the budget for the sound; the rest is for the words and for how unevenly Opus spends its bits."""
# libsndfile's own scale from its best quality (0) to its smallest files (1), in bits a second of one channel.
_LARGEST, _SMALLEST = 256_000, 6_000
_BLOCK = 60 * SAMPLE_RATE


def bit_rate(seconds: float, budget_bytes: int) -> float:
    """Return the bits a second with which so much speech fits; raises ValueError if that is too few."""
    rate = min(MOST_BIT_RATE, SPARE * 8 * budget_bytes / max(seconds, 1))
    if rate < LEAST_BIT_RATE:
        raise ValueError(
            f"wanted at least {LEAST_BIT_RATE / 1000:.0f} kbit/s, but {seconds / 60:.0f} min of speech"
            f" in {budget_bytes / MIB:.0f} MiB leave {rate / 1000:.1f}: allow more MiB, or pack fewer sources"
        )
    return rate


def pack(stem: Path, target: Path, rate: float) -> None:
    """Write the aligned clips of one source, one after the other, at that many bits a second."""
    clips, pcm = read_clips(stem.with_suffix(".aligned.jsonl")), read_pcm(stem)
    lines, at = [], 0
    with soundfile.SoundFile(
        target / f"{stem.name}.ogg", "w", SAMPLE_RATE, 1, format="OGG", subtype="OPUS",
        compression_level=(_LARGEST - rate) / (_LARGEST - _SMALLEST),
    ) as sound:  # fmt: skip
        for clip in track(clips, description=stem.name):
            sound.write(pcm[clip.first_sample :][: clip.samples])
            lines.append(json.dumps(asdict(replace(clip, first_sample=at))))
            at += clip.samples
    with gzip.open(target / f"{stem.name}.aligned.jsonl.gz", "wt") as index:
        index.write("\n".join(lines) + "\n")


def unpack(sound: Path, cache: Path) -> list[Clip]:
    """Restore one source in the cache; raises ValueError if samples are missing."""
    stem = cache / sound.stem
    index = stem.with_suffix(".aligned.jsonl")
    with stem.with_suffix(".pcm").open("wb") as out:
        for block in soundfile.blocks(sound, _BLOCK, dtype="float32"):
            out.write((np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())
    index.write_bytes(gzip.decompress(sound.with_suffix(".aligned.jsonl.gz").read_bytes()))
    clips = read_clips(index)
    wanted, found = sum(clip.samples for clip in clips), len(read_pcm(stem))
    if found < wanted:
        raise ValueError(f"{sound}: wanted {wanted} samples, found {found}")
    return clips


def main(
    cache: Annotated[Path, typer.Option(help="speech to pack, or where to unpack it")] = CACHE,
    folder: Annotated[Path, typer.Option(help="the packed speech")] = PACKED,
    mib: Annotated[float, typer.Option(help="size of all files together at most")] = 64.0,
    restore: Annotated[bool, typer.Option("--unpack", help="restore the cache from the folder")] = False,
) -> None:
    """Pack the aligned speech of the cache, or restore it."""
    if restore:
        cache.mkdir(parents=True, exist_ok=True)
        for sound in sorted(folder.glob("*.ogg")):
            clips = unpack(sound, cache)
            typer.echo(f"{sound.stem}: {len(clips)} clips")
        return
    stems = sorted(path.with_suffix("").with_suffix("") for path in cache.glob("*.aligned.jsonl"))
    if not stems:
        raise typer.BadParameter(f"wanted aligned speech in {cache}: generate and align some first")
    seconds = (
        sum(clip.samples for stem in stems for clip in read_clips(stem.with_suffix(".aligned.jsonl"))) / SAMPLE_RATE
    )
    rate = bit_rate(seconds, int(mib * MIB))
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        pack(stem, folder, rate)
    size = sum(path.stat().st_size for path in folder.iterdir())
    typer.echo(f"{folder}: {seconds / 60:.0f} min at {rate / 1000:.1f} kbit/s, {size / MIB:.1f} MiB")


if __name__ == "__main__":
    typer.run(main)
