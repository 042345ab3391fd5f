"""How training texts are spoken; the test sets' voices must go on speaking as they always did."""

import numpy as np

from training.voices.manner import Plain, Varied

PROSE = "in the beginning there was a text of more than eight words"


def stretches(manner: Varied, text: str) -> list[float]:
    random = np.random.default_rng(0)
    return [manner.stretch(random, text) for _ in range(400)]


def test_a_plain_manner_changes_nothing_and_draws_nothing() -> None:
    random, untouched = np.random.default_rng(0), np.random.default_rng(0)
    assert Plain().stretch(random, "four") == 1.0
    assert Plain().ended(random, "four") == "four."
    assert random.integers(1000) == untouched.integers(1000)


def test_short_texts_are_said_slowly_fast_and_as_they_come() -> None:
    drawn = np.array(stretches(Varied(careful=0.45, brisk=0.2), "four"))
    assert drawn.min() >= Varied.fastest
    assert drawn.max() <= Varied.slowest
    assert abs((drawn > 1.0).mean() - 0.45) < 0.07
    assert abs((drawn < 1.0).mean() - 0.2) < 0.07


def test_long_texts_are_never_said_slowly() -> None:
    assert max(stretches(Varied(), PROSE)) == 1.0
    assert min(stretches(Varied(), PROSE)) < 0.9


def test_endings_vary() -> None:
    random = np.random.default_rng(0)
    endings = {Varied().ended(random, "four")[-1] for _ in range(100)}
    assert endings == set(Varied.endings)
