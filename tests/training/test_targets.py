"""Targets from alignments: tokens, phones and pauses at the indices that the services decode."""

from training.clips import Word
from training.decoding import EndRule, words_of
from training.targets import PAUSE, PHONES, SPEECH, boundary_index, pause_targets, phone_targets, text_targets
from training.vocabulary import BOUNDARY, PADDING, token_of

RULE = EndRule(120.0, 60.0)


def test_a_word_gets_its_boundary_and_then_its_piece() -> None:
    tokens = text_targets([Word("seven", 0.8, 1.2)], 40, 12)
    at = boundary_index(0.8, 12)
    assert at == 10 - 1 + 12
    assert tokens[at] == BOUNDARY
    assert tokens[at + 1] == token_of("seven")
    assert (tokens == PADDING).sum() == 38


def test_speech_outside_the_vocabulary_is_padding() -> None:
    assert (text_targets([Word("giraffe", 0.8, 1.4)], 40, 12) == PADDING).all()


def test_a_word_that_starts_too_early_follows_the_one_before_it() -> None:
    tokens = text_targets([Word("one", 0.80, 0.90), Word("two", 0.86, 1.0)], 40, 12)
    spoken = [int(token) for token in tokens if token != PADDING]
    assert spoken == [BOUNDARY, token_of("one"), BOUNDARY, token_of("two")]


def test_the_decoder_gives_the_words_of_the_targets_back() -> None:
    words = [Word("four", 0.4, 0.8), Word("twenty", 0.88, 1.3), Word("yes", 2.0, 2.4)]
    said = words_of(list(text_targets(words, 60, 12)), 12, RULE)
    assert [word.word for word in said] == ["four", "twenty", "yes"]
    assert all(abs(s.start_s - w.start_s) <= 0.04 for s, w in zip(said, words, strict=True))


def test_a_word_ends_at_the_boundary_that_closes_it() -> None:
    four, two = token_of("four"), token_of("two")
    assert four is not None
    assert two is not None
    tokens = [PADDING] * 11 + [BOUNDARY, four, BOUNDARY, two, PADDING]
    first, second = words_of(tokens, 12, RULE)
    assert first.end_s == second.start_s == 2 / 12.5
    assert second.end_s == second.start_s + RULE.frames("two") / 12.5


def test_phones_are_those_in_the_middle_of_a_frame() -> None:
    targets = phone_targets([("S", 0.0, 0.08), ("IY", 0.08, 0.2)], 8)
    assert [PHONES[index] for index in targets] == ["S", "S", "IY", "IY", "IY", "SIL", "SIL", "SIL"]


def test_pauses_begin_one_horizon_after_the_speech() -> None:
    targets = pause_targets([(0.4, 1.0)], 40)
    assert targets.shape == (4, 40)
    assert (targets[:, :6] == PAUSE).all()
    assert (targets[2, 6 : int((1.0 + 0.80) * 12.5)] == SPEECH).all()
    assert targets[0, int((1.0 + 0.32) * 12.5)] == PAUSE
    assert targets[2, int((1.0 + 0.88) * 12.5)] == PAUSE
