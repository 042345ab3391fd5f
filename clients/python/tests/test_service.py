"""The embedded model in processes of its own, and what people would do with it."""

from __future__ import annotations

import asyncio
import io
import os
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from conftest import Connect

from dsm_stt_client import AudioFormat, CallerMistake, Client, Event, Result, RetryPolicy, SessionStarted, StreamConfig
from dsm_stt_client.recording import MOST_BYTES
from services.cli.child import Child, State
from services.cli.local_stack import LocalStack

ROOT = Path(__file__).resolve().parents[3]
DIGITS = ROOT / "models" / "dsm-tiny-en" / "samples" / "digits.wav"
# What the model makes of the recording from its second word on; it mishears the first.
SPOKEN = ["seven", "one", "nine", "two"]


def samples() -> tuple[AudioFormat, bytes]:
    with wave.open(str(DIGITS)) as file:
        return AudioFormat(sample_rate_hz=file.getframerate()), file.readframes(file.getnframes())


def encoded(container_format: str, codec: str) -> bytes:
    target = io.BytesIO()
    with av.open(str(DIGITS)) as source, av.open(target, "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else 24_000)
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=stream.rate)
        for frame in source.decode(audio=0):
            for converted in resampler.resample(frame):
                container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return target.getvalue()


async def text_of(client: object, path_or_bytes: object, **options: object) -> list[str]:
    transcript = await client.transcribe(path_or_bytes, **options)  # type: ignore[attr-defined]
    assert transcript.text == " ".join(word.text for word in transcript.words)
    return transcript.text.split()  # type: ignore[no-any-return]


async def test_a_recording_is_transcribed_from_wherever_it_is(connect: Connect, service: LocalStack) -> None:
    async with connect(service.address) as client:
        audio_format, raw = samples()
        for source in (DIGITS, str(DIGITS), DIGITS.read_bytes(), io.BytesIO(DIGITS.read_bytes())):
            assert (await text_of(client, source))[1:5] == SPOKEN
        assert (await text_of(client, raw, audio_format=audio_format))[1:5] == SPOKEN


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("mp3", "libmp3lame"), ("ogg", "libopus")])
async def test_compressed_recordings_are_what_they_say(
    connect: Connect, service: LocalStack, container: str, codec: str
) -> None:
    async with connect(service.address) as client:
        assert (await text_of(client, encoded(container, codec)))[1:5] == SPOKEN


async def test_a_recording_that_is_too_large_is_not_sent(connect: Connect) -> None:
    async with connect("127.0.0.1:1") as client:
        with pytest.raises(CallerMistake, match=f"at most {MOST_BYTES} bytes, got {MOST_BYTES + 1}; use a stream"):
            await client.transcribe(bytes(MOST_BYTES + 1))


async def test_the_models_are_listed(connect: Connect, service: LocalStack) -> None:
    async with connect(service.address) as client:
        (model,) = await client.list_models()
    assert (model.name, model.is_default, model.trained, model.slots_total) == ("dsm-tiny-en", True, True, 4)
    assert model.language_codes == ("en",)


async def test_a_stream_says_what_the_whole_recording_does(connect: Connect, service: LocalStack) -> None:
    audio_format, audio = samples()
    async with connect(service.address) as client:
        whole = await client.transcribe(DIGITS)
        async with client.stream(StreamConfig(audio_format=audio_format)) as stream:
            await stream.send(audio)
            stream.finish()
            heard = [word for event in [e async for e in stream] if isinstance(event, Result) for word in event.words]
    assert tuple(heard) == whole.words


async def test_a_gateway_that_is_killed_and_replaced_costs_no_word(connect: Connect, tmp_path: Path) -> None:
    """kill -9 in the middle of the recording, sent in pieces; another process takes its port."""
    with LocalStack("dsm-tiny-en", slots=2, log_folder=tmp_path) as stack:
        port = stack.address.rpartition(":")[2]
        audio_format, audio = samples()
        with Client(stack.address) as client:
            undisturbed = [word.text for word in client.transcribe(DIGITS).words]
        second: list[Child] = []

        async def speaking() -> AsyncIterator[bytes]:
            step = audio_format.sample_rate_hz // 10 * 2
            for start in range(0, len(audio), step):
                if start // step == 30:
                    stack.children[-1].kill()
                    stack.children[-1].wait(10)
                    second.append(another_gateway(stack, port, tmp_path))
                yield audio[start : start + step]
                await asyncio.sleep(0.01)

        # The processes start again on a machine that may be busy.
        async with connect(stack.address, retry=RetryPolicy(max_attempts=60, max_delay_s=1.0)) as client:
            async with client.stream(StreamConfig(audio_format=audio_format), resume=True) as stream:
                stream.send_from(speaking())
                events: list[Event] = [event async for event in stream]
        second[0].terminate()
        second[0].wait(30)
    assert sum(isinstance(event, SessionStarted) and event.resumed for event in events) == 1
    heard = [word for event in events if isinstance(event, Result) for word in event.words]
    assert [word.text for word in heard] == undisturbed
    assert [word.start_s for word in heard] == sorted(word.start_s for word in heard)


def another_gateway(stack: LocalStack, port: str, folder: Path) -> Child:
    workers = {
        "DSM_GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "DSM_GATEWAY_CODECS": stack.address_of("codec"),
        "DSM_GATEWAY_LMS": stack.address_of("lm"),
    }
    gateway = Child("second-gateway", "services.gateway", {**os.environ, **workers}, folder)
    assert gateway.state is State.STARTING
    return gateway
