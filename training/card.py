"""Puts the figures of the evaluation into the model card, between its marks: `python -m training.card`.

A test renders the card again and fails if it says anything else, so no figure there can be stale or made up.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from training.evaluate_result import RESULT

CARD = Path("models/dsm-tiny-en/README.md")
_PART = re.compile(r"<!-- figures: (\w+) -->\n.*?<!-- end of figures -->", re.DOTALL)
_WORD_SETS = {
    "human digits": ("human digit strings of 3 to 7", 0.04),
    "human words 16 kHz": ("human words alone, 16 kHz", 0.20),
    "human words 8 kHz": ("the same, 8 kHz", 0.30),
    "unseen voices together": ("unseen synthetic voices, random phrases", 0.12),
    "unseen kal": ("of them kal", None),
    "unseen kokoro": ("of them Kokoro", None),
    "unseen espeak": ("of them espeak-ng", None),
}
"""What the card calls each set of words, and the word error rate that it should not exceed."""

Figures = dict[str, Any]


def words(figures: Figures) -> str:
    """Return the table of word error rates."""
    rows = [
        "| test | words | WER | interval | words found | bar | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (title, bar) in _WORD_SETS.items():
        score = figures[name] if name in figures else figures["words"][name]
        low, high = score["interval"]
        judged = f"{_percent(bar, 0)} | {_met(score['wer'] <= bar)}" if bar is not None else "|"
        rows.append(
            f"| {title} | {score['words']} | {_percent(score['wer'])} | {_percent(low)} to {_percent(high)} "
            f"| {_percent(score['found'])} | {judged} |"
        )
    return "\n".join(rows)


def others(figures: Figures) -> str:
    """Return the table of false words, times and pauses."""
    prose, times, pauses = (figures[f"{name} together"] for name in ("prose", "times", "pauses"))
    people = figures["prose"]["prose human"]["per_10_s"]
    digits = figures["times"]["human digits"]
    quiet = figures["words in 60 s"]
    low, high = prose["interval"]
    noises = [quiet[name] for name in ("silence", "noise_-60_dbfs", "noise_-20_dbfs")]
    rows = [
        (
            f"false words in 10 s of prose ({prose['seconds']} s; people alone: {people})",
            f"{prose['per_10_s']} ({low} to {high})",
            "1",
            prose["per_10_s"] <= 1,
        ),
        (
            "words in 60 s of silence; of noise at -60 dBFS; at -20 dBFS",
            "; ".join(str(count) for count in noises),
            "0; -; 1",
            noises[0] == 0 and noises[2] <= 1,
        ),
        (
            f"word starts: median, 95th percentile of the error ({times['words']} words)",
            f"{times['start_median_ms']:.0f} ms, {times['start_95_ms']:.0f} ms"
            f" (human digits {digits['start_median_ms']:.0f}, {digits['start_95_ms']:.0f})",
            "40, 120",
            times["start_median_ms"] <= 40 and times["start_95_ms"] <= 120,
        ),
        (
            "word ends: median error",
            f"{times['end_median_ms']:.0f} ms (human digits {digits['end_median_ms']:.0f})",
            "120",
            times["end_median_ms"] <= 120,
        ),
        (
            f"third pause head at 0.5: ends of utterances found within 1.5 s ({pauses['ends']})",
            f"{_percent(pauses['found'])}, median {pauses['median_delay_ms']} ms after the end",
            "90 %",
            pauses["found"] >= 0.9,
        ),
        (
            f"the same: gaps under 300 ms taken for an end ({pauses['gaps']})",
            _percent(pauses["false"]),
            "10 %",
            pauses["false"] <= 0.1,
        ),
    ]
    lines = [f"| {test} | {measured} | {bar} | {_met(met)} |" for test, measured, bar, met in rows]
    return "\n".join(["| test | measured | bar | |", "|---|---|---|---|", *lines])


def origin(figures: Figures) -> str:
    """Return when and on what the figures were measured."""
    return f"`{figures['command']}`, on {figures['machine']}, {figures['date']}, one run on these weights"


_PARTS: dict[str, Callable[[Figures], str]] = {"origin": origin, "words": words, "others": others}


def render(card: str, figures: Figures) -> str:
    """Return the card with every part written anew. Raises KeyError for a part that is unknown."""
    return _PART.sub(
        lambda found: f"<!-- figures: {found[1]} -->\n\n{_PARTS[found[1]](figures)}\n\n<!-- end of figures -->", card
    )


def _percent(part: float, digits: int = 1) -> str:
    return f"{100 * part:.{digits}f} %"


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def main() -> None:
    """Write the card."""
    CARD.write_text(render(CARD.read_text(), json.loads(RESULT.read_text())))


if __name__ == "__main__":
    typer.run(main)
