"""Chooses the bias of the boundary token on the development set: `python -m training.calibrate`.

The boundary token is said when most of a word has been heard, so its bias is the threshold between
words of the vocabulary and speech outside it.
"""

from pathlib import Path
from typing import Annotated

import typer

from training.clips import SAMPLE_RATE
from training.export import TARGET
from training.generate import CACHE
from training.scoring import errors, false_words, matched
from training.testsets import developments
from training.transcribe import Checkpoint

BIASES = (0.3, 0.0, -0.15, -0.3, -0.45, -0.6, -0.75, -0.9, -1.2)
BATCH = 34


def calibrate(
    folder: Annotated[Path, typer.Option(help="a checkpoint exported without bias")] = TARGET,
    cache: Annotated[Path, typer.Option()] = CACHE,
) -> None:
    """Print the word error rate of each development set and the false words in prose, for each bias."""
    checkpoint = Checkpoint(folder)
    utterances = sorted(developments(cache), key=lambda u: len(u.recording.pcm))
    groups = [utterances[first : first + BATCH] for first in range(0, len(utterances), BATCH)]
    coded = [(group, checkpoint.codes([u.recording.pcm for u in group])) for group in groups]
    for bias in BIASES:
        checkpoint.favour_boundaries(bias)
        wrong: dict[str, int] = {}
        total: dict[str, float] = {}
        for group, codes in coded:
            answers = checkpoint.answers(codes, [u.recording.pcm for u in group])
            for utterance, answer in zip(group, answers, strict=True):
                name, recording = utterance.set_name, utterance.recording
                pairs = matched(recording.words, answer.words)
                prose = name.startswith("prose")
                wrong[name] = wrong.get(name, 0) + (false_words(pairs) if prose else errors(pairs))
                amount = len(recording.pcm) / SAMPLE_RATE / 10 if prose else len(recording.words)
                total[name] = total.get(name, 0.0) + amount
        rates = {name: round(count / total[name], 3) for name, count in wrong.items()}
        typer.echo(f"{bias:5.1f} {rates}")


if __name__ == "__main__":
    typer.run(calibrate)
