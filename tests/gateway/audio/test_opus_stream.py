from __future__ import annotations

import numpy as np
import pytest

from services.common.errors import MalformedAudio
from services.gateway.audio import AudioFormat, AudioStream, Encoding, opus
from tests.gateway.audio.oggs import FIRST, LAST, OPUS_TAGS, opus_head, opus_packets, opus_stream, page
from tests.gateway.audio.signals import encode, snr_db, speech_like, write

OPUS = AudioFormat(Encoding.OGG_OPUS)
PRE_SKIP = 312
SPEECH = speech_like(0.5, 48_000, seed=1)
PACKETS = opus_packets(SPEECH)
HEADERS = page([opus_head()], sequence=0, flags=FIRST) + page([OPUS_TAGS], sequence=1)


def _decoded(content: bytes, audio_format: AudioFormat = OPUS) -> np.ndarray:
    stream = AudioStream(audio_format)
    return np.concatenate([stream.push(content), stream.finish()])


def test_the_samples_before_the_audio_and_those_behind_its_end_are_cut() -> None:
    came = _decoded(opus_stream(PACKETS, last_granule=PRE_SKIP + SPEECH.size))
    assert came.size == 12_000
    assert snr_db(speech_like(0.5, 24_000, seed=1), came) > 20


def test_a_pre_skip_longer_than_a_packet_is_cut() -> None:
    came = _decoded(opus_stream(PACKETS, pre_skip=3_840))
    assert came.size == (len(PACKETS) * 960 - 3_840) // 2


def test_the_end_is_counted_from_the_page_before_when_the_stream_began_earlier() -> None:
    content = HEADERS + page(PACKETS[:20], sequence=812, granule=960_000)
    content += page(PACKETS[20:22], sequence=813, granule=960_000 + 1_000, flags=LAST)
    assert _decoded(content).size == (20 * 960 + 1_000 - PRE_SKIP) // 2


@pytest.mark.parametrize("granule", [0, -1, 10**12])
def test_an_end_that_makes_no_sense_cuts_nothing(granule: int) -> None:
    content = HEADERS + page(PACKETS[:20], sequence=2, granule=19_200)
    content += page(PACKETS[20:22], sequence=3, granule=granule, flags=LAST)
    assert _decoded(content).size == (22 * 960 - PRE_SKIP) // 2


def test_a_stream_without_a_last_page_is_whole() -> None:
    came = _decoded(HEADERS + page(PACKETS, sequence=2, granule=960 * len(PACKETS)))
    assert came.size == (960 * len(PACKETS) - PRE_SKIP) // 2


def test_a_packet_that_goes_on_over_pages_is_one_packet() -> None:
    long_packet = _padded(PACKETS[5], 600)
    plain = HEADERS + page([PACKETS[4], long_packet], sequence=2, granule=1_920)
    split = HEADERS + page([PACKETS[4], long_packet[:510]], sequence=2, granule=960, open_ended=True)
    split += page([long_packet[510:]], sequence=3, granule=1_920, flags=1)
    assert np.array_equal(_decoded(plain), _decoded(split))


def _padded(packet: bytes, length: int) -> bytes:
    # A packet of code 0 (RFC 6716, section 3.2) is its TOC and one frame. As code 3 it may have padding as well: TOC,
    # count of frames, length of the padding, 254 bytes for each byte of 255, then the frame and the padding.
    assert packet[0] & 3 == 0
    full, rest = divmod(length - len(packet) - 2, 255)
    padded = bytes([packet[0] | 3, 0x41, *[255] * full, rest]) + packet[1:] + bytes(254 * full + rest)
    assert len(padded) == length
    return padded


def test_streams_behind_each_other_are_one_audio() -> None:
    one = opus_stream(PACKETS[:10], stream=1)
    other = write(np.stack([SPEECH, SPEECH], axis=1), 48_000, 2, muxer="ogg", codec="libopus", sample_format="flt")
    chained = _decoded(one + other + one)
    assert chained.size == 2 * _decoded(one).size + 12_000


def test_two_channels_become_their_mean() -> None:
    silent_right = np.stack([SPEECH, np.zeros_like(SPEECH)], axis=1)
    came = _decoded(encode(silent_right, 48_000, 2, Encoding.OGG_OPUS))
    assert snr_db(speech_like(0.5, 24_000, seed=1) / 2, came) > 15


def test_the_gain_of_the_header_is_applied() -> None:
    plain = _decoded(opus_stream(PACKETS))
    louder = _decoded(opus_stream(PACKETS, gain=round(6.0206 * 256)))
    assert snr_db(plain * 2, louder) > 40


def test_pages_are_decoded_when_they_are_complete() -> None:
    stream = AudioStream(OPUS)
    stream.push(HEADERS)
    whole = page(PACKETS[:2], sequence=2, granule=1_920)
    assert stream.push(whole[:-1]).size == 0
    assert stream.received_s == 0
    assert stream.push(whole[-1:]).size > 0
    assert stream.received_s == pytest.approx((1_920 - PRE_SKIP) / 48_000)


def test_a_drain_within_a_page_loses_nothing() -> None:
    content = HEADERS + page(PACKETS[:5], sequence=2, granule=4_800) + page(PACKETS[5:9], sequence=3, granule=8_640)
    stream = AudioStream(OPUS)
    blocks = [stream.push(content[:-100]), stream.drain(), stream.push(content[-100:]), stream.finish()]
    assert sum(block.size for block in blocks) == (9 * 960 - PRE_SKIP) // 2


@pytest.mark.parametrize("rate", [0, 16_000, 48_000])
def test_the_configured_rate_may_be_that_of_the_header(rate: int) -> None:
    assert _decoded(opus_stream(PACKETS, rate=16_000), AudioFormat(Encoding.OGG_OPUS, rate)).size > 0


def test_another_rate_than_the_header_says_is_refused() -> None:
    with pytest.raises(MalformedAudio, match="wanted the configured 24000 Hz, came Opus of 16000 Hz"):
        _decoded(opus_stream(PACKETS, rate=16_000), AudioFormat(Encoding.OGG_OPUS, 24_000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (page([b"\x01vorbis..."], sequence=0, flags=FIRST), "wanted Opus in Ogg, came Vorbis"),
        (page([b"fishead"], sequence=0, flags=FIRST), "wanted Opus in Ogg, came another codec"),
        (page([], sequence=0, flags=FIRST), "wanted Opus in Ogg, came another codec"),
        (page([b"OpusHead\x01"], sequence=0, flags=FIRST), "wanted OpusHead alone"),
        (page([opus_head(), OPUS_TAGS], sequence=0, flags=FIRST), "wanted OpusHead alone"),
        (page([opus_head(channels=6, family=1)], sequence=0, flags=FIRST), "1 or 2 channels, came 6"),
        (page([opus_head(channels=0)], sequence=0, flags=FIRST), "1 or 2 channels, came 0"),
        (page([opus_head(version=16)], sequence=0, flags=FIRST), "version 0 or 1, came 16"),
        (page([opus_head()], sequence=0), "a page of another"),
        (HEADERS + page(PACKETS[:1], sequence=2, stream=8), "a page of another"),
        (opus_stream(PACKETS[:3]) + page(PACKETS[:1], sequence=5), "one that has ended"),
        (page([opus_head()], sequence=0, flags=FIRST) + page(PACKETS[:1], sequence=1), "wanted OpusTags"),
        (HEADERS + page([b""], sequence=2), "came an empty one"),
        (HEADERS + page([b"\xff" * 40], sequence=2), "came 40 bytes that are none"),
        (HEADERS + page([b"rest"], sequence=2, flags=1), "goes on with a packet"),
        (HEADERS + page([b"x" * 255], sequence=2, open_ended=True) + page([b"y"], sequence=3), "goes on with a packet"),
        (HEADERS + page([b"x" * 255], sequence=2, open_ended=True) + HEADERS, "wanted the rest of an Opus packet"),
        (b"RIFF", "OggS"),
    ],
)
def test_what_is_no_opus_in_ogg_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(MalformedAudio, match=message):
        _decoded(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Og", "whole Ogg pages"),
        (HEADERS[:40], "whole Ogg pages"),
        (page([opus_head()], sequence=0, flags=FIRST), "whole Opus packets"),
        (HEADERS + page([b"x" * 255], sequence=2, open_ended=True), "whole Opus packets"),
        (opus_stream(PACKETS)[:-1], "whole Ogg pages"),
    ],
)
def test_a_stream_that_stops_in_the_middle_is_refused_at_its_end(content: bytes, message: str) -> None:
    stream = AudioStream(OPUS)
    stream.push(content)
    with pytest.raises(MalformedAudio, match=message):
        stream.finish()


def test_nothing_at_all_is_a_stream_of_no_audio() -> None:
    assert _decoded(b"").size == 0


def test_the_rest_of_a_packet_whose_beginning_is_lost_is_left_out() -> None:
    content = HEADERS + page([b"rest", PACKETS[0]], sequence=9, granule=960, flags=1)
    assert _decoded(content).size == (960 - PRE_SKIP) // 2


def test_tags_with_a_picture_are_skipped_and_not_kept() -> None:
    stream = AudioStream(OPUS)
    stream.push(page([opus_head()], sequence=0, flags=FIRST))
    stream.push(page([b"OpusTags" + bytes(502)], sequence=1, open_ended=True))
    for sequence in range(2, 5):
        stream.push(page([bytes(65_025)], sequence=sequence, flags=1, open_ended=True))
    stream.push(page([bytes(3)], sequence=5, flags=1))
    assert stream.push(page(PACKETS[:4], sequence=6, granule=3_840)).size > 0


def test_tags_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opus, "_MOST_TAGS_BYTES", 100_000)
    stream = AudioStream(OPUS)
    stream.push(page([opus_head()], sequence=0, flags=FIRST))
    stream.push(page([b"OpusTags" + bytes(502)], sequence=1, open_ended=True))
    stream.push(page([bytes(65_025)], sequence=2, flags=1, open_ended=True))
    with pytest.raises(MalformedAudio, match="OpusTags of at most 100000 bytes"):
        stream.push(page([bytes(65_025)], sequence=3, flags=1, open_ended=True))


def test_a_packet_without_an_end_is_refused() -> None:
    stream = AudioStream(OPUS)
    stream.push(HEADERS + page([bytes(65_025)], sequence=2, open_ended=True))
    with pytest.raises(MalformedAudio, match="Opus packets of at most"):
        stream.push(page([bytes(65_025)], sequence=3, flags=1, open_ended=True))
