"""Which words of a continued stream are new, worked out by hand."""

from __future__ import annotations

import pytest

from dsm_stt_client import Word
from dsm_stt_client.seam import Seam

DELIVERED = [Word("four", 1.0, 1.3), Word("no", 1.6, 1.8), Word("no", 1.76, 1.9)]


def new(*heard: tuple[str, float]) -> list[str]:
    seam = Seam(DELIVERED)
    return [text for text, start_s in heard if seam.is_new(Word(text, start_s, start_s + 0.2), final=True)]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        # The same again, and on.
        ([("no", 1.6), ("no", 1.76), ("yes", 2.0)], ["yes"]),
        # A frame or two elsewhere.
        ([("no", 1.76), ("no", 1.92), ("yes", 2.0)], ["yes"]),
        ([("no", 1.52), ("no", 1.68), ("yes", 1.92)], ["yes"]),
        # The next word, said three times in a row.
        ([("no", 1.6), ("no", 1.76), ("no", 1.92), ("no", 2.08)], ["no", "no"]),
        # Heard as another word, in the place of one delivered.
        ([("now", 1.6), ("no", 1.76), ("yes", 2.0)], ["yes"]),
        ([("now", 1.84)], []),
        # Only the last of those delivered is said again; or none.
        ([("no", 1.76), ("yes", 2.0)], ["yes"]),
        ([("yes", 2.0)], ["yes"]),
        # Much later, the same words are new.
        ([("four", 9.0), ("no", 9.4)], ["four", "no"]),
    ],
)
def test_words_that_were_delivered_are_not_delivered_again(heard: list[tuple[str, float]], expected: list[str]) -> None:
    assert new(*heard) == expected


def test_an_interim_word_that_was_delivered_is_not_new_however_often_it_is_heard() -> None:
    seam = Seam(DELIVERED)
    word = Word("no", 1.76, 1.9)
    assert [seam.is_new(word, final=False) for _ in range(3)] == [False] * 3


def test_without_words_before_it_every_word_is_new() -> None:
    assert Seam().is_new(Word("four", 0.0, 0.2), final=True)
