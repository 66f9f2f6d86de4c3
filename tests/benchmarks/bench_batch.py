"""``hdrcli batch`` with two processes against one and against a shell loop; memory and manifest with ten thousand small files.

1-megapixel JPEG photos are made of smooth gradients and shapes, a part of them clipped. Whole processes, alternating, as ratios
of medians in one run; beside the time on the clock the processor seconds, which other work on the machine changes less.

    python tests/benchmarks/bench_batch.py [--photos 24] [--rounds 3] [--small 10000]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from hdrcli.batch.manifest import NAME, Manifest
from hdrcli.batch.naming import items
from hdrcli.batch.planning import Rules, plan
from hdrcli.batch.sources import find

# ru_maxrss of the children that have ended would be the largest of all so far; so each run gets a parent of its own
RUNNER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
seconds = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"code": code, "seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024}))
"""
# one hdrcli a file, as from a shell
LOOP = 'for photo in "$1"/*.jpg; do "$3" -m hdrcli expand "$photo" --out-dir "$2" -q || exit 1; done'


def run(command: list[str]) -> dict[str, float]:
    """A whole process and those it starts: seconds, processor seconds, megabytes of the largest one."""
    output = subprocess.run([sys.executable, "-c", RUNNER, *command], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(output.stdout)
    if result["code"] != 0:
        raise RuntimeError(f"{command} failed: {output.stderr}")
    return result


def photo(path: Path, seed: int, height: int, width: int) -> None:
    """Gradients and disks; a part is clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    light = np.stack([rng.uniform(40, 160) * (x / width) + rng.uniform(40, 160) * (y / height) for _ in range(3)], axis=-1)
    for _ in range(6):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = tuple(float(c) for c in rng.uniform(0, 330, 3))
        cv2.circle(light, centre, int(rng.uniform(0.03, 0.2) * width) + 1, colour, -1)
    cv2.imwrite(str(path), np.clip(light, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])


def batch(source: Path, out: Path, *more: str) -> list[str]:
    """The command line."""
    return [sys.executable, "-m", "hdrcli", "batch", str(source), "--out-dir", str(out), "--to", "exr", "-q", *more]


def throughput(root: Path, photos: int, rounds: int) -> None:
    """-j 1, -j 2 and the loop, in turns."""
    source = root / "in"
    source.mkdir()
    for number in range(photos):
        photo(source / f"{number:04d}.jpg", number, 816, 1224)
    out = root / "out"
    commands = {
        "batch -j 1": batch(source, out, "-j", "1"),
        "batch -j 2": batch(source, out, "-j", "2"),
        "expand in a shell loop": ["sh", "-c", LOOP, "sh", str(source), str(out), sys.executable],
    }
    results: dict[str, list[dict[str, float]]] = {label: [] for label in commands}
    for _ in range(rounds):
        for label, command in commands.items():
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            results[label].append(run(command))
            assert len(list(out.glob("*.exr"))) == photos
    seconds = {label: statistics.median(r["seconds"] for r in found) for label, found in results.items()}
    cpu = {label: statistics.median(r["cpu"] for r in found) for label, found in results.items()}
    print(f"{photos} photos of 1 megapixel, medians of {rounds} rounds")
    for label in commands:
        rate = photos / seconds[label]
        ratio = seconds[label] / seconds["batch -j 2"]
        print(f"{label:24} {seconds[label]:7.2f} s  {rate:6.2f}/s  {cpu[label]:7.2f} processor s  {ratio:5.2f} x batch -j 2")


def small_files(root: Path, count: int) -> None:
    """Peak memory of the largest process, and what the manifest costs of the whole."""
    source = root / "small"
    source.mkdir()
    for number in range(8):
        photo(source / f"{number:05d}.jpg", number, 64, 64)
    for number in range(8, count):
        shutil.copy(source / f"{number % 8:05d}.jpg", source / f"{number:05d}.jpg")
    used = {}
    for some in (max(10, count // 10), count):
        part, out = root / f"part{some}", root / f"out{some}"
        part.mkdir()
        for number in range(some):
            (part / f"{number:05d}.jpg").hardlink_to(source / f"{number:05d}.jpg")
        used[some] = run(batch(part, out, "-j", "2"))
        rate = some / used[some]["seconds"]
        seconds, megabytes = used[some]["seconds"], used[some]["megabytes"]
        print(f"{some} photos of 64 x 64: {seconds:.1f} s, {rate:.0f}/s, largest process {megabytes:.1f} MB")
    again = run(batch(root / f"part{count}", root / f"out{count}", "-j", "2"))
    print(f"a second run over {count}: {again['seconds']:.1f} s, {again['megabytes']:.1f} MB")
    whole = used[count]["cpu"]
    share = manifest_seconds(root / f"part{count}", root / f"out{count}")
    print(f"manifest: {share:.2f} of {whole:.1f} processor s, {100 * share / whole:.2f} %")


def manifest_seconds(source: Path, out: Path) -> float:
    """Processor seconds of all that a run does with its manifest: claims, lines, reading and planning."""
    lines = [json.loads(line) for line in (out / NAME).read_text(encoding="ascii").splitlines()]
    copy = Manifest(out.parent / "copy.jsonl")
    found = items(find([str(source)], takes={".jpg"}), str(out), ".exr")
    start = time.process_time()
    for line in lines:
        with copy.claimed(line["output"]):
            copy.append(line)
    work = plan(found, copy.entries(), str(out), lines[0]["recipe"], Rules())
    seconds = time.process_time() - start
    assert work.current == len(lines)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=10000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.rounds:
            throughput(Path(name), options.photos, options.rounds)
        if options.small:
            small_files(Path(name), options.small)
    return 0


if __name__ == "__main__":
    sys.exit(main())
