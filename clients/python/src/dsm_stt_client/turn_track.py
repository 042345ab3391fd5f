"""The turns that a stream's caller has heard of: a call that continues another neither repeats nor drops one."""

from __future__ import annotations

from dsm_stt_client.events import TurnKind


class TurnTrack:
    """One a stream; told of every turn event, in order."""

    def __init__(self, first_index: int) -> None:
        self._index = first_index
        self._started = first_index - 1
        self._ended = first_index - 1
        self._ended_at_s = 0.0

    @property
    def is_open(self) -> bool:
        """Tell whether a turn has started and not ended."""
        return self._started > self._ended

    def is_new(self, kind: TurnKind, index: int, offset_s: float) -> bool:
        """Take an event; False if the caller has had it already."""
        if kind is TurnKind.START:
            if index <= self._started:
                return False
            self._started = self._index = index
        elif kind is TurnKind.END:
            if index <= self._ended:
                return False
            self._ended, self._ended_at_s = index, offset_s
        return True

    def note_words(self, index: int) -> None:
        """Take the turn of words, which without turn events is all there is."""
        self._index = max(self._index, index)

    def words_from_s(self, finalized_s: float) -> float:
        """Return from where on words cannot belong to a turn that is over: a new call would count them to the next."""
        return min(self._ended_at_s, finalized_s)

    def next_index(self, finalized_s: float) -> int:
        """Return the number of a new call's first turn: the last one's while words of it may still come."""
        over = self._ended == self._index and self._ended_at_s <= finalized_s
        return self._index + 1 if over else self._index
