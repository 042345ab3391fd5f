"""What is tried again, when, and how often."""

from __future__ import annotations

import asyncio

import pytest
from conftest import Connect
from saying import AUDIO, FORMAT, WORDS, config, gather, until, words

from dsm_stt_client import (
    NO_RETRIES,
    ApiKeyInvalid,
    DeadlineExceeded,
    NoCapacity,
    QuotaExceeded,
    RetryPolicy,
    SpeechError,
    Unavailable,
)
from dsm_stt_client.retry import Backoff
from services.common import errors
from tests.fakes.speech import FakeSpeech
from tests.stack import FakeStack

POLICY = RetryPolicy(max_attempts=5, first_delay_s=1.0, max_delay_s=3.0, jitter=0.5, budget_s=60.0)
TEMPORARY = SpeechError("later", temporary=True)


def delays(policy: RetryPolicy, error: SpeechError, chance: float) -> list[float | None]:
    backoff = Backoff(policy, clock=lambda: 0.0, chance=lambda: chance)
    return [backoff.delay_s(error) for _ in range(policy.max_attempts)]


def test_waits_grow_to_a_bound_and_end() -> None:
    assert delays(POLICY, TEMPORARY, 0.0) == [1.0, 2.0, 3.0, 3.0, None]


def test_chance_takes_a_part_off() -> None:
    assert delays(POLICY, TEMPORARY, 0.5) == [0.75, 1.5, 2.25, 2.25, None]


def test_the_services_own_delay_is_never_cut_short() -> None:
    full = NoCapacity("full", retry_after_s=2.0, temporary=True)
    assert delays(POLICY, full, 0.0) == [2.0, 2.0, 2.0, 2.0, None]
    assert delays(POLICY, full, 0.5) == [2.5, 2.5, 2.5, 2.5, None]


def test_no_wait_goes_beyond_the_budget() -> None:
    now_s = 0.0
    backoff = Backoff(POLICY, clock=lambda: now_s, chance=lambda: 0.0)
    now_s = 59.0
    assert backoff.delay_s(TEMPORARY) == 1.0
    assert backoff.delay_s(TEMPORARY) is None


def test_what_will_not_change_is_not_tried_again() -> None:
    assert delays(POLICY, SpeechError("never"), 0.0) == [None] * 5


@pytest.mark.parametrize("wrong", [{"max_attempts": 0}, {"jitter": 1.5}, {"budget_s": -1.0}, {"attempt_timeout_s": 0}])
def test_a_policy_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        RetryPolicy(**wrong)  # type: ignore[arg-type]


async def test_a_stream_waits_as_long_as_the_full_service_says(connect: Connect) -> None:
    full = errors.NoCapacity("no slot came free", retry_after_s=0.4)
    with FakeSpeech(error=full, refuse=True, refusals=2) as fake:
        async with connect(fake.address) as client, client.stream(config()) as stream:
            await stream.send(bytes(48_000))
            stream.finish()
            assert words(await gather(stream)) == [("good", 0.0), ("morning", 0.4)]
    first, second, third = fake.asked_at_s
    assert min(second - first, third - second) >= 0.4


async def test_attempts_at_a_full_service_are_bounded(connect: Connect) -> None:
    full = errors.NoCapacity("no slot came free", retry_after_s=0.01)
    with FakeSpeech(error=full, refuse=True) as fake:
        async with connect(fake.address, retry=RetryPolicy(max_attempts=3)) as client:
            with pytest.raises(NoCapacity):
                await client.stream(config()).__aenter__()
    assert len(fake.asked_at_s) == 3


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.QuotaExceeded("too much", subject="api_key:k"), QuotaExceeded),
        (errors.ApiKeyInvalid("a key is wanted"), ApiKeyInvalid),
    ],
)
async def test_what_waiting_does_not_help_is_asked_once(
    connect: Connect, error: errors.DsmError, kind: type[SpeechError]
) -> None:
    with FakeSpeech(error=error, refuse=True) as fake:
        async with connect(fake.address) as client:
            with pytest.raises(kind):
                await client.stream(config()).__aenter__()
    assert len(fake.asked_at_s) == 1


async def test_a_session_that_has_started_is_not_begun_again(connect: Connect) -> None:
    with FakeSpeech(error=errors.WorkerLost("the LM went away")) as fake:
        async with connect(fake.address) as client, client.stream(config()) as stream:
            await stream.send(bytes(48_000))
            heard, _ = await until(Unavailable, stream)
    assert words(heard) == [("good", 0.0)]
    assert len(fake.asked_at_s) == 1


async def test_a_recording_waits_for_a_slot(connect: Connect) -> None:
    async with FakeStack(slots=1, admission_wait_s=0.01) as stack, connect(stack.address) as client:
        async with client.stream(config()):
            waiting = asyncio.create_task(client.transcribe(AUDIO, audio_format=FORMAT))
            with pytest.raises(NoCapacity):
                async with connect(stack.address, retry=NO_RETRIES) as impatient:
                    await impatient.transcribe(AUDIO, audio_format=FORMAT)
        transcript = await waiting
    assert transcript.text == "yes today stop go"
    assert [(word.text, round(word.start_s, 2)) for word in transcript.words] == WORDS


async def test_a_deadline_is_for_all_attempts_together(connect: Connect) -> None:
    async with FakeStack(slots=1, admission_wait_s=0.01) as stack, connect(stack.address) as client:
        async with client.stream(config()):
            with pytest.raises((NoCapacity, DeadlineExceeded)):
                await client.transcribe(AUDIO, audio_format=FORMAT, timeout_s=0.3)


async def test_a_service_that_comes_up_late_is_found(connect: Connect) -> None:
    with FakeSpeech() as fake:
        address = fake.address
    async with connect(address, retry=RetryPolicy(first_delay_s=0.1, max_delay_s=0.3)) as client:
        asking = asyncio.create_task(client.list_models())
        await asyncio.sleep(0.3)
        with FakeSpeech(port=int(address.rpartition(":")[2])):
            assert [model.name for model in await asking] == ["fake-en"]


async def test_nobody_at_the_address_is_said_to_be_so(connect: Connect) -> None:
    async with connect("127.0.0.1:1", retry=NO_RETRIES) as client:
        with pytest.raises(Unavailable, match="the service cannot be reached"):
            await client.list_models()
