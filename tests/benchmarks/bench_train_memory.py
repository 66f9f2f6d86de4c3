"""Peak memory of a training step of LLM-HDR at any size, without a GPU: the step runs on tensors without values.

PyTorch's fake tensors have shapes, types and lifetimes but no data, so the paper's size (width 64, 4 iterations, 512 x 512,
batch 4) can be gone through on a laptop. Counted is every storage alive at a time: weights, optimiser states, gradients,
activations kept for the backward pass. Not counted: workspaces of kernels, fragmentation of the allocator, the CUDA context.

    python tests/benchmarks/bench_train_memory.py [--size 512] [--batch 4] [--width 64] [--iterations 4] [--check]

``--check`` also runs one small size for real on the CPU and compares the growth of the process with what fake tensors say.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from torch._subclasses import FakeTensorMode

from hdrcli import perception
from hdrcli.training.objectives import llm_hdr
from hdrcli.training.plan import Storages

GIB = 2**30


@dataclass(frozen=True)
class Size:
    """Of images, batch and networks."""

    size: int
    batch: int
    width: int
    iterations: int
    saves_memory: bool


def step(size: Size, *, fake: bool, precision: str = "bf16") -> tuple[int, int]:
    """Bytes at the peak of two steps, and between steps; of a real run: growth of the process, and 0."""
    config = llm_hdr.Config(working_size=size.size, batch_size=size.batch, saves_memory=size.saves_memory, pool=0)
    config = replace(config, network=replace(config.network, width=size.width, iterations=size.iterations))
    equalized = perception.equalized
    if fake:
        # these go through NumPy, which wants values; their own memory is that of a few 8-bit images
        perception.equalized = lambda codes: codes.clone()
    counted = Storages()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        with FakeTensorMode() if fake else nullcontext(), counted if fake else nullcontext():
            objective = llm_hdr.build(config)
            optimizers = objective.optimizers()
            for _ in range(2):
                shape = (size.batch, 3, size.size, size.size)
                batch = {"x": torch.rand(shape), "y": torch.rand(shape)}
                for phase in objective.phases:
                    optimizers[phase].zero_grad()
                    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                        loss = objective.loss(phase, batch, 0)["loss"]
                    loss.backward()
                    optimizers[phase].step()
                    del loss
                gc.collect()
    finally:
        perception.equalized = equalized
    if fake:
        return counted.peak, counted.now
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--check", action="store_true", help="compare with a real step of a small size")
    options = parser.parse_args()
    for saves in (True, False):
        size = Size(options.size, options.batch, options.width, options.iterations, saves)
        peak, between = step(size, fake=True)
        # the history pools are full of half floats in the end
        pool = 2 * llm_hdr.Config().pool * 3 * size.size**2 * 2
        kind = "activations computed again (--checkpoint-activations)" if saves else "activations kept"
        what = f"{size.size} x {size.size}, batch {size.batch}, width {size.width}, {size.iterations} iterations, bf16"
        print(f"{what}, {kind}: peak {(peak + pool) / GIB:.1f} GiB, between steps {(between + pool) / GIB:.1f} GiB")
    if options.check:
        size = Size(192, 2, 32, 2, False)
        fake, _ = step(size, fake=True, precision="fp32")
        real, _ = step(size, fake=False, precision="fp32")
        print(f"check, {size}, fp32: fake tensors {fake / GIB:.2f} GiB, growth of the process {real / GIB:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
