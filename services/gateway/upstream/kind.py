"""Which of the two kinds of worker."""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """A kind of worker, and what messages call it."""

    CODEC = "codec"
    LM = "LM"

    @property
    def label(self) -> str:
        """Return what metrics and spans call it."""
        return self.value.lower()
