"""Scores of transcripts against references, with confidence intervals; pure functions."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from training.clips import Word

Pairs = list[tuple[Word | None, Word | None]]


def matched(reference: Sequence[Word], said: Sequence[Word]) -> Pairs:
    """Return a cheapest alignment of two word lists (Levenshtein): pairs, None where one lacks."""
    rows, columns = len(reference) + 1, len(said) + 1
    cost = np.zeros((rows, columns), int)
    cost[:, 0], cost[0] = np.arange(rows), np.arange(columns)
    for i in range(1, rows):
        for j in range(1, columns):
            wrong = reference[i - 1].word != said[j - 1].word
            cost[i, j] = min(cost[i - 1, j - 1] + wrong, cost[i - 1, j] + 1, cost[i, j - 1] + 1)
    pairs: Pairs = []
    i, j = rows - 1, columns - 1
    while i or j:
        if i and j:
            wrong = reference[i - 1].word != said[j - 1].word
            if cost[i, j] == cost[i - 1, j - 1] + wrong:
                pairs.append((reference[i - 1], said[j - 1]))
                i, j = i - 1, j - 1
                continue
        if i and cost[i, j] == cost[i - 1, j] + 1:
            pairs.append((reference[i - 1], None))
            i -= 1
        else:
            pairs.append((None, said[j - 1]))
            j -= 1
    return pairs[::-1]


def errors(pairs: Pairs) -> int:
    """Return substitutions, deletions and insertions."""
    return sum(r is None or s is None or r.word != s.word for r, s in pairs)


def false_words(pairs: Pairs) -> int:
    """Return the said words that the reference does not have."""
    return sum(s is not None and (r is None or r.word != s.word) for r, s in pairs)


def right(pairs: Pairs) -> list[tuple[Word, Word]]:
    """Return the pairs of equal words."""
    return [(r, s) for r, s in pairs if r is not None and s is not None and r.word == s.word]


def interval(
    values: Sequence[object], statistic: Callable[[list[object]], float], seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic, drawing utterances with replacement.

    Source: percentile bootstrap (Efron 1979); 1000 draws.
    """
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(1000):
        picked = [values[index] for index in random.integers(len(values), size=len(values))]
        draws.append(statistic(picked))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def crossings(pause: NDArray[np.float32], threshold: float = 0.5) -> NDArray[np.float64]:
    """Return the times in seconds of all steps at which a pause head is above the threshold.

    The first 12 frames are ignored, as clients do. pause: probability of each step.
    """
    steps = np.flatnonzero(pause > threshold)
    return np.asarray(steps[steps >= 12] / 12.5)
