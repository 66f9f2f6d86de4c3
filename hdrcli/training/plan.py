"""What a run would do, and what it would cost: memory estimated from small images, then all of it measured on a few steps."""

from __future__ import annotations

import copy
import gc
import math
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hdrcli import machine
from hdrcli.errors import TrainingError, UsageError
from hdrcli.training import loop
from hdrcli.training.cache import Picture, Stored, parts
from hdrcli.training.datasets import Pictures
from hdrcli.training.objectives import Objective
from hdrcli.training.placement import make_fabric, placed, placement

STEPS = 3  # the first is not timed: libraries choose their kernels in it
_SIDE = 48  # pixels, of the smaller of two images from which activations are extrapolated
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Cost:
    """``seconds`` of a step; ``memory``: peak bytes of this process, without workers; ``device_memory``: on CUDA, else 0."""

    seconds: float
    memory: int
    device_memory: int
    checkpoint: int


@dataclass(frozen=True)
class Estimate:
    """Bytes that a step takes: ``fixed`` for weights, averages, gradients and Adam's states, ``activations`` on top."""

    fixed: int
    activations: int

    @property
    def total(self) -> int:
        """At the peak."""
        return self.fixed + self.activations


class Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the storages that operations make while it is entered, and takes off those that are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def _freed(self, key: int) -> None:
        self.now -= self.alive.pop(key)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the operation and look at what it made."""
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.alive and key not in given:  # a view of what was there before is not made here
                self.alive[key] = storage.nbytes()
                self.now += self.alive[key]
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._freed, key)
        return result


def estimate(objective: Objective, config: loop.LoopConfig) -> Estimate:
    """What a training step will take, without trying one: it is gone through on the CPU with one or two images, cut small.

    What it makes beyond gradients grows with pixels and images; where images are larger than 96 pixels it is a line through two
    sizes. History pools, workers, workspaces of kernels and what the allocator wastes are not in it. Running statistics of the
    objective's networks have changed afterwards.
    """
    count = {name: sum(p.numel() for p in network.parameters()) for name, network in objective.networks.items()}
    trained = {name for phase in objective.phases for name in objective.trained(phase)}
    averaged = sum(count[name] for name in objective.averaged)
    learned = sum(count[name] for name in trained)
    fixed = 4 * (sum(count.values()) + averaged + 3 * learned)
    images = min(2, objective.batch_size)
    samples = _samples(objective, images)
    side = max(entry.shape[0] for entry in samples[0].values())
    multiple = max((export.multiple for export in objective.export(objective.networks)), default=8)
    smallest = multiple * math.ceil(_SIDE / multiple)
    small = next((s for s in range(smallest, side, multiple) if _takes(objective, s)), side)
    sides = (small, 2 * small) if 2 * small < side else (side,)
    before = copy.deepcopy(objective.state())
    precision = "32-true" if config.precision == "32-true" else "bf16-mixed"  # half precision is CUDA's; it is as large
    fabric = make_fabric("cpu", 1, 1, precision)
    objective.networks.to("cpu")
    with placed(objective.networks, fabric):
        found = []
        for now in sides:
            found.append(_peak(objective, _cut(samples, side, now), fabric) / images)
            objective.load_state(before)  # a history of images of this size, and the like
    each = found[-1]
    if len(sides) == 2:
        slope = (found[1] - found[0]) / (sides[1] ** 2 - sides[0] ** 2)
        each = max(found[1], found[0] + slope * (side**2 - sides[0] ** 2))
    return Estimate(fixed, int(each * objective.batch_size))


def _takes(objective: Objective, side: int) -> bool:
    """Could images of the objective be of this size?"""
    config = getattr(objective, "config", None)
    if not is_dataclass(config) or isinstance(config, type) or "working_size" not in {f.name for f in fields(config)}:
        return True
    try:
        replace(config, **{"working_size": side})
    except UsageError:  # it needs larger ones
        return False
    return True


def _samples(objective: Objective, count: int) -> list[Mapping[str, Any]]:
    """So many training samples, of noise: shapes matter, not what they show."""
    rng, size = np.random.default_rng(0), objective.view_size
    found: list[Mapping[str, Any]] = []
    while len(found) < count:
        views: dict[str, Any] = {}
        for domain in objective.domains:
            light = np.exp(rng.normal(-1.7, 1.5, (size, size, 3))).astype(np.float32)
            views[domain] = light if domain == "hdr" else rng.integers(0, 256, light.shape, np.uint8)
        found += objective.samples(views, rng)
    return found[:count]


def _cut(samples: list[Mapping[str, Any]], side: int, to: int) -> dict[str, torch.Tensor]:
    """A batch of samples whose images are cut from ``side`` to ``to`` pixels."""
    batch = {}
    for name in samples[0]:
        stacked = torch.from_numpy(np.stack([sample[name] for sample in samples])).permute(0, 3, 1, 2)
        batch[name] = stacked[..., :to, :to].contiguous() if stacked.shape[-2:] == (side, side) else stacked
    return batch


def _peak(objective: Objective, batch: dict[str, torch.Tensor], fabric: Any) -> int:
    """Bytes that a step makes at most at a time, of all phases, without the gradients of weights."""
    worst = 0
    # a loss that is added every so many steps is among so many
    steps = int(objective.describe()["options"].get("perception_every", 1))
    for _ in range(steps):
        for phase in objective.phases:
            trained = set(objective.trained(phase))
            for name, network in objective.networks.items():
                network.requires_grad_(name in trained)
            weights = [p for name in trained for p in objective.networks[name].parameters()]
            for weight in weights:  # made before the count begins
                weight.grad = torch.zeros_like(weight)
            counted = Storages()
            with counted:
                fabric.backward(objective.loss(phase, batch, 0)["loss"])
            worst = max(worst, counted.peak)
            for weight in weights:
                weight.grad = None
            gc.collect()  # what went round in circles must not be counted in the next phase
    return worst


def free_memory(config: loop.LoopConfig) -> int:
    """Bytes that can be had where the run computes."""
    if placement(config.device)[0] == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    return machine.free_memory()


def what_to_lower(objective: Objective) -> str:
    """What takes less memory, in options of the command line."""
    options = objective.describe()["options"]
    sizes = [f"-p {name}={options[name]}" for name in ("batch_size", "working_size") if name in options]
    if options.get("saves_memory") is False:
        sizes.append("use --checkpoint-activations")
    return f"lower {' or '.join(sizes)}"


@contextmanager
def memory_errors(objective: Objective) -> Iterator[None]:
    """Where the block runs out of memory, TrainingError says what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error) for sign in _NO_MEMORY):
            raise
        raise TrainingError("there is not enough memory for training", remedy=what_to_lower(objective)) from error


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
