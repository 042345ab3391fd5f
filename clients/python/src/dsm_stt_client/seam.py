"""Which words of a call that continues another are new.

The new call hears the end of the old one's audio again, with less of the past, so it may place a word a frame or two
elsewhere, or hear another word there. It is therefore asked for words from a little before the end of what is final,
and those that were delivered already are recognised here: by text and place, or because they start no later than the
last word delivered. Words start at least two frames of 80 ms apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from dsm_stt_client.events import Word

# How far apart two calls may place the same word.
TOLERANCE_S = 0.24
# A word that starts later than this after the last one delivered is another.
_APART_S = 0.12


class Seam:
    """Made when the new call takes over; asked about each of its words, in order."""

    def __init__(self, delivered: Iterable[Word] = ()) -> None:
        """delivered: the last final words, in order."""
        self._delivered = list(delivered)
        self._last_start_s = self._delivered[-1].start_s if self._delivered else None

    def is_new(self, word: Word, final: bool) -> bool:
        """Tell whether to deliver a word. final: it is the word's last form, so it will not be asked about again."""
        if self._last_start_s is None:
            return True
        for index, known in enumerate(self._delivered):
            if known.text == word.text and abs(known.start_s - word.start_s) <= TOLERANCE_S:
                if final:
                    del self._delivered[: index + 1]
                return False
        return word.start_s > self._last_start_s + _APART_S
