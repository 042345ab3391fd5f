"""What a stream tells: one class an event, as in speech.proto. Offsets are seconds of the caller's audio."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cursors:
    """How far the audio has come: received >= processed >= finalized, and none ever runs backwards.

    Every word that starts before finalized_s has been sent, final.
    """

    received_s: float = 0.0
    processed_s: float = 0.0
    finalized_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Word:
    """One word; its end is an estimate."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events. sequence: 1 for the stream's first, and one more each event, reconnections or not."""

    sequence: int
    cursors: Cursors


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStarted(Event):
    """First; and again, with `resumed`, each time the stream has moved to another connection.

    delay_s: between a sound and its word. pause_horizons_s: of Vad; empty for models without pause heads.
    """

    session_id: str
    model: str
    delay_s: float
    frame_duration_s: float
    pause_horizons_s: tuple[float, ...]
    idle_timeout_s: float
    max_duration_s: float
    request_id: str
    resumed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Event):
    """Words. Those of a final result never change and are not sent again; the next result replaces an interim one."""

    turn_index: int
    is_final: bool
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """Return the words joined by spaces."""
        return " ".join(word.text for word in self.words)


class TurnKind(enum.IntEnum):
    """What happened to a turn."""

    START = 1
    EAGER_END = 2
    RESUMED = 3
    END = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Event):
    """A turn has started, probably ended, gone on, or ended. probability: of the pause head that decided, if any."""

    kind: TurnKind
    turn_index: int
    audio_offset_s: float
    probability: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Vad(Event):
    """The probability that the speaker pauses, one a horizon of SessionStarted.pause_horizons_s."""

    audio_offset_s: float
    pause_probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushDone(Event):
    """Every word of the audio before the flush has come."""

    flush_id: str
    audio_offset_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateApplied(Event):
    """An update has taken effect."""

    update_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoAway(Event):
    """The gateway will end the stream in time_left_s. A resumable stream moves by itself; others should finish."""

    time_left_s: float


class WarningCode(enum.IntEnum):
    """What is amiss; see speech.proto. A code that this version does not know is UNSPECIFIED."""

    UNSPECIFIED = 0
    LAGGING = 1
    STALLED = 2
    UNTRAINED_MODEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Warning(Event):
    """Something that the caller should know; the message is for people."""

    code: WarningCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnded(Event):
    """Last, once: the transcript is complete. words: final words of the whole stream, reconnections or not."""

    audio_duration_s: float
    words: int


@dataclass(frozen=True, slots=True)
class TurnMark:
    """Where a turn of a whole recording starts or ends."""

    kind: TurnKind
    turn_index: int
    audio_offset_s: float
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """A whole recording. turns: if they were asked for."""

    text: str
    words: tuple[Word, ...]
    turns: tuple[TurnMark, ...]
    audio_duration_s: float
    model: str
    session_id: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model that is served. pause_horizons_s: empty without pause heads. trained: False for seeded weights."""

    name: str
    language_codes: tuple[str, ...]
    delay_s: float
    pause_horizons_s: tuple[float, ...]
    is_default: bool
    trained: bool
    slots_total: int
    slots_free: int
