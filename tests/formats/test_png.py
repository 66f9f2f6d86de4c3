"""PNG: depths, palettes, transparency, colour chunks, profiles, orientation, damaged files."""

import io
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from display_samples import XMP, chrm_chunk, chunk, gamma_chunk, icc_chunk, png_file, png_samples, xmp_chunk
from format_samples import grey_profile, odd_profile, oriented, tiff_with_orientation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import ImageCms

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, chromaticities_of, conversion_matrix, converted, decode, encode
from hdrcli.errors import MismatchError, UnreadableInput, UnsupportedInput
from hdrcli.formats import WriteOptions, _exif, _icc, png
from hdrcli.image import Image, Metadata

SHAPES = [(1, 1), (1, 5000), (5000, 1), (7, 9)]
SRGB = Transfer.SRGB


def random_pixels(shape=(6, 7), dtype=np.uint8, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (*shape, channels), dtype, endpoint=True)


def png_bytes(picture, **options):
    stream = io.BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def with_chunks(data, *chunks):
    return data[:33] + b"".join(chunks) + data[33:]


def read_bytes(tmp_path, data):
    (tmp_path / "in.png").write_bytes(data)
    return formats.read(tmp_path / "in.png")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_round_trip_and_witness(tmp_path, shape, dtype):
    pixels = random_pixels(shape, dtype)
    path = tmp_path / "größe 絵.png"
    assert png.write(Image(pixels, SRGB), path, WriteOptions()) == ()
    back = png.read(path)
    assert back.pixels.dtype == dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    assert (back.transfer, back.primaries, back.metadata.notes) == (SRGB, Primaries.BT709, ())
    kind = OpenImageIO.UINT8 if dtype == np.uint8 else OpenImageIO.UINT16
    np.testing.assert_array_equal(OpenImageIO.ImageBuf(str(path)).get_pixels(kind), pixels)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)),
        elements=st.integers(0, 255),
    )
)
def test_any_codes_survive(tmp_path, pixels):
    png.write(Image(pixels, SRGB), tmp_path / "a.png", WriteOptions())
    back = png.read(tmp_path / "a.png").pixels
    assert back.dtype == pixels.dtype
    np.testing.assert_array_equal(back, pixels)


def test_depths(tmp_path):
    def written(pixels, depth):
        remarks = png.write(Image(pixels, SRGB), tmp_path / "a.png", WriteOptions(depth=depth))
        return png.read(tmp_path / "a.png").pixels, remarks

    eight = random_pixels()
    np.testing.assert_array_equal(written(eight, "16")[0], eight.astype(np.uint16) * 257)
    sixteen = random_pixels(dtype=np.uint16)
    np.testing.assert_array_equal(written(sixteen, "8")[0], np.rint(sixteen / 257))
    codes, remarks = written(np.array([[[-1, 0.5, 2], [np.nan, np.inf, -np.inf]]], np.float32), None)
    np.testing.assert_array_equal(codes, [[[0, 128, 255], [0, 255, 0]]])
    assert remarks == ("1 NaN value written as 0",)
    codes, remarks = written(np.full((2, 2, 3), 0.5, np.float16), "16")
    assert codes.dtype == np.uint16
    assert (codes == 32768).all()
    codes, remarks = written(eight, "half")
    assert codes.dtype == np.uint8
    assert "half" in remarks[0]


def test_linear_light_is_a_mismatch(tmp_path):
    with pytest.raises(MismatchError):
        png.write(Image(np.zeros((2, 2, 3), np.float32), Transfer.LINEAR), tmp_path / "a.png", WriteOptions())


def test_what_the_format_can_not_hold_is_remarked(tmp_path):
    options = WriteOptions(compression="zip", layers={"confidence": np.ones((6, 7), np.float32)})
    remarks = " ".join(png.write(Image(random_pixels(), SRGB), tmp_path / "a.png", options))
    assert "zip" in remarks
    assert "confidence" in remarks


@pytest.mark.parametrize("mode", ["L", "1", "P", "I;16", "LA", "RGBA"])
def test_kinds_of_pixels(tmp_path, mode):
    source = random_pixels(channels=4)
    if mode == "I;16":
        picture = PIL.Image.fromarray(random_pixels(dtype=np.uint16)[..., 0])
        rgb = np.stack([np.asarray(picture)] * 3, -1)
    else:
        rgba = PIL.Image.fromarray(source)
        picture = rgba if mode == "RGBA" else rgba.convert("RGB").quantize(11) if mode == "P" else rgba.convert(mode)
        rgb = source[..., :3] if mode == "RGBA" else np.asarray(picture.convert("L" if mode == "LA" else "RGB").convert("RGB"))
    image = read_bytes(tmp_path, png_bytes(picture))
    np.testing.assert_array_equal(image.pixels, rgb)
    if mode in ("LA", "RGBA"):
        np.testing.assert_allclose(image.metadata.alpha, source[..., 3] / 255, atol=1e-6)
        assert "transparency" in image.metadata.notes[0]
    else:
        assert image.metadata.alpha is None


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "P", "I;16"])
def test_transparent_colours(tmp_path, mode):
    rgb = PIL.Image.fromarray(random_pixels())
    if mode == "I;16":
        picture = PIL.Image.fromarray(random_pixels(dtype=np.uint16)[..., 0])
    else:
        picture = rgb.quantize(9) if mode == "P" else rgb if mode == "RGB" else rgb.convert(mode)
    key = picture.getpixel((2, 1))
    expected = np.any(np.asarray(picture).reshape(6, 7, -1) != np.asarray(key), axis=2)
    if mode == "P":
        options = {"transparency": bytes(0 if i == key else 255 for i in range(9))}
    elif mode == "1":
        options = {"transparency": key}
        expected = np.asarray(picture.convert("L")) != key
    else:
        options = {"transparency": key}
    data = png_bytes(picture, **options)
    assert b"tRNS" in data
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.metadata.alpha, expected)


def test_sixteen_bit_colour_key(tmp_path):
    pixels = random_pixels(dtype=np.uint16)
    png.write(Image(pixels, SRGB), tmp_path / "a.png", WriteOptions())
    data = with_chunks((tmp_path / "a.png").read_bytes(), chunk(b"tRNS", pixels[1, 2].astype(">u2").tobytes()))
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert np.argwhere(image.metadata.alpha == 0).tolist() == [[1, 2]]


def test_opaque_alpha_says_nothing(tmp_path):
    source = random_pixels(channels=4)
    source[..., 3] = 255
    image = read_bytes(tmp_path, png_bytes(PIL.Image.fromarray(source)))
    assert image.metadata.alpha is None
    assert image.metadata.notes == ()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_goes_along(tmp_path, dtype):
    alpha = np.linspace(0, 1, 42, dtype=np.float32).reshape(6, 7)
    pixels = random_pixels(dtype=dtype)
    png.write(Image(pixels, SRGB, metadata=Metadata(alpha=alpha)), tmp_path / "a.png", WriteOptions())
    back = png.read(tmp_path / "a.png")
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_allclose(back.metadata.alpha, alpha, atol=0.5 / np.iinfo(dtype).max + 1e-6)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation(tmp_path, value, order):
    pixels = random_pixels(channels=4)
    exif = tiff_with_orientation(value, order)
    data = with_chunks(png_bytes(PIL.Image.fromarray(oriented(pixels, value))), chunk(b"eXIf", exif))
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, pixels[..., :3])
    np.testing.assert_allclose(image.metadata.alpha, pixels[..., 3] / 255, atol=1e-6)
    assert image.metadata.exif == tiff_with_orientation(1, order)
    png.write(image, tmp_path / "b.png", WriteOptions())
    again = png.read(tmp_path / "b.png")
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert again.metadata.exif == image.metadata.exif


@given(st.binary(max_size=80))
@settings(max_examples=50, deadline=None)
def test_broken_exif_turns_nothing(garbage):
    for head in (b"II*\0", b"MM\0*", b""):
        assert 1 <= _exif.orientation(head + garbage) <= 8
        assert len(_exif.upright(head + garbage)) == len(head + garbage)


KNOWN = [
    (SRGB, Primaries.BT709),
    (SRGB, Primaries.DISPLAY_P3),
    (Transfer.GAMMA22, Primaries.ADOBE_RGB),
    (Transfer.GAMMA18, Primaries.PROPHOTO),
    (Transfer.LINEAR, Primaries.BT709),
    (SRGB, Primaries.BT2020),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("transfer", "primaries"), KNOWN)
def test_known_profiles_leave_the_codes_alone(tmp_path, dtype, transfer, primaries):
    profile = _icc.build(transfer, primaries)
    pixels = random_pixels(dtype=dtype)
    png.write(Image(pixels, SRGB), tmp_path / "a.png", WriteOptions())
    plain = (tmp_path / "a.png").read_bytes().replace(chunk(b"sRGB", b"\0"), b"")
    image = read_bytes(tmp_path, with_chunks(plain, chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))))
    np.testing.assert_array_equal(image.pixels, pixels)
    assert (image.transfer, image.primaries, image.metadata.icc) == (transfer, primaries, profile)
    assert image.metadata.notes == ()
    if transfer is not Transfer.LINEAR:
        png.write(image, tmp_path / "b.png", WriteOptions())
        again = png.read(tmp_path / "b.png")
        assert (again.transfer, again.primaries) == (transfer, primaries)
        png.write(Image(pixels, transfer, primaries), tmp_path / "c.png", WriteOptions())
        again = png.read(tmp_path / "c.png")
        assert (again.transfer, again.primaries) == (transfer, primaries)


@pytest.mark.parametrize(("transfer", "primaries"), KNOWN)
def test_our_profiles_mean_the_same_to_littlecms(transfer, primaries):
    profile = ImageCms.ImageCmsProfile(io.BytesIO(_icc.build(transfer, primaries)))
    name = "sRGB" if (transfer, primaries) == (SRGB, Primaries.BT709) else primaries.label
    assert name in ImageCms.getProfileDescription(profile)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    same = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    seen = np.asarray(ImageCms.applyTransform(PIL.Image.fromarray(grey), same))
    expected = 255 * encode(decode(np.arange(256) / 255, transfer), SRGB)
    np.testing.assert_allclose(seen[0], np.repeat(expected[:, None], 3, axis=1), atol=1.5)


def test_littlecms_srgb_is_known(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = read_bytes(tmp_path, png_bytes(PIL.Image.fromarray(random_pixels()), icc_profile=profile))
    assert (image.transfer, image.primaries, image.metadata.notes) == (SRGB, Primaries.BT709, ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_other_profiles(tmp_path, dtype):
    """Converted, and not written again with the old profile, which does not say what the pixels are now."""
    pixels = random_pixels(dtype=dtype)
    data = png_file(pixels, 8 * pixels.itemsize, 2, icc_chunk(odd_profile()))
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.stored, pixels)
    assert "converted from its ICC profile 'hdrcli Adobe RGB srgb'" in image.metadata.notes[0]
    light = decode(pixels / np.iinfo(dtype).max, Transfer.LINEAR) ** 3  # the profile's curves are 3.0
    expected = converted(light, Primaries.ADOBE_RGB, image.primaries)
    np.testing.assert_allclose(decode(image.pixels / 65535, image.transfer), np.clip(expected, 0, 1), atol=3e-5)
    png.write(image, tmp_path / "b.png", WriteOptions())
    again = png.read(tmp_path / "b.png")
    assert (again.transfer, again.primaries) == (image.transfer, image.primaries)
    np.testing.assert_array_equal(again.pixels, image.pixels)


@pytest.mark.parametrize(("gamma", "transfer"), [(2.2, Transfer.GAMMA22), (1.0, Transfer.LINEAR), (3.0, None)])
def test_grey_profiles(tmp_path, gamma, transfer):
    profile = grey_profile(b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)))
    picture = PIL.Image.fromarray(random_pixels()[..., 0])
    image = read_bytes(tmp_path, png_bytes(picture, icc_profile=profile))
    assert image.transfer is (transfer or SRGB)
    if transfer is None:
        codes = np.asarray(picture) / 255
        expected = 65535 * encode(codes**gamma, SRGB)
        np.testing.assert_allclose(image.pixels[..., 0], expected, atol=2)
        np.testing.assert_array_equal(image.stored[..., 0], np.asarray(picture))
        assert "converted" in image.metadata.notes[0]
    else:
        np.testing.assert_array_equal(image.pixels[..., 0], np.asarray(picture))
    colour = read_bytes(tmp_path, png_bytes(PIL.Image.fromarray(random_pixels()), icc_profile=profile))
    assert colour.transfer is SRGB
    assert "for GRAY" in colour.metadata.notes[0]


@pytest.mark.parametrize(
    "body", [b"x\0\0garbage", b"x\0\0" + zlib.compress(b"short"), b"x\0\0" + zlib.compress(bytes(1 << 25))]
)
def test_damaged_profiles_are_noted(tmp_path, body):
    image = read_bytes(tmp_path, with_chunks(png_bytes(PIL.Image.fromarray(random_pixels())), chunk(b"iCCP", body)))
    assert "damaged" in image.metadata.notes[0]
    assert image.transfer is SRGB


@given(st.integers(0, 5000), st.binary(min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_spoiled_profiles_never_raise_anything_else(position, garbage):
    icc = _icc.build(SRGB, Primaries.DISPLAY_P3)
    position %= len(icc)
    try:
        _icc.parse(icc[:position] + garbage + icc[position + len(garbage) :])
        _icc.parse(icc[:position])
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("code", "transfer", "primaries"),
    [
        ((9, 16, 0, 1), Transfer.PQ, Primaries.BT2020),
        ((9, 18, 0, 1), Transfer.HLG, Primaries.BT2020),
        ((1, 13, 0, 1), SRGB, Primaries.BT709),
        ((12, 13, 0, 1), SRGB, Primaries.DISPLAY_P3),
        ((2, 13, 0, 1), None, None),
        ((9, 7, 0, 1), None, None),
        ((1, 1, 0, 0), None, None),
        ((9, 16, 0, 0), None, None),
        ((9, 16, 9, 1), None, None),
    ],
)
def test_cicp(tmp_path, code, transfer, primaries):
    pixels = random_pixels(dtype=np.uint16)
    png.write(Image(pixels, SRGB), tmp_path / "a.png", WriteOptions())
    data = with_chunks((tmp_path / "a.png").read_bytes(), chunk(b"cICP", bytes(code)))
    if transfer is None:
        with pytest.raises(UnsupportedInput, match="cICP"):
            read_bytes(tmp_path, data)
        return
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert (image.transfer, image.primaries) == (transfer, primaries)
    png.write(image, tmp_path / "b.png", WriteOptions())
    again = png.read(tmp_path / "b.png")
    assert (again.transfer, again.primaries) == (transfer, primaries)
    if transfer in (Transfer.PQ, Transfer.HLG):
        assert list(OpenImageIO.ImageBuf(str(tmp_path / "b.png")).spec().getattribute("CICP")) == list(code)


@pytest.mark.parametrize(
    ("code", "exponent", "red"),
    [
        ((1, 1, 0, 1), 2.4, (0.64, 0.33)),
        ((9, 14, 0, 1), 2.4, (0.708, 0.292)),
        ((9, 15, 0, 1), 2.4, (0.708, 0.292)),
        ((6, 6, 0, 1), 2.4, (0.63, 0.34)),
        ((5, 5, 0, 1), 2.8, (0.64, 0.33)),
        ((12, 1, 0, 1), 2.4, (0.68, 0.32)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cicp_of_television(tmp_path, code, exponent, red, dtype):
    """As a display of BT.1886 shows them, whose black is 0: L = V ** 2.4."""
    pixels = random_pixels(dtype=dtype)
    image = read_bytes(tmp_path, png_file(pixels, 8 * pixels.itemsize, 2, chunk(b"cICP", bytes(code))))
    np.testing.assert_array_equal(image.codes, pixels)
    light = (pixels / np.iinfo(dtype).max) ** exponent
    np.testing.assert_allclose(image.pixels, 65535 * encode(light, SRGB), atol=0.51)
    assert (image.transfer, image.metadata.notes) == (SRGB, (f"converted from its gamma of {exponent}",))
    assert chromaticities_of(image.primaries).red == red


def test_pq_without_a_name_for_its_primaries(tmp_path):
    with pytest.raises(MismatchError):
        png.write(Image(random_pixels(), Transfer.PQ, Primaries.PROPHOTO), tmp_path / "a.png", WriteOptions())


ADOBE, ODD_SET = Primaries.ADOBE_RGB.value.numbers, (0.67, 0.32, 0.22, 0.68, 0.15, 0.05, 0.32, 0.33)


@pytest.mark.parametrize(
    ("gamma", "numbers", "transfer", "primaries", "note"),
    [
        (0.45455, None, SRGB, Primaries.BT709, None),
        (0.45455, Primaries.BT709.value.numbers, SRGB, Primaries.BT709, None),
        (0.45, (0.6402, 0.3297, 0.3002, 0.5999, 0.15, 0.0598, 0.3127, 0.3291), SRGB, Primaries.BT709, None),
        (0.45470, ADOBE, Transfer.GAMMA22, Primaries.ADOBE_RGB, None),
        (1.0, None, Transfer.LINEAR, Primaries.BT709, None),
        (1.0, Primaries.BT2020.value.numbers, Transfer.LINEAR, Primaries.BT2020, None),
        (0.55556, Primaries.PROPHOTO.value.numbers, Transfer.GAMMA18, Primaries.PROPHOTO, None),
        (None, Primaries.DISPLAY_P3.value.numbers, SRGB, Primaries.DISPLAY_P3, None),
        (1.0, ODD_SET, Transfer.LINEAR, ODD_SET, None),
        (0.00003, None, SRGB, Primaries.BT709, "gamma of 3.333e+04 makes no sense"),
        (40000, None, SRGB, Primaries.BT709, "gamma of 2.5e-05 makes no sense"),
        (0.45455, (0.3,) * 8, SRGB, Primaries.BT709, "make no sense"),
        (0.45455, (0.0,) * 8, SRGB, Primaries.BT709, "make no sense"),
        (0.0, None, SRGB, Primaries.BT709, None),
    ],
)
def test_gamma_and_chromaticities(tmp_path, gamma, numbers, transfer, primaries, note):
    pixels = random_pixels()
    chunks = [] if gamma is None else [gamma_chunk(gamma)]
    chunks += [] if numbers is None else [chrm_chunk(numbers)]
    data = with_chunks(png_bytes(PIL.Image.fromarray(pixels)), *chunks)
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.transfer is transfer
    if isinstance(primaries, Primaries):
        assert image.primaries is primaries
    else:
        np.testing.assert_allclose(image.primaries.numbers, primaries, atol=6e-6)
    assert len(image.metadata.notes) == (note is not None)
    assert note is None or note in image.metadata.notes[0]
    # each goes before: cICP, iCCP, sRGB
    named = with_chunks(data, chunk(b"sRGB", b"\0"))
    profiled = with_chunks(named, icc_chunk(_icc.build(SRGB, Primaries.DISPLAY_P3)))
    coded = with_chunks(profiled, chunk(b"cICP", bytes((9, 18, 0, 1))))
    expected = [(SRGB, Primaries.BT709), (SRGB, Primaries.DISPLAY_P3), (Transfer.HLG, Primaries.BT2020)]
    for changed, meaning in zip((named, profiled, coded), expected, strict=True):
        image = read_bytes(tmp_path, changed)
        assert ((image.transfer, image.primaries), image.metadata.notes) == (meaning, ())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gamma", [0.5, 0.3, 0.41667, 0.7, 1.25])
def test_gammas_of_no_name(tmp_path, gamma, channels, dtype):
    """PNG, 4.3: samples are light to the power of gAMA; stored codes stay what clip masks come from."""
    pixels = random_pixels(dtype=dtype, channels=channels)
    primaries = chrm_chunk(Primaries.BT2020.value.numbers)
    data = png_file(pixels, 8 * pixels.itemsize, 0 if channels == 1 else 2, gamma_chunk(gamma), primaries)
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.codes, np.broadcast_to(pixels, image.pixels.shape))
    light = (pixels / np.iinfo(dtype).max) ** (1 / gamma)
    np.testing.assert_allclose(
        decode(image.pixels / 65535, image.transfer), np.broadcast_to(light, image.pixels.shape), atol=2e-5
    )
    assert image.primaries is (Primaries.BT709 if channels == 1 else Primaries.BT2020)
    assert image.metadata.notes == (f"converted from its gamma of {1 / gamma:.4g}",)


def test_primaries_of_grey_say_nothing(tmp_path):
    data = png_file(np.full((2, 3, 1), 9), 8, 0, gamma_chunk(1.0), chrm_chunk(Primaries.BT2020.value.numbers))
    image = read_bytes(tmp_path, data)
    assert (image.transfer, image.primaries, image.metadata.notes) == (Transfer.LINEAR, Primaries.BT709, ())


def test_primaries_of_a_file_of_its_own_are_written_again(tmp_path):
    data = png_file(random_pixels(), 8, 2, gamma_chunk(1 / 1.8), chrm_chunk(ODD_SET))
    image = read_bytes(tmp_path, data)
    png.write(image, tmp_path / "b.png", WriteOptions())
    again = png.read(tmp_path / "b.png")
    assert again.transfer is Transfer.GAMMA18
    # profiles have a white of D50; what counts is that colours stay
    matrices = [conversion_matrix(p, Primaries.BT709) for p in (again.primaries, image.primaries)]
    np.testing.assert_allclose(*matrices, atol=2e-4)
    with pytest.raises(MismatchError):
        png.write(Image(random_pixels(), Transfer.PQ, image.primaries), tmp_path / "c.png", WriteOptions())


@pytest.mark.parametrize("compressed", [False, True])
def test_xmp(tmp_path, compressed):
    image = read_bytes(tmp_path, png_file(random_pixels(), 8, 2, xmp_chunk(XMP, compressed)))
    assert image.metadata.xmp == XMP
    assert image.metadata.panorama
    other = chunk(b"iTXt", b"Comment\0\0\0\0\0" + XMP)
    assert read_bytes(tmp_path, png_file(random_pixels(), 8, 2, other)).metadata.xmp is None


@pytest.mark.parametrize(
    "body",
    [b"", b"\1", b"\1\0\0", b"\1\0\0\0garbage", b"\1\1\0\0" + zlib.compress(XMP), b"\1\0\0\0" + zlib.compress(bytes(1 << 25))],
)
def test_damaged_xmp_is_left_out(tmp_path, body):
    image = read_bytes(tmp_path, png_file(random_pixels(), 8, 2, chunk(b"iTXt", b"XML:com.adobe.xmp\0" + body)))
    assert image.metadata.xmp is None


def test_all_samples_are_those_of_the_witness(tmp_path, capfd):
    samples = png_samples()
    behind = samples.pop("exif-behind")  # the witness looks for it before the pixels only
    np.testing.assert_array_equal(read_bytes(tmp_path, behind).pixels, read_bytes(tmp_path, samples["rgb"]).pixels[::-1, ::-1])
    for name, data in samples.items():
        image = read_bytes(tmp_path, data)
        kind = OpenImageIO.UINT8 if image.codes.dtype == np.uint8 else OpenImageIO.UINT16
        config = OpenImageIO.ImageSpec()
        config.attribute("oiio:UnassociatedAlpha", 1)
        buffer = OpenImageIO.ImageBuf(str(tmp_path / "in.png"), 0, 0, config)
        seen = OpenImageIO.ImageBufAlgo.reorient(buffer).get_pixels(kind)
        colour = seen[..., :3] if seen.shape[2] >= 3 else np.repeat(seen[..., :1], 3, axis=2)
        np.testing.assert_array_equal(image.codes, colour, err_msg=name)
        if seen.shape[2] in (2, 4) and image.metadata.alpha is not None:
            np.testing.assert_allclose(image.metadata.alpha, seen[..., -1] / np.iinfo(seen.dtype).max, atol=1e-6, err_msg=name)
    assert capfd.readouterr() == ("", "")


def test_interlaced_file_of_the_witness(tmp_path):
    pixels = random_pixels((13, 17), np.uint16)
    spec = OpenImageIO.ImageSpec(17, 13, 3, OpenImageIO.UINT16)
    spec.attribute("png:interlace", 1)
    out = OpenImageIO.ImageOutput.create("a.png")
    assert out.open(str(tmp_path / "a.png"), spec)
    out.write_image(pixels)
    out.close()
    np.testing.assert_array_equal(formats.read(tmp_path / "a.png").pixels, pixels)


def test_animation_is_noted(tmp_path):
    pictures = [PIL.Image.fromarray(random_pixels(seed=i)) for i in range(2)]
    image = read_bytes(tmp_path, png_bytes(pictures[0], save_all=True, append_images=pictures[1:]))
    np.testing.assert_array_equal(image.pixels, np.asarray(pictures[0]))
    assert "animation" in image.metadata.notes[0]


def test_warnings_of_libpng_stay_off_the_terminal(tmp_path):
    """In a process of its own: pytest listens to the log that they would come from."""
    damaged_profile = chunk(b"iCCP", b"x\0\0garbage")
    (tmp_path / "a.png").write_bytes(png_file(random_pixels(), 8, 2, damaged_profile, interlaced=True))
    source = "import sys; from hdrcli import formats; print(formats.read(sys.argv[1]).metadata.notes)"
    done = subprocess.run([sys.executable, "-c", source, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("('its ICC profile is damaged; taken as sRGB',)\n", "")


def test_a_picture_beside_its_animation(tmp_path):
    """A still picture that is no frame of the animation stands before the first fcTL (PNG, 4.9): it is what is read."""
    pictures = [PIL.Image.fromarray(random_pixels(seed=i)) for i in range(3)]
    data = png_bytes(pictures[0], save_all=True, append_images=pictures[1:], default_image=True)
    np.testing.assert_array_equal(read_bytes(tmp_path, data).pixels, np.asarray(pictures[0]))


def test_promises_that_the_bytes_can_not_hold(tmp_path):
    data = png_bytes(PIL.Image.fromarray(random_pixels()))
    for width, height in ((20_000, 19_999), (1_000_000, 2)):
        head = chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29])
        tracemalloc.start()
        with pytest.raises(UnreadableInput, match="so short a file"):
            read_bytes(tmp_path, data[:8] + head + data[33:])
        assert tracemalloc.get_traced_memory()[1] < 1e6
        tracemalloc.stop()


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(("bits", "color_type", "channels"), [(1, 0, 1), (8, 2, 3), (16, 6, 4)])
def test_the_emptiest_pictures_keep_their_promise(tmp_path, bits, color_type, channels, interlaced):
    image = read_bytes(tmp_path, png_file(np.zeros((600, 900, channels), np.uint8), bits, color_type, interlaced=interlaced))
    assert image.pixels.shape == (600, 900, 3)
    assert not image.pixels.any()


def test_damaged_files(tmp_path, capfd):
    data = png_bytes(PIL.Image.fromarray(random_pixels((40, 50))))
    body = data.index(b"IDAT") + 4
    wrong_checksum = data[: body + 50] + b"\0\1\2" + data[body + 53 :]
    size = struct.unpack(">I", data[body - 8 : body - 4])[0]
    pixels = zlib.decompress(data[body : body + size])
    short = data[: body - 8] + chunk(b"IDAT", zlib.compress(pixels[: len(pixels) // 2])) + chunk(b"IEND", b"")
    noise = data[: body - 8] + chunk(b"IDAT", b"garbage") + chunk(b"IEND", b"")
    empty = data[: body - 8] + chunk(b"IEND", b"")
    for bad in (data[:8], data[:20], data[: len(data) // 2], data[:-12], data[:-1], wrong_checksum, short, noise, empty):
        with pytest.raises(UnreadableInput) as raised:
            read_bytes(tmp_path, bad)
        assert "in.png" in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_headers_that_make_no_sense(tmp_path):
    data = png_bytes(PIL.Image.fromarray(random_pixels()))
    for width, height, error in ((99_999, 99_999, UnsupportedInput), (0, 5, UnreadableInput), (2_000_000, 1, UnsupportedInput)):
        head = chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29])
        with pytest.raises(error):
            read_bytes(tmp_path, data[:8] + head + data[33:])


def test_mislabelled(tmp_path):
    (tmp_path / "a.jpg").write_bytes(png_bytes(PIL.Image.fromarray(random_pixels())))
    assert formats.read(tmp_path / "a.jpg").metadata.notes == ("is named .jpg but holds png; read as png",)
