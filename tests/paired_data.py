"""Folders of pairs made of formulas: photos, and the light that they show at another scale."""

from pathlib import Path

import cv2
import numpy as np
from fakes import smooth_scene

from hdrcli import formats
from hdrcli.camera import Camera, srgb_response
from hdrcli.color import Transfer
from hdrcli.image import Image

SCALE = 7.5  # of what HDR files hold to the light in the photos' whites


def photo_of(light, exposure=1.0):
    """Codes of a camera with the sRGB response and neither noise nor JPEG."""
    return Camera(srgb_response(), exposure).shoot(light, np.random.default_rng(0))


def save_photo(path, codes):
    path.parent.mkdir(parents=True, exist_ok=True)
    formats.write(Image(np.ascontiguousarray(codes), Transfer.SRGB), path, overwrite=True)
    return path


def save_light(path, light):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.ascontiguousarray(light, dtype=np.float32)
    formats.write(Image(pixels, Transfer.LINEAR), path, formats.WriteOptions(depth="float" if path.suffix == ".exr" else None))
    return path


def scene(seed, height=72, width=96):
    """Light in the photo's whites, some of it above 1: soft blobs, that no other seed has at these places, and a lamp."""
    rng = np.random.default_rng([seed, 7])
    spots = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), height / 14)
    colour = cv2.GaussianBlur(rng.normal(size=(height, width, 3)).astype(np.float32), (0, 0), height / 5)
    light = 0.2 * np.exp2(1.8 * (spots / spots.std())[..., None] + 0.3 * colour / colour.std())
    return np.maximum(light, 20 * (smooth_scene(height, width, seed) > 60)).astype(np.float32)


def write_pair(root: Path, name: str, seed: int, *, turn=lambda light: light, size=(72, 96)):
    """``root/ldr/NAME.png`` and ``root/hdr/NAME.exr``; ``turn``: what is done to the HDR."""
    light = scene(seed, *size)
    photo = save_photo(root / "ldr" / f"{name}.png", photo_of(light))
    return photo, save_light(root / "hdr" / f"{name}.exr", turn(SCALE * light))


def write_pairs(root: Path, count: int = 3) -> tuple[Path, Path]:
    """So many pairs that fit; gives both folders."""
    for number in range(count):
        write_pair(root, f"p{number}", number)
    return root / "ldr", root / "hdr"
