"""The training loop: time, data, devices, averages, checkpoints. What is trained is the objective's business."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hdrcli.errors import MissingRequirement, TrainingError, UsageError
from hdrcli.inference.generator import device_kind
from hdrcli.training import checkpoint
from hdrcli.training.datasets import SampleStream, Scene, collate
from hdrcli.training.objectives import Objective

RUN_FILE = "run.json"


@dataclass(frozen=True)
class LoopConfig:
    """How long, how fast, where.

    ``max_steps`` and ``minutes``: the run ends at whichever comes first, and the learning rate falls along a half cosine to
    there; at least one is given. ``minutes`` counts over resumed runs. ``precision``: "bf16-mixed" or "32-true".
    ``ema``: decay of the averaged weights that are exported. ``workers``: processes that make samples. ``threads``: of torch
    on the CPU; None: as many as it likes.
    """

    max_steps: int | None = None
    minutes: float | None = None
    seed: int = 1
    device: str = "auto"
    precision: str = "bf16-mixed"
    ema: float = 0.999
    warmup_steps: int = 200
    workers: int = 1
    threads: int | None = None
    checkpoint_seconds: float = 120.0
    log_steps: int = 20


@dataclass(frozen=True)
class Progress:
    """What the loop tells its observer every ``log_steps``: losses are means since the last report."""

    step: int
    fraction: float
    elapsed: float
    steps_per_second: float
    losses: dict[str, float]


def learning_rate_factor(step: int, fraction: float, warmup_steps: int) -> float:
    """Linear warm-up, then a half cosine to 1 % at ``fraction`` 1."""
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def train(
    objective: Objective,
    scenes: tuple[Scene, ...],
    config: LoopConfig,
    folder: Path,
    *,
    resume: bool = False,
    initial: Path | None = None,
    observe: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """Train the objective, keeping ``checkpoint.pt``, ``run.json`` and TensorBoard logs in ``folder``.

    With ``resume`` an existing checkpoint of the same objective, scenes and seed is continued; which views it then sees is
    said at :class:`hdrcli.training.datasets.SampleStream`. A new run starts from the averaged weights of the run in
    ``initial``, if given. Returns the last checkpoint's state. Raises TrainingError if the folder holds another run, if the
    initial weights don't fit, or if the loss stops being finite; MissingRequirement or UsageError for a device that is not
    there.
    """
    from lightning.fabric import Fabric

    if config.max_steps is None and config.minutes is None:
        raise UsageError("training needs an end", remedy="give --max-steps or --minutes")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    accelerator, devices = _placement(config.device)
    folder.mkdir(parents=True, exist_ok=True)
    old = _existing(folder, objective, scenes, config.seed, resume=resume)
    torch.manual_seed(config.seed)
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=config.precision)  # type: ignore[arg-type]
    history = [] if old is not None or initial is None else _initialise(objective, initial)
    networks = objective.networks.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(networks).requires_grad_(False)
    optimizers = objective.optimizers()
    base_rates = {name: [g["lr"] for g in o.param_groups] for name, o in optimizers.items()}
    step, elapsed_before = 0, 0.0
    if old is not None:
        networks.load_state_dict(old["networks"])
        averaged.load_state_dict(old["ema"])
        for name, optimizer in optimizers.items():
            if name in old["optimizers"]:
                optimizer.load_state_dict(old["optimizers"][name])
        step, elapsed_before, history = old["step"], old["elapsed"], old.get("history", [])
    else:
        record = {"objective": objective.describe(), "loop": asdict(config), "scenes": [s.name for s in scenes]}
        (folder / RUN_FILE).write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    batches = _batches(objective, scenes, config, start=step, fabric=fabric)
    writer = _tensorboard(folder)
    started = reported = saved = time.monotonic()
    sums: dict[str, torch.Tensor] = {}
    since = 0

    def state() -> dict[str, Any]:
        return {
            "description": objective.describe(),
            "generator": objective.export(averaged).description(),
            "networks": networks.state_dict(),
            "ema": averaged.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in optimizers.items()},
            "step": step,
            "elapsed": elapsed_before + time.monotonic() - started,
            "seed": config.seed,
            "history": history,
            "scenes": [[s.name, s.licence] for s in scenes],
            "device": str(fabric.device),
            "torch": str(torch.__version__),
        }

    try:
        while True:
            elapsed = elapsed_before + time.monotonic() - started
            fraction = max(
                step / config.max_steps if config.max_steps else 0.0, elapsed / (60 * config.minutes) if config.minutes else 0.0
            )
            if fraction >= 1:
                break
            for name, optimizer in optimizers.items():
                for group, rate in zip(optimizer.param_groups, base_rates[name], strict=True):
                    group["lr"] = rate * learning_rate_factor(step, fraction, config.warmup_steps)
            losses = objective.step(next(batches), optimizers, fabric)
            step += 1
            since += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, torch.zeros_like(value)) + value
            _average(averaged, networks, min(config.ema, (1 + step) / (10 + step)))
            if step % config.log_steps == 0:
                now = time.monotonic()
                means = _finite_means(sums, since, step, folder)
                for name, mean in means.items():
                    writer.add_scalar(name, mean, step)
                writer.flush()
                observe(Progress(step, fraction, elapsed, since / (now - reported), means))
                sums, since, reported = {}, 0, now
            if time.monotonic() - saved > config.checkpoint_seconds:
                _finite_means(sums, since, step, folder)
                checkpoint.save(state(), folder)
                saved = time.monotonic()
    except KeyboardInterrupt:
        _finite_means(sums, since, step, folder)
        checkpoint.save(state(), folder)
        raise
    finally:
        writer.close()
    _finite_means(sums, since, step, folder)
    final = state()
    checkpoint.save(final, folder)
    return final


def _finite_means(sums: dict[str, torch.Tensor], count: int, step: int, folder: Path) -> dict[str, float]:
    """Mean losses. Raises TrainingError if one is not finite: such weights shall not replace a good checkpoint."""
    means = {name: float(value) / max(count, 1) for name, value in sums.items()}
    for name, value in means.items():
        if not math.isfinite(value):
            fault = f"{name} is no longer finite at step {step}"
            raise TrainingError(fault, where=folder, remedy="resume with a lower learning rate")
    return means


def _initialise(objective: Objective, run: Path) -> list[dict[str, Any]]:
    """Give the objective the averaged weights of another run; returns what that run, and those before it, were."""
    if not (run / checkpoint.CHECKPOINT).is_file():
        raise TrainingError("holds no training run", where=run, remedy="name a folder that hdrcli train --out made")
    state = checkpoint.load(run / checkpoint.CHECKPOINT)
    try:
        objective.networks.load_state_dict(state["ema"])
    except RuntimeError as error:
        fault = "its weights don't fit these options"
        raise TrainingError(fault, where=run, remedy="start from a run with the same network") from error
    earlier = {"steps": state["step"], "minutes": state["elapsed"] / 60, "options": state["description"]["options"]}
    earlier |= {key: state[key] for key in ("seed", "scenes") if key in state}
    return [*state.get("history", []), earlier]


def _existing(
    folder: Path, objective: Objective, scenes: tuple[Scene, ...], seed: int, *, resume: bool
) -> dict[str, Any] | None:
    path = folder / checkpoint.CHECKPOINT
    if not path.exists():
        return None
    if not resume:
        raise TrainingError("holds a run already", where=folder, remedy="use --resume auto, or another --out")
    old = checkpoint.load(path)
    if old["description"] != objective.describe():
        raise TrainingError("holds a run with other options", where=folder, remedy="give the same options, or another --out")
    differences = _differences(old, scenes, seed)
    if differences:
        remedy = "give the same scenes and seed, or another --out with --init"
        raise TrainingError(f"holds a run on other data: {'; '.join(differences)}", where=folder, remedy=remedy)
    return old


def _differences(old: dict[str, Any], scenes: tuple[Scene, ...], seed: int) -> list[str]:
    """How scenes and seed differ from a checkpoint's, in words. Its card would be wrong, and its views not the next ones."""
    found = [] if old.get("seed", seed) == seed else [f"seed {old['seed']}, not {seed}"]
    now = [(s.name, s.licence) for s in scenes]
    before = [(str(name), str(licence)) for name, licence in old.get("scenes", now)]
    if before == now:
        return found
    then_licence, now_licence = dict(before), dict(now)
    gone = [name for name in then_licence if name not in now_licence]
    new = [name for name in now_licence if name not in then_licence]
    other = [
        f"{n} ({then_licence[n]}, not {now_licence[n]})"
        for n in now_licence
        if then_licence.get(n, now_licence[n]) != now_licence[n]
    ]
    words = [
        f"{what} {_some(names)}"
        for what, names in (("scenes gone:", gone), ("scenes added:", new), ("other licences:", other))
        if names
    ]
    return found + (words or ["scenes in another order or number"])


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _placement(device: str) -> tuple[str, int | list[int]]:
    """Fabric's accelerator and devices for "auto", "cpu", "cuda" or "cuda:N"."""
    kind, number = device_kind(device)
    cards = torch.cuda.device_count()
    if kind == "cuda" and cards == 0:
        remedy = "use --device cpu or auto, or install torch with CUDA"
        raise MissingRequirement("torch sees no CUDA device", where=f"--device {device}", remedy=remedy)
    if kind == "cuda" and number >= cards:
        fault = f"torch sees {cards} CUDA devices, numbered from 0"
        raise UsageError(fault, where=f"--device {device}", remedy="name one of them, or use --device auto")
    return ("cuda", [number]) if kind != "cpu" and cards else ("cpu", 1)


def _batches(
    objective: Objective, scenes: tuple[Scene, ...], config: LoopConfig, *, start: int, fabric: Any
) -> Iterator[dict[str, torch.Tensor]]:
    stream = SampleStream(
        scenes, objective.view_size, objective.samples, seed=config.seed, start=start * objective.views_per_batch
    )
    loader = DataLoader(
        stream,
        batch_size=objective.batch_size,
        collate_fn=collate,
        num_workers=config.workers,
        prefetch_factor=4 if config.workers else None,
        pin_memory=fabric.device.type == "cuda",
    )
    for batch in loader:
        yield {
            key: value.to(fabric.device, memory_format=torch.channels_last, non_blocking=True) for key, value in batch.items()
        }


@torch.no_grad()
def _average(averaged: nn.Module, networks: nn.Module, decay: float) -> None:
    """averaged <- decay averaged + (1 - decay) networks; buffers (running statistics) are copied."""
    mine: list[torch.Tensor] = list(averaged.parameters())
    theirs: list[torch.Tensor] = list(networks.parameters())
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for a, b in zip(averaged.buffers(), networks.buffers(), strict=True):
        a.copy_(b)


def _tensorboard(folder: Path) -> Any:
    """A writer of training curves; the loop closes it."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)
