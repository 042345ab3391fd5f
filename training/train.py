"""Trains the network on the cached speech: `python -m training.train --minutes 65`.

CPU by default, CUDA where there is one. Resumable: a run continues from its last checkpoint, and
the schedule follows the minutes trained so far, so it may be stopped and exported at any time.
`--init models/dsm-tiny-en` starts from an exported checkpoint instead of from nothing.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

os.environ.setdefault("NO_TORCH_COMPILE", "1")
# With the matrix units of newer Xeons, bfloat16 convolutions with 8 channels and a stride come out wrong (torch 2.9.1,
# oneDNN 3.7: relative error 1): everything but these units.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")

import numpy as np
import torch
import typer
from rich.progress import Progress
from torch import Tensor

from training.averaging import UPDATE_EVERY, Average
from training.feed import Batch, Batches, feed
from training.generate import CACHE
from training.network import Losses, Network, start_encoder
from training.shape import LM_CONFIG, MIMI_CONFIG, TEXT_CARD
from training.vocabulary import FIRST_WORD, WORDS
from training.warm_start import load_exported, settle_heads

RUNS = Path("training/runs")
QUANTISE_FROM = 0.28
"""Part of the training after which the codebooks are started and used."""
RATES = {"encoder": 1.5e-3, "text": 1.0e-3}
WARMUP_STEPS = 150
SAVE_EVERY_S = 240.0


def text_inputs(text: Tensor) -> Tensor:
    """Return the token before each step, every word replaced by a random one.

    With the true words the model learns the texts of the clips by heart and guesses the next word
    from the ones before it; when it then runs on its own words, one error brings the next. So it
    sees that a word was said, but not which.
    """
    before = torch.cat([torch.full_like(text[:, :1], TEXT_CARD), text[:, :-1]], 1)
    spoken = (before >= FIRST_WORD) & (before < TEXT_CARD)
    others = torch.randint_like(before, FIRST_WORD, FIRST_WORD + len(WORDS))
    return torch.where(spoken, others, before)


def rate_factor(steps: int, progress: float) -> float:
    """Return what the learning rates are multiplied with: warm-up of this start, then cosine to 1 %."""
    warm = min(1.0, (steps + 1) / WARMUP_STEPS)
    return warm * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(progress, 1.0)))))


def accuracy(logits: Tensor, text: Tensor) -> tuple[float, float]:
    """Return the part of the words found and the part of the found words that are right."""
    found = logits.argmax(-1)
    spoken = text >= FIRST_WORD
    said = found >= FIRST_WORD
    right = (found == text) & spoken
    return float(right.sum() / spoken.sum().clamp(min=1)), float(right.sum() / said.sum().clamp(min=1))


@dataclass(frozen=True)
class Plan:
    """What every process of a run knows.

    minutes: length of the schedule. stop_after: minutes after which to leave, for the whole run.
    rate: what all learning rates are multiplied with.
    """

    minutes: float
    stop_after: float
    folder: Path
    cache: Path
    batch: int
    frames: int
    seed: int
    processes: int
    device: str
    rate: float

    def batches(self, rank: int, first_step: int) -> Batches:
        """Return what a process of the run hears that starts or goes on at a step."""
        seed = self.seed * 100_003 + rank + 17 * first_step
        return Batches(self.cache, self.batch, self.frames, seed)


class Shared:
    """What the processes of a run tell each other besides the weights."""

    def __init__(self, step: int, trained_s: float, quantise: bool) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self.step = context.Value("q", step)
        self.trained_s = context.Value("d", trained_s)
        self.quantise = context.Value("b", quantise)


def work(rank: int, plan: Plan, network: Network, shared: Shared) -> None:
    """Train shared weights from one process until the time is over.

    The processes never wait for each other (Recht et al. 2011, "Hogwild!", arXiv:1106.5730): each
    has its own windows, gradients and optimiser. Process 0 keeps the clock, logs and saves.
    """
    if plan.device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(plan.seed + rank)
    first_step = shared.step.value
    batches = feed(plan.batches(rank, first_step), plan.device)
    groups = network.trained()
    optimizer = torch.optim.AdamW(
        [{"params": groups[name], "lr": rate, "base": plan.rate * rate} for name, rate in RATES.items()],
        betas=(0.9, 0.98), weight_decay=0.02,
    )  # fmt: skip
    optimizer_path = plan.folder / f"optimizer-{rank}.pt"
    if optimizer_path.exists() and first_step:
        optimizer.load_state_dict(torch.load(optimizer_path, map_location="cpu", weights_only=True))
    parameters = [p for group in groups.values() for p in group]
    progress = Progress(disable=rank > 0)
    bar = progress.add_task("training", total=plan.minutes * 60)
    log = Log(plan.folder / "log.jsonl") if rank == 0 else None
    average = continued_average(plan.folder, network) if rank == 0 else None
    began, before_s = time.monotonic(), shared.trained_s.value
    saved_s = before_s
    with progress:
        while shared.trained_s.value < 60 * min(plan.stop_after, plan.minutes):
            part = shared.trained_s.value / (plan.minutes * 60)
            if part >= QUANTISE_FROM and rank == 0 and not shared.quantise.value:
                start_codebooks(network, batches)
                shared.quantise.value = True
            network.quantise = bool(shared.quantise.value)
            for group in optimizer.param_groups:
                group["lr"] = group["base"] * rate_factor(shared.step.value - first_step, part)
            example = next(batches)
            with torch.autocast(plan.device, torch.bfloat16):
                losses, logits = network(**example, text_input=text_inputs(example["text"]))
            optimizer.zero_grad(set_to_none=True)
            losses.total().backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            with shared.step.get_lock():
                shared.step.value += 1
            if log is None or average is None:
                continue
            shared.trained_s.value = before_s + time.monotonic() - began
            progress.update(bar, completed=shared.trained_s.value)
            log.add(losses, accuracy(logits.detach(), example["text"]))
            log.write_every(50, shared)
            if log.steps % UPDATE_EVERY == 0:
                average.update(network)
            if shared.trained_s.value - saved_s > SAVE_EVERY_S:
                save(plan.folder, network, average, shared)
                saved_s = shared.trained_s.value
    torch.save(optimizer.state_dict(), optimizer_path)
    if average is not None:
        save(plan.folder, network, average, shared)


class Log:
    """Means of the losses over the last steps, as JSON lines in a file and on the screen."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("a")
        self.sums: dict[str, float] = {}
        self.count = 0
        self.steps = 0

    def add(self, losses: Losses, found_right: tuple[float, float]) -> None:
        """Count one step."""
        values = {key: float(value.detach()) for key, value in vars(losses).items()}
        values["found"], values["right"] = found_right
        for key, value in values.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.count += 1
        self.steps += 1

    def write_every(self, steps: int, shared: Shared) -> None:
        """Write a line once that many steps were counted."""
        if self.count < steps:
            return
        means = {key: round(value / self.count, 4) for key, value in self.sums.items()}
        line = {"step": shared.step.value, "s": round(shared.trained_s.value), **means}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        typer.echo(json.dumps(line))
        self.sums, self.count = {}, 0


def train(  # noqa: PLR0917 - options of a command, given by name
    minutes: Annotated[float, typer.Option(help="length of the schedule")] = 65.0,
    run: Annotated[str, typer.Option(help="name of the run")] = "tiny",
    batch: Annotated[int | None, typer.Option(help="windows a step; default by device")] = None,
    frames: Annotated[int, typer.Option(help="80 ms frames of a window")] = 96,
    seed: Annotated[int, typer.Option()] = 1,
    processes: Annotated[int, typer.Option(help="of one thread each, on the CPU")] = 2,
    stop_after: Annotated[float | None, typer.Option(help="leave after these minutes")] = None,
    init: Annotated[Path | None, typer.Option(help="exported checkpoint to start from; default: from nothing")] = None,
    rate: Annotated[float, typer.Option(help="factor of the learning rates; below 1 with --init")] = 1.0,
    frozen: Annotated[
        int, typer.Option(help="first encoder layers to leave as they are; 5 with --init saves a third")
    ] = 0,
    cache: Annotated[Path, typer.Option()] = CACHE,
) -> None:
    """Train, printing the losses every 50 steps and saving every few minutes."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plan = Plan(
        minutes, stop_after if stop_after is not None else minutes, RUNS / run, cache,
        batch or (4 if device == "cpu" else 64), frames, seed,
        processes if device == "cpu" else 1, device, rate,
    )  # fmt: skip
    plan.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1 if device == "cpu" else 8)
    torch.manual_seed(seed)
    network = Network(MIMI_CONFIG, LM_CONFIG).to(device).train()
    network.freeze_front(frozen)
    checkpoint = plan.folder / "checkpoint.pt"
    shared = Shared(0, 0.0, False)
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        shared = Shared(state["step"], state["trained_s"], state["quantise"])
    elif init is not None:
        load_exported(network, init)
        loss = settle_heads(network, feed(plan.batches(0, 0), device, 0))
        typer.echo(f"phone heads: loss {loss:.3f} before training")
        shared = Shared(0, 0.0, True)
    else:
        batches = feed(plan.batches(0, 0), device, 0)
        start_encoder(network, torch.cat([next(batches)["pcm"] for _ in range(4)]))
    if plan.processes == 1:
        work(0, plan, network, shared)
        return
    network.share_memory()
    torch.multiprocessing.spawn(work, (plan, network, shared), nprocs=plan.processes)


def start_codebooks(network: Network, batches: Iterator[Batch], count: int = 40) -> None:
    """Start both parts of the quantiser by k-means on fresh batches."""
    first, rest = [], []
    with torch.no_grad():
        for _ in range(count):
            latents = network.latents(next(batches)["pcm"])[1]
            for kept, x in zip((first, rest), network.projected(latents), strict=True):
                kept.append(x)
    network.first.start(torch.cat(first))
    network.rest.start(torch.cat(rest))


def continued_average(folder: Path, network: Network) -> Average:
    """Return the average of the weights, of a run that goes on the one that it saved."""
    average = Average(network)
    path = folder / "checkpoint.pt"
    if path.exists():
        average.load(torch.load(path, map_location="cpu", weights_only=True)["average"])
    return average


def save(folder: Path, network: Network, average: Average, shared: Shared) -> None:
    """Write a checkpoint; a crash while writing leaves the one before it."""
    state = {
        "network": network.state_dict(), "average": average.state, "step": shared.step.value,
        "trained_s": shared.trained_s.value, "quantise": bool(shared.quantise.value),
    }  # fmt: skip
    path = folder / "checkpoint.pt"
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


if __name__ == "__main__":
    typer.run(train)
