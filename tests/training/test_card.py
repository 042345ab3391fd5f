"""The model card says what the evaluation measured, and nothing else."""

import copy
import json

from training.card import CARD, others, render, words
from training.evaluate_result import RESULT

FIGURES = json.loads(RESULT.read_text())


def test_the_card_says_what_the_figures_say() -> None:
    assert render(CARD.read_text(), FIGURES) == CARD.read_text(), "run `python -m training.card`"


def test_the_card_has_every_table() -> None:
    assert all(f"<!-- figures: {part} -->" in CARD.read_text() for part in ("origin", "words", "others"))


def test_a_figure_changed_by_hand_is_written_over() -> None:
    card = "<!-- figures: words -->\n| human digit strings | 0.0 % |\n<!-- end of figures -->"
    assert "| 0.0 % |" not in render(card, FIGURES)


def test_a_bar_is_met_or_missed() -> None:
    changed = copy.deepcopy(FIGURES)
    for wer, verdict in ((0.04, "met"), (0.041, "**missed**")):
        changed["words"]["human digits"]["wer"] = wer
        (row,) = [row for row in words(changed).splitlines() if "digit strings" in row]
        assert row.endswith(f"| 4 % | {verdict} |")
    for end_ms, verdict in ((120.0, "met"), (121.0, "**missed**")):
        changed["times together"]["end_median_ms"] = end_ms
        (row,) = [row for row in others(changed).splitlines() if "word ends" in row]
        assert row.endswith(f"| 120 | {verdict} |")
