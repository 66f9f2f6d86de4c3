"""Time and peak memory of whole ``hdrcli tonemap`` processes, .hdr in and JPEG out, next to other tools, in one run.

Peers, where they are installed: Luminance HDR (``luminance-hdr-cli``) and pfstools (``pfsin | pfstmo_NAME | pfsgamma |
pfsout``), both Debian packages, and a bare script with OpenCV's operators. Runs alternate, so that a busy machine hurts all
alike; OpenMP is told not to spin, which would hurt the peers more. What is printed are medians, and the ratio of ours to each
peer's. Memory is that of the largest process, which for pipelines is one of four. Then, where OpenColorIO is installed, how far
the ACES fits are from the Academy's own transform on greys.

    python tests/benchmarks/bench_tonemap.py [--hdr scene.hdr] [--rounds 5] [--operators reinhard drago03] [--slow]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench_expand import ROOT, run

MEGAPIXELS = 24
# ours -> names of theirs
LUMINANCE = {
    "reinhard": "reinhard02",
    "reinhard05": "reinhard05",
    "drago03": "drago",
    "durand02": "durand",
    "fattal02": "fattal",
    "mantiuk06": "mantiuk06",
    "mantiuk08": "mantiuk08",
}
PFSTOOLS = ("reinhard02", "reinhard05", "drago03", "durand02", "fattal02", "mantiuk06", "mantiuk08")
OPENCV = {"reinhard05": "Reinhard", "drago03": "Drago", "mantiuk06": "Mantiuk"}
DISPLAY_ENCODED = ("reinhard05", "fattal02", "mantiuk08")  # pfstools' output that needs no gamma
SLOW = ("durand02", "fattal02", "mantiuk06", "mantiuk08")  # pfstools' that take minutes

BARE = """
import sys, cv2
light = cv2.imread(sys.argv[1], cv2.IMREAD_UNCHANGED)
display = getattr(cv2, "createTonemap" + sys.argv[3])(2.2).process(light)
cv2.imwrite(sys.argv[2], (display * 255).clip(0, 255).astype("uint8"), [cv2.IMWRITE_JPEG_QUALITY, 95])
"""


def scene() -> Path:
    """The sample room at 24 megapixels as .hdr, made once and kept in demo/."""
    kept = ROOT / "demo" / f"sunlit_room_{MEGAPIXELS}mp.hdr"
    if not kept.is_file():
        from hdrcli import formats

        kept.parent.mkdir(exist_ok=True)
        exr = kept.with_suffix(".exr")
        if not exr.is_file():
            print(f"rendering the sample room at {MEGAPIXELS} megapixels ...", file=sys.stderr)
            script = [sys.executable, str(ROOT / "tests" / "tools" / "render_sample.py"), "--width", "6000"]
            command = [*script, "--ldr", str(exr.with_suffix(".jpg")), "--hdr", str(exr)]
            subprocess.run(command, check=True, stdout=sys.stderr)
        formats.write(formats.read(exr), kept)
    return kept


def peers(operator: str, source: Path, folder: Path, *, slow: bool) -> dict[str, list[str]]:
    """Commands of others that do the same, of those installed."""
    commands = {}
    if operator in LUMINANCE and shutil.which("luminance-hdr-cli"):
        name = LUMINANCE[operator]
        commands["Luminance HDR"] = ["luminance-hdr-cli", "-l", str(source), "--tmo", name, "-q", "95", "-o", f"{folder}/l.jpg"]
    name = "reinhard02" if operator == "reinhard" else operator
    if name in PFSTOOLS and shutil.which(f"pfstmo_{name}") and (slow or name not in SLOW):
        gamma = "" if name in DISPLAY_ENCODED else "pfsgamma -g 2.2 |"
        commands["pfstools"] = ["sh", "-c", f"pfsin {source} | pfstmo_{name} | {gamma} pfsout {folder}/p.jpg"]
    if operator in OPENCV:
        commands["OpenCV script"] = [sys.executable, "-c", BARE, str(source), f"{folder}/c.jpg", OPENCV[operator]]
    return commands


def measure(source: Path, operators: list[str], rounds: int, *, slow: bool) -> None:
    """Print a table, a line for each operator."""
    for name, program in (("Luminance HDR", "luminance-hdr-cli"), ("pfstools", "pfsin")):
        if not shutil.which(program):
            print(f"{name} is not installed; it is left out")
    print(f"{source.name}, medians of {rounds} whole processes, alternating; ratio: ours to theirs; peak memory of all")
    for operator in operators:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            hdrcli = [sys.executable, "-m", "hdrcli", "tonemap", str(source), "-t", operator, "--overwrite", "-q"]
            commands = {"hdrcli": [*hdrcli, "-o", f"{folder}/h.jpg"], **peers(operator, source, folder, slow=slow)}
            run(commands["hdrcli"])  # so that its bytecode is there
            runs: dict[str, list[dict[str, float]]] = {label: [] for label in commands}
            for _ in range(rounds):
                for label, command in commands.items():
                    runs[label].append(run(command))
        ours = statistics.median(r["seconds"] for r in runs["hdrcli"])
        for label, results in runs.items():
            seconds = statistics.median(r["seconds"] for r in results)
            megabytes = max(r["megabytes"] for r in results)
            ratio = "" if label == "hdrcli" else f"{ours / seconds:6.2f}"
            print(
                f"{operator if label == 'hdrcli' else '':12} {label:14} {seconds:7.2f} s {ratio:6} {megabytes:6.0f} MB",
                flush=True,
            )


def greys() -> None:
    """Print how the ACES fits show greys, and the Academy's SDR output transform in OpenColorIO."""
    try:
        import PyOpenColorIO
    except ImportError:
        print("OpenColorIO is not installed; the ACES fits are not compared (pip install opencolorio)")
        return
    import numpy as np

    from hdrcli.color import Primaries, Transfer, conversion_matrix, encode
    from hdrcli.tonemapping import aces

    style = "ACES-OUTPUT - ACES2065-1_to_CIE-XYZ-D65 - SDR-VIDEO_1.0"
    processor = PyOpenColorIO.Config.CreateRaw().getProcessor(PyOpenColorIO.BuiltinTransform(style)).getDefaultCPUProcessor()
    stops = np.arange(-6, 8)
    light = 0.18 * 2.0**stops
    xyz = (np.repeat(light[:, None], 3, axis=1) @ conversion_matrix(Primaries.BT709, Primaries.ACES2065).T).astype(np.float32)
    processor.applyRGB(xyz)

    def codes(y: object) -> object:
        return encode(np.clip(np.asarray(y, np.float64), 0, 1), Transfer.SRGB) * 255

    print(f"sRGB codes of greys, OpenColorIO {PyOpenColorIO.__version__}, {style}")
    print("stops from 0.18   ACES   hill  narkowicz")
    for row in zip(stops, codes(xyz[:, 1]), codes(aces.hill(light)), codes(aces.narkowicz(light)), strict=True):
        print("{:+15d} {:6.1f} {:6.1f} {:10.1f}".format(*row))


def main() -> int:
    from hdrcli import registry

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hdr", type=Path, help="picture to use instead of the sample room")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--operators", nargs="+", default=[*registry.names("hdrcli.tonemapping"), "learned"])
    parser.add_argument("--slow", action="store_true", help="also run pfstools' operators that take minutes")
    options = parser.parse_args()
    os.environ |= {"QT_QPA_PLATFORM": "offscreen", "OMP_WAIT_POLICY": "passive"}  # Luminance HDR asks for a display otherwise
    source = options.hdr or scene()
    with tempfile.TemporaryDirectory() as bytecode:  # which an installed package has
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = bytecode
        measure(source, options.operators, options.rounds, slow=options.slow)
    greys()
    return 0


if __name__ == "__main__":
    sys.exit(main())
