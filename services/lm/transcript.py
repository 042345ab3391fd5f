"""Text tokens to timed words: what a session's tokens say, and when it was said.

One Transcript a session, advanced once a frame in the loop that hands out a step's answers; a padding token must cost
next to nothing. Pure: the tokens alone decide, so a second Transcript that is given the same tokens goes on exactly as
the first.

Frames. Token `text[p]` speaks about the audio frame `p + 1 - delay_frames`. A boundary token marks where the word
after it starts; tokens that are neither boundary nor padding are the word's pieces; the next boundary or padding
completes it. A frame below 0 is moved to 0, and a word of which no piece speaks about frame 0 or later is dropped: no
audio that could have held it was heard.

Each word has at least one frame; starts never run backwards; a word ends no later than the boundary that completed it.
An end estimated before the next word's start was known may lie after that start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from services.common.framing import FRAME_MS

# Sentencepiece writes the space before a word so.
WORD_START = "\u2581"
# What sentencepiece makes of bytes that are not, or not yet, a character.
_NO_CHARACTER = "\ufffd"

# A boundary is followed by its word at once. One that is not, for a second, was a slip: it must not give a later word
# its time, nor hold back for ever what is known to be final.
BOUNDARY_WAIT_FRAMES = 12
# A last word that nothing closed is taken to last at most a second, in whole frames.
UNCLOSED_WORD_FRAMES = 12
# Four seconds of pieces without padding or boundary are no word but a model gone astray (or one never trained): they
# are let go, so that neither memory nor the wait for them grows.
MOST_PIECES = 50


@dataclass(frozen=True, slots=True)
class Word:
    """A word without spaces, from start_frame up to (not including) end_frame; not final while it still grows."""

    text: str
    start_frame: int
    end_frame: int
    final: bool


@dataclass(frozen=True)
class WordEnds:
    """How long a word probably lasts, by its characters; no number below 0.

    apart_ms: what is added for a word that begins after the end of the one before it. Who pauses between words says
    them slowly, and the last word before a pause is drawn out.
    """

    base_ms: float
    per_character_ms: float
    apart_ms: float = 0.0

    def frames(self, text: str, *, apart: bool = False) -> int:
        """Estimate a word's length in frames, at least 1."""
        length_ms = self.base_ms + self.per_character_ms * len(text) + (self.apart_ms if apart else 0.0)
        return max(1, round(length_ms / FRAME_MS))


class Vocabulary(Protocol):
    """What the text tokens stand for."""

    def decode(self, pieces: list[int]) -> str:
        """Return the text of consecutive pieces, spaces between words kept."""

    def piece(self, token: int) -> str:
        """Return one piece as it is written; one that begins a word starts with WORD_START."""


class Transcript:
    """The words of one session."""

    __slots__ = (
        "_boundary",
        "_boundary_token",
        "_ends",
        "_first_frame",
        "_frame",
        "_interim",
        "_last_end",
        "_padding_token",
        "_pieces",
        "_shown",
        "_start",
        "_vocabulary",
    )

    def __init__(
        self,
        vocabulary: Vocabulary,
        delay_frames: int,
        ends: WordEnds,
        *,
        interim: bool = False,
        first_frame: int = 0,
        boundary_token: int = 0,
        padding_token: int = 3,
    ) -> None:
        self._vocabulary = vocabulary
        self._ends = ends
        self._interim = interim
        self._boundary_token = boundary_token
        self._padding_token = padding_token
        # Of the next token; below 0 while the model has not heard enough to speak.
        self._frame = first_frame + 1 - delay_frames
        # Of the boundary that waits for its pieces.
        self._boundary: int | None = None
        # The open word, if it has pieces: where it starts, and the frame of its first piece.
        self._pieces: list[int] = []
        self._start = 0
        self._first_frame = 0
        # Where the last final word ended; nothing was said before the first.
        self._last_end = -1
        self._shown: list[Word] = []

    def push(self, token: int) -> list[Word]:
        """Take the next text token, text[0] first.

        Returns the final words that it completes; or, with interim, the words that grew, which replace those that
        were returned as interim before.
        """
        frame = self._frame
        self._frame = frame + 1
        if token == self._padding_token:
            return self._complete() if self._pieces else []
        if token == self._boundary_token:
            words = self._complete(ends_by=frame) if self._pieces else []
            self._boundary = frame
            return words
        if not self._pieces:
            self._begin(frame)
        self._pieces.append(token)
        if len(self._pieces) == MOST_PIECES:
            return self._complete()
        return self._grow() if self._interim else []

    def finish(self) -> list[Word]:
        """Complete the open word, at the end of a flush or of the session; what comes later starts afresh."""
        self._boundary = None
        return self._complete(longest=UNCLOSED_WORD_FRAMES) if self._pieces else []

    @property
    def pending_frame(self) -> int | None:
        """Return where the word starts that is open or announced; None if the next one starts with a later token."""
        if self._pieces:
            return max(0, self._start)
        if self._boundary is not None and self._frame - self._boundary <= BOUNDARY_WAIT_FRAMES:
            return max(0, self._boundary)
        return None

    @property
    def final_frame(self) -> int:
        """Return the frame before which every word has been returned, final."""
        pending = self.pending_frame
        return max(0, self._frame) if pending is None else pending

    def _begin(self, frame: int) -> None:
        announced = self._boundary
        self._boundary = None
        self._start = frame if announced is None or frame - announced > BOUNDARY_WAIT_FRAMES else announced
        self._first_frame = frame

    def _complete(self, ends_by: int | None = None, longest: int | None = None) -> list[Word]:
        words = self._words(True, ends_by, longest)
        if words:
            self._last_end = words[-1].end_frame
        self._pieces = []
        self._shown = []
        return words

    def _grow(self) -> list[Word]:
        words = self._words(False)
        if words == self._shown:
            return []
        self._shown = words
        return words

    def _words(self, final: bool, ends_by: int | None = None, longest: int | None = None) -> list[Word]:
        """Make the words of the open pieces.

        ends_by: the frame of the boundary that completes them. longest: frames that the last may have.
        """
        texts = self._texts()
        if not final and texts:
            # The bytes of a character may not all be there yet.
            text, start = texts.pop()
            text = text.rstrip(_NO_CHARACTER)
            if text:
                texts.append((text, start))
        words: list[Word] = []
        last = len(texts) - 1
        for index, (text, start) in enumerate(texts):
            first = max(0, start)
            if index < last:
                end = max(texts[index + 1][1], first + 1)
            else:
                frames = self._ends.frames(text, apart=index == 0 and first > self._last_end)
                end = first + (frames if longest is None else min(frames, longest))
                if ends_by is not None:
                    end = min(end, ends_by)
            words.append(Word(text, first, end, final))
        return words

    def _texts(self) -> list[tuple[str, int]]:
        """Return the words of the open pieces and where each starts, frames below 0 as they are.

        Usually one. Several words without a boundary between them take a frame a piece, counted from the first's
        start. Bytes are decoded a whole word at a time, as a character may take several pieces.
        """
        texts: list[tuple[str, int]] = []
        taken = 0
        for pieces in self._groups():
            start = self._start + taken
            taken += len(pieces)
            if self._first_frame + taken <= 0:
                continue
            # A word cannot have spaces in it, whatever odd pieces (the unknown one, say) decode to.
            parts = self._vocabulary.decode(pieces).split()
            for index, part in enumerate(parts):
                texts.append((part, start + index * len(pieces) // len(parts)))
        return texts

    def _groups(self) -> list[list[int]]:
        """Split the open pieces where words begin."""
        groups: list[list[int]] = []
        for token in self._pieces:
            if not groups or self._vocabulary.piece(token).startswith(WORD_START):
                groups.append([])
            groups[-1].append(token)
        return groups
