"""The turns that a stream's caller has heard of: a call that continues another neither repeats nor drops one.

A turn's END may be heard while words of it are still to come; until those are final, a new call goes on with that turn,
and hears its last word again: without a word in it the service would neither start it nor end it.
"""

from __future__ import annotations

from dsm_stt_client.events import TurnKind


class TurnTrack:
    """One a stream; told of every turn event, in order."""

    def __init__(self, first_index: int) -> None:
        self._index = first_index
        self._started = first_index - 1
        self._ended = first_index - 1
        # Where the last turn that ended did, and the one before it.
        self._ended_at_s = 0.0
        self._ended_before_s = 0.0

    def is_new(self, kind: TurnKind, index: int, offset_s: float) -> bool:
        """Take an event; False if the caller has had it already."""
        if kind is TurnKind.START:
            if index <= self._started:
                return False
            self._started = self._index = index
        elif kind is TurnKind.END:
            if index <= self._ended:
                return False
            self._ended = index
            self._ended_before_s, self._ended_at_s = self._ended_at_s, offset_s
        return True

    def note_words(self, index: int) -> None:
        """Take the turn of words, which without turn events is all there is."""
        self._index = max(self._index, index)

    def is_open(self, finalized_s: float) -> bool:
        """Tell whether a turn has started that is not over, or of which words may still come."""
        return self._started > self._ended or self._is_closing(finalized_s)

    def words_from_s(self, finalized_s: float) -> float:
        """Return from where on no word belongs to a turn before that of `next_index`."""
        return min(self._ended_before_s if self._is_closing(finalized_s) else self._ended_at_s, finalized_s)

    def next_index(self, finalized_s: float) -> int:
        """Return the number of a new call's first turn."""
        over = self._ended == self._index and not self._is_closing(finalized_s)
        return self._index + 1 if over else self._index

    def _is_closing(self, finalized_s: float) -> bool:
        return self._ended == self._index and self._ended_at_s > finalized_s
