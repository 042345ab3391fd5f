"""Captured steps without a device: buckets, filling up, and rows sent ahead."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.neural.cuda_steps import CapturedSteps, bucket_sizes
from tests.fakes.runtime import LateRuntime

SLOTS = 5


class Sums:
    """Steps whose answer is a row's sum, its position, and the sum of all that its slot ever got."""

    def __init__(self) -> None:
        self.totals = torch.zeros(SLOTS + 1)
        self.sizes: list[int] = []
        self.runtime = LateRuntime()
        self.steps = CapturedSteps(
            self._body, slots=SLOTS, width=3, dtype=torch.int32, answer_width=3, runtime=self.runtime
        )
        self.totals.zero_()
        self.sizes.clear()

    def _body(self, header: torch.Tensor, rows: torch.Tensor, answers: torch.Tensor) -> None:
        self.sizes.append(len(rows))
        sums = rows.sum(1).float()
        self.totals.index_add_(0, header[:, 0], sums)
        answers.copy_(torch.stack([sums, header[:, 1].float(), self.totals[header[:, 0]]], 1))


def rows(*values: int) -> NDArray[np.uint16]:
    return np.array([[value, 0, 1] for value in values], np.uint16)


def test_there_are_few_bucket_sizes_and_little_is_filled_up():
    for slots in (1, 2, 3, 5, 16, 100, 1024, 4096):
        sizes = bucket_sizes(slots)
        assert sizes[0] == 1
        assert sizes[-1] == slots
        assert len(sizes) <= 2 * np.log2(slots) + 1
        assert all(larger <= 2 * smaller for smaller, larger in pairwise(sizes))
        assert all(larger - 1 <= 1.5 * (smaller + 1) for smaller, larger in pairwise(sizes))


def test_one_graph_a_bucket_is_captured_and_the_smallest_that_fits_is_replayed():
    sums = Sums()
    assert sums.runtime.recorded == len(bucket_sizes(SLOTS)) == 5
    for count, size in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5)):
        slots = np.arange(count)
        sums.steps.start(slots, slots, rows(*range(count)))()
        assert sums.sizes[-1] == size


def test_rows_that_fill_up_touch_no_session():
    runtime = LateRuntime()
    seen: list[list[list[int]]] = []
    steps = CapturedSteps(
        lambda header, rows, answers: seen.append(header.tolist()),
        slots=7,
        width=1,
        dtype=torch.int32,
        answer_width=1,
        runtime=runtime,
    )
    # Buckets of 1, 2, 3, 4, 6 and 7: while they are captured, every row is the scratch slot's.
    assert {tuple(row) for headers in seen for row in headers} == {(7, 0)}
    steps.start(np.array([6, 1, 3, 2, 0]), np.array([9, 8, 7, 6, 5]), np.zeros((5, 1), np.uint16))()
    assert seen[-1] == [[6, 9], [1, 8], [3, 7], [2, 6], [0, 5], [7, 0]]


def test_rows_sent_ahead_while_a_step_runs_are_those_of_the_next():
    sums = Sums()
    finish = sums.steps.start(np.array([0, 1]), np.array([4, 5]), rows(10, 20))
    sums.steps.stage(rows(30, 40))
    sums.steps.stage(rows(50))
    # The present step has read its own rows, although the next ones' are on their way.
    assert finish().tolist() == [[11, 4, 11], [21, 5, 21]]
    # Nothing but the late row is read from here: what was sent ahead is not sent again.
    nonsense = rows(7777, 7777, 7777)
    answers = sums.steps.start(
        np.array([0, 1, 2, 3]), np.array([5, 6, 7, 8]), np.concatenate([nonsense, rows(60)]), staged=3
    )()
    assert answers.tolist() == [[31, 5, 42], [41, 6, 62], [51, 7, 51], [61, 8, 61]]


def test_rows_sent_ahead_for_a_session_that_is_gone_are_taken_back():
    sums = Sums()
    finish = sums.steps.start(np.array([0]), np.array([0]), rows(10))
    sums.steps.stage(rows(30, 40))
    finish()
    assert sums.steps.start(np.array([1]), np.array([0]), rows(40), staged=0)().tolist() == [[41, 0, 41]]
    assert sums.totals.tolist()[:3] == [11, 41, 0]


@pytest.mark.parametrize("seed", range(3))
def test_however_steps_are_staged_every_row_counts_once(seed: int):
    random = np.random.default_rng(seed)
    sums = Sums()
    totals = np.zeros(SLOTS, np.int64)
    ahead = np.empty((0, 3), np.uint16)
    for _ in range(50):
        count = int(random.integers(max(1, len(ahead)), SLOTS + 1))
        slots = random.permutation(SLOTS)[:count]
        late = random.integers(0, 100, (count - len(ahead), 3)).astype(np.uint16)
        full = np.concatenate([ahead, late])
        kept = len(ahead) if random.random() < 0.8 else 0
        finish = sums.steps.start(slots, slots, full, staged=kept)
        totals[slots] += full.sum(axis=1, dtype=np.int64)
        ahead = random.integers(0, 100, (int(random.integers(0, SLOTS)), 3)).astype(np.uint16)
        if len(ahead):
            sums.steps.stage(ahead)
        answers = finish()
        assert answers[:, 2].tolist() == totals[slots].tolist()


def test_a_step_must_be_waited_for_before_the_next():
    sums = Sums()
    sums.steps.start(np.array([0]), np.array([0]), rows(1))
    with pytest.raises(AssertionError, match="waited for"):
        sums.steps.start(np.array([1]), np.array([0]), rows(1))
