from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.lm.transcript import (
    BOUNDARY_WAIT_FRAMES,
    MOST_PIECES,
    UNCLOSED_WORD_FRAMES,
    Transcript,
    Word,
    WordEnds,
)

BOUNDARY, PADDING = 0, 3
HEL, LO, WORLD, A, SPACE, UNKNOWN, EURO_1, EURO_2, EURO_3, CONTROL = range(10, 20)
PIECES: dict[int, str] = {
    HEL: "▁hel",
    LO: "lo",
    WORLD: "▁world",
    A: "▁a",
    SPACE: "▁",
    UNKNOWN: " ⁇ ",
    EURO_1: "<0xE2>",
    EURO_2: "<0x82>",
    EURO_3: "<0xAC>",
    CONTROL: "",
}
# "hello" and "world" 4.75 frames, "a" 1.75, "hel" 3.25.
ENDS = WordEnds(base_ms=80, per_character_ms=60)
# Two frames longer after a pause.
APART_ENDS = WordEnds(base_ms=80, per_character_ms=60, apart_ms=160)
DELAY = 6


class ListedVocabulary:
    """Decodes as sentencepiece does: the space before the first word is none, bytes make characters."""

    def decode(self, pieces: list[int]) -> str:
        written = b""
        for token in pieces:
            text = self.piece(token)
            written += bytes([int(text[3:5], 16)]) if text.startswith("<0x") else text.encode()
        return written.decode(errors="replace").replace("▁", " ").removeprefix(" ")

    def piece(self, token: int) -> str:
        return PIECES[token]


def transcript(delay: int = DELAY, interim: bool = False, ends: WordEnds = ENDS) -> Transcript:
    return Transcript(ListedVocabulary(), delay, ends, interim=interim)


def push_all(target: Transcript, tokens: list[int]) -> list[Word]:
    return [word for token in tokens for word in target.push(token)]


def silence(tokens: int) -> list[int]:
    return [PADDING] * tokens


def test_a_boundary_at_index_7_with_a_delay_of_6_starts_its_word_at_frame_2():
    assert push_all(transcript(), [*silence(7), BOUNDARY, HEL, LO, PADDING]) == [Word("hello", 2, 7, True)]


def test_a_word_is_out_with_the_very_token_that_closes_it():
    for closing in (PADDING, BOUNDARY):
        words = transcript()
        assert push_all(words, [*silence(7), BOUNDARY, HEL, LO]) == []
        assert len(words.push(closing)) == 1
        assert words.push(closing) == []


def test_the_end_is_cut_at_the_boundary_that_closes_the_word():
    tokens = [*silence(7), BOUNDARY, HEL, LO, BOUNDARY, WORLD, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 5, True), Word("world", 5, 10, True)]


def test_an_end_estimated_before_the_next_boundary_stays_what_it_was():
    tokens = [*silence(7), BOUNDARY, HEL, LO, PADDING, BOUNDARY, WORLD, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 7, True), Word("world", 6, 11, True)]


def test_the_end_does_not_include_the_pause_after_the_word():
    tokens = [*silence(7), BOUNDARY, HEL, LO, *silence(50), BOUNDARY, WORLD, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 7, True), Word("world", 55, 60, True)]


def test_a_word_after_a_pause_lasts_longer_where_the_model_says_so():
    # Nothing was said before the first; the second begins a frame after the first's end.
    tokens = [*silence(7), BOUNDARY, HEL, LO, *silence(5), BOUNDARY, WORLD, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 7, True), Word("world", 10, 15, True)]
    assert push_all(transcript(ends=APART_ENDS), tokens) == [Word("hello", 2, 9, True), Word("world", 10, 17, True)]


def test_a_word_that_follows_at_once_does_not_last_longer():
    # The second begins where the first was estimated to end; the boundary of the third cuts nothing.
    tokens = [*silence(7), BOUNDARY, HEL, LO, *silence(4), BOUNDARY, WORLD, PADDING]
    assert push_all(transcript(ends=APART_ENDS), tokens) == [Word("hello", 2, 9, True), Word("world", 9, 14, True)]


def test_of_several_words_without_a_boundary_the_last_follows_at_once():
    tokens = [*silence(7), BOUNDARY, A, WORLD, PADDING]
    assert push_all(transcript(ends=APART_ENDS), tokens) == [Word("a", 2, 3, True), Word("world", 3, 8, True)]


def test_growing_words_end_as_the_final_one_does_after_a_pause():
    words = transcript(interim=True, ends=APART_ENDS)
    grown = push_all(words, [*silence(7), BOUNDARY, HEL, LO])
    assert grown[-1] == Word("hello", 2, 9, False)
    assert words.push(PADDING) == [Word("hello", 2, 9, True)]


def test_a_short_word_has_at_least_one_frame():
    words = Transcript(ListedVocabulary(), DELAY, WordEnds(0, 0))
    assert push_all(words, [*silence(7), BOUNDARY, A, PADDING]) == [Word("a", 2, 3, True)]


def test_the_first_token_has_index_0_and_speaks_before_the_audio():
    # Index 5 is the first of frame 0.
    assert push_all(transcript(), [*silence(5), BOUNDARY, A, PADDING]) == [Word("a", 0, 2, True)]


def test_a_word_that_begins_before_the_audio_starts_at_frame_0():
    # Boundary at index 3, frame -2; the last piece at index 5, frame 0.
    assert push_all(transcript(), [*silence(3), BOUNDARY, HEL, LO, PADDING]) == [Word("hello", 0, 5, True)]


def test_a_word_with_all_its_pieces_before_the_audio_is_dropped():
    assert push_all(transcript(), [*silence(2), BOUNDARY, HEL, LO, PADDING, BOUNDARY, A, PADDING]) == [
        Word("a", 1, 3, True)
    ]


def test_a_word_at_the_edge_of_the_audio_keeps_a_frame_before_the_boundary_that_closes_it():
    tokens = [*silence(3), BOUNDARY, HEL, LO, BOUNDARY, A, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 0, 1, True), Word("a", 1, 3, True)]


def test_silence_put_before_the_audio_counts_as_frames_of_the_model():
    # The 2.6B model: 12.5 frames of silence, a delay of 32. The gateway takes the silence away.
    tokens = [*silence(31 + 13), BOUNDARY, HEL, LO, PADDING]
    assert push_all(transcript(delay=32), tokens) == [Word("hello", 13, 18, True)]


def test_several_words_without_a_boundary_between_take_a_frame_a_piece():
    tokens = [*silence(7), BOUNDARY, HEL, LO, WORLD, A, PADDING]
    assert push_all(transcript(), tokens) == [
        Word("hello", 2, 4, True),
        Word("world", 4, 5, True),
        Word("a", 5, 7, True),
    ]


def test_the_last_of_several_words_ends_by_the_boundary_too():
    tokens = [*silence(7), BOUNDARY, HEL, LO, WORLD, BOUNDARY]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 4, True), Word("world", 4, 6, True)]


def test_of_several_words_those_said_before_the_audio_are_dropped():
    # Boundary at frame -3; "hello" at frames -2 and -1, "world" at frame 0.
    assert push_all(transcript(), [*silence(2), BOUNDARY, HEL, LO, WORLD, PADDING]) == [Word("world", 0, 5, True)]


def test_of_several_words_one_that_reaches_into_the_audio_is_kept():
    # Boundary at frame -2; "hello" at frames -1 and 0, "world" at frame 1.
    tokens = [*silence(3), BOUNDARY, HEL, LO, WORLD, BOUNDARY]
    assert push_all(transcript(), tokens) == [Word("hello", 0, 1, True), Word("world", 0, 2, True)]


def test_pieces_without_a_boundary_start_at_the_first_of_them():
    tokens = [*silence(7), HEL, LO, PADDING, PADDING, WORLD, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 7, True), Word("world", 6, 11, True)]


def test_a_word_does_not_take_the_boundary_of_the_word_before():
    tokens = [*silence(7), BOUNDARY, HEL, LO, PADDING, LO, PADDING]
    assert push_all(transcript(), tokens) == [Word("hello", 2, 7, True), Word("lo", 6, 8, True)]


def test_of_two_boundaries_the_later_counts():
    tokens = [*silence(7), BOUNDARY, BOUNDARY, BOUNDARY, A, PADDING]
    assert push_all(transcript(), tokens) == [Word("a", 4, 6, True)]


def test_a_boundary_waits_for_its_pieces_for_a_second_and_no_longer():
    def start_after(padding: int) -> int:
        return push_all(transcript(), [*silence(7), BOUNDARY, *silence(padding), A, PADDING])[0].start_frame

    assert start_after(BOUNDARY_WAIT_FRAMES - 1) == 2
    assert start_after(BOUNDARY_WAIT_FRAMES) == 2 + BOUNDARY_WAIT_FRAMES + 1


@pytest.mark.parametrize("pieces", [[SPACE], [SPACE, SPACE], [CONTROL]])
def test_pieces_without_text_make_no_word(pieces):
    words = transcript(interim=True)
    assert push_all(words, [*silence(7), BOUNDARY, *pieces, PADDING, BOUNDARY, A]) == [
        Word("a", 4 + len(pieces), 6 + len(pieces), False)
    ]


def test_a_space_on_its_own_begins_the_word_after_it():
    assert push_all(transcript(), [*silence(7), BOUNDARY, HEL, SPACE, LO, PADDING]) == [
        Word("hel", 2, 3, True),
        Word("lo", 3, 5, True),
    ]


def test_a_word_never_has_spaces_in_it():
    tokens = [*silence(7), BOUNDARY, HEL, UNKNOWN, LO, PADDING]
    assert push_all(transcript(), tokens) == [
        Word("hel", 2, 3, True),
        Word("⁇", 3, 4, True),
        Word("lo", 4, 6, True),
    ]


def test_a_character_of_several_bytes_is_put_together():
    tokens = [*silence(7), BOUNDARY, SPACE, EURO_1, EURO_2, EURO_3, PADDING]
    assert push_all(transcript(), tokens) == [Word("€", 2, 4, True)]


def test_bytes_that_make_no_character_are_shown_as_such_in_the_end():
    assert push_all(transcript(), [*silence(7), BOUNDARY, A, EURO_1, PADDING]) == [Word("a\ufffd", 2, 4, True)]


def test_finish_completes_the_open_word():
    words = transcript()
    assert push_all(words, [*silence(7), BOUNDARY, HEL, LO]) == []
    assert words.finish() == [Word("hello", 2, 7, True)]
    assert words.finish() == []


def test_a_word_that_nothing_closed_lasts_at_most_a_second():
    words = Transcript(ListedVocabulary(), DELAY, WordEnds(5_000, 0))
    push_all(words, [*silence(7), BOUNDARY, A, WORLD])
    assert words.finish() == [Word("a", 2, 3, True), Word("world", 3, 3 + UNCLOSED_WORD_FRAMES, True)]


def test_after_finish_the_next_word_has_its_own_start():
    words = transcript()
    push_all(words, [*silence(7), BOUNDARY])
    assert words.finish() == []
    assert push_all(words, [HEL, LO, PADDING]) == [Word("hello", 3, 8, True)]


def test_indexes_go_on_after_finish():
    words = transcript()
    push_all(words, [*silence(7), BOUNDARY, HEL])
    words.finish()
    assert push_all(words, [PADDING, BOUNDARY, A, PADDING]) == [Word("a", 5, 7, True)]


def test_finish_before_any_audio_drops_what_was_said():
    words = transcript()
    push_all(words, [BOUNDARY, HEL])
    assert words.finish() == []


def test_pieces_without_end_are_let_go():
    words = transcript(delay=0)
    assert push_all(words, [A] * (MOST_PIECES - 1)) == []
    assert [word.start_frame for word in words.push(A)] == list(range(1, MOST_PIECES + 1))
    assert push_all(words, [A, PADDING]) == [Word("a", MOST_PIECES + 1, MOST_PIECES + 3, True)]


def test_other_boundary_and_padding_tokens_can_be_chosen():
    words = Transcript(ListedVocabulary(), 0, ENDS, boundary_token=HEL, padding_token=LO)
    assert push_all(words, [LO, HEL, A, LO]) == [Word("a", 2, 4, True)]


def test_interim_words_grow_and_become_final():
    words = transcript(interim=True)
    assert push_all(words, [*silence(7), BOUNDARY]) == []
    assert words.push(HEL) == [Word("hel", 2, 5, False)]
    assert words.push(LO) == [Word("hello", 2, 7, False)]
    assert words.push(WORLD) == [Word("hello", 2, 4, False), Word("world", 4, 9, False)]
    assert words.push(PADDING) == [Word("hello", 2, 4, True), Word("world", 4, 9, True)]


def test_interim_words_show_no_half_characters():
    words = transcript(interim=True)
    assert push_all(words, [*silence(7), BOUNDARY]) == []
    assert words.push(SPACE) == []
    assert words.push(EURO_1) == []
    assert words.push(EURO_2) == []
    assert words.push(EURO_3) == [Word("€", 2, 4, False)]


def test_an_interim_word_is_not_repeated_when_its_text_is_the_same():
    words = transcript(interim=True)
    assert len(push_all(words, [*silence(7), BOUNDARY, A])) == 1
    assert words.push(CONTROL) == []


def test_an_interim_word_said_twice_is_shown_twice():
    words = transcript(delay=0, interim=True)
    shown = push_all(words, [BOUNDARY, A, PADDING, BOUNDARY, A, PADDING])
    assert [(word.text, word.final) for word in shown] == [("a", False), ("a", True), ("a", False), ("a", True)]


def test_interim_words_wait_for_the_audio():
    words = transcript(interim=True)
    assert push_all(words, [*silence(3), BOUNDARY, HEL]) == []
    assert words.push(LO) == [Word("hello", 0, 5, False)]


def test_pending_is_the_start_of_the_open_or_announced_word():
    words = transcript()
    assert words.pending_frame is None
    push_all(words, silence(7))
    assert words.pending_frame is None
    words.push(BOUNDARY)
    assert words.pending_frame == 2
    words.push(HEL)
    assert words.pending_frame == 2
    words.push(BOUNDARY)
    assert words.pending_frame == 4
    push_all(words, [LO, PADDING])
    assert words.pending_frame is None
    words.push(LO)
    assert words.pending_frame == 7
    words.finish()
    assert words.pending_frame is None


def test_pending_is_never_below_0():
    words = transcript()
    words.push(BOUNDARY)
    assert words.pending_frame == 0
    words.push(HEL)
    assert words.pending_frame == 0


def test_pending_forgets_a_boundary_that_no_word_followed():
    words = transcript()
    push_all(words, [*silence(7), BOUNDARY, *silence(BOUNDARY_WAIT_FRAMES - 1)])
    assert words.pending_frame == 2
    words.push(PADDING)
    assert words.pending_frame is None


def test_an_estimate_is_longer_after_a_pause_by_as_much_as_the_model_says():
    assert (ENDS.frames("world"), ENDS.frames("world", apart=True)) == (5, 5)
    assert (APART_ENDS.frames("world"), APART_ENDS.frames("world", apart=True)) == (5, 7)


def test_an_estimate_is_linear_in_the_characters_and_rounded():
    assert [ENDS.frames("x" * length) for length in range(6)] == [1, 2, 2, 3, 4, 5]


TOKENS = st.lists(
    st.one_of(st.sampled_from([BOUNDARY, PADDING]), st.sampled_from(sorted(PIECES)), st.sampled_from([HEL, LO, WORLD])),
    max_size=130,
)
DELAYS = st.integers(0, 12)
quick = settings(deadline=None, max_examples=150)


def said(tokens: list[int]) -> str:
    """What the tokens say in all, without spaces; half characters depend on where words are cut."""
    spoken: list[int] = []
    text = ""
    for token in [*tokens, PADDING]:
        if token in (BOUNDARY, PADDING):
            text += ListedVocabulary().decode(spoken)
            spoken = []
        else:
            spoken.append(token)
    return "".join(text.split())


@quick
@given(TOKENS, DELAYS)
def test_starts_never_run_backwards_and_every_word_lasts(tokens, delay):
    words = transcript(delay)
    all_words = push_all(words, tokens) + words.finish()
    starts = [word.start_frame for word in all_words]
    assert starts == sorted(starts)
    assert all(0 <= word.start_frame < word.end_frame for word in all_words)
    assert all(word.text and not any(character.isspace() for character in word.text) for word in all_words)


@quick
@given(TOKENS.map(lambda tokens: [token for token in tokens if token not in (EURO_1, EURO_2, EURO_3)]), DELAYS)
def test_no_text_is_lost_or_said_twice(tokens, delay):
    words = transcript(delay)
    heard = "".join(word.text for word in push_all(words, tokens) + words.finish())
    # Only what was said before the audio is dropped.
    assert said(tokens).endswith(heard)
    assert heard.endswith(said([PADDING, *tokens[max(0, delay - 1) :]]))
    if delay <= 1:
        assert heard == said(tokens)


@quick
@given(TOKENS, DELAYS, st.booleans(), st.data())
def test_a_transcript_fed_the_same_history_goes_on_the_same(tokens, delay, interim, data):
    cut = data.draw(st.integers(0, len(tokens)))
    original, replayed = transcript(delay, interim), transcript(delay, interim)
    push_all(original, tokens[:cut])
    push_all(replayed, tokens[:cut])
    for token in tokens[cut:]:
        assert original.pending_frame == replayed.pending_frame
        assert original.push(token) == replayed.push(token)
    assert original.finish() == replayed.finish()


@quick
@given(TOKENS, DELAYS)
def test_final_words_are_the_same_with_and_without_interim(tokens, delay):
    plain, growing = transcript(delay), transcript(delay, interim=True)
    for token in tokens:
        assert plain.push(token) == [word for word in growing.push(token) if word.final]
    assert plain.finish() == growing.finish()


@quick
@given(TOKENS, DELAYS)
def test_a_push_returns_either_final_or_growing_words(tokens, delay):
    words = transcript(delay, interim=True)
    for token in tokens:
        assert len({word.final for word in words.push(token)}) <= 1


@quick
@given(TOKENS, DELAYS)
def test_a_word_ends_by_the_boundary_that_closes_it(tokens, delay):
    words = transcript(delay)
    for index, token in enumerate(tokens):
        for word in words.push(token):
            assert word.start_frame <= index + 1 - delay
            if token == BOUNDARY:
                assert word.end_frame <= index + 1 - delay


@quick
@given(TOKENS, DELAYS, st.sets(st.integers(0, 130)))
def test_words_that_start_before_the_pending_frame_are_all_out(tokens, delay, finishes):
    words = transcript(delay)
    settled = 0
    for index, token in enumerate(tokens):
        new = words.push(token)
        if index in finishes:
            new += words.finish()
        assert all(word.start_frame >= settled for word in new)
        pending = words.pending_frame
        now = max(0, index + 2 - delay) if pending is None else pending
        assert now >= settled
        settled = now
