from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext

from services.common.errors import MalformedAudio
from services.gateway.audio import samples
from services.gateway.audio.samples import SampleType


def _decoded_by_ffmpeg(codec: str, raw: bytes) -> np.ndarray:
    decoder = av.CodecContext.create(codec, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = 8_000, "mono"
    return np.concatenate([frame.to_ndarray()[0] for frame in decoder.decode(av.Packet(raw))])


@pytest.mark.parametrize(("sample_type", "codec"), [(samples.MULAW, "pcm_mulaw"), (samples.ALAW, "pcm_alaw")])
def test_every_g711_byte_stands_for_what_ffmpeg_says(sample_type: SampleType, codec: str) -> None:
    every_byte = bytes(range(256))
    expected = _decoded_by_ffmpeg(codec, every_byte).astype(np.float32) / np.float32(32_768)
    np.testing.assert_array_equal(sample_type.read(every_byte), expected)


def test_g711_silence_and_extremes_are_those_of_the_standard() -> None:
    assert samples.MULAW.read(b"\xff\x7f\x80\x00").tolist() == [0, 0, 32_124 / 32_768, -32_124 / 32_768]
    assert samples.ALAW.read(b"\xd5\x55\xaa\x2a").tolist() == [
        8 / 32_768,
        -8 / 32_768,
        32_256 / 32_768,
        -32_256 / 32_768,
    ]


@pytest.mark.parametrize(
    ("sample_type", "raw", "expected"),
    [
        (samples.UNSIGNED8, b"\x00\x80\xff", [-1, 0, 127 / 128]),
        (samples.SIGNED16, b"\x00\x80\x00\x00\xff\x7f", [-1, 0, 32_767 / 32_768]),
        (samples.SIGNED24, b"\x00\x00\x80\x00\x00\x00\xff\xff\x7f\xff\xff\xff", [-1, 0, 1 - 2**-23, -(2**-23)]),
        (samples.SIGNED32, b"\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x40", [-1, 0, 0.5]),
        (samples.FLOAT32, np.array([-1, 0.25, 1.5, -3], "<f4").tobytes(), [-1, 0.25, 1, -1]),
        (samples.FLOAT64, np.array([-1, 0.25, 1.5, -1e300], "<f8").tobytes(), [-1, 0.25, 1, -1]),
    ],
)
def test_samples_are_read_exactly_and_clipped(sample_type: SampleType, raw: bytes, expected: list[float]) -> None:
    came = sample_type.read(raw)
    assert came.dtype == np.float32
    assert came.tolist() == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("sample_type", "dtype"), [(samples.FLOAT32, "<f4"), (samples.FLOAT64, "<f8")])
def test_samples_that_are_no_numbers_are_refused(sample_type: SampleType, dtype: str, value: float) -> None:
    with pytest.raises(MalformedAudio, match="NaN or infinity"):
        sample_type.read(np.array([0, value, 0], dtype).tobytes())


@pytest.mark.parametrize("wrap", [bytes, memoryview])
def test_samples_are_read_from_bytes_and_from_views(wrap: Callable[[bytes], bytes]) -> None:
    assert samples.SIGNED24.read(wrap(b"\x00\x00\x40")).tolist() == [0.5]
