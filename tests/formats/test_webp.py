"""WebP: lossy, lossless, alpha, animations, metadata, damaged files; Pillow is the witness, which decodes on another way."""

import io
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from display_samples import (
    XMP,
    noise,
    saved,
    smooth,
    webp_animation,
    webp_chunks,
    webp_file,
    webp_samples,
)
from format_samples import oriented, tiff_with_orientation
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import formats
from hdrcli.color import Primaries, Transfer
from hdrcli.errors import HdrcliError, UnreadableInput, UnsupportedInput
from hdrcli.formats import _icc, webp


def read_bytes(tmp_path, data):
    (tmp_path / "in.webp").write_bytes(data)
    return formats.read(tmp_path / "in.webp")


def lossless(picture, **options):
    return saved(picture, "WEBP", lossless=True, exact=True, **options)


def test_it_is_known_by_its_name_and_its_first_bytes():
    assert formats.written("ldr")[".webp"] is webp
    assert webp.matches(lossless(noise()))
    assert not webp.matches(b"RIFF\0\0\0\0WAVEfmt ")


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 9)])
def test_lossless_codes_are_exact(tmp_path, shape):
    pixels = noise(shape)
    image = read_bytes(tmp_path, lossless(pixels))
    np.testing.assert_array_equal(image.pixels, pixels)
    assert (image.transfer, image.primaries, image.metadata.notes) == (Transfer.SRGB, Primaries.BT709, ())
    assert image.metadata.alpha is None
    np.testing.assert_array_equal(OpenImageIO.ImageBuf(str(tmp_path / "in.webp")).get_pixels(OpenImageIO.UINT8), pixels)


def test_lossless_alpha_is_straight_and_exact(tmp_path):
    """Colours below no cover stay what they are, too."""
    pixels = noise(channels=4)
    pixels[:4, :, 3] = 0
    image = read_bytes(tmp_path, lossless(pixels))
    np.testing.assert_array_equal(image.pixels, pixels[..., :3])
    np.testing.assert_allclose(image.metadata.alpha, pixels[..., 3] / 255, atol=1e-6)
    assert image.metadata.alpha.dtype == np.float32
    assert "transparency" in image.metadata.notes[0]
    pixels[..., 3] = 255
    assert read_bytes(tmp_path, lossless(pixels)).metadata.alpha is None


@pytest.mark.parametrize("options", [{"quality": 90}, {"quality": 20, "method": 0}, {"quality": 100, "alpha_quality": 10}])
@pytest.mark.parametrize("channels", [3, 4])
def test_lossy_codes_are_those_of_the_witness(tmp_path, channels, options):
    picture = np.dstack([smooth(), smooth()[..., 0]])[..., :channels]
    data = saved(picture, "WEBP", **options)
    image = read_bytes(tmp_path, data)
    seen = np.asarray(PIL.Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(image.pixels, seen[..., :3])
    if channels == 4:
        np.testing.assert_allclose(image.metadata.alpha, seen[..., 3] / 255, atol=1e-6)


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path, value):
    pixels = noise(channels=4)
    for prefix in (b"", b"Exif\0\0"):
        image = read_bytes(tmp_path, lossless(oriented(pixels, value), exif=prefix + tiff_with_orientation(value, ">")))
        np.testing.assert_array_equal(image.pixels, pixels[..., :3])
        np.testing.assert_allclose(image.metadata.alpha, pixels[..., 3] / 255, atol=1e-6)
        assert image.metadata.exif == tiff_with_orientation(1, ">")


def test_metadata(tmp_path):
    profile = _icc.build(Transfer.GAMMA22, Primaries.ADOBE_RGB)
    image = read_bytes(tmp_path, lossless(noise(), icc_profile=profile, exif=tiff_with_orientation(1), xmp=XMP))
    np.testing.assert_array_equal(image.pixels, noise())
    assert (image.transfer, image.primaries) == (Transfer.GAMMA22, Primaries.ADOBE_RGB)
    assert (image.metadata.icc, image.metadata.xmp, image.metadata.panorama) == (profile, XMP, True)
    assert image.metadata.exif == tiff_with_orientation(1)


def test_all_samples_are_read_without_noise(tmp_path, capfd):
    for name, data in webp_samples().items():
        image = read_bytes(tmp_path, data)
        with PIL.Image.open(io.BytesIO(data)) as picture:
            seen = np.asarray(picture.convert("RGBA"))
        codes = image.codes if "metadata" not in name else np.rot90(image.codes)
        np.testing.assert_array_equal(codes, seen[..., :3], err_msg=name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("channels", [3, 4])
def test_first_picture_of_an_animation(tmp_path, channels):
    pictures = [noise(channels=channels, seed=i) for i in range(3)]
    image = read_bytes(tmp_path, webp_animation(pictures, exact=True, xmp=XMP))
    seen = pictures[0][..., -1] > 0 if channels == 4 else np.s_[:]  # Pillow's writer blackens what can't be seen
    np.testing.assert_array_equal(image.pixels[seen], pictures[0][..., :3][seen])
    assert "animation" in image.metadata.notes[0]
    assert image.metadata.xmp == XMP
    assert (image.metadata.alpha is None) == (channels == 3)


def animation(canvas, frame_chunks, place=(0, 0), size=(13, 11)):
    sides = [(v - 1).to_bytes(3, "little") for v in (*canvas, *size)]
    frame = b"".join((v // 2).to_bytes(3, "little") for v in place) + sides[2] + sides[3] + bytes(4)
    inner = webp_file(*frame_chunks)[12:]
    return webp_file((b"VP8X", b"\x12\0\0\0" + sides[0] + sides[1]), (b"ANIM", bytes(6)), (b"ANMF", frame + inner))


@pytest.mark.parametrize("kind", ["lossless", "lossy", "alpha"])
def test_a_picture_smaller_than_its_canvas(tmp_path, kind):
    pixels = noise(channels=4)[..., : 4 if kind == "alpha" else 3]
    still = lossless(pixels) if kind == "lossless" else saved(pixels, "WEBP")
    seen = np.asarray(PIL.Image.open(io.BytesIO(still)).convert("RGBA"))
    chunks = [c for c in webp_chunks(still) if c[0] in (b"VP8 ", b"VP8L", b"ALPH")]
    image = read_bytes(tmp_path, animation((20, 30), chunks, place=(4, 6)))
    assert image.pixels.shape == (30, 20, 3)
    np.testing.assert_array_equal(image.pixels[6:17, 4:17], seen[..., :3])
    np.testing.assert_allclose(image.metadata.alpha[6:17, 4:17], seen[..., 3] / 255, atol=1e-6)
    outside = image.metadata.alpha.copy()
    outside[6:17, 4:17] = 0
    assert not outside.any()


def test_animations_that_make_no_sense(tmp_path):
    chunks = webp_chunks(lossless(noise()))
    for bad in (
        animation((13, 11), chunks, place=(2, 0)),
        animation((13, 11), chunks, size=(12, 11)),
        animation((13, 11), []),
        webp_file((b"ANMF", bytes(40)), *chunks),
        webp_file((b"VP8X", b"\x12" + bytes(9)), (b"ANMF", bytes(5))),
    ):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, bad)


@pytest.mark.parametrize("name", ["lossy", "lossless", "lossless-alpha", "metadata-lossy", "animated"])
def test_truncated_files_are_refused(tmp_path, capfd, name):
    data = webp_samples()[name]
    for end in (13, 20, 25, 29, 33, len(data) // 3, len(data) // 2, len(data) - 40, len(data) - 2):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, data[:end])
        if end > 33:  # also where the header has been mended to the shorter length
            with pytest.raises(UnreadableInput):
                read_bytes(tmp_path, data[:4] + struct.pack("<I", end - 8) + data[8:end])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [{"lossless": True}, {"quality": 80}])
def test_a_picture_cut_short_in_a_whole_container(tmp_path, kind):
    """Not half decoded."""
    [(name, body)] = webp_chunks(saved(noise((64, 80)), "WEBP", **kind))
    for share in (0.3, 0.6, 0.95):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, webp_file((name, body[: int(len(body) * share)])))


def test_what_follows_the_container_is_not_looked_at(tmp_path):
    np.testing.assert_array_equal(read_bytes(tmp_path, lossless(noise()) + b"trailer").pixels, noise())


def test_headers_that_make_no_sense(tmp_path):
    [(kind, body)] = webp_chunks(lossless(noise()))
    canvas = b"\0\0\0\0" + (12).to_bytes(3, "little") + (10).to_bytes(3, "little")
    assert read_bytes(tmp_path, webp_file((b"VP8X", canvas), (kind, body))).pixels.shape == (11, 13, 3)
    other = canvas[:4] + (99).to_bytes(3, "little") + canvas[7:]
    short = (b"VP8X", canvas[:5]), (kind, body)
    for bad in (
        webp_file((b"VP8X", other), (kind, body)),
        webp_file(*short),
        webp_file((kind, b"\x30" + body[1:])),
        webp_file(),
    ):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, bad + bytes(20))
    huge = canvas[:4] + b"\xff\xff\xff\xff\x00\x00"
    with pytest.raises(UnsupportedInput, match="too large"):
        read_bytes(tmp_path, webp_file((b"VP8X", huge), (kind, body)))


def test_promises_that_the_bytes_can_not_hold(tmp_path):
    [(kind, body)] = webp_chunks(saved(smooth(), "WEBP"))
    huge = body[:6] + struct.pack("<HH", 16383, 16383) + body[10:]
    tracemalloc.start()
    with pytest.raises(UnreadableInput, match="so short a file"):
        read_bytes(tmp_path, webp_file((kind, huge)))
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [{"lossless": True}, {"quality": 0}, {"quality": 0, "method": 6}])
def test_the_emptiest_pictures_keep_their_promise(tmp_path, kind):
    for value in (0, 255):
        image = read_bytes(tmp_path, saved(np.full((1200, 1600, 3), value, np.uint8), "WEBP", **kind))
        assert np.abs(image.pixels.astype(int) - value).max() <= 3


@given(st.sampled_from(sorted(webp_samples())), st.integers(0, 3000), st.binary(min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_spoiled_files_raise_nothing_else(tmp_path_factory, name, position, garbage):
    data = webp_samples()[name]
    position %= len(data)
    path = tmp_path_factory.getbasetemp() / "spoiled.webp"
    path.write_bytes(data[:position] + garbage + data[position + len(garbage) :])
    try:
        webp.read(path)
    except HdrcliError as error:
        assert error.where == str(path)  # noqa: PT017


def test_nothing_heavy_is_imported_before_a_picture_is_read():
    source = (
        "import sys; from hdrcli.formats import webp, bmp; print({'numpy', 'imagecodecs', 'cv2', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
