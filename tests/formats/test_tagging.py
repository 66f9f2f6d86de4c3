"""The colour space in every LDR format: LittleCMS (through Pillow and imagecodecs) and OpenImageIO are the witnesses."""

import io

import imagecodecs
import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from PIL import ImageCms

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, converted, decode, encode, rgb_to_xyz
from hdrcli.formats import WriteOptions, _icc
from hdrcli.image import Image, Metadata

SRGB, P3 = Transfer.SRGB, Primaries.DISPLAY_P3
KINDS = ("png", "jpg", "tif", "webp")
# Published: Apple's Display P3.icc (rXYZ, gXYZ, bXYZ, chad), rounded to 1/65536 there
APPLE_P3 = [[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]]
APPLE_CHAD = [[1.04788, 0.02292, -0.05020], [0.02959, 0.99048, -0.01706], [-0.00923, 0.01508, 0.75168]]


def colours():
    """All codes of grey, and codes of all colours, ``(20, 64, 3)``."""
    grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(4, 64, 3)
    return np.concatenate([grey, np.random.default_rng(3).integers(0, 256, (16, 64, 3), dtype=np.uint8)])


def numbers_of(icc, tag, count):
    start = int.from_bytes(icc[(at := icc.index(tag, 128)) + 4 : at + 8], "big")
    return np.frombuffer(icc, ">i4", count, start + 8) / 65536


def profile_in(path):
    with PIL.Image.open(path) as picture:
        return picture.info.get("icc_profile")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("primaries", [Primaries.BT709, P3])
def test_is_told_and_read_back(tmp_path, kind, primaries):
    path = tmp_path / f"a.{kind}"
    formats.write(Image(colours(), SRGB, primaries), path, WriteOptions(quality=100))
    back = formats.read(path)
    assert (back.transfer, back.primaries, back.metadata.notes) == (SRGB, primaries, ())
    if (kind, primaries) == ("png", Primaries.BT709):
        assert b"sRGB" in path.read_bytes()[:64]
        assert profile_in(path) is None
    else:
        assert profile_in(path) == _icc.build(SRGB, primaries)
        spec = OpenImageIO.ImageInput.open(str(path)).spec()
        assert bytes(spec.getattribute("ICCProfile")) == _icc.build(SRGB, primaries)
        assert spec.getattribute("ICCProfile:profile_description") == ("Display P3" if primaries is P3 else "sRGB")


@pytest.mark.parametrize("kind", KINDS)
def test_exif_of_an_adobe_rgb_camera_does_not_make_srgb_adobe_rgb(tmp_path, kind):
    """The photo was converted on its way; its EXIF still says what the camera wrote (DCF 2.0)."""
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    path = tmp_path / f"a.{kind}"
    formats.write(Image(colours(), SRGB, metadata=Metadata(exif=exif.tobytes().removeprefix(b"Exif\0\0"))), path)
    assert formats.read(path).primaries is Primaries.BT709


def test_numbers_are_those_of_the_published_profile():
    icc = _icc.build(SRGB, P3)
    assert (icc[8], len(icc) < 600, icc[36:40]) == (4, True, b"acsp")
    colorants = [numbers_of(icc, tag, 3) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
    np.testing.assert_allclose(colorants, APPLE_P3, atol=3e-5)
    np.testing.assert_allclose(numbers_of(icc, b"chad", 9).reshape(3, 3), APPLE_CHAD, atol=5e-4)
    np.testing.assert_array_equal(np.sum(colorants, axis=0), numbers_of(icc, b"wtpt", 3))


def test_chad_takes_the_white_to_d50():
    for primaries in Primaries:
        icc = _icc.build(SRGB, primaries)
        white = rgb_to_xyz(primaries).sum(axis=1)
        np.testing.assert_allclose(numbers_of(icc, b"chad", 9).reshape(3, 3) @ white, (0.9642, 1, 0.8249), atol=3e-5)


def test_littlecms_sees_the_same_xyz():
    codes = colours() / 255
    xyz = imagecodecs.cms_transform(
        codes, _icc.build(SRGB, P3), imagecodecs.cms_profile("xyz"), colorspace="rgb", outcolorspace="xyz", outdtype="float64",
        intent=1, flags=0x100,
    )  # fmt: skip
    np.testing.assert_allclose(xyz, decode(codes, SRGB) @ np.array(APPLE_P3), atol=4e-5)


def test_littlecms_takes_p3_to_srgb_as_we_do():
    """Codes of P3 inside of sRGB: 8 bit in, 8 bit out, so one code is rounding; grey is exact."""
    inside = colours().astype(float)
    inside[4:] = 100 + inside[4:] / 4
    codes = np.rint(inside).astype(np.uint8)
    source = ImageCms.ImageCmsProfile(io.BytesIO(_icc.build(SRGB, P3)))
    target = ImageCms.ImageCmsProfile(io.BytesIO(_icc.build(SRGB, Primaries.BT709)))
    flags = ImageCms.Flags.NOOPTIMIZE
    change = ImageCms.buildTransform(source, target, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags)
    seen = np.asarray(ImageCms.applyTransform(PIL.Image.fromarray(codes), change)).astype(float)
    ours = encode(converted(decode(codes / 255.0, SRGB), P3, Primaries.BT709), SRGB) * 255
    assert ours.min() > -1e-9
    assert ours.max() < 255 + 1e-9
    assert np.abs(seen - ours).max() < 0.6
    np.testing.assert_array_equal(seen[:4], codes[:4])


def test_sixteen_bit_codes_keep_their_shadows():
    """A curve of 1024 entries would be wrong by six 16-bit codes at the first; a formula is not."""
    codes = np.arange(1, 2000, dtype=np.uint16).reshape(1, -1, 1).repeat(3, axis=2)
    xyz = imagecodecs.cms_transform(
        codes / 65535, _icc.build(SRGB, P3), imagecodecs.cms_profile("xyz"), colorspace="rgb", outcolorspace="xyz",
        outdtype="float64", intent=1, flags=0x100,
    )  # fmt: skip
    np.testing.assert_allclose(encode(xyz[..., 1], SRGB) * 65535, codes[..., 0], atol=0.2)
