"""An LM engine that notes what it was asked and what it answered, for tests that compare with moshi token for token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.lm.engine import History, LmEngine, LmStep


@dataclass
class Record:
    """One use of a slot: the codes fed, and text[0] and the token of each frame."""

    codes: list[NDArray[np.uint16]] = field(default_factory=list)
    text_tokens: list[int] = field(default_factory=list)
    pauses: list[NDArray[np.float32]] = field(default_factory=list)


class RecordingLmEngine:
    """Wraps an LmEngine."""

    def __init__(self, engine: LmEngine) -> None:
        self._engine = engine
        self.slots = engine.slots
        self.burst = engine.burst
        self.codebooks = engine.codebooks
        self.cardinality = engine.cardinality
        self.text_cardinality = engine.text_cardinality
        self.heads = engine.heads
        self.records: list[Record] = []
        self._of_slot: dict[int, Record] = {}

    def open(self, slot: int, history: History | None = None, /) -> Iterator[None] | None:
        rest = self._engine.open(slot, history)
        self._of_slot[slot] = Record()
        self.records.append(self._of_slot[slot])
        return rest

    def step(self, slots: NDArray[np.int64], codes: NDArray[np.uint16], /) -> LmStep:
        result = self._engine.step(slots, codes)
        for row, slot in enumerate(slots.tolist()):
            record = self._of_slot[slot]
            if record.text_tokens:
                record.codes.append(codes[row].copy())
            record.text_tokens.append(int(result.text_tokens[row]))
            record.pauses.append(result.pauses[row].copy())
        return result

    def close(self, slot: int, /) -> None:
        self._engine.close(slot)
