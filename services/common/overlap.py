"""Sends the rows of the next step to a device while the present step runs there; the step loop calls it.

Only what waits already is sent: who takes part in a step is decided when it begins, so a frame that comes in the
meantime is in the next step as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ResultT_co = TypeVar("ResultT_co", covariant=True)
SessionT = TypeVar("SessionT", bound=Hashable)
Row = tuple[SessionT, NDArray[Any]]


@runtime_checkable
class OverlappingEngine(Protocol[ResultT_co]):
    """An engine whose device computes by itself, so that the host may prepare the next step meanwhile.

    overlaps: whether that is worth while; where it is, a slot has one row in a step.
    """

    overlaps: bool

    def stage(self, rows: NDArray[Any]) -> None:
        """Send rows of the next step ahead, while one is under way."""

    def start(self, slots: NDArray[np.int64], rows: NDArray[Any], staged: int) -> Callable[[], ResultT_co]:
        """Begin a step; returns what waits for its result, to be called before the next start.

        staged: how many of the rows, the first ones, were sent ahead. If it is not all that were, none counts.
        """


class RowsAhead(Generic[SessionT]):
    """The rows that were sent ahead of the step they are for."""

    def __init__(self) -> None:
        self._sent: list[Row[SessionT]] = []

    def order(self, taken: Sequence[Row[SessionT]]) -> tuple[list[Row[SessionT]], int]:
        """Put the rows sent ahead first, in their order. Returns all rows and how many were sent.

        None was, if one of them is not taken: its session has ended.
        """
        sent, self._sent = self._sent, []
        numbers = {(session, id(row)): number for number, (session, row) in enumerate(sent)}
        # By identity: `sent` keeps its rows alive, so no other can have the number of one of them.
        first = [pair for pair in taken if (pair[0], id(pair[1])) in numbers]
        if len(first) < len(sent):
            return list(taken), 0
        first.sort(key=lambda pair: numbers[pair[0], id(pair[1])])
        return first + [pair for pair in taken if (pair[0], id(pair[1])) not in numbers], len(first)

    def send(self, engine: OverlappingEngine[Any], waiting: Sequence[Row[SessionT]]) -> None:
        """Send rows that wait; at most one of a session."""
        self._sent = list(waiting)
        if waiting:
            engine.stage(np.stack([row for _, row in waiting]))
