"""Time and peak memory of whole ``hdrcli expand`` processes against bare scripts, as ratios of medians in one run.

``bare``: decodes with OpenCV, linearises by table, writes the same kind of EXR, libraries as they come; and once more with
OpenEXR's thread pool switched on, as hdrcli does. ``patches``: a patch-wise full-resolution
network of ExpandNet's size (three branches, about 450 000 parameters, 256-pixel patches; fresh weights, since only its cost
matters), measured on a part of the photo and scaled to the whole. Runs alternate, so that a busy machine hurts all alike.
Photos above 24 megapixels are the one of 24 enlarged, and run once.

    python tests/benchmarks/bench_expand.py [--megapixels 12 24 200] [--rounds 5]
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
RENDERED = 24  # megapixels; larger ones are enlarged from this

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


def photo_of(megapixels: float) -> Path:
    """The sample photo at this size (3:2), made once and kept in demo/."""
    width = round((megapixels * 1.5e6) ** 0.5)
    kept = ROOT / "demo" / f"sunlit_room_{megapixels:g}mp.jpg"
    if not kept.is_file() and megapixels > RENDERED:
        import cv2

        smaller = cv2.imread(str(photo_of(RENDERED)))
        enlarged = cv2.resize(smaller, (width, round(width / 1.5)), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(kept), enlarged, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        print(f"rendering the sample photo at {megapixels:g} megapixels ...", file=sys.stderr)
        script = ROOT / "tests" / "tools" / "render_sample.py"
        subprocess.run([sys.executable, str(script), "--width", str(width), "--ldr", str(kept)], check=True, stdout=sys.stderr)
    return kept


def measure(megapixels: float, rounds: int, *, patches: bool) -> None:
    """Print a table for a photo of this size."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photo = photo_of(megapixels)
        hdrcli = [sys.executable, "-m", "hdrcli", "expand", str(photo), "--overwrite", "-q", "-o"]
        bare = [sys.executable, "-c", BARE, str(photo)]
        commands = {
            "bare script": [*bare, str(folder / "bare.exr")],
            "bare script, OpenEXR's thread pool on": [*bare, str(folder / "bare2.exr"), str(os.cpu_count() or 1)],
            "expand": [*hdrcli, str(folder / "expand.exr")],
            "expand --reconstruct all": [*hdrcli, str(folder / "all.exr"), "--reconstruct", "all"],
            "expand to .hdr": [*hdrcli, str(folder / "expand.hdr")],
        }
        if megapixels > RENDERED:
            commands["expand --primaries acescg"] = [*hdrcli, str(folder / "ap1.exr"), "--primaries", "acescg"]
            commands["expand to float TIFF"] = [*hdrcli, str(folder / "expand.tif")]
        runs: dict[str, list[dict[str, float]]] = {label: [] for label in commands}
        for _ in range(rounds):
            for label, command in commands.items():
                runs[label].append(run(command))
                for made in folder.iterdir():
                    made.unlink()  # a file of 200 megapixels takes a gigabyte
        medians = {label: statistics.median(r["seconds"] for r in results) for label, results in runs.items()}
        memory = {label: max(r["megabytes"] for r in results) for label, results in runs.items()}
        if patches:
            start = time.perf_counter()
            script = [sys.executable, str(HERE / "patchwise_network.py"), str(photo)]
            yardstick = json.loads(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
            label = f"patch-wise network ({yardstick['parameters']} parameters)"
            medians[label], memory[label] = yardstick["seconds"], yardstick["megabytes"]
            print(f"patch-wise network measured on {yardstick['patches']} patches in {time.perf_counter() - start:.0f} s")
    base = medians["bare script"]
    print(f"{megapixels:g} megapixels, medians of {rounds} whole processes, alternating; peak memory of all")
    for label, seconds in medians.items():
        print(f"{label:48} {seconds:8.2f} s  {seconds / base:7.2f} x bare  {memory[label]:7.0f} MB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 24, 200])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-patches", action="store_true", help="leave out the patch-wise network (first size only)")
    options = parser.parse_args()
    for i, megapixels in enumerate(options.megapixels):
        rounds = 1 if megapixels > RENDERED else options.rounds
        measure(megapixels, rounds, patches=i == 0 and not options.no_patches)
    return 0


if __name__ == "__main__":
    sys.exit(main())
