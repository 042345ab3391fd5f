"""Step times of the engines against moshi's own, LMGen and MimiModel, in the same process and in turns.

    python -m benchmarks.step                                       the embedded model: about six minutes on two cores
    python -m benchmarks.step --part lm --batches 1,64:8            only the LM; 1 of 1, and 8 active of 64 slots
    python -m benchmarks.step --dtype int8 --name step-int8         another precision of the LM; moshi's stays float32
    python -m benchmarks.step --architecture 1b --part lm --batches 1 --name step-1b
                                                                    seeded weights of full size: 14 GB of memory
    python -m benchmarks.step --device cuda --dtype bfloat16 --architecture 1b --batches 1,16,64,256,512,1024

Contexts: short has 50 frames, full has the model's context in every row; the codec's is always full. A step is said in
three ways: its median, how many times as fast as moshi's (median and quartiles over rounds, each round a step of both),
and the share of the floor: the time in which this machine, measured just before, could at best read what the step must
read and do what it must do. After the steps a replay of 750 frames is timed against stepping, and with eight live
sessions beside it.

Writes benchmarks/results/NAME.json and a plot of it.
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

from benchmarks import machine_floor
from benchmarks.codec_floor import codec_floor
from benchmarks.floors import Floor, lm_floor
from benchmarks.machine_floor import MachineFloor
from benchmarks.plot import plot_step
from benchmarks.replay import LIVE, replay_figures
from benchmarks.results import ROOT, write
from benchmarks.stopwatch import Times, ratio, times_in_turns
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
_WARM_UP_FRAMES = 126
_BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
_CACHE_BYTES = {"float32": 4, "bfloat16": 2, "float8": 1}
_EMBEDDED = ROOT / "models" / "dsm-tiny-en"
# Of one row of the table: what takes longer is cut short, and says so by its number of rounds.
_LIMIT_S = 20.0

Dtype = Literal["float32", "bfloat16", "int8"]
KvDtype = Literal["auto", "float32", "bfloat16", "float8"]


@dataclass(frozen=True)
class _Run:
    dtype: str
    kv_dtype: str
    device: str
    rounds: int
    reference: bool
    machine: MachineFloor

    def cache_bytes(self) -> int:
        """Return the size of a number in the cache."""
        narrow = self.dtype == "bfloat16" and self.device != "cpu"
        return _CACHE_BYTES[self.kv_dtype if self.kv_dtype != "auto" else "bfloat16" if narrow else "float32"]


def main(
    *,
    model: Annotated[Path | None, typer.Option(help="A checkpoint's folder [default: the embedded model]")] = None,
    architecture: Annotated[Architecture | None, typer.Option(help="Seeded weights of this one instead")] = None,
    part: Annotated[Literal["both", "lm", "codec"], typer.Option(help="Which engine")] = "both",
    batches: Annotated[str, typer.Option(help="Sessions stepped, or SLOTS:ACTIVE")] = "1,4,16,64,64:8",
    dtype: Annotated[Dtype, typer.Option(help="Of our LM's weights")] = "float32",
    kv_dtype: Annotated[KvDtype, typer.Option(help="Of our LM's cache")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads of torch")] = 2,
    rounds: Annotated[int, typer.Option(help="Steps of each engine and batch")] = 40,
    reference: Annotated[bool, typer.Option(help="Time moshi's engines too")] = True,
    replay: Annotated[bool, typer.Option(help="Time a replay too")] = True,
    name: Annotated[str, typer.Option(help="Of the result")] = "step",
) -> None:
    """Measure, print a table, and write the results."""
    torch.set_num_threads(threads)
    sizes = [_batch(text) for text in batches.split(",")]
    run = _Run(dtype, kv_dtype, device, rounds, reference, machine_floor.measure(device, dtype))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = _checkpoint(model, architecture, Path(folder))
        rows = []
        for slots, active in sizes:
            if part != "codec":
                rows += _lm_rows(checkpoint, slots, active, run)
            if part != "lm":
                rows += _codec_rows(checkpoint, slots, active, run)
        figures: dict[str, Any] = {"machine": asdict(run.machine), "steps": rows}
        if replay and part != "codec":
            engine = load_lm(checkpoint, LIVE + 1, device=device, dtype=dtype, kv_dtype=kv_dtype)
            figures["replay"] = replay_figures(checkpoint, engine, 3)
    settings = {
        "model": checkpoint.name,
        "dtype": dtype,
        "kv_dtype": kv_dtype,
        "device": device,
        "threads": threads,
        "rounds": rounds,
    }
    file = write(name, settings, figures)
    plot_step(rows, file.with_suffix(".svg"))
    print(f"written: {file} and {file.with_suffix('.svg').name}")


def _batch(text: str) -> tuple[int, int]:
    """Return slots and active rows of "64" or "64:8"."""
    slots, _, active = text.partition(":")
    if not slots.isdecimal() or (active and not active.isdecimal()) or not 0 < int(active or slots) <= int(slots):
        raise typer.BadParameter(f"wanted SLOTS or SLOTS:ACTIVE, active of 1 to slots, got {text!r}")
    return int(slots), int(active or slots)


def _checkpoint(model: Path | None, architecture: Architecture | None, folder: Path) -> Checkpoint:
    if architecture is None:
        return resolve(str(model or _EMBEDDED))
    write_seeded_checkpoint(folder / architecture, architecture)
    return resolve(str(folder / architecture))


def _lm_rows(checkpoint: Checkpoint, slots: int, active: int, run: _Run) -> list[dict[str, Any]]:
    engines: list[Any] = [load_lm(checkpoint, slots, device=run.device, dtype=run.dtype, kv_dtype=run.kv_dtype)]
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
        rounds = run.rounds if label == "full" else min(run.rounds, frames // 2)
        times = times_in_turns([_stepper(engine, chosen, codes) for engine in engines], rounds, limit_s=_LIMIT_S)
        floor = lm_floor(dict(checkpoint.config), active, frames, _BYTES[run.dtype], run.cache_bytes())
        rows.append(_row(("lm", label, slots, active), times, floor, run.machine) | {"context_frames": frames})
    return rows


def _codec_rows(checkpoint: Checkpoint, slots: int, active: int, run: _Run) -> list[dict[str, Any]]:
    engines: list[Any] = [load_codec(checkpoint, slots, device=run.device)]
    if run.reference:
        engines.append(load_mimi(checkpoint, slots, device=run.device))
    random = np.random.default_rng(0)
    chosen = _chosen(slots, active)
    pcm = (random.standard_normal((active, FRAME_SAMPLES)) * 0.1).astype(np.float32)
    # Longer than the context of any Mimi.
    warm_up = (random.standard_normal((_WARM_UP_FRAMES, FRAME_SAMPLES)) * 0.1).astype(np.float32)
    for engine in engines:
        for slot in chosen.tolist():
            for _ in engine.open(slot, warm_up) or ():
                pass
    times = times_in_turns([_stepper(engine, chosen, pcm) for engine in engines], run.rounds, limit_s=_LIMIT_S)
    return [_row(("codec", "full", slots, active), times, codec_floor(checkpoint, active, 4), run.machine)]


def _chosen(slots: int, active: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.sort(np.random.default_rng(1).permutation(slots)[:active]).astype(np.int64)


def _stepper(engine: Any, slots: Any, rows: Any) -> Callable[[], object]:
    return lambda: engine.step(slots, rows)


def _row(what: tuple[str, str, int, int], times: list[Times], floor: Floor, machine: MachineFloor) -> dict[str, Any]:
    """what: part, context, slots, active rows."""
    part, context, slots, active = what
    ours = times[0]
    least_ms = machine.least_ms(floor.weight_bytes + floor.cache_bytes, floor.operations)
    row: dict[str, Any] = {
        "part": part,
        "context": context,
        "slots": slots,
        "active": active,
        "rounds": len(ours.rounds_ms),
        "ours": _figures(ours),
        "floor": asdict(floor) | {"ms": round(least_ms, 4), "share": round(least_ms / ours.median_ms, 3)},
    }
    line = (
        f"{part:6} {context:6} {active:4} of {slots:4}  {ours.median_ms:9.3f} ms  {row['floor']['share']:4.0%} of floor"
    )
    if len(times) > 1:
        quartiles = ratio(times[1], ours)
        row["moshi"] = _figures(times[1])
        row["speedup"] = quartiles["median"]
        row["speedup_quartiles"] = quartiles
        row["cpu_speedup"] = round(times[1].cpu_ms / ours.cpu_ms, 2)
        line += (
            f"  moshi {times[1].median_ms:9.3f} ms  {quartiles['median']:6.2f} × "
            f"({quartiles['q1']:.2f} to {quartiles['q3']:.2f}; {row['cpu_speedup']:.2f} × in CPU time)"
        )
    print(line, flush=True)
    return row


def _figures(times: Times) -> dict[str, float]:
    return {"median_ms": times.median_ms, "least_ms": times.least_ms, "cpu_ms": times.cpu_ms}


if __name__ == "__main__":
    typer.run(main)
