"""What both kinds of stream put into their session, made from the arguments of their methods."""

from __future__ import annotations

import enum
import itertools
from typing import Final

from dsm_stt_client import messages
from dsm_stt_client.options import TurnOptions
from dsm_stt_client.proto import speech_pb2 as pb


class Keep(enum.Enum):
    """The type of KEEP."""

    KEEP = enum.auto()


# In an update: leave this option as it is.
KEEP: Final = Keep.KEEP

_numbers = itertools.count(1)


def flush(flush_id: str, end_turn: bool, reset_context: bool) -> pb.Flush:
    """Make a flush; without an id it gets one."""
    return pb.Flush(flush_id=flush_id or f"f{next(_numbers)}", end_turn=end_turn, reset_context=reset_context)


def update(update_id: str, turns: TurnOptions | Keep | None, vad_interval_s: float | Keep | None) -> pb.Update:
    """Make an update; without an id it gets one. The session fills in what cannot be changed."""
    return pb.Update(
        update_id=update_id or f"u{next(_numbers)}",
        turns=None if isinstance(turns, Keep) else messages.turn_options(turns),
        results=None if isinstance(vad_interval_s, Keep) else messages.result_options(False, vad_interval_s),
    )
