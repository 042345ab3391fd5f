from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.errors import BadConfig, MalformedAudio
from services.gateway.audio import AudioFormat, AudioStream, Encoding
from tests.gateway.audio.oggs import FIRST, OPUS_TAGS, opus_head, page
from tests.gateway.audio.signals import encode, snr_db, speech_like

STREAMED = [Encoding.LINEAR16, Encoding.FLOAT32, Encoding.MULAW, Encoding.ALAW, Encoding.OGG_OPUS]
RATES = [8_000, 16_000, 24_000, 44_100, 48_000]
SAMPLE_BYTES = {Encoding.LINEAR16: 2, Encoding.FLOAT32: 4, Encoding.MULAW: 1, Encoding.ALAW: 1, Encoding.OGG_OPUS: 1}
# What the encoding itself loses, at the most: 16 bits and the filter; 8 bits in logarithmic steps; 64 kbit/s.
SNR_DB = {Encoding.LINEAR16: 55, Encoding.FLOAT32: 55, Encoding.MULAW: 35, Encoding.ALAW: 35, Encoding.OGG_OPUS: 20}


def _format(encoding: Encoding, rate: int, channels: int) -> AudioFormat:
    return AudioFormat(encoding, rate if encoding is not Encoding.OGG_OPUS else 0, channels)


def _decoded(audio_format: AudioFormat, chunks: list[bytes]) -> np.ndarray:
    stream = AudioStream(audio_format)
    return np.concatenate([*map(stream.push, chunks), stream.finish()])


def _cut(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("encoding", STREAMED)
def test_the_same_speech_comes_out_of_every_encoding_rate_and_number_of_channels(
    encoding: Encoding, rate: int, channels: int
) -> None:
    content = encode(speech_like(1, rate), rate, channels, encoding)
    came = _decoded(_format(encoding, rate, channels), [content])
    assert came.dtype == np.float32
    assert came.size == 24_000
    assert snr_db(speech_like(1, 24_000), came) > SNR_DB[encoding]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("encoding", STREAMED)
def test_the_samples_are_the_same_however_the_bytes_are_cut(encoding: Encoding, rate: int, channels: int) -> None:
    content = encode(speech_like(1.3, rate), rate, channels, encoding)
    frame_bytes = SAMPLE_BYTES[encoding] * channels
    audio_format = _format(encoding, rate, channels)
    whole = _decoded(audio_format, [content])
    for size in (rate // 50 * frame_bytes, rate * frame_bytes, 1_021):
        assert np.array_equal(_decoded(audio_format, _cut(content, size)), whole)
    # Sample by sample, and for raw samples of several bytes byte by byte, for the first 50 ms or all of the Opus.
    beginning = content if encoding is Encoding.OGG_OPUS else content[: rate // 20 * frame_bytes]
    expected = _decoded(audio_format, [beginning])
    for size in {1, frame_bytes}:
        assert np.array_equal(_decoded(audio_format, _cut(beginning, size)), expected)


CONTENTS = {encoding: encode(speech_like(0.4, 16_000), 16_000, 2, encoding) for encoding in STREAMED}
WHOLE = {encoding: _decoded(_format(encoding, 16_000, 2), [content]) for encoding, content in CONTENTS.items()}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMED), st.lists(st.floats(0, 1), max_size=40))
def test_the_samples_are_the_same_for_random_cuts(encoding: Encoding, cuts: list[float]) -> None:
    content = CONTENTS[encoding]
    bounds = sorted({0, len(content), *(round(cut * len(content)) for cut in cuts)})
    chunks = [content[start:end] for start, end in pairwise(bounds)]
    assert np.array_equal(_decoded(_format(encoding, 16_000, 2), [b"", *chunks]), WHOLE[encoding])


def test_linear16_at_24_khz_is_bit_exact() -> None:
    every_sample = np.arange(-32_768, 32_768).astype("<i2")
    came = _decoded(AudioFormat(Encoding.LINEAR16, 24_000), _cut(every_sample.tobytes(), 961))
    assert np.array_equal(came, every_sample.astype(np.float32) / np.float32(32_768))


def test_float32_at_24_khz_is_bit_exact_and_clipped() -> None:
    values = np.random.default_rng(0).uniform(-1.5, 1.5, 5_000).astype("<f4")
    came = _decoded(AudioFormat(Encoding.FLOAT32, 24_000), _cut(values.tobytes(), 963))
    assert np.array_equal(came, np.clip(values, -1, 1))


def test_two_channels_become_their_mean() -> None:
    left_right = np.random.default_rng(0).integers(-32_768, 32_768, (4_000, 2)).astype("<i2")
    came = _decoded(AudioFormat(Encoding.LINEAR16, 24_000, 2), [left_right.tobytes()])
    assert np.array_equal(came, (left_right.astype(np.float64).mean(axis=1) / 32_768).astype(np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_float32_that_is_no_number_is_refused(value: float) -> None:
    stream = AudioStream(AudioFormat(Encoding.FLOAT32, 16_000))
    with pytest.raises(MalformedAudio, match="NaN or infinity"):
        stream.push(np.array([0, value], "<f4").tobytes())


@pytest.mark.parametrize(
    ("encoding", "channels", "left"),
    [(Encoding.LINEAR16, 1, 1), (Encoding.LINEAR16, 2, 2), (Encoding.FLOAT32, 1, 3), (Encoding.MULAW, 2, 1)],
)
def test_a_cut_sample_at_the_end_is_refused(encoding: Encoding, channels: int, left: int) -> None:
    stream = AudioStream(AudioFormat(encoding, 16_000, channels))
    stream.push(bytes(64 + left))
    with pytest.raises(MalformedAudio, match=rf"wanted whole samples of .* came {left} at the end"):
        stream.finish()


def test_received_counts_whole_samples_of_the_source() -> None:
    stream = AudioStream(AudioFormat(Encoding.LINEAR16, 8_000, 2))
    assert stream.received_s == 0
    stream.push(bytes(8_000 * 4 + 3))
    assert stream.received_s == 1
    stream.push(bytes(1))
    assert stream.received_s == pytest.approx(1 + 1 / 8_000)
    stream.drain()
    assert stream.received_s == pytest.approx(1 + 1 / 8_000)


@pytest.mark.parametrize("rate", RATES)
def test_a_drain_brings_out_all_that_was_taken(rate: int) -> None:
    stream = AudioStream(AudioFormat(Encoding.LINEAR16, rate))
    content = encode(speech_like(1, rate), rate, 1, Encoding.LINEAR16)
    out = 0
    for chunk in _cut(content, 4_001):
        out += stream.push(chunk).size + stream.drain().size
        assert abs(out - stream.received_s * 24_000) <= 0.5 + 1e-6
    assert out == 24_000
    assert stream.finish().size == 0


def test_a_sample_cut_by_a_drain_is_whole_afterwards() -> None:
    stream = AudioStream(AudioFormat(Encoding.LINEAR16, 24_000))
    assert stream.push(b"\x00\x40\x00").tolist() == [0.5]
    assert stream.drain().size == 0
    assert stream.push(b"\xc0").tolist() == [-0.5]


def test_blocks_are_what_push_gives_a_second_at_a_time() -> None:
    content = encode(speech_like(3.5, 16_000), 16_000, 1, Encoding.LINEAR16)
    audio_format = AudioFormat(Encoding.LINEAR16, 16_000)
    blocks = list(AudioStream(audio_format).blocks(content))
    assert max(block.size for block in blocks) <= 24_000
    assert np.array_equal(np.concatenate(blocks), AudioStream(audio_format).push(content))


def test_a_format_that_cannot_be_streamed_is_refused() -> None:
    with pytest.raises(BadConfig, match="WAV, which only Recognize takes"):
        AudioStream(AudioFormat(Encoding.WAV))


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(STREAMED),
    st.sampled_from([1, 2]),
    st.lists(st.binary(max_size=400), max_size=8),
    st.booleans(),
)
def test_random_bytes_are_audio_or_malformed(
    encoding: Encoding, channels: int, chunks: list[bytes], behind_headers: bool
) -> None:
    stream = AudioStream(_format(encoding, 11_025, channels))
    try:
        if behind_headers and encoding is Encoding.OGG_OPUS:
            stream.push(page([opus_head(channels=channels)], sequence=0, flags=FIRST) + page([OPUS_TAGS], sequence=1))
            chunks = [page([chunk], sequence=index + 2) for index, chunk in enumerate(chunks)]
        blocks = [*map(stream.push, chunks), stream.finish()]
    except MalformedAudio:
        return
    assert all(np.abs(block).max(initial=0) <= 1 for block in blocks)


def test_a_long_stream_is_not_kept() -> None:
    stream = AudioStream(AudioFormat(Encoding.LINEAR16, 16_000))
    second = bytes(32_000)
    stream.push(second)
    tracemalloc.start()
    try:
        for _ in range(60):
            stream.push(second)
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()


def test_hours_of_opus_silence_in_a_megabyte_come_out_bit_by_bit() -> None:
    # 120 ms of nothing in 2 bytes: what a caller could send to fill the memory of whoever decodes it at once.
    silence = page([b"\x1b\x02"] * 255, sequence=2)
    stream = AudioStream(AudioFormat(Encoding.OGG_OPUS))
    stream.push(page([opus_head()], sequence=0, flags=FIRST) + page([OPUS_TAGS], sequence=1))
    tracemalloc.start()
    try:
        longest = 0
        for block in stream.blocks(silence * 20):
            longest = max(longest, block.size)
        assert stream.received_s > 600
        assert longest <= 31 * 24_000
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
