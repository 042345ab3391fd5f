"""Scores: alignment of words, error counts, bootstrap intervals and pause crossings."""

import numpy as np

from training.clips import Word
from training.scoring import crossings, errors, false_words, interval, matched, right


def words(text: str) -> list[Word]:
    return [Word(word, float(i), i + 0.5) for i, word in enumerate(text.split())]


def test_errors_are_substitutions_deletions_and_insertions() -> None:
    assert errors(matched(words("one two three"), words("one two three"))) == 0
    assert errors(matched(words("one two three"), words("one five three"))) == 1
    assert errors(matched(words("one two three"), words("one three"))) == 1
    assert errors(matched(words("one"), words("one one"))) == 1
    assert errors(matched([], words("one two"))) == 2


def test_false_words_do_not_count_deletions() -> None:
    pairs = matched(words("one two three"), words("one five"))
    assert errors(pairs) == 2
    assert false_words(pairs) == 1
    assert [pair[0].word for pair in right(pairs)] == ["one"]


def test_the_interval_contains_the_mean_of_its_values() -> None:
    values = [0.0] * 50 + [1.0] * 50
    low, high = interval(values, lambda drawn: float(np.mean(drawn)))
    assert 0.35 < low < 0.5 < high < 0.65


def test_the_first_frames_of_a_pause_head_are_ignored() -> None:
    pause = np.zeros(30, np.float32)
    pause[[3, 12, 25]] = 0.9
    assert list(crossings(pause)) == [12 / 12.5, 25 / 12.5]
