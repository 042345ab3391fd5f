"""The rule for ends is judged as the services apply it."""

import pytest

pytest.importorskip("scipy")
pytest.importorskip("soxr")
pytest.importorskip("soundfile")

from training.clips import Word
from training.decoding import EndRule, words_of
from training.ends import end_errors_ms
from training.targets import text_targets

RULE = EndRule(160.0, 50.0, 160.0)
WORDS = [Word("four", 0.4, 0.8), Word("twenty", 0.86, 1.3), Word("yes", 2.4, 2.9)]


def test_errors_are_those_of_the_decoded_words() -> None:
    said = words_of(list(text_targets(WORDS, 60, 12)), 12, RULE)
    expected = [1000 * abs(s.end_s - w.end_s) for s, w in zip(said, WORDS, strict=True)]
    assert end_errors_ms(WORDS, RULE) == pytest.approx(expected)


def test_only_words_apart_are_estimated_longer() -> None:
    plain, apart = EndRule(160.0, 50.0), RULE
    # "twenty" begins where "four" was estimated to end.
    changed = [a != b for a, b in zip(end_errors_ms(WORDS, plain), end_errors_ms(WORDS, apart), strict=True)]
    assert changed == [True, False, True]
