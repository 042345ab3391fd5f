"""Writes `models/dsm-tiny-en/samples/`: recordings of people with their words and times.

`python -m training.samples`; needs Debian's asterisk-core-sounds-en-g722 and pocketsphinx-testdata.
"""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from training.align import Aligner
from training.clips import SAMPLE_RATE
from training.recordings import Recording, isolated, joined, librivox
from training.resampling import resampled

SAMPLE_HZ = 16_000
SENTENCES = {
    "digits": "four seven one nine two",
    "telephone": "extension three zero eight five six",
    "days": "monday wednesday friday sunday",
    "months": "january april september december",
    "numbers": "seventeen sixty thirty thirteen ninety",
    "menu": "hello press star goodbye",
}
PROMPT_LICENCE = "CC-BY-SA-3.0"
PROMPT_SOURCE = "asterisk-core-sounds-en-g722, recorded by Allison Smith"


def _write(folder: Path, recording: Recording) -> None:
    audio = np.clip(resampled(recording.pcm, SAMPLE_RATE, SAMPLE_HZ), -1, 1)
    soundfile.write(folder / f"{recording.name}.wav", audio, SAMPLE_HZ, subtype="PCM_16")


def write(
    folder: Annotated[Path, typer.Option()] = Path("models/dsm-tiny-en/samples"),
) -> None:
    """Write the WAV files and `references.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = isolated(Aligner())
    references = []
    for seed, (name, sentence) in enumerate(SENTENCES.items()):
        parts = [(word, words[word]) for word in sentence.split()]
        recording = joined(name, parts, seed)
        _write(folder, recording)
        references.append(
            {
                "file": f"{name}.wav",
                "words": [vars(word) for word in recording.words],
                "licence": PROMPT_LICENCE,
                "source": PROMPT_SOURCE,
            }
        )
    prose = next(recording for recording in librivox() if recording.name.endswith("0880"))
    pcm = np.pad(prose.pcm, (0, SAMPLE_RATE))
    _write(folder, Recording("prose", pcm, []))
    references.append(
        {
            "file": "prose.wav",
            "words": [],
            "licence": "public domain",
            "source": "pocketsphinx-testdata, LibriVox reading of Sense and Sensibility",
        }
    )
    (folder / "references.json").write_text(json.dumps(references, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(write)
