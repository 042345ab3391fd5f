"""Measures an exported checkpoint: `python -m training.evaluate` (tests) or `--development`.

Streams every recording frame by frame as the services do. The tests are for the final weights.
"""

import json
import os
import time
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("NO_TORCH_COMPILE", "1")

import numpy as np
import torch
import typer

from training.clips import SAMPLE_RATE
from training.evaluate_result import RESULT
from training.export import TARGET
from training.generate import CACHE
from training.scoring import Pairs, crossings, errors, false_words, interval, matched, right
from training.testsets import Utterance, developments, tests
from training.transcribe import Checkpoint, Transcript, in_batches

PAUSE_HEAD = 2
END_FOUND_WITHIN_S = 1.5
SHORT_GAP_S = 0.3

Scored = tuple[Utterance, Transcript, Pairs]


def word_errors(scored: list[Scored]) -> dict[str, Any]:
    """Return the word error rate with its interval, and its parts."""

    def rate(items: list[Any]) -> float:
        words = sum(len(utterance.recording.words) for utterance, _, _ in items)
        return sum(errors(pairs) for _, _, pairs in items) / max(words, 1)

    words = sum(len(utterance.recording.words) for utterance, _, _ in scored)
    found = sum(len(right(pairs)) for _, _, pairs in scored)
    low, high = interval(scored, rate)
    return {
        "utterances": len(scored), "words": words, "wer": round(rate(scored), 4),
        "interval": [round(low, 4), round(high, 4)], "found": round(found / max(words, 1), 4),
        "false_words": sum(false_words(pairs) for _, _, pairs in scored),
    }  # fmt: skip


def false_alarms(scored: list[Scored]) -> dict[str, Any]:
    """Return false words per 10 s of prose."""

    def rate(items: list[Any]) -> float:
        seconds = sum(len(utterance.recording.pcm) / SAMPLE_RATE for utterance, _, _ in items)
        return 10 * sum(false_words(pairs) for _, _, pairs in items) / seconds

    low, high = interval(scored, rate)
    seconds = sum(len(utterance.recording.pcm) / SAMPLE_RATE for utterance, _, _ in scored)
    return {
        "seconds": round(seconds, 1), "false_words": sum(false_words(p) for _, _, p in scored),
        "per_10_s": round(rate(scored), 3), "interval": [round(low, 3), round(high, 3)],
    }  # fmt: skip


def timing(scored: list[Scored]) -> dict[str, Any]:
    """Return the errors of starts and ends of the right words, in milliseconds."""
    pairs = [pair for _, _, all_pairs in scored for pair in right(all_pairs) if pair[0].end_s > 0]
    if not pairs:
        return {}
    starts = np.array([1000 * (s.start_s - r.start_s) for r, s in pairs])
    ends = np.array([1000 * abs(s.end_s - r.end_s) for r, s in pairs])
    return {
        "words": len(pairs),
        "start_median_ms": round(float(np.median(np.abs(starts))), 1),
        "start_95_ms": round(float(np.percentile(np.abs(starts), 95)), 1),
        "start_bias_ms": round(float(np.median(starts)), 1),
        "end_median_ms": round(float(np.median(ends)), 1),
    }


def pauses(scored: list[Scored]) -> dict[str, Any]:
    """Return how many ends the third pause head finds, and how many short gaps it takes for one."""
    ends, found, delays, gaps, false = 0, 0, [], 0, 0
    for utterance, transcript, _ in scored:
        words = utterance.recording.words
        if not words or words[0].end_s < 0:
            continue
        at = crossings(transcript.pauses[:, PAUSE_HEAD])
        end = words[-1].end_s
        after = at[(at >= end) & (at <= end + END_FOUND_WITHIN_S)]
        inside = (at >= (words[-1].start_s + end) / 2) & (at < end)
        ends += 1
        if len(after) and not inside.any():
            found += 1
            delays.append(after[0] - end)
        for one, other in pairwise(words):
            if other.start_s - one.end_s < SHORT_GAP_S:
                gaps += 1
                false += bool(((at >= one.end_s) & (at <= other.start_s + 0.16)).any())
    return {
        "ends": ends, "found": round(found / max(ends, 1), 4),
        "median_delay_ms": round(1000 * float(np.median(delays))) if delays else None,
        "gaps": gaps, "false": round(false / max(gaps, 1), 4),
    }  # fmt: skip


def quiet(checkpoint: Checkpoint, seconds: int = 60) -> dict[str, int]:
    """Return the words said in silence, in faint noise and in noise at -20 dBFS."""
    random = np.random.default_rng(3)
    samples = seconds * SAMPLE_RATE
    white = random.normal(0, 1, samples).astype(np.float32)
    signals = {
        "silence": np.zeros(samples, np.float32),
        "noise_-60_dbfs": 0.001 * white,
        "noise_-20_dbfs": 0.1 * white,
    }
    said = checkpoint.transcribe(list(signals.values()))
    return {name: len(t.words) for name, t in zip(signals, said, strict=True)}


def real_time_factor(checkpoint: Checkpoint, seconds: float = 12.0) -> float:
    """Return processing time over audio time at batch 1 on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    audio = np.random.default_rng(4).normal(0, 0.01, int(seconds * SAMPLE_RATE)).astype(np.float32)
    checkpoint.transcribe([audio[: 2 * SAMPLE_RATE]])
    before = time.process_time()
    checkpoint.transcribe([audio])
    spent = time.process_time() - before
    torch.set_num_threads(threads)
    return round(spent / (seconds + 2.6), 3)


def evaluate(
    folder: Annotated[Path, typer.Option()] = TARGET,
    development: Annotated[bool, typer.Option(help="score the development set")] = False,
    cache: Annotated[Path, typer.Option()] = CACHE,
    result: Annotated[Path, typer.Option()] = RESULT,
    show: Annotated[bool, typer.Option(help="print every wrong transcript")] = False,
) -> None:
    """Score all sets, print the figures and (tests only) write them as JSON."""
    checkpoint = Checkpoint(folder)
    utterances = developments(cache) if development else tests(cache)
    transcripts = in_batches(checkpoint, [u.recording.pcm for u in utterances])
    scored = [(u, t, matched(u.recording.words, t.words)) for u, t in zip(utterances, transcripts, strict=True)]
    sets: dict[str, list[Scored]] = {}
    for item in scored:
        sets.setdefault(item[0].set_name, []).append(item)
        if show and errors(item[2]):
            said = " ".join(word.word for word in item[1].words)
            wanted = " ".join(word.word for word in item[0].recording.words)
            typer.echo(f"{item[0].recording.name}: {wanted} | {said}")
    inside = {name: items for name, items in sets.items() if not name.startswith("prose")}
    outside = {name: items for name, items in sets.items() if name.startswith("prose")}
    timed = [item for items in inside.values() for item in items]
    unseen = [item for name, items in inside.items() if name.startswith("unseen") for item in items]
    report: dict[str, Any] = {
        "command": "python -m training.evaluate", "machine": "2 CPU cores",
        "date": date.today().isoformat(),
        "words": {name: word_errors(items) for name, items in inside.items()},
        "unseen voices together": word_errors(unseen) if unseen else None,
        "prose": {name: false_alarms(items) for name, items in outside.items()},
        "prose together": false_alarms([i for items in outside.values() for i in items]),
        "times": {name: timing(items) for name, items in inside.items()},
        "times together": timing(timed),
        "pauses": {name: pauses(items) for name, items in inside.items()},
        "pauses together": pauses(timed),
        "words in 60 s": quiet(checkpoint),
        "real_time_factor_one_thread": real_time_factor(checkpoint),
    }  # fmt: skip
    typer.echo(json.dumps(report, indent=1))
    if not development:
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(evaluate)
