"""Opens go in order, in messages that a worker accepts."""

from __future__ import annotations

from dsm_stt.codec.v1 import codec_pb2
from services.gateway.upstream.pending_opens import MOST_BYTES, PendingOpens


def opens(*sizes: int) -> PendingOpens[codec_pb2.SessionOpen]:
    """Make opens of sessions 1, 2, … with histories of so many bytes."""
    pending: PendingOpens[codec_pb2.SessionOpen] = PendingOpens()
    for number, size in enumerate(sizes, start=1):
        pending.add(codec_pb2.SessionOpen(session=number, warmup_pcm=bytes(size)))
    return pending


def taken(pending: PendingOpens[codec_pb2.SessionOpen]) -> list[list[int]]:
    messages = []
    while pending:
        messages.append([opening.session for opening in pending.take()])
    return messages


def test_what_is_small_goes_together() -> None:
    assert taken(opens(0, 10, 0)) == [[1, 2, 3]]


def test_histories_are_spread_over_messages_in_order() -> None:
    third = MOST_BYTES // 3
    assert taken(opens(third - 20, third - 20, third - 20, 0, third, third, third)) == [[1, 2, 3, 4], [5, 6], [7]]


def test_one_that_is_larger_than_a_share_of_a_message_goes_alone() -> None:
    assert taken(opens(MOST_BYTES + 1, MOST_BYTES + 1, 0)) == [[1], [2], [3]]


def test_one_that_is_not_wanted_any_more_is_not_sent() -> None:
    pending = opens(0, 0, 0)
    assert pending.drop(2)
    assert not pending.drop(2)
    assert taken(pending) == [[1, 3]]
    assert not pending.drop(1)


def test_nothing_waits_in_an_empty_queue() -> None:
    assert not opens()
    assert opens().take() == []
