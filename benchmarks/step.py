"""Step times of the engines against moshi's own, LMGen and MimiModel, in the same process and in turns.

    python -m benchmarks.step                      the embedded size, batches of 1 to 64
    python -m benchmarks.step --model FOLDER       another checkpoint
    python -m benchmarks.step --dtype int8         another precision of the LM; moshi's stays float32

Writes benchmarks/results/step.json and, where matplotlib is installed, step.svg.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer

from benchmarks.floors import lm_floor
from benchmarks.plot import plot_step
from benchmarks.results import write
from benchmarks.stopwatch import Times, times_in_turns
from services.codec.encoder_engine import load as load_codec
from services.common.checkpoint import Checkpoint
from services.common.framing import FRAME_SAMPLES
from services.common.registry import resolve
from services.lm.engine import History
from services.lm.lm_engine import load as load_lm
from tests.reference.lmgen_engine import load as load_lmgen
from tests.reference.mimi_engine import load as load_mimi
from training.seeded import Architecture, write_seeded_checkpoint

SHORT_FRAMES = 50
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
# Slots and active rows.
_BATCHES = ((1, 1), (4, 4), (16, 16), (64, 64), (64, 8))


@dataclass(frozen=True)
class _Run:
    dtype: str
    device: str
    rounds: int
    reference: bool


def main(
    *,
    model: Annotated[Path | None, typer.Option(help="A checkpoint's folder; without one, seeded weights")] = None,
    architecture: Annotated[Literal["tiny", "1b", "2.6b"], typer.Option(help="Of the seeded weights")] = "tiny",
    dtype: Annotated[Literal["float32", "bfloat16", "int8"], typer.Option(help="Of our LM")] = "float32",
    device: str = "cpu",
    threads: int = 2,
    rounds: int = 40,
    most_slots: int = 64,
    reference: Annotated[bool, typer.Option(help="Time moshi's engines too")] = True,
    name: Annotated[str, typer.Option(help="Of the result")] = "step",
) -> None:
    """Measure, print a table, and write the results."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(model, architecture, Path(folder))
        run = _Run(dtype, device, rounds, reference)
        batches = [batch for batch in _BATCHES if batch[0] <= most_slots]
        rows = [
            row
            for slots, active in batches
            for row in (
                *_lm_rows(checkpoint, slots, active, run),
                *_codec_rows(checkpoint, slots, active, run),
            )
        ]
    settings = {"model": checkpoint.name, "dtype": dtype, "device": device, "threads": threads, "rounds": rounds}
    file = write(name, settings, {"steps": rows})
    print(f"written: {file}")
    if plot_step(rows, file.with_suffix(".svg")):
        print(f"written: {file.with_suffix('.svg')}")


def _checkpoint(model: Path | None, architecture: Architecture, folder: Path) -> Checkpoint:
    if model is None:
        model = folder / architecture
        write_seeded_checkpoint(model, architecture)
    return resolve(str(model))


def _lm_rows(checkpoint: Checkpoint, slots: int, active: int, run: _Run) -> list[dict[str, Any]]:
    engines: list[Any] = [load_lm(checkpoint, slots, device=run.device, dtype=run.dtype)]
    if run.reference:
        engines.append(
            load_lmgen(checkpoint, slots, device=run.device, dtype="float32" if run.dtype == "int8" else run.dtype)
        )
    random = np.random.default_rng(0)
    chosen = _chosen(slots, active)
    full = checkpoint.context_frames
    rows = []
    for label, frames in (("short", min(SHORT_FRAMES, full)), ("full", full)):
        history = History(
            random.integers(0, checkpoint.card, (frames, checkpoint.codebooks)).astype(np.uint16),
            np.full(frames + 1, checkpoint.padding_token, np.int32),
        )
        codes = random.integers(0, checkpoint.card, (active, checkpoint.codebooks)).astype(np.uint16)
        for engine in engines:
            for slot in chosen.tolist():
                for _ in engine.open(slot, history) or ():
                    pass
        # Short contexts grow as they are timed; around the length named.
        times = times_in_turns([_stepper(engine, chosen, codes) for engine in engines], min(run.rounds, frames // 2))
        floor = lm_floor(
            dict(checkpoint.config), active, frames, _BYTES[run.dtype], 2 if run.dtype == "bfloat16" else 4
        )
        rows.append(_row("lm", label, slots, active, times) | {"context_frames": frames, "floor": asdict(floor)})
    return rows


def _codec_rows(checkpoint: Checkpoint, slots: int, active: int, run: _Run) -> list[dict[str, Any]]:
    engines: list[Any] = [load_codec(checkpoint, slots, device=run.device)]
    if run.reference:
        engines.append(load_mimi(checkpoint, slots, device=run.device))
    random = np.random.default_rng(0)
    chosen = _chosen(slots, active)
    pcm = (random.standard_normal((active, FRAME_SAMPLES)) * 0.1).astype(np.float32)
    warm_up = (random.standard_normal((SHORT_FRAMES, FRAME_SAMPLES)) * 0.1).astype(np.float32)
    for engine in engines:
        for slot in chosen.tolist():
            for _ in engine.open(slot, warm_up) or ():
                pass
    times = times_in_turns([_stepper(engine, chosen, pcm) for engine in engines], run.rounds)
    return [_row("codec", "full", slots, active, times)]


def _chosen(slots: int, active: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.sort(np.random.default_rng(1).permutation(slots)[:active]).astype(np.int64)


def _stepper(engine: Any, slots: Any, rows: Any) -> Callable[[], object]:
    return lambda: engine.step(slots, rows)


def _row(part: str, context: str, slots: int, active: int, times: list[Times]) -> dict[str, Any]:
    row: dict[str, Any] = {"part": part, "context": context, "slots": slots, "active": active, "ours": asdict(times[0])}
    line = f"{part:6} {context:6} {active:3} of {slots:3}  {times[0].median_ms:9.3f} ms"
    if len(times) > 1:
        row["moshi"] = asdict(times[1])
        row["speedup"] = round(times[1].median_ms / times[0].median_ms, 2)
        row["cpu_speedup"] = round(times[1].cpu_ms / times[0].cpu_ms, 2)
        line += (
            f"  moshi {times[1].median_ms:9.3f} ms  {row['speedup']:6.2f} × ({row['cpu_speedup']:.2f} × in CPU time)"
        )
    print(line, flush=True)
    return row


if __name__ == "__main__":
    typer.run(main)
