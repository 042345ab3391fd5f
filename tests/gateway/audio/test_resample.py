from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.audio.resample import Resampler
from tests.gateway.audio.signals import snr_db, speech_like

COMMON_RATES = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
ODD_RATES = [8_001, 23_999, 31_999, 47_999]
# Half the filter, at the lower of the two rates, in output samples; see resample.py.
REACH = {8_000: 8.5, 16_000: 4.5, 44_100: 3.5, 48_000: 3.5}


def _resampled(pcm: np.ndarray, rate: int, sizes: list[int]) -> np.ndarray:
    resampler, blocks, at = Resampler(rate), [], 0
    for size in sizes:
        blocks.append(resampler.push(pcm[at : at + size]))
        at += size
    return np.concatenate([*blocks, resampler.push(pcm[at:]), resampler.drain()])


@pytest.mark.parametrize("rate", COMMON_RATES + ODD_RATES)
@pytest.mark.parametrize("samples", [0, 1, 2, 63, 64, 65, 1_000, 12_345])
def test_the_duration_stays_what_it_is(rate: int, samples: int) -> None:
    came = _resampled(np.full(samples, 0.25, np.float32), rate, [])
    assert came.dtype == np.float32
    assert abs(came.size - samples * 24_000 / rate) <= 0.5


@pytest.mark.parametrize("rate", COMMON_RATES + ODD_RATES)
def test_a_curve_keeps_its_place_and_shape(rate: int) -> None:
    # The ends are left out: there the curve is cut, and the rates differ in what the cut does.
    reference = speech_like(1, 24_000)[400:-400]
    assert snr_db(reference, _resampled(speech_like(1, rate), rate, [])[400:-400]) > 85


@pytest.mark.parametrize("rate", COMMON_RATES)
def test_the_samples_are_the_same_however_they_are_cut(rate: int) -> None:
    pcm = np.random.default_rng(rate).uniform(-1, 1, rate // 5).astype(np.float32)
    whole = _resampled(pcm, rate, [])
    assert np.array_equal(whole, _resampled(pcm, rate, [1] * pcm.size))
    assert np.array_equal(whole, _resampled(pcm, rate, [rate // 50] * 9))


@settings(max_examples=30, deadline=None)
@given(rate=st.integers(8_000, 48_000), sizes=st.lists(st.integers(0, 3_000), max_size=12))
def test_at_odd_rates_the_cuts_change_the_last_bits_at_most(rate: int, sizes: list[int]) -> None:
    pcm = np.random.default_rng(rate).uniform(-1, 1, 9_000).astype(np.float32)
    np.testing.assert_allclose(_resampled(pcm, rate, sizes), _resampled(pcm, rate, []), atol=3e-6)


@pytest.mark.parametrize("rate", sorted(REACH))
def test_what_comes_in_goes_out_but_for_half_the_filter(rate: int) -> None:
    resampler = Resampler(rate)
    taken = given_back = 0
    for _ in range(20):
        given_back += resampler.push(np.zeros(rate // 50, np.float32)).size
        taken += rate // 50
        assert taken / rate - given_back / 24_000 <= REACH[rate] / 1_000


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_drain_changes_nothing_but_the_last_milliseconds_before_it(rate: int) -> None:
    pcm = np.random.default_rng(rate).uniform(-0.9, 0.9, rate).astype(np.float32)
    whole = _resampled(pcm, rate, [])
    resampler, blocks = Resampler(rate), []
    cuts = [0, 7, rate // 3 + 1, rate // 2, rate]
    for start, end in pairwise(cuts):
        blocks += [resampler.push(pcm[start:end]), resampler.drain()]
        assert abs(sum(block.size for block in blocks) - end * 24_000 / rate) <= 0.5
    drained = np.concatenate(blocks)
    assert drained.size == whole.size
    near_a_cut = np.zeros(whole.size, np.bool_)
    for cut in cuts[1:]:
        due = math.floor(cut * 24_000 / rate + 0.5)
        near_a_cut[max(0, due - round(REACH[rate] * 24)) : due] = True
    assert np.array_equal(drained[~near_a_cut], whole[~near_a_cut])


def test_a_drain_without_anything_due_gives_nothing() -> None:
    resampler = Resampler(16_000)
    assert resampler.drain().size == 0
    resampler.push(np.zeros(160, np.float32))
    assert resampler.drain().size > 0
    assert resampler.drain().size == 0


def test_a_full_scale_signal_does_not_leave_the_range() -> None:
    square = np.where(np.arange(16_000) % 40 < 20, 1, -1).astype(np.float32)
    came = _resampled(square, 16_000, [])
    assert np.abs(came).max() == 1


def test_24_khz_goes_through_untouched() -> None:
    pcm = np.random.default_rng(0).uniform(-1, 1, 999).astype(np.float32)
    assert np.array_equal(_resampled(pcm, 24_000, [10, 20]), pcm)
