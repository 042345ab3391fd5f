from __future__ import annotations

import pytest

from dsm_stt.speech.v1 import speech_pb2
from services.common.errors import BadConfig
from services.gateway.audio import AudioFormat, Encoding

RAW = [Encoding.LINEAR16, Encoding.FLOAT32, Encoding.MULAW, Encoding.ALAW]
CONTAINERS = [Encoding.OGG_OPUS, Encoding.WAV, Encoding.FLAC, Encoding.MP3, Encoding.DETECT]


def test_every_encoding_of_the_public_api_has_one_here() -> None:
    numbers = set(speech_pb2.AudioEncoding.values())
    assert {encoding.value for encoding in Encoding} == numbers


def test_a_message_becomes_a_format() -> None:
    message = speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_MULAW, sample_rate_hertz=8_000, channels=2)
    assert AudioFormat.from_proto(message) == AudioFormat(Encoding.MULAW, 8_000, 2)


def test_no_channels_means_one() -> None:
    message = speech_pb2.AudioFormat(encoding=speech_pb2.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=16_000)
    assert AudioFormat.from_proto(message).channels == 1


def test_an_empty_message_asks_for_detection() -> None:
    assert AudioFormat.from_proto(speech_pb2.AudioFormat()).encoding is Encoding.DETECT


def test_a_number_that_is_no_encoding_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"audio_format\.encoding: .*came 99"):
        AudioFormat.from_proto(speech_pb2.AudioFormat(encoding=99))  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", RAW)
@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_raw_samples_of_any_rate_in_range_are_taken(encoding: Encoding, rate: int, channels: int) -> None:
    AudioFormat(encoding, rate, channels).validate_streaming()
    AudioFormat(encoding, rate, channels).validate_file()


@pytest.mark.parametrize("encoding", RAW)
@pytest.mark.parametrize("rate", [0, 7_999, 48_001, 96_000])
def test_raw_samples_of_another_rate_are_refused(encoding: Encoding, rate: int) -> None:
    for validate in (AudioFormat(encoding, rate).validate_streaming, AudioFormat(encoding, rate).validate_file):
        with pytest.raises(BadConfig, match=rf"sample_rate_hertz: wanted 8000 to 48000 .*came {rate}"):
            validate()


@pytest.mark.parametrize("encoding", CONTAINERS)
def test_containers_need_no_rate_but_may_name_one_in_range(encoding: Encoding) -> None:
    AudioFormat(encoding).validate_file()
    AudioFormat(encoding, 44_100).validate_file()
    with pytest.raises(BadConfig, match=r"sample_rate_hertz: wanted 0 or 8000 to 48000, came 96000"):
        AudioFormat(encoding, 96_000).validate_file()


@pytest.mark.parametrize("encoding", [Encoding.LINEAR16, Encoding.OGG_OPUS])
@pytest.mark.parametrize("channels", [-1, 3, 6])
def test_more_than_two_channels_are_refused(encoding: Encoding, channels: int) -> None:
    with pytest.raises(BadConfig, match=rf"channels: wanted 0, 1 or 2, came {channels}"):
        AudioFormat(encoding, 16_000, channels).validate_streaming()


@pytest.mark.parametrize("encoding", [Encoding.WAV, Encoding.FLAC, Encoding.MP3])
def test_files_cannot_be_streamed(encoding: Encoding) -> None:
    with pytest.raises(BadConfig, match=rf"came {encoding.name}, which only Recognize takes"):
        AudioFormat(encoding).validate_streaming()


def test_a_stream_needs_an_encoding() -> None:
    with pytest.raises(BadConfig, match=r"wanted LINEAR16 or .* to stream, came none"):
        AudioFormat(Encoding.DETECT, 16_000).validate_streaming()
