"""From text tokens to timed words, by the rule that the services use; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from training.clips import Word
from training.targets import FRAME_RATE_HZ
from training.vocabulary import BOUNDARY, FIRST_WORD, PADDING, WORDS


@dataclass(frozen=True)
class EndRule:
    """Estimates where a word ends: base_ms + per_character_ms for each letter after its start.

    apart_ms: added for a word that begins after the end of the one before it.
    """

    base_ms: float
    per_character_ms: float
    apart_ms: float = 0.0

    def frames(self, word: str, *, apart: bool = False) -> int:
        """Return the estimated length in frames, at least 1."""
        length_ms = self.base_ms + self.per_character_ms * len(word) + (self.apart_ms if apart else 0.0)
        return max(1, round(length_ms / 1000 * FRAME_RATE_HZ))


def spelled(pieces: Sequence[int]) -> str:
    """Return the text of the pieces of one word."""
    return "".join(
        f" {WORDS[piece - FIRST_WORD]}" if FIRST_WORD <= piece < FIRST_WORD + len(WORDS) else "?" for piece in pieces
    ).strip()


def words_of(tokens: Sequence[int], delay_frames: int, rule: EndRule) -> list[Word]:
    """Return the timed words of `text[0], text[1], ...`.

    A 0 at index p marks a boundary at (p + 1 - delay_frames) / 12.5 s, the start of the word that
    follows. A word ends at its start plus the rule's length, not after a boundary that closes it.
    Words without a boundary of their own start one frame after the word before them.
    """
    out: list[Word] = []
    pieces: list[int] = []
    start: int | None = None
    last_end = -1

    def close(boundary: int | None) -> None:
        nonlocal start, last_end
        if not pieces or start is None:
            pieces.clear()
            return
        for index, text in enumerate(spelled(pieces).split()):
            end = start + rule.frames(text, apart=index == 0 and start > last_end)
            if boundary is not None:
                end = max(min(end, boundary), start + 1)
            out.append(Word(text, start / FRAME_RATE_HZ, end / FRAME_RATE_HZ))
            start, last_end = start + 1, end
        pieces.clear()
        start = None

    for index, token in enumerate(tokens):
        frame = max(0, index + 1 - delay_frames)
        if token == BOUNDARY:
            close(frame)
            start = frame if index + 1 >= delay_frames else None
        elif token == PADDING:
            close(None)
        elif start is not None or pieces:
            pieces.append(token)
        elif index + 1 >= delay_frames:
            start = max(0, frame - 1)
            pieces.append(token)
    close(None)
    return out
