"""Time and peak memory of whole ``hdrcli expand`` processes against bare scripts, as ratios of medians in one run.

``bare``: decodes with OpenCV, linearises by table, writes the same kind of EXR, libraries as they come; and once more with
OpenEXR's thread pool switched on, as hdrcli does. ``patches``: a patch-wise full-resolution
network of ExpandNet's size (three branches, about 450 000 parameters, 256-pixel patches; fresh weights, since only its cost
matters), measured on a part of the photo and scaled to the whole. Runs alternate, so that a busy machine hurts all alike.

    python tests/benchmarks/bench_expand.py [--megapixels 12] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

BARE = """
import sys, cv2, numpy as np, OpenEXR
photo = cv2.imdecode(np.fromfile(sys.argv[1], np.uint8), cv2.IMREAD_COLOR_RGB)
v = np.arange(256) / 255
table = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4).astype(np.float16)
pixels = cv2.LUT(photo, table.view(np.uint16)).view(np.float16)
if len(sys.argv) > 3:
    OpenEXR.set_global_thread_count(int(sys.argv[3]))
header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
OpenEXR.File(header, {"RGB": pixels}).write(sys.argv[2])
"""

# ru_maxrss of the children that have ended would be the largest of all so far; so each run gets a parent of its own
RUNNER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"code": code, "seconds": seconds, "megabytes": peak}))
"""


def run(command: list[str]) -> dict[str, float]:
    """One whole process: seconds and peak megabytes. Raises RuntimeError if it fails."""
    output = subprocess.run([sys.executable, "-c", RUNNER, *command], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(output.stdout)
    if result["code"] != 0:
        raise RuntimeError(f"{command} failed: {output.stderr}")
    return result


def photo_of(megapixels: float, folder: Path) -> Path:
    """The sample photo, rendered at this size (3:2) once and kept in demo/."""
    width = round((megapixels * 1.5e6) ** 0.5)
    kept = ROOT / "demo" / f"sunlit_room_{megapixels:g}mp.jpg"
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        print(f"rendering the sample photo at {megapixels:g} megapixels ...", file=sys.stderr)
        script = ROOT / "tests" / "tools" / "render_sample.py"
        subprocess.run([sys.executable, str(script), "--width", str(width), "--ldr", str(kept)], check=True, stdout=sys.stderr)
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-patches", action="store_true", help="leave out the patch-wise network")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = photo_of(options.megapixels, folder)
        hdrcli = [sys.executable, "-m", "hdrcli", "expand", str(photo), "--overwrite", "-q", "-o"]
        commands = {
            "bare script": [sys.executable, "-c", BARE, str(photo), str(folder / "bare.exr")],
            "bare script, OpenEXR's thread pool on": [
                sys.executable,
                "-c",
                BARE,
                str(photo),
                str(folder / "bare2.exr"),
                str(os.cpu_count() or 1),
            ],
            "expand": [*hdrcli, str(folder / "expand.exr")],
            "expand --reconstruct all": [*hdrcli, str(folder / "all.exr"), "--reconstruct", "all"],
            "expand to .hdr": [*hdrcli, str(folder / "expand.hdr")],
        }
        runs: dict[str, list[dict[str, float]]] = {label: [] for label in commands}
        for _ in range(options.rounds):
            for label, command in commands.items():
                runs[label].append(run(command))
        medians = {label: statistics.median(r["seconds"] for r in results) for label, results in runs.items()}
        memory = {label: max(r["megabytes"] for r in results) for label, results in runs.items()}
        if not options.no_patches:
            start = time.perf_counter()
            output = subprocess.run(
                [sys.executable, str(HERE / "patchwise_network.py"), str(photo)], capture_output=True, text=True, check=True
            )
            yardstick = json.loads(output.stdout)
            label = f"patch-wise network ({yardstick['parameters']} parameters)"
            medians[label], memory[label] = yardstick["seconds"], yardstick["megabytes"]
            print(f"patch-wise network measured on {yardstick['patches']} patches in {time.perf_counter() - start:.0f} s")
        base = medians["bare script"]
        print(
            f"{options.megapixels:g} megapixels, medians of {options.rounds} whole processes, alternating; peak memory of all"
        )
        for label, seconds in medians.items():
            print(f"{label:48} {seconds:8.2f} s  {seconds / base:7.2f} x bare  {memory[label]:7.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
