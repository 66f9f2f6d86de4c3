"""Steps a second of training, and the share of time spent outside the networks' forward and backward passes.

Networks are what is trained: generators, discriminators, heads of patch contrast. Theirs is the time inside of their calls, and
of the backward pass the time in operations that were recorded there, whichever loss the gradient comes from. All else is
outside, losses' and guides' own backward operations too; it is told apart by part. Operations are known by autograd's numbers,
and hooks where they pass from one part to another read the clock. On CUDA the clock waits for the device, so steps/s come from
a second run without watches. Peak memory is the process's, or the device's. Share of the device's peak: of ``--peak-tflops``,
dense, as its maker states it; counted are multiplications and additions of convolutions and matrix products, three times the
forward pass's.

    python tests/benchmarks/bench_train.py --hdr DIR [--ldr DIR] [--recipe NAME] [--steps 20] [-p key=value ...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from hdrcli import perception
from hdrcli.training import cache, loop, objectives, plan, recipes, sources

WARM = 3  # steps that are not counted
NETWORKS, LOSSES, LOOP = "networks", "losses", "loop: the rest"
GUIDES = {
    "artifact": "guide: maps",
    "maps": "guide: maps",
    "soft_iou": "guide: masks",
    "patch_contrast": "guide: embeddings",
    "embed": "guide: embeddings",
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}
_LAST = 2**64 - 1  # autograd's number of what adds to a parameter's gradient


class Ledger:
    """Seconds by (label, "forward" or "backward"): of nested labels the innermost one counts."""

    def __init__(self, device: str, clock: str) -> None:
        self.cuda = device == "cuda"
        self.clock = CLOCKS[clock]
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.stack, self.way, self.last = [LOOP], "forward", self.now()
        self.numbers: list[int] = []  # of autograd's operations, from which on a label is recorded
        self.labels: list[str] = []

    def now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return self.clock()

    def turn(self) -> None:
        """The time since the last turn goes to the label that is on top."""
        now = self.now()
        self.seconds[self.stack[-1], self.way] += now - self.last
        self.last = now

    def record(self) -> None:
        """Operations from here on belong to the label on top."""
        self.numbers.append(torch._C._autograd._get_sequence_nr())
        self.labels.append(self.stack[-1])

    @contextmanager
    def inside(self, label: str) -> Iterator[None]:
        self.turn()
        self.stack.append(label)
        self.record()
        try:
            yield
        finally:
            self.turn()
            self.stack.pop()
            self.record()

    def wrapped(self, label: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.inside(label):
                return call(*args, **kwargs)

        return timed

    def of(self, node: Any) -> str:
        """The label under which an operation was recorded."""
        return self.labels[bisect_right(self.numbers, node._sequence_nr()) - 1]

    def backward(self, call: Callable[..., None], loss: torch.Tensor) -> None:
        """``call()`` with each operation's time under its label; finding the operations is not counted."""
        self.turn()
        seen, waiting = set(), [loss.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is not None and node not in seen:
                seen.add(node)
                waiting += [following for following, _ in node.next_functions]
        # the engine takes what was recorded last first, so a hook where the label changes will do
        handles, label = [], LOSSES
        for node in sorted(seen, key=lambda node: -node._sequence_nr()):
            if node._sequence_nr() != _LAST and self.of(node) != label:
                label = self.of(node)
                handles.append(node.register_prehook(partial(self._next, label)))
        self.stack.append(LOSSES)
        self.way, self.last = "backward", self.now()
        try:
            call()
        finally:
            self.turn()
            self.stack.pop()
            self.way = "forward"
            for handle in handles:
                handle.remove()
            # the graph's thousands of operations, as Python has them, are this function's: freeing them is not the loop's time
            del node, seen, waiting
            self.last = self.now()

    def _next(self, label: str, gradients: Any) -> None:
        self.turn()
        self.stack[-1] = label


@contextmanager
def watched(objective: Any, ledger: Ledger) -> Iterator[None]:
    """Labels on the networks (through the wrapper by which the loop calls them all), losses, guides and parts of the loop."""
    from lightning.fabric import Fabric
    from lightning.fabric.wrappers import _FabricModule, _FabricOptimizer

    backward, batches = Fabric.backward, loop._Run._batches

    def timed_backward(fabric: Any, loss: torch.Tensor) -> None:
        ledger.backward(partial(backward, fabric, loss), loss)

    def timed_batches(run: Any) -> Iterator[Any]:
        waiting = batches(run)
        while True:
            with ledger.inside("loop: waiting for data"):
                batch = next(waiting)
            yield batch

    def timed_loss(*args: Any) -> Any:
        ledger.numbers.clear()
        ledger.labels.clear()
        with ledger.inside(LOSSES):
            return loss(*args)

    loss = objective.loss
    places: list[tuple[Any, str, str]] = [
        (_FabricModule, "forward", NETWORKS),  # with the casts of mixed precision
        (_FabricOptimizer, "step", "loop: optimisers"),
        (loop._Run, "_clipped", "loop: norm of gradients"),
        (loop._Run, "_average", "loop: averages"),
        (perception, "equalized", "guide: equalisation"),
    ]
    guides = {type(g) for g in vars(objective).values() if type(g).__module__.startswith(f"{perception.__name__}.")}
    places += [(guide, name, label) for guide in guides for name, label in GUIDES.items() if hasattr(guide, name)]
    with ExitStack() as stack:
        stack.enter_context(patch.object(objective, "loss", timed_loss))
        stack.enter_context(patch.object(Fabric, "backward", timed_backward))
        stack.enter_context(patch.object(loop._Run, "_batches", timed_batches))
        for owner, name, label in places:
            stack.enter_context(patch.object(owner, name, ledger.wrapped(label, getattr(owner, name))))
        yield


def run(
    made: recipes.Recipe, options: Mapping[str, str], pictures: Any, config: loop.LoopConfig, *, clock: str, watch: bool
) -> dict[tuple[str, str], float]:
    """Seconds by label of a run's steps, without the first and the last; without watches there is one label, the whole step."""
    objective = objectives.create(made.objective, options, 1)
    ledger = Ledger(config.device, clock)
    marks: list[dict[tuple[str, str], float]] = []
    set_rates = loop._Run._set_rates

    def begin_step(run: Any, fraction: float) -> None:
        ledger.turn()
        marks.append(dict(ledger.seconds))
        set_rates(run, fraction)

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(patch.object(loop._Run, "_set_rates", begin_step))
        if watch:
            stack.enter_context(watched(objective, ledger))
        loop.train(objective, pictures, config, Path(folder))
    before, after = marks[WARM], marks[-1]
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


def table(seconds: Mapping[tuple[str, str], float], steps: int) -> str:
    """Percent of the time by label, forward and backward, and milliseconds of a step."""
    total = sum(seconds.values())
    labels = sorted({label for label, _ in seconds}, key=lambda label: (label != NETWORKS, label))
    lines = [f"{'% of the time':26}{'forward':>9}{'backward':>10}{'ms a step':>11}"]
    for label in labels:
        parts = [seconds.get((label, way), 0.0) for way in ("forward", "backward")]
        shares = [f"{100 * part / total:.1f}" if part else "" for part in parts]
        lines.append(f"   {label:23}{shares[0]:>9}{shares[1]:>10}{1e3 * sum(parts) / steps:11.1f}")
    return "\n".join(lines)


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
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="of shares; cpu: of the main thread, on busy machines"
    )
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
        max_steps=WARM + given.steps + 1,
        device=given.device,
        precision=given.precision,
        clip_gradient=made.loop.clip_gradient,
        ema=made.loop.ema,
        workers=given.workers,
        threads=given.threads,
        checkpoint_minutes=1e9,
        report_minutes=1e9,
        log_steps=10**9,  # the first report has a sheet, which belongs to minutes, not to steps
    )
    seconds = run(made, options, pictures, config, clock=given.clock, watch=True)
    if given.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    steps = given.steps / sum(run(made, options, pictures, config, clock="wall", watch=False).values())
    memory = torch.cuda.max_memory_allocated() if given.device == "cuda" else plan._peak_memory()
    print(f"{made.name}: {objective.batch_size} images of {objective.view_size} pixels, {given.device}, {given.precision}")
    print(f"{steps:.3f} steps/s, {steps * objective.batch_size:.2f} images/s (mean of {given.steps} steps)")
    total = sum(seconds.values())
    inside = sum(value for (label, _), value in seconds.items() if label == NETWORKS)
    others = sum(value for (label, way), value in seconds.items() if label != NETWORKS and way == "backward")
    shares = f"{100 * (1 - inside / total):.1f} % of the time ({100 * (1 - (inside + others) / total):.1f} % if all of the"
    print(f"outside the networks' forward and backward: {shares} backward pass were theirs)")
    print(table(seconds, given.steps))
    print(f"peak memory: {memory / 1e9:.2f} GB{' on the device' if given.device == 'cuda' else ' in this process'}")
    flops = 3 * work(made, options, pictures)
    share = "" if given.peak_tflops is None else f", {100 * flops * steps / (given.peak_tflops * 1e12):.1f} % of the peak"
    print(f"{flops / 1e12:.3f} TFLOP a step, {flops * steps / 1e12:.3f} TFLOP/s{share}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
