"""When a worker has no room for one more session, by the time of its steps alone."""

from __future__ import annotations

import pytest

from services.common.step_budget import StepBudget


class Clock:
    """Steps that follow each other, in a time of the test's own."""

    def __init__(self, budget: StepBudget) -> None:
        self.budget = budget
        self.now_s = 1000.0

    def steps(self, count: int, step_s: float) -> None:
        for _ in range(count):
            self.now_s += step_s
            self.budget.note(step_s, self.now_s)

    @property
    def exceeded(self) -> bool:
        return self.budget.exceeded(self.now_s)


@pytest.fixture
def clock() -> Clock:
    return Clock(StepBudget(0.08))


def test_there_is_room_before_the_first_step(clock: Clock) -> None:
    assert not clock.exceeded
    assert clock.budget.average_s == 0


def test_steps_that_take_four_fifths_of_the_budget_leave_no_room(clock: Clock) -> None:
    clock.steps(50, 0.063)
    assert not clock.exceeded
    clock.steps(50, 0.066)
    assert clock.exceeded


def test_there_is_room_again_only_once_steps_are_well_below(clock: Clock) -> None:
    clock.steps(50, 0.07)
    clock.steps(50, 0.05)
    assert clock.exceeded
    clock.steps(50, 0.046)
    assert not clock.exceeded
    # And not full again where it was still full before.
    clock.steps(50, 0.05)
    assert not clock.exceeded


def test_one_step_that_was_held_up_changes_nothing(clock: Clock) -> None:
    clock.steps(50, 0.02)
    clock.steps(1, 0.4)
    assert not clock.exceeded
    clock.steps(9, 0.4)
    assert clock.exceeded


def test_a_worker_without_sessions_has_room_whatever_its_last_steps_took(clock: Clock) -> None:
    clock.steps(50, 0.2)
    clock.now_s += 1.1
    assert not clock.exceeded
    # What comes now is judged by itself.
    clock.steps(1, 0.01)
    assert not clock.exceeded
    assert clock.budget.average_s == 0.01


def test_without_a_budget_there_is_always_room() -> None:
    clock = Clock(StepBudget(0))
    clock.steps(50, 10.0)
    assert not clock.exceeded
