from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.framing import FRAME_SAMPLES
from services.gateway.turns import SETTLING_FRAMES, TurnChange, TurnDetector, TurnKind, TurnSettings

F = FRAME_SAMPLES
DELAY = 6
START, EAGER_END, RESUMED, END = TurnKind.START, TurnKind.EAGER_END, TurnKind.RESUMED, TurnKind.END
HEADS = TurnSettings(enabled=True, head=2, min_silence_samples=0, max_silence_samples=60 * F)
NO_HEADS = TurnSettings(enabled=True, head=None, min_silence_samples=12 * F, max_silence_samples=60 * F)


class Session:
    """Drives a detector as a pipeline does: frame after frame of audio, the words a delay behind the sound."""

    def __init__(self, settings: TurnSettings = HEADS, first_turn: int = 0, settled: bool = True) -> None:
        self.detector = TurnDetector(settings, first_turn)
        self.heard = 0
        self.changes: list[TurnChange] = []
        if settled:
            self.hear(SETTLING_FRAMES)

    def hear(
        self, frames: int = 1, pause: float = 0.0, words: tuple[tuple[int, int], ...] = (), injected: bool = False
    ) -> list[TurnChange]:
        """Answer frames; words (start and end in frames) come with the first."""
        new: list[TurnChange] = []
        for start, end in words:
            new += self.detector.push_word(start * F, end * F)
        for _ in range(frames):
            self.heard += 0 if injected else F
            finalized = self.heard if injected else max(0, self.heard - DELAY * F)
            new += self.detector.push_frame(self.heard, finalized, [0.0, 0.0, pause, 0.0], injected)
        self.changes += new
        return new

    def take(self, changes: list[TurnChange]) -> list[TurnChange]:
        self.changes += changes
        return changes


def test_a_turn_starts_where_its_first_word_starts():
    session = Session()
    assert session.hear(words=((8, 10),)) == [TurnChange(START, 0, 8 * F)]
    assert session.hear(words=((10, 13), (14, 15))) == []


def test_a_turn_ends_when_the_pause_head_says_so():
    session = Session()
    session.hear(words=((8, 10),))
    assert session.hear(5, pause=0.49) == []
    assert session.hear(pause=0.5) == [TurnChange(END, 0, 19 * F, 0.5)]
    assert session.hear(20, pause=0.9) == []


def test_only_the_chosen_head_is_looked_at():
    session = Session(dataclasses.replace(HEADS, head=1))
    session.hear(words=((8, 10),))
    assert session.hear(5, pause=0.9) == []
    assert session.detector.push_frame(18 * F, 12 * F, [0.0, 0.7, 0.0, 0.0], False) == [TurnChange(END, 0, 18 * F, 0.7)]


def test_turns_are_counted_from_the_first_given():
    session = Session(first_turn=7)
    assert session.hear(words=((8, 10),)) == [TurnChange(START, 7, 8 * F)]
    assert session.hear(pause=0.9)[0].turn_index == 7
    assert session.hear(4) == []
    assert session.hear(words=((16, 17),)) == [TurnChange(START, 8, 16 * F)]


def test_a_pause_without_a_turn_ends_nothing():
    session = Session()
    assert session.hear(50, pause=1.0) == []


def test_a_pause_must_last_min_silence():
    session = Session(dataclasses.replace(HEADS, min_silence_samples=3 * F))
    session.hear(words=((8, 10),))
    assert session.hear(3, pause=0.9) == []
    assert session.hear(1, pause=0.2) == []
    assert session.hear(3, pause=0.9) == []
    assert session.hear(1, pause=0.9) == [TurnChange(END, 0, 21 * F, 0.9)]


def test_a_short_word_that_comes_after_its_pause_was_heard_starts_and_ends_a_turn():
    session = Session()
    session.hear(3, pause=0.9)
    assert session.hear(pause=0.9, words=((9, 10),)) == [
        TurnChange(START, 0, 9 * F),
        TurnChange(END, 0, 16 * F, 0.9),
    ]


def test_a_pause_before_the_turn_is_not_counted():
    session = Session(dataclasses.replace(HEADS, min_silence_samples=10 * F))
    session.hear(20, pause=0.9)
    assert session.hear(pause=0.9, words=((28, 30),)) == [TurnChange(START, 0, 28 * F)]
    assert session.hear(4, pause=0.9) == []
    assert session.hear(1, pause=0.9) == [TurnChange(END, 0, 38 * F, 0.9)]


def test_the_heads_are_not_looked_at_for_the_first_12_frames():
    session = Session(settled=False)
    session.hear(words=((0, 2),))
    assert session.hear(SETTLING_FRAMES - 1, pause=1.0) == []
    assert session.hear(1, pause=1.0) == [TurnChange(END, 0, (SETTLING_FRAMES + 1) * F, 1.0)]


def test_the_heads_are_not_looked_at_in_silence_of_the_service_nor_for_12_frames_after_it():
    session = Session()
    session.hear(words=((8, 10),))
    assert session.hear(18, pause=1.0, injected=True) == []
    assert session.hear(SETTLING_FRAMES, pause=1.0) == []
    assert [change.kind for change in session.hear(1, pause=1.0)] == [END]


def test_a_pause_does_not_last_through_silence_of_the_service():
    session = Session(dataclasses.replace(HEADS, min_silence_samples=20 * F))
    session.hear(words=((8, 10),))
    session.hear(10, pause=1.0)
    session.hear(18, pause=1.0, injected=True)
    assert session.hear(SETTLING_FRAMES + 20, pause=1.0) == []
    assert [change.kind for change in session.hear(1, pause=1.0)] == [END]


def test_words_on_their_way_when_the_end_is_heard_belong_to_the_old_turn():
    session = Session()
    session.hear(words=((8, 10),))
    session.hear(pause=0.9)
    end = session.changes[-1].position_samples
    assert end == 14 * F
    assert session.hear(words=((10, 12),)) == []
    assert session.detector.turn_of(10 * F) == 0
    assert session.detector.turn_of(end - 1) == 0
    assert session.detector.turn_of(end) == 1
    assert session.hear(3, words=((12, 13),)) == []
    assert session.hear(words=((14, 15),)) == [TurnChange(START, 1, 14 * F)]
    assert session.detector.turn_of(14 * F) == 1


def test_without_heads_a_turn_ends_when_no_word_started_for_min_silence():
    session = Session(NO_HEADS)
    session.hear(words=((7, 9),))
    # Heard 13 frames, words final up to 7; the silence is complete at 9 + 12.
    assert session.hear(13) == []
    assert session.hear(1) == [TurnChange(END, 0, 21 * F)]
    assert session.detector.turn_of(20 * F) == 0
    assert session.detector.turn_of(21 * F) == 1


def test_without_heads_a_detector_needs_no_probabilities():
    detector = TurnDetector(NO_HEADS)
    detector.push_word(0, F)
    assert detector.push_frame(30 * F, 12 * F, None, False) == []
    assert detector.push_frame(31 * F, 13 * F, None, False) == [TurnChange(END, 0, 13 * F)]


def test_a_word_starts_the_silence_anew():
    session = Session(NO_HEADS)
    session.hear(words=((7, 9),))
    session.hear(10)
    session.hear(words=((18, 20),))
    assert session.hear(13) == []
    assert session.hear(1) == [TurnChange(END, 0, 32 * F)]


def test_silence_counts_only_as_far_as_words_are_final():
    detector = TurnDetector(NO_HEADS)
    detector.push_word(8 * F, 10 * F)
    for heard in range(20, 60):
        assert detector.push_frame(heard * F, 8 * F, None, False) == []
    assert detector.push_frame(60 * F, 54 * F, None, False) == [TurnChange(END, 0, 54 * F)]


def test_a_word_that_is_not_final_ends_no_turn_even_with_no_silence_asked_for():
    detector = TurnDetector(dataclasses.replace(NO_HEADS, min_silence_samples=0))
    detector.push_word(8 * F, 8 * F)
    assert detector.push_frame(8 * F, 8 * F, None, True) == []
    assert detector.push_frame(15 * F, 9 * F, None, False) == [TurnChange(END, 0, 9 * F)]


def test_max_silence_ends_a_turn_that_the_heads_do_not():
    session = Session()
    session.hear(words=((8, 10),))
    assert session.hear(62) == []
    assert session.hear(1) == [TurnChange(END, 0, 70 * F)]


def test_a_flush_completes_the_silence_that_ends_a_turn():
    session = Session(NO_HEADS)
    session.hear(words=((7, 9),))
    session.hear(12)
    assert session.hear(1, injected=True) == [TurnChange(END, 0, 25 * F)]


EAGER = dataclasses.replace(HEADS, eager_end_threshold=0.3, end_threshold=0.7)


def test_an_eager_end_is_followed_by_the_end():
    session = Session(EAGER)
    session.hear(words=((8, 10),))
    assert session.hear(1, pause=0.25) == []
    assert session.hear(1, pause=0.3) == [TurnChange(EAGER_END, 0, 15 * F, 0.3)]
    assert session.hear(3, pause=0.6) == []
    assert session.hear(1, pause=0.8) == [TurnChange(END, 0, 19 * F, 0.8)]
    assert session.hear(5, pause=0.1) == []


def test_an_eager_end_is_taken_back_when_the_speaker_goes_on():
    session = Session(EAGER)
    session.hear(words=((8, 10),))
    session.hear(1, pause=0.4)
    assert session.hear(1, pause=0.1) == [TurnChange(RESUMED, 0, 15 * F, 0.1)]
    assert session.hear(1, pause=0.4) == [TurnChange(EAGER_END, 0, 16 * F, 0.4)]


def test_a_sure_end_needs_no_eager_one():
    session = Session(EAGER)
    session.hear(words=((8, 10),))
    assert [change.kind for change in session.hear(1, pause=0.9)] == [END]


def test_an_eager_end_comes_before_an_end_that_must_wait():
    session = Session(dataclasses.replace(EAGER, min_silence_samples=3 * F))
    session.hear(words=((8, 10),))
    assert [change.kind for change in session.hear(4, pause=0.9)] == [EAGER_END, END]


def test_no_eager_end_before_a_turn_has_started():
    session = Session(EAGER)
    assert session.hear(5, pause=0.4) == []


def test_an_eager_end_can_become_an_end_by_silence():
    session = Session(dataclasses.replace(EAGER, max_silence_samples=20 * F))
    session.hear(words=((8, 10),))
    assert [change.kind for change in session.hear(40, pause=0.4)] == [EAGER_END, END]
    assert session.changes[-1] == TurnChange(END, 0, 30 * F)


def test_an_eager_end_is_taken_back_when_eager_ends_are_turned_off():
    session = Session(EAGER)
    session.hear(words=((8, 10),))
    session.hear(1, pause=0.4)
    session.take(session.detector.configure(HEADS, session.heard))
    assert [change.kind for change in session.hear(3, pause=0.4)] == [RESUMED]


FLUSHING = dataclasses.replace(HEADS, flush_on_end=True)


def test_with_flush_on_end_the_end_comes_after_the_flush():
    session = Session(FLUSHING)
    session.hear(words=((8, 10),))
    assert not session.detector.wants_flush
    assert session.hear(1, pause=0.8) == []
    assert session.detector.wants_flush
    # A frame that was on its way, and a word in it.
    assert session.hear(1, pause=0.9, words=((11, 13),)) == []
    assert session.hear(18, pause=1.0, words=((14, 15),), injected=True) == []
    assert session.detector.turn_of(14 * F) == 0
    assert session.take(session.detector.flushed(15 * F)) == [TurnChange(END, 0, 15 * F, 0.8)]
    assert not session.detector.wants_flush
    assert session.detector.turn_of(15 * F) == 1
    assert session.detector.flushed(15 * F) == []


def test_a_flush_that_no_end_waits_for_ends_nothing():
    session = Session(FLUSHING)
    session.hear(words=((8, 10),))
    assert session.detector.flushed(13 * F) == []


def test_an_end_that_waits_for_its_flush_is_eager_before():
    session = Session(dataclasses.replace(EAGER, flush_on_end=True))
    session.hear(words=((8, 10),))
    assert session.hear(3, pause=0.9) == [TurnChange(EAGER_END, 0, 14 * F, 0.9)]
    assert session.hear(3, pause=0.0) == []
    assert [change.kind for change in session.detector.flushed(20 * F)] == [END]


def test_silence_between_words_ends_a_turn_without_a_flush():
    session = Session(dataclasses.replace(NO_HEADS, flush_on_end=True))
    session.hear(words=((7, 9),))
    assert [change.kind for change in session.hear(20)] == [END]
    assert not session.detector.wants_flush


def test_an_end_that_waits_survives_flushes_being_turned_off():
    session = Session(FLUSHING)
    session.hear(words=((8, 10),))
    session.hear(1, pause=0.9)
    assert session.detector.configure(HEADS, session.heard) == []
    assert session.hear(5, pause=0.9) == []
    assert [change.kind for change in session.detector.flushed(session.heard)] == [END]


def test_a_flush_that_ends_the_turn_ends_it_once():
    session = Session()
    session.hear(words=((8, 10),))
    assert session.detector.end_now(13 * F) == [TurnChange(END, 0, 13 * F)]
    assert session.detector.end_now(13 * F) == []
    assert session.detector.flushed(13 * F) == []
    assert session.detector.turn_of(13 * F) == 1


def test_the_end_of_the_session_sends_the_end_that_waits_for_a_flush():
    session = Session(FLUSHING)
    session.hear(words=((8, 10),))
    session.hear(1, pause=0.9)
    assert session.detector.end_now(20 * F) == [TurnChange(END, 0, 20 * F, 0.9)]
    assert not session.detector.wants_flush
    assert session.detector.flushed(20 * F) == []


def test_ending_now_without_a_turn_does_nothing():
    assert TurnDetector(HEADS).end_now(5 * F) == []


def test_the_turn_after_a_waiting_end_forgets_its_probability():
    session = Session(FLUSHING)
    session.hear(words=((8, 10),))
    session.hear(1, pause=0.9)
    session.detector.flushed(14 * F)
    session.hear(words=((15, 16),))
    assert session.detector.end_now(16 * F) == [TurnChange(END, 1, 16 * F)]


def test_no_end_lies_before_its_start():
    detector = TurnDetector(HEADS)
    detector.push_word(9 * F, 10 * F)
    assert detector.end_now(8 * F) == [TurnChange(END, 0, 9 * F)]


def test_turned_off_nothing_happens_and_the_turn_stays_the_first():
    session = Session(TurnSettings(head=2), first_turn=3)
    assert session.hear(40, pause=1.0, words=((8, 10), (11, 12))) == []
    assert session.detector.turn_of(8 * F) == 3
    assert session.detector.end_now(40 * F) == []


def test_turning_it_off_ends_the_turn():
    session = Session()
    session.hear(words=((8, 10),))
    off = dataclasses.replace(HEADS, enabled=False)
    assert session.detector.configure(off, 13 * F) == [TurnChange(END, 0, 13 * F)]
    assert session.detector.configure(off, 14 * F) == []
    assert session.hear(50, pause=1.0, words=((12, 13),)) == []
    assert session.detector.turn_of(12 * F) == 0
    assert session.detector.turn_of(13 * F) == 1


def test_turning_it_on_starts_a_turn_at_the_next_word():
    session = Session(dataclasses.replace(HEADS, enabled=False))
    session.hear(10, words=((8, 10),))
    assert session.detector.configure(HEADS, session.heard) == []
    assert session.hear(words=((17, 18),)) == [TurnChange(START, 0, 17 * F)]


def test_new_settings_hold_for_the_turn_under_way():
    session = Session()
    session.hear(words=((8, 10),))
    session.hear(3, pause=0.4)
    assert session.detector.configure(dataclasses.replace(HEADS, end_threshold=0.4), session.heard) == []
    assert [change.kind for change in session.hear(1, pause=0.4)] == [END]


def test_nothing_resumes_while_an_end_waits_for_its_flush():
    session = Session(EAGER)
    session.hear(words=((8, 10),))
    session.hear(1, pause=0.4)
    session.take(session.detector.configure(FLUSHING, session.heard))
    assert session.hear(1, pause=0.9) == []
    assert session.detector.wants_flush


def test_a_pause_is_counted_anew_under_new_settings():
    patient = dataclasses.replace(HEADS, min_silence_samples=4 * F)
    session = Session(patient)
    session.hear(words=((8, 10),))
    session.hear(4, pause=0.9)
    session.take(session.detector.configure(dataclasses.replace(patient, end_threshold=0.8), session.heard))
    assert session.hear(4, pause=0.9) == []
    assert [change.kind for change in session.hear(1, pause=0.9)] == [END]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("audio"), st.sampled_from([0.0, 0.2, 0.4, 0.9])),
        st.tuples(st.just("audio"), st.sampled_from([0.0, 0.9])),
        st.tuples(st.just("word"), st.integers(0, 6)),
        st.tuples(st.just("flush"), st.booleans()),
        st.tuples(st.just("pause"), st.sampled_from([0.0, 0.4, 0.9])),
        st.tuples(st.just("configure"), st.integers(0, 4)),
    ),
    max_size=80,
)
CHOICES = [
    HEADS,
    dataclasses.replace(EAGER, min_silence_samples=2 * F, max_silence_samples=10 * F),
    dataclasses.replace(EAGER, flush_on_end=True),
    dataclasses.replace(NO_HEADS, min_silence_samples=3 * F),
    dataclasses.replace(HEADS, enabled=False),
]
Sent = TurnChange | tuple[int, int]  # a change, or a word's start and turn


def drive(steps: list[tuple[str, float]], first: TurnSettings) -> list[Sent]:
    """Run a whole session, its detector's flushes included; returns what the caller gets, in order."""
    session = Session(first)
    detector = session.detector
    sent: list[Sent] = []
    word = 0  # frames; where the last word started

    def flush() -> None:
        sent.extend(session.hear(3, pause=1.0, injected=True))

    for kind, value in steps:
        if kind in ("audio", "pause"):
            sent.extend(session.hear(1 if kind == "audio" else 8, pause=value))
        elif kind == "word":
            word = max(word, session.heard // F - DELAY + int(value))
            sent.extend(detector.push_word(word * F, (word + 2) * F))
            sent.append((word * F, detector.turn_of(word * F)))
        elif kind == "flush":
            flush()
            sent.extend(detector.end_now(session.heard) if value else detector.flushed(session.heard))
        else:
            sent.extend(detector.configure(CHOICES[int(value)], session.heard))
        if detector.wants_flush:
            flush()
            sent.extend(detector.flushed(session.heard))
            assert not detector.wants_flush
    sent.extend(detector.end_now(session.heard))
    assert detector.end_now(session.heard) == []
    return sent


quick = settings(deadline=None, max_examples=200)


@quick
@given(STEPS, st.sampled_from(CHOICES))
def test_starts_and_ends_alternate_and_every_start_has_its_end(steps, first):
    changes = [change for change in drive(steps, first) if isinstance(change, TurnChange)]
    edges = [change for change in changes if change.kind in (START, END)]
    assert [change.kind for change in edges] == [START, END] * (len(edges) // 2)
    assert [change.turn_index for change in edges] == [index // 2 for index in range(len(edges))]


@quick
@given(STEPS, st.sampled_from(CHOICES))
def test_starts_and_ends_never_run_backwards(steps, first):
    changes = [change for change in drive(steps, first) if isinstance(change, TurnChange)]
    positions = [change.position_samples for change in changes if change.kind in (START, END)]
    assert positions == sorted(positions)


@quick
@given(STEPS, st.sampled_from(CHOICES))
def test_eager_ends_come_within_a_turn_and_are_resolved(steps, first):
    changes = [change for change in drive(steps, first) if isinstance(change, TurnChange)]
    allowed = {
        None: {START},
        START: {EAGER_END, END},
        EAGER_END: {RESUMED, END},
        RESUMED: {EAGER_END, END},
        END: {START},
    }
    before = None
    for change in changes:
        assert change.kind in allowed[before]
        before = change.kind
        assert (change.probability is not None) or change.kind in (START, END)


@quick
@given(STEPS, st.sampled_from(CHOICES[:4]))
def test_the_end_of_a_turn_divides_the_words(steps, first):
    on = [step for step in steps if step != ("configure", 4)]
    sent = drive(on, first)
    ends = {change.turn_index: change.position_samples for change in sent if getattr(change, "kind", None) is END}
    turns = [turn for item in sent if isinstance(item, tuple) for turn in item[1:]]
    assert turns == sorted(turns)
    for item in sent:
        if isinstance(item, tuple):
            start, turn = item
            assert turn == 0 or start >= ends[turn - 1]
            # A word at the very place where a turn was ended from outside was sent before it ended.
            assert start < ends[turn] or sent.index(item) < sent.index(end_of(sent, turn))


def end_of(sent: list[Sent], turn: int) -> Sent:
    return next(item for item in sent if isinstance(item, TurnChange) and (item.kind, item.turn_index) == (END, turn))
