"""How a text is spoken besides the voice: tempo, melody of the end; used by every engine.

The engines by themselves say a digit in a third of a second. People who record prompts take 0.7 s for it, and say the
words of a list with the melody of a question, of an unfinished sentence or of a statement.
"""

from typing import Protocol

import numpy as np


class Manner(Protocol):
    """Varies what an engine does by itself."""

    varied: bool
    """Whether an engine is to vary whatever else it can."""

    def stretch(self, random: np.random.Generator, text: str) -> float:
        """Return how many times longer than by the engine's own tempo the text is to last."""

    def ended(self, random: np.random.Generator, text: str) -> str:
        """Return the text with a punctuation mark that gives its end some melody."""


class Plain:
    """As the engine speaks by itself; draws nothing, so that the texts of the test sets sound as they always did."""

    varied = False

    def stretch(self, random: np.random.Generator, text: str) -> float:
        """Return 1."""
        return 1.0

    def ended(self, random: np.random.Generator, text: str) -> str:
        """Return a statement."""
        return text + "."


class Varied:
    """Some short texts slowly, as prompts are recorded, some of any length fast, with any ending; for training.

    careful, brisk: parts of the texts that are said slowly and fast.
    """

    varied = True
    longest_careful_words = 8
    """A longer text is never said slowly: nobody does, and the minutes would go into few words."""
    slowest, fastest = 1.8, 0.6
    endings = (".", ".", ".", ",", "?", "!")

    def __init__(self, careful: float = 0.45, brisk: float = 0.2) -> None:
        self.careful, self.brisk = careful, brisk

    def stretch(self, random: np.random.Generator, text: str) -> float:
        """Return `fastest` to `slowest`."""
        draw = random.random()
        if draw < self.brisk:
            return float(random.uniform(self.fastest, 0.9))
        short = len(text.split()) <= self.longest_careful_words
        return float(random.uniform(1.0, self.slowest)) if short and draw < self.brisk + self.careful else 1.0

    def ended(self, random: np.random.Generator, text: str) -> str:
        """Return a statement most of the time."""
        return text + str(random.choice(self.endings))
