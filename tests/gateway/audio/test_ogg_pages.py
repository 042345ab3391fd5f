from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import MalformedAudio
from services.gateway.audio.ogg import Page, PageReader
from tests.gateway.audio.oggs import FIRST, LAST, page

PAGES = (
    page([b"one"], sequence=0, flags=FIRST)
    + page([b"two", b"", b"x" * 255, b"y" * 700], sequence=1, granule=960)
    + page([b"z" * 510], sequence=2, granule=-1, open_ended=True)
    + page([b"end"], sequence=3, granule=2_000, flags=1 | LAST)
)


def _read(content: bytes, size: int) -> list[Page]:
    reader = PageReader()
    pages = [found for at in range(0, len(content), size) for found in reader.read(content[at : at + size])]
    assert not reader.is_within_page
    return pages


def test_pages_are_read_with_their_packets() -> None:
    first, second, third, fourth = _read(PAGES, len(PAGES))
    assert (first.is_first, first.is_last, first.pieces) == (True, False, (b"one",))
    assert (second.granule, second.pieces) == (960, (b"two", b"", b"x" * 255, b"y" * 700))
    assert (third.granule, third.open_ended, third.pieces) == (-1, True, (b"z" * 510,))
    assert (fourth.continued, fourth.is_last, fourth.pieces) == (True, True, (b"end",))
    assert [p.sequence for p in (first, second, third, fourth)] == [0, 1, 2, 3]


@settings(deadline=None)
@given(st.integers(1, 200))
def test_pages_are_the_same_however_they_are_cut(size: int) -> None:
    assert _read(PAGES, size) == _read(PAGES, len(PAGES))


def test_the_longest_page_is_read() -> None:
    longest = page([b"q" * 255 * 255], sequence=0, open_ended=True)
    assert len(longest) == 65_307
    (found,) = _read(longest * 1, 60_000)
    assert found.pieces == (b"q" * 65_025,)


def test_an_unfinished_page_is_known() -> None:
    reader = PageReader()
    assert not list(reader.read(PAGES[:20]))
    assert reader.is_within_page


@pytest.mark.parametrize("content", [b"R", b"OggR", b"\0" * 8, PAGES + b"?"])
def test_bytes_that_are_no_page_are_refused_at_the_first(content: bytes) -> None:
    with pytest.raises(MalformedAudio, match="OggS"):
        list(PageReader().read(content))


def test_a_damaged_page_is_refused() -> None:
    damaged = bytearray(PAGES)
    damaged[100] ^= 1
    with pytest.raises(MalformedAudio, match="checksum"):
        list(PageReader().read(damaged))


def test_a_page_of_another_version_is_refused() -> None:
    with pytest.raises(MalformedAudio, match="version 0, came 1"):
        list(PageReader().read(page([b"one"], sequence=0, version=1)))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10), st.booleans())
def test_random_bytes_are_refused_and_not_kept(chunks: list[bytes], with_pattern: bool) -> None:
    reader = PageReader()
    try:
        for chunk in [b"OggS\0"] * with_pattern + chunks:
            list(reader.read(chunk))
    except MalformedAudio:
        pass
    assert len(reader._held) <= 65_307
