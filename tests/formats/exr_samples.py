"""Small OpenEXR files of every kind that readers meet, made here by two writers: the OpenEXR package and OpenImageIO."""

import io
import tempfile
from pathlib import Path

import numpy as np
import OpenEXR

WEIGHTS = np.array([0.2126390, 0.7151687, 0.0721923])  # luminance of the primaries that a file without chromaticities has


def pixels(height=32, width=40, dtype=np.float16, seed=0):
    """Smooth colour with some noise, ``(height, width, 3)``, 0.02 .. 4."""
    y, x = np.mgrid[:height, :width] / 16.0
    base = np.stack([1 + np.sin(x + y), 1 + np.cos(y), 1 + np.sin(x) * np.cos(y)], axis=-1)
    noise = np.random.default_rng(seed).random((height, width, 3))
    return (base + noise + 0.02).astype(dtype)


def exr(channels, **header):
    """The file of one part: channels by name; ``(H, W)`` arrays or OpenEXR.Channel."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage} | header
    stream = io.BytesIO()
    with OpenEXR.File(header, dict(channels)) as file:
        file.write(stream)
    return stream.getvalue()


def multi_part(*parts):
    """A file of several parts: (name, channels, header) each."""
    made = [OpenEXR.Part({"type": OpenEXR.scanlineimage} | header, dict(channels), name) for name, channels, header in parts]
    stream = io.BytesIO()
    with OpenEXR.File(made) as file:
        file.write(stream)
    return stream.getvalue()


def planes(image, names="RGB"):
    """Channels by name from ``(H, W, C)``."""
    return {name: np.ascontiguousarray(image[..., i]) for i, name in enumerate(names)}


def subsampled(plane, factors, shape):
    """A channel stored at every second column and row, as the package wants it: packed into the head of a full-size array."""
    packed = np.zeros(shape, plane.dtype)
    packed.reshape(-1)[: plane.size] = plane.reshape(-1)
    return OpenEXR.Channel(packed, *factors)


def luminance_chroma(image, factor=2, dtype=np.float16, weights=WEIGHTS, **header):
    """Y, RY and BY of ``(H, W, 3)``; chroma is that of every ``factor``-th pixel, not filtered."""
    y = image.astype(np.float64) @ weights
    ry, by = (image[..., 0] - y) / y, (image[..., 2] - y) / y
    chroma = {"RY": ry[::factor, ::factor].astype(dtype), "BY": by[::factor, ::factor].astype(dtype)}
    channels = {name: subsampled(plane, (factor, factor), y.shape) for name, plane in chroma.items()}
    return exr({"Y": y.astype(dtype)} | channels, **header)


def of_openimageio(image, *, tile=0, mipmap=False, attributes=()):
    """A file written by OpenImageIO: scanlines, tiles, or (through make_texture) tiles with all levels."""
    import OpenImageIO

    kind = {np.dtype(np.float16): OpenImageIO.HALF, np.dtype(np.float32): OpenImageIO.FLOAT}[image.dtype]
    spec = OpenImageIO.ImageSpec(image.shape[1], image.shape[0], image.shape[2], kind)
    spec.tile_width = spec.tile_height = tile
    for name, value in attributes:
        spec.attribute(name, value)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "a.exr")
        if mipmap:
            buffer = OpenImageIO.ImageBuf(spec)
            buffer.set_pixels(OpenImageIO.ROI(), image.astype(np.float32))
            assert OpenImageIO.ImageBufAlgo.make_texture(OpenImageIO.MakeTxTexture, buffer, path, spec), OpenImageIO.geterror()
        else:
            out = OpenImageIO.ImageOutput.create(path)
            assert out.open(path, spec), out.geterror()
            assert out.write_image(image)
            out.close()
        return Path(path).read_bytes()


def deep_channels():
    """One to three samples a pixel, in 4 rows of 5."""
    samples = np.empty((4, 5), dtype=object)
    for i in range(samples.size):
        samples.reshape(-1)[i] = np.arange(1 + i % 3, dtype=np.float16)
    return {name: samples.copy() for name in "RGBA"}


def deep():
    """Deep scanlines."""
    return exr(deep_channels(), compression=OpenEXR.ZIPS_COMPRESSION, type=OpenEXR.deepscanline)


def samples():
    """One small file of each kind, by name."""
    image = pixels()
    channels = planes(image)
    window = {"dataWindow": _window(4, -3, 43, 28), "displayWindow": _window(0, 0, 49, 39)}
    found = {
        f"scanline_{name.lower()}": exr(channels, compression=getattr(OpenEXR, f"{name}_COMPRESSION"))
        for name in ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "PXR24", "B44", "B44A", "DWAA", "DWAB", "HTJ2K256", "HTJ2K32", "ZSTD")
    }
    found["float_alpha"] = exr(planes(np.dstack([pixels(dtype=np.float32), np.full((32, 40), 0.5, np.float32)]), "RGBA"))
    found["uint"] = exr({name: (plane * 9).astype(np.uint32) for name, plane in channels.items()})
    found["layers"] = exr({f"beauty.{name}": plane for name, plane in channels.items()} | {"depth.Z": channels["R"]})
    found["windows"] = exr(channels, **window)
    found["luminance_chroma"] = luminance_chroma(image)
    found["luminance_chroma_full"] = luminance_chroma(image, factor=1)
    found["grey"] = exr({"Y": channels["G"]})
    found["multi_part"] = multi_part(("depth", {"Z": channels["R"]}, {}), ("beauty", channels, {}))
    found["tiled"] = of_openimageio(image, tile=16)
    found["mip_mapped"] = of_openimageio(image, tile=16, mipmap=True)
    found["deep"] = deep()
    return found


def _window(left, top, right, bottom):
    return (np.array([left, top], np.int32), np.array([right, bottom], np.int32))
