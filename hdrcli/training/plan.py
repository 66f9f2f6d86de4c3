"""What a run would do, and what it would cost: measured on a few steps, not guessed."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hdrcli.training import loop
from hdrcli.training.cache import Picture, Stored, parts
from hdrcli.training.datasets import Pictures
from hdrcli.training.objectives import Objective

STEPS = 3  # the first is not timed: libraries choose their kernels in it


@dataclass(frozen=True)
class Cost:
    """``seconds`` of a step; ``memory``: peak bytes of this process, without workers; ``device_memory``: on CUDA, else 0."""

    seconds: float
    memory: int
    device_memory: int
    checkpoint: int


def asks_others(objective: Objective) -> bool:
    """Would pictures leave the machine, and cost money perhaps?"""
    return any(line.startswith("llm") for line in objective.guides().values())


def parameters(objective: Objective) -> dict[str, int]:
    """Parameters of each network."""
    return {name: sum(p.numel() for p in network.parameters()) for name, network in objective.networks.items()}


def kept(pictures: Pictures) -> dict[str, tuple[int, int, int]]:
    """By domain: how many pictures are in memory, cached on the disk, decoded each time; of pairs the slower half."""
    counts = {}
    for domain, chosen in pictures.items():
        places = [_place(p) for p in chosen]
        counts[domain] = (places.count(0), places.count(1), places.count(2))
    return counts


def _place(picture: Picture) -> int:
    return max((1 if part.cached is not None else 2) if isinstance(part, Stored) else 0 for part in parts(picture))


def steps_per_epoch(objective: Objective, pictures: Pictures, accumulate: int, processes: int) -> float:
    """Steps in which as many views are drawn as there are pictures in the larger domain."""
    return loop.batches_per_epoch(objective, pictures) / (accumulate * processes)


def measure(objective: Objective, pictures: Pictures, config: loop.LoopConfig) -> Cost:
    """Train a few steps in a folder that vanishes. The objective's networks have changed afterwards."""
    seen: list[loop.Progress] = []
    short = replace(config, max_steps=STEPS, minutes=None, devices=1, num_nodes=1, log_steps=1, shard_mib=None)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory(prefix="hdrcli-plan-") as name:
        loop.train(objective, pictures, short, Path(name), observe=seen.append)
        size = (Path(name) / "checkpoint.pt").stat().st_size
    timed = seen[1:]
    seconds = sum(1 / p.steps_per_second for p in timed) / len(timed)
    return Cost(seconds, _peak_memory(), torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0, size)


def _peak_memory() -> int:
    """Of this process, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
