"""Chooses the rule for where words end on the development set: `python -m training.ends`.

The model marks where words begin; the services estimate the ends. A rule is judged as if the model had found every word
where it begins, so it depends on no weights. What it finds best goes into `shape.WORD_ENDS_MS`.
"""

from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from training.clips import Word
from training.decoding import EndRule
from training.generate import CACHE
from training.targets import FRAME_RATE_HZ
from training.testsets import developments

BASES_MS = (80, 120, 160, 200, 240, 280, 320, 360)
LETTERS_MS = (30, 40, 50, 60, 70)
APARTS_MS = (0, 80, 120, 160, 200, 240)
CLOSING_FRAMES = 2
"""A boundary so soon after another closes the word and cuts its estimate; a later one comes too late for that."""

Spoken = list[Word]


def end_errors_ms(words: Spoken, rule: EndRule) -> list[float]:
    """Return how far from the true end of each word of an utterance the rule puts it, in milliseconds."""
    starts = [round(word.start_s * FRAME_RATE_HZ) for word in words]
    errors, last_end = [], -1
    for index, (word, start) in enumerate(zip(words, starts, strict=True)):
        end = start + rule.frames(word.word, apart=start > last_end)
        if index + 1 < len(words) and starts[index + 1] - start <= CLOSING_FRAMES:
            end = min(end, max(starts[index + 1], start + 1))
        errors.append(1000 * abs(end / FRAME_RATE_HZ - word.end_s))
        last_end = end
    return errors


def median_ms(utterances: list[Spoken], rule: EndRule) -> float:
    """Return the median error of all words."""
    return float(np.median([error for words in utterances for error in end_errors_ms(words, rule)]))


def choose(
    cache: Annotated[Path, typer.Option()] = CACHE,
    show: Annotated[int, typer.Option(help="rules to print")] = 8,
) -> None:
    """Print the best rules, with and without the pause before a word, and their median error in each set."""
    sets: dict[str, list[Spoken]] = {}
    for utterance in developments(cache):
        words = utterance.recording.words
        if words and words[0].end_s > 0 and not utterance.set_name.startswith("prose"):
            sets.setdefault(utterance.set_name, []).append(words)
    everything = [words for group in sets.values() for words in group]
    rules = [EndRule(*numbers) for numbers in product(BASES_MS, LETTERS_MS, APARTS_MS)]
    ranked = sorted(rules, key=lambda rule: median_ms(everything, rule))
    for rule in [*ranked[:show], *[rule for rule in ranked if not rule.apart_ms][:1]]:
        by_set = {name: round(median_ms(group, rule)) for name, group in sets.items()}
        typer.echo(f"{median_ms(everything, rule):4.0f} ms  {rule}  {by_set}")


if __name__ == "__main__":
    typer.run(choose)
