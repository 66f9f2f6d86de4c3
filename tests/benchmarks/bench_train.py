"""Steps a second of training, and the share of time spent outside the networks' forward and backward passes.

"Inside" is measured around the networks' forward passes and around backward. Everything else counts as outside; it is told
apart into losses and guides (frozen ones, that train nothing), and the loop (waiting for data, optimisers, averages, logs). On
CUDA each boundary waits for the device, so steps/s there come from a second run without watches. Peak memory is the process's,
or the device's. Share of the device's peak: of ``--peak-tflops``, dense, as its maker states it; counted are multiplications
and additions of convolutions and matrix products, three times the forward pass's.

    python tests/benchmarks/bench_train.py --hdr DIR [--ldr DIR] [--recipe NAME] [--steps 20] [-p key=value ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from hdrcli.training import cache, loop, objectives, plan, recipes, sources

WARM = 3  # steps that are not counted


class Stopwatch:
    """Adds up the time inside of the outermost of nested blocks."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.depth, self.begun, self.total = 0, 0.0, 0.0

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def enter(self, *ignored: Any) -> None:
        if self.depth == 0:
            self.begun = self.now()
        self.depth += 1

    def leave(self, *ignored: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.total += self.now() - self.begun


@contextmanager
def watched(objective: Any, watch: Stopwatch, losses: Stopwatch) -> Iterator[None]:
    """``watch``: networks' forward passes, through the wrapper by which the loop calls them all, and backward. ``losses``: all
    that the objective computes, and backward."""
    from lightning.fabric import Fabric

    from hdrcli.training import placement

    backward, forward, loss = Fabric.backward, placement._Entry.forward, objective.loss

    def timed_backward(self: Any, *args: Any, **kwargs: Any) -> None:
        watch.enter()
        losses.enter()
        backward(self, *args, **kwargs)
        losses.leave()
        watch.leave()

    def timed_forward(self: Any, call: Any) -> Any:
        watch.enter()
        try:
            return forward(self, call)
        finally:
            watch.leave()

    def timed_loss(*args: Any) -> Any:
        losses.enter()
        try:
            return loss(*args)
        finally:
            losses.leave()

    objective.loss = timed_loss
    Fabric.backward, placement._Entry.forward = timed_backward, timed_forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        Fabric.backward, placement._Entry.forward = backward, forward  # type: ignore[method-assign]


@dataclass(frozen=True)
class Times:
    """Seconds of the steps after the warm ones: of all, inside of networks and backward, in losses and backward, for data."""

    total: float
    networks: float = 0.0
    losses: float = 0.0
    data: float = 0.0


def run(made: recipes.Recipe, options: Mapping[str, str], pictures: Any, config: loop.LoopConfig, *, watch: bool) -> Times:
    """A run of ``config.max_steps`` steps, with or without watches."""
    objective = objectives.create(made.objective, options, 1)
    networks, losses = Stopwatch(config.device), Stopwatch(config.device)
    marks: dict[int, tuple[float, float, float]] = {}
    waited: list[float] = []
    assert config.max_steps is not None

    def observe(progress: loop.Progress) -> None:
        marks[progress.step] = (networks.now(), networks.total, losses.total)
        waited.append(progress.timings["data"] / progress.steps_per_second)

    with tempfile.TemporaryDirectory() as folder, watched(objective, networks, losses) if watch else nullcontext():
        loop.train(objective, pictures, config, Path(folder), observe=observe)
    begun, ended = marks[WARM], marks[config.max_steps]
    return Times(*(after - before for before, after in zip(begun, ended, strict=True)), data=sum(waited[WARM:]))


def work(made: recipes.Recipe, options: Mapping[str, str], pictures: Any) -> float:
    """Floating point operations of the forward passes of one step, losses and guides included, counted on the CPU."""
    objective = objectives.create(made.objective, options, 1)
    stream = loop.BatchStream(
        pictures, objective.view_size, objective.samples, seed=1, views_per_batch=objective.views_per_batch
    )
    batch = stream.batch(0)
    with FlopCounterMode(display=False) as counter:
        for phase in objective.phases:
            objective.loss(phase, batch, 0)
    return float(counter.get_total_flops())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hdr", type=Path, required=True)
    parser.add_argument("--ldr", type=Path)
    parser.add_argument("--recipe")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--peak-tflops", type=float, help="of the device, dense, in this precision")
    parser.add_argument("-p", dest="options", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    made = recipes.load(given.recipe or ("llm-hdr-small" if given.ldr else "paired"))
    options = {**made.options, **dict(text.split("=", 1) for text in given.options)}
    objective = objectives.create(made.objective, options, 1)
    folders: dict[sources.Domain, Path] = {"hdr": given.hdr, "ldr": given.ldr}
    limits = cache.Limits.of_views(objective.view_size)
    pictures = {d: cache.load(sources.find_files([folders[d]], d).files, d, limits) for d in objective.domains}
    config = loop.LoopConfig(
        max_steps=WARM + given.steps,
        device=given.device,
        precision=given.precision,
        workers=given.workers,
        threads=given.threads,
        log_steps=1,
        checkpoint_minutes=1e9,
        report_minutes=1e9,
    )
    times = run(made, options, pictures, config, watch=True)
    if given.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    steps = given.steps / run(made, options, pictures, config, watch=False).total
    memory = torch.cuda.max_memory_allocated() if given.device == "cuda" else plan._peak_memory()
    print(f"{made.name}: {objective.batch_size} images of {objective.view_size} pixels, {given.device}, {given.precision}")
    print(f"{steps:.3f} steps/s, {steps * objective.batch_size:.2f} images/s (mean of {given.steps} steps)")
    print(f"outside the networks' forward and backward: {100 * (1 - times.networks / times.total):.1f} % of the time")
    guides, rest = times.losses - times.networks, times.total - times.losses
    parts = {"losses and guides": guides, "the loop": rest, "of which waiting for data": times.data}
    print("   " + ", ".join(f"{name} {100 * seconds / times.total:.1f} %" for name, seconds in parts.items()))
    print(f"peak memory: {memory / 1e9:.2f} GB{' on the device' if given.device == 'cuda' else ' in this process'}")
    flops = 3 * work(made, options, pictures)
    share = "" if given.peak_tflops is None else f", {100 * flops * steps / (given.peak_tflops * 1e12):.1f} % of the peak"
    print(f"{flops / 1e12:.3f} TFLOP a step, {flops * steps / 1e12:.3f} TFLOP/s{share}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
