"""Request sequences that make no sense, by the thousand: `make fuzz` calls it; tests/fuzzing.py makes them up.

Fails on the first call that ends with anything but OK or an error of the table in speech.proto, that leaves a slot
taken, or that takes a worker down; Hypothesis then prints the shortest sequence that does it.
"""

from __future__ import annotations

import gc
import logging
import time
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import results
from benchmarks.resources import usage
from tests.fuzzing import FuzzedStack, callers, recordings

_console = Console(stderr=True)
# Hypothesis remembers what it tried, which would look like a leak: a fresh start each so many examples.
_BATCH = 250
_CALLERS = 3


def main(
    calls: Annotated[int, typer.Option(help="How many calls at least, four in five of them streams.")] = 10_000,
    first_seed: Annotated[int, typer.Option("--seed", help="The same seed tries the same.")] = 1,
    folder: Annotated[Path, typer.Option(help="Where the figures go.")] = results.RESULTS,
) -> None:
    """Send malformed and misordered requests to a stack with fake models on real ports."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began_s = time.monotonic()
    memory: list[tuple[float, float]] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with FuzzedStack() as stack, Progress(*columns, console=_console) as progress:
        task = progress.add_task("calls", total=calls)
        batch = first_seed
        while stack.calls < calls:
            _streams(stack, batch)
            _recordings(stack, batch)
            batch += 1
            gc.collect()
            memory.append((stack.calls / 1000, usage().rss_mib))
            progress.update(task, completed=min(calls, stack.calls))
    found = {
        "calls": stack.calls,
        "streams": stack.streams,
        "wall_s": round(time.monotonic() - began_s, 1),
        "outcomes": dict(stack.outcomes.most_common()),
        "undocumented": 0,
        "slots_leaked": 0,
        "workers_lost": 0,
        "memory": _memory(memory),
    }
    _console.print(found)
    _console.print(f"figures: {results.write('fuzz', {'calls': calls, 'seed': first_seed}, found, folder)}")


def _memory(points: list[tuple[float, float]]) -> dict[str, Any]:
    """Sum up the memory of gateway, workers and callers together; its slope over the second half, once all is warm."""
    second_half = points[len(points) // 2 :]
    return {
        "rss_mib_first": points[0][1],
        "rss_mib_half": second_half[0][1],
        "rss_mib_last": points[-1][1],
        "slope_kib_per_1000_calls": round(1024 * results.slope(second_half), 1),
    }


def _examples(count: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, database=None, suppress_health_check=checks)


def _streams(stack: FuzzedStack, number: int) -> None:
    @seed(number)
    @_examples(_BATCH)
    @given(group=st.lists(callers(), min_size=1, max_size=_CALLERS))
    def run(group: list[Any]) -> None:
        stack.stream(group)

    run()


def _recordings(stack: FuzzedStack, number: int) -> None:
    @seed(number)
    @_examples(_BATCH // 2)
    @given(request=recordings())
    def run(request: bytes) -> None:
        stack.recognize(request)

    run()


if __name__ == "__main__":
    typer.run(main)
