"""Promise 2: any size in bounded memory. Whole processes, as users start them, and what the system says of their peak."""

import subprocess
import sys

import cv2
import numpy as np
import OpenEXR
import pytest
import tifffile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="peaks are told in other units, or not at all"),
]

MB, GB = 1e6, 1e9
MEGAPIXELS_PROMISED = 200
# In a process of its own: what a process has used until it starts another one counts as that one's.
RUNNER = """
import resource, subprocess, sys
subprocess.run([sys.executable, "-m", "hdrcli", *sys.argv[1:]], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak(*arguments):
    """Bytes that ``hdrcli`` with these arguments has had in memory at once."""
    command = [sys.executable, "-c", RUNNER, *map(str, arguments), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1]) * 1024


def picture(megapixels, channels=3):
    """3:2, ``(H, W, channels) uint8``: soft shapes with grain, a part of it clipped."""
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    width = height * 3 // 2
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.integers(0, 300, (24, 36, channels)).clip(0, 255).astype(np.uint8), (width, height))
    grain = rng.integers(0, 8, (256, width, 1), dtype=np.uint8)
    for row in range(0, height, 256):
        part = soft[row : row + 256]
        np.minimum(part, 255 - grain[: len(part)], out=part)
        part += grain[: len(part)]
    return soft


@pytest.mark.parametrize(("megapixels", "limit"), [(24, 1.0 * GB), (200, 6.0 * GB)])
def test_jpeg_to_half(tmp_path, megapixels, limit):
    cv2.imwrite(str(tmp_path / "a.jpg"), picture(megapixels), [cv2.IMWRITE_JPEG_QUALITY, 90])
    used = peak("expand", tmp_path / "a.jpg", "-o", tmp_path / "a.exr")
    (tmp_path / "a.exr").unlink()
    print(f"{megapixels} MP JPEG to half EXR: {used / MB:.0f} MB")
    assert used <= limit


def rgba16_tiff(path, megapixels):
    codes = np.multiply(picture(megapixels, 4), 257, dtype=np.uint16)
    tifffile.imwrite(path, codes, photometric="rgb", extrasamples=["unassalpha"])


def float_tiff(path, megapixels):
    tifffile.imwrite(path, np.multiply(picture(megapixels), 1 / 64, dtype=np.float32), photometric="rgb")


def float_rgba_exr(path, megapixels):
    light = np.multiply(picture(megapixels, 4), 1 / 255, dtype=np.float32)
    with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, {"RGBA": light}) as file:
        file.write(str(path))


def pfm(path, megapixels):
    light = np.multiply(picture(megapixels), 1 / 64, dtype="<f4")
    path.write_bytes(b"PF\n%d %d\n-1.0\n" % (light.shape[1], light.shape[0]) + light.tobytes())


@pytest.mark.parametrize(
    ("make", "source", "arguments"),
    [
        (rgba16_tiff, "a.tif", ("expand", "-o", "out.exr", "--depth", "float")),
        (rgba16_tiff, "a.tif", ("expand", "-o", "out.exr")),
        (float_tiff, "a.tif", ("tonemap", "-o", "out.jpg")),
        (float_rgba_exr, "a.exr", ("tonemap", "-o", "out.png")),
        (float_rgba_exr, "a.exr", ("tonemap", "-o", "out.tif")),
        (pfm, "a.pfm", ("tonemap", "-o", "out.png")),
    ],
)
def test_what_200_megapixels_would_take(tmp_path, make, source, arguments):
    """On a line through two sizes: such files would take gigabytes on disk."""
    sizes, used = (6, 24), []
    for megapixels in sizes:
        make(tmp_path / source, megapixels)
        used.append(
            peak(*(str(tmp_path / a) if a.startswith("out.") else a for a in arguments), tmp_path / source, "--overwrite")
        )
    slope = (used[1] - used[0]) / (sizes[1] - sizes[0])
    whole = used[1] + (MEGAPIXELS_PROMISED - sizes[1]) * slope
    print(f"{make.__name__} {arguments[0]} {arguments[2]}: {slope / 1e6:.1f} bytes a pixel, {whole / MB:.0f} MB at 200 MP")
    assert whole <= 6.0 * GB
