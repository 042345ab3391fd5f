"""What can happen to workers: kill -9, SIGSTOP, connection resets, partitions; of one kind, the other, or both."""

from __future__ import annotations

import asyncio
import random
import signal
from dataclasses import dataclass

from benchmarks.rig import Rig, Worker

KINDS = ("kill", "pause", "pause and kill", "reset", "partition")
VICTIMS = (("lm",), ("codec",), ("lm", "codec"))


@dataclass(frozen=True)
class Fault:
    """One fault. lasts_s: until a paused worker goes on or is killed, until a partition heals."""

    kind: str
    # Kinds of worker, one worker of each.
    victims: tuple[str, ...]
    lasts_s: float
    # After the services have recovered from the one before.
    wait_s: float

    @property
    def name(self) -> str:
        """Name the fault for tables."""
        return f"{self.kind}: {' and '.join(self.victims)}"


def plan(count: int, seed: int) -> list[Fault]:
    """Make a list of faults: every kind of every victim in turn, in an order and at times made up from the seed."""
    chance = random.Random(seed)
    faults: list[Fault] = []
    while len(faults) < count:
        everything = [(kind, victims) for kind in KINDS for victims in VICTIMS]
        chance.shuffle(everything)
        faults += [Fault(kind, victims, chance.uniform(0.2, 9), chance.uniform(0.1, 3)) for kind, victims in everything]
    return faults[:count]


async def inject(rig: Rig, fault: Fault, chance: random.Random) -> list[str]:
    """Let a fault happen and end, and wait until every worker is back; returns the names of the victims."""
    victims = [chance.choice(rig.of_kind(kind)) for kind in fault.victims]
    await asyncio.gather(*(_suffer(worker, fault) for worker in victims))
    for worker in rig.workers:
        await worker.ready()
    return [worker.name for worker in victims]


async def _suffer(worker: Worker, fault: Fault) -> None:
    match fault.kind:
        case "kill":
            worker.send(signal.SIGKILL)
            await worker.replace()
        case "pause":
            worker.send(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts_s)
            worker.send(signal.SIGCONT)
        case "pause and kill":
            worker.send(signal.SIGSTOP)
            await asyncio.sleep(fault.lasts_s)
            worker.send(signal.SIGKILL)
            await worker.replace()
        case "reset":
            worker.proxy.reset()
        case "partition":
            worker.proxy.partition()
            await asyncio.sleep(fault.lasts_s)
            worker.proxy.heal()
        case _:
            raise AssertionError(fault.kind)


async def restart_in_turn(rig: Rig) -> None:
    """Stop every worker with SIGTERM, one after another, each once its predecessor's replacement serves."""
    for worker in rig.workers:
        worker.send(signal.SIGTERM)
        await worker.replace()
        await worker.ready()
