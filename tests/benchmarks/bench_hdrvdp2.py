"""Time and memory of HDR-VDP-2.2 beside a fixed workload, medians of alternating runs in one process for each kind.

The yardstick does what a plain implementation spends its time on, in torch with as many threads: six real Fourier transforms
there and back of the picture in float64, padded to twice its sides, and convolutions of two planes with one 15 x 15 and five
9 x 9 kernels. A ratio to it says what seconds on a busy machine don't. Memory is the peak of what is resident above that of the
loaded process with its two pictures (Linux alone).

    python tests/benchmarks/bench_hdrvdp2.py [--sizes 1000x1000 1021x997] [--rounds 7] [--threads 2] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RGB, Q only": ("rgb-bt.709", {"maps": False}),
    "RGB, with maps": ("rgb-bt.709", {}),
    "luminance, Q only": ("luminance", {"maps": False}),
    "RGB, Q only, float64": ("rgb-bt.709", {"maps": False, "precision": "float64"}),
}


def pictures(height: int, width: int, encoding: str) -> tuple[np.ndarray, np.ndarray]:
    """Test and reference: 0.05..4000 cd/m2, float32."""
    rng = np.random.default_rng(1)
    shape = (height, width) if encoding == "luminance" else (height, width, 3)
    y, x = np.mgrid[0:height, 0:width]
    light = 10 ** (0.2 + 1.6 * y / height + 0.9 * np.sin(x / 40) + 0.3 * rng.standard_normal((height, width)))
    reference = np.broadcast_to(light.reshape(height, width, *[1] * (len(shape) - 2)), shape).astype(np.float32)
    return (reference * rng.uniform(0.9, 1.1, shape)).astype(np.float32), reference


def yardstick(height: int, width: int) -> Callable[[], None]:
    """The fixed workload."""
    import torch
    from torch.nn import functional

    planes = torch.rand((2, 1, height, width))
    kernels = [torch.rand((1, 1, 15, 15)), *(torch.rand((1, 1, 9, 9)) for _ in range(5))]

    def work() -> None:
        with torch.inference_mode():
            padded = torch.zeros((2 * height, 2 * width), dtype=torch.float64)
            for _ in range(6):
                padded[:height, :width] = planes[0, 0]
                torch.fft.irfft2(torch.fft.rfft2(padded), s=padded.shape)
            for kernel in kernels:
                functional.conv2d(planes, kernel)

    return work


def timed(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds of wall clock and of the processor."""
    import torch

    start, processor = time.perf_counter(), time.process_time()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, time.process_time() - processor


def resident(field: str, *, anew: bool = False) -> float:
    """Kilobytes of this process, now (VmRSS) or at most so far (VmHWM); ``anew``: the peak is counted from here on."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(field)))


def measure(kind: str, height: int, width: int, rounds: int, threads: int, device: str) -> dict[str, float]:
    """In a process of its own: what a kind of call takes."""
    import torch

    from hdrcli.metrics.hdrvdp2 import hdrvdp2

    torch.set_num_threads(threads)
    encoding, options = KINDS[kind]
    test, reference = pictures(height, width, encoding)
    hdrvdp2(test[:64, :64], reference[:64, :64], encoding, device=device, **options)
    before = resident("VmRSS", anew=True)

    def ours() -> None:
        hdrvdp2(test, reference, encoding, device=device, **options)

    ours()
    peak = resident("VmHWM")
    fixed = yardstick(height, width)
    fixed()
    runs, fixed_runs = [], []
    for _ in range(rounds):
        runs.append(timed(ours, device))
        fixed_runs.append(timed(fixed, "cpu"))
    wall, processor = (statistics.median(column) for column in zip(*runs, strict=True))
    fixed_wall, fixed_processor = (statistics.median(column) for column in zip(*fixed_runs, strict=True))
    return {
        "wall": wall,
        "best": min(run[0] for run in runs),
        "processor": processor,
        "ratio": wall / fixed_wall,
        "processor_ratio": processor / fixed_processor,
        "fixed_wall": fixed_wall,
        "megabytes": (peak - before) / 1000,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["1000x1000"], help="height x width")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for size in options.sizes:
        height, width = map(int, size.split("x"))
        if options.one:
            print(json.dumps(measure(options.one, height, width, options.rounds, options.threads, options.device)))
            continue
        megapixels = height * width / 1e6
        print(f"{size}, {options.threads} threads, {options.device}, medians of {options.rounds}; seconds a megapixel")
        for kind in KINDS:
            command = [sys.executable, __file__, "--one", kind, "--sizes", size, "--rounds", str(options.rounds)]
            command += ["--threads", str(options.threads), "--device", options.device]
            found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            print(
                f"{kind:22} {found['wall'] / megapixels:6.3f} s (best {found['best'] / megapixels:6.3f}), "
                f"processor {found['processor'] / megapixels:6.3f} s, {found['ratio']:5.2f} x yardstick "
                f"({found['fixed_wall'] / megapixels:5.3f} s; processor {found['processor_ratio']:5.2f} x), "
                f"{found['megabytes'] / megapixels:5.0f} MB a megapixel",
                flush=True,
            )
        print(f"load average {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
