"""When a speaker's turn starts and ends: TurnOptions and TurnEvent of the public API, as a state machine.

One TurnDetector a session. For each frame that the model answered, in order, its pipeline

1. calls `push_word` for each word of the frame, interim or final, and sends what that returns before the word;
2. sends the words, each with `turn_of(its start)`;
3. calls `push_frame`, and sends what that returns;
4. if `wants_flush` is now true, flushes, as soon as it can; wherever a flush is over, whoever asked for it, and its
   words are sent, it calls `flushed`, or `end_now` if the caller wanted the turn to end with it.

At the end of the session it calls `end_now`. Every START is then followed by exactly one END.

All positions are samples at 24 kHz of session audio, as Timeline gives them. Pause heads are ahead of the words by the
model's delay, so words of a turn may still be on their way when its end is heard; and a word is known to be missing
only up to where words are final. The position of an END divides the words: those that start before it belong to its
turn, all others to later ones.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

# At the start, and after silence of the service's own (a flush), pause heads speak about that and not the speaker.
SETTLING_FRAMES = 12


class TurnKind(enum.Enum):
    """What happened to a turn."""

    START = enum.auto()
    EAGER_END = enum.auto()
    RESUMED = enum.auto()
    END = enum.auto()


@dataclass(frozen=True, slots=True)
class TurnChange:
    """One event, to be sent to the caller.

    position_samples: START, where the first word starts; END, what divides the words (see above); else the end of the
    frame that was heard. probability: of the pause head that decided, None if none did.
    """

    kind: TurnKind
    turn_index: int
    position_samples: int
    probability: float | None = None


@dataclass(frozen=True)
class TurnSettings:
    """TurnOptions, checked and with its defaults filled in; durations in samples at 24 kHz."""

    enabled: bool = False
    # Which pause head to look at; None for models without.
    head: int | None = None
    end_threshold: float = 0.5
    # Below end_threshold; None for no EAGER_END.
    eager_end_threshold: float | None = None
    min_silence_samples: int = 24_000
    # Not below min_silence_samples.
    max_silence_samples: int = 120_000
    flush_on_end: bool = False


class _Phase(enum.Enum):
    WAITING = enum.auto()  # no word of the next turn yet
    SPEAKING = enum.auto()  # START is sent
    ENDING = enum.auto()  # the end is heard; END follows the flush


class TurnDetector:
    """The turns of one session."""

    def __init__(self, settings: TurnSettings, first_turn: int = 0) -> None:
        """Begin a session. first_turn: the index of its first turn."""
        self._settings = settings
        # Of the turn under way, or else of the next.
        self._turn_index = first_turn
        self._phase = _Phase.WAITING
        # Where the turn before ended; no word starts before 0.
        self._divide = 0
        self._turn_start = 0
        self._word_start = 0
        self._word_end = 0
        self._eager = False
        self._end_probability: float | None = None
        # Frames to go until the heads are looked at.
        self._settling = SETTLING_FRAMES
        # Since where in the audio the pause probability has been at the threshold or above.
        self._paused_since: int | None = None

    @property
    def wants_flush(self) -> bool:
        """Tell that the end of a turn was heard and END waits for `flushed`; true until then."""
        return self._phase is _Phase.ENDING

    def turn_of(self, start_samples: int) -> int:
        """Return the turn to which a word belongs, by its start; not for words of turns before the last."""
        return self._turn_index - 1 if start_samples < self._divide else self._turn_index

    def push_word(self, start_samples: int, end_samples: int) -> list[TurnChange]:
        """Take a word that began, grew or is final. Returns START for the first of a turn, to be sent before it."""
        if not self._settings.enabled or start_samples < self._divide:
            return []
        changes: list[TurnChange] = []
        if self._phase is _Phase.WAITING:
            self._phase = _Phase.SPEAKING
            self._turn_start = start_samples
            changes.append(TurnChange(TurnKind.START, self._turn_index, start_samples))
        self._word_start = start_samples
        self._word_end = end_samples
        return changes

    def push_frame(
        self, heard_samples: int, finalized_samples: int, pauses: Sequence[float] | None, injected: bool
    ) -> list[TurnChange]:
        """Take the answer to a frame, after its words.

        heard_samples: the end of the frame. finalized_samples: every word that starts before this has been pushed,
        final. pauses: a probability a head, None without heads. injected: the frame has silence of the service's own
        in it. Returns the changes to be sent after the frame's words, at most one.
        """
        settings = self._settings
        probability = self._hear(heard_samples, pauses, injected)
        if not settings.enabled or self._phase is not _Phase.SPEAKING:
            return []
        if self._paused_for(heard_samples, settings.min_silence_samples):
            if not settings.flush_on_end:
                return self._end(heard_samples, probability)
            self._phase = _Phase.ENDING
            self._end_probability = probability
        elif self._wordless(finalized_samples):
            # Words after this are not known yet: the place that decided is here and not at what was heard.
            return self._end(finalized_samples, None)
        return self._probe_eager(heard_samples, probability)

    def flushed(self, position_samples: int) -> list[TurnChange]:
        """Take that all words of the audio before this position have been pushed. Returns the END that waited."""
        return self.end_now(position_samples) if self._phase is _Phase.ENDING else []

    def end_now(self, position_samples: int) -> list[TurnChange]:
        """End the turn under way, if any, all its words having been pushed: a flush with end_turn, or the end."""
        if self._phase is _Phase.WAITING:
            return []
        return self._end(position_samples, self._end_probability)

    def configure(self, settings: TurnSettings, position_samples: int) -> list[TurnChange]:
        """Change the settings from this position on. Turned off, they end the turn under way.

        An END that waits for a flush goes on waiting, whatever the new settings say of flushes.
        """
        self._settings = settings
        self._paused_since = None
        return [] if settings.enabled else self.end_now(position_samples)

    def _hear(self, heard_samples: int, pauses: Sequence[float] | None, injected: bool) -> float | None:
        """Follow the pause head. Returns its probability, None where it is not looked at."""
        head = self._settings.head
        if injected:
            self._settling = SETTLING_FRAMES
        elif self._settling:
            self._settling -= 1
        elif head is not None and pauses is not None:
            probability = pauses[head]
            if probability < self._settings.end_threshold:
                self._paused_since = None
            elif self._paused_since is None:
                self._paused_since = heard_samples
            return probability
        self._paused_since = None
        return None

    def _paused_for(self, heard_samples: int, samples: int) -> bool:
        # A pause before the turn is none of the turn's: a start that the heads missed must not end at once.
        since = self._paused_since
        return since is not None and heard_samples - max(since, self._turn_start) >= samples

    def _wordless(self, finalized_samples: int) -> bool:
        settings = self._settings
        # Without heads min_silence decides; max_silence is never below it.
        silence = settings.min_silence_samples if settings.head is None else settings.max_silence_samples
        # The last word may itself not be final yet.
        return finalized_samples > self._word_start and finalized_samples - self._word_end >= silence

    def _probe_eager(self, heard_samples: int, probability: float | None) -> list[TurnChange]:
        if probability is None:
            return []
        threshold = self._settings.eager_end_threshold
        reached = threshold is not None and probability >= threshold
        # The end that waits for a flush is sure: nothing resumes.
        if reached == self._eager or (self._eager and self._phase is _Phase.ENDING):
            return []
        self._eager = reached
        kind = TurnKind.EAGER_END if reached else TurnKind.RESUMED
        return [TurnChange(kind, self._turn_index, heard_samples, probability)]

    def _end(self, position_samples: int, probability: float | None) -> list[TurnChange]:
        change = TurnChange(TurnKind.END, self._turn_index, max(position_samples, self._turn_start), probability)
        self._divide = change.position_samples
        self._turn_index += 1
        self._phase = _Phase.WAITING
        self._eager = False
        self._end_probability = None
        return [change]
