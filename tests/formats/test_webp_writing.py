"""WebP as written: codes, alpha, profile, EXIF, limits; Pillow and OpenImageIO are the witnesses."""

import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from display_samples import noise, smooth, webp_chunks
from format_samples import tiff_with_orientation

from hdrcli import formats
from hdrcli.color import Primaries, Transfer
from hdrcli.errors import MismatchError, UnwritableOutput, UsageError
from hdrcli.formats import WriteOptions, _icc
from hdrcli.image import Image, Metadata

SRGB = Transfer.SRGB


def written(tmp_path, image, **options):
    path = tmp_path / "a.webp"
    remarks = formats.write(image, path, WriteOptions(**options), overwrite=True)
    return path, remarks


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (7, 9)])
def test_quality_100_is_exact(tmp_path, shape, channels):
    codes = noise(shape, channels=channels)
    if channels == 4:
        codes[0, 0, 3], codes[-1, -1, 3] = 0, 3
    alpha = None if channels == 3 else codes[..., 3] / np.float32(255)
    path, remarks = written(tmp_path, Image(codes[..., :3], SRGB, metadata=Metadata(alpha=alpha)), quality=100)
    assert remarks == ()
    with PIL.Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), codes)
    back = formats.read(path)
    np.testing.assert_array_equal(back.pixels, codes[..., :3])
    if channels == 4:
        np.testing.assert_allclose(back.metadata.alpha, alpha, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 4])
def test_lower_quality_is_smaller_and_still_the_picture(tmp_path, channels):
    picture = np.dstack([smooth((96, 128)), smooth((96, 128))[..., 0]])[..., :channels]
    metadata = Metadata(alpha=None if channels == 3 else picture[..., 3] / np.float32(255))
    sizes = []
    for quality in (10, 60, 99):
        path, _ = written(tmp_path, Image(picture[..., :3], SRGB, metadata=metadata), quality=quality)
        sizes.append(path.stat().st_size)
        with PIL.Image.open(path) as seen:
            assert seen.mode == ("RGB" if channels == 3 else "RGBA")
            np.testing.assert_array_equal(formats.read(path).pixels, np.asarray(seen)[..., :3])
            if channels == 3:
                # colours are subsampled: these ramps of saturated ones lose more than photos do
                assert np.abs(np.asarray(seen).astype(int) - picture).mean() < 12
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("quality", [80, 100])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("primaries", [Primaries.BT709, Primaries.DISPLAY_P3])
def test_what_goes_along(tmp_path, quality, transparent, primaries):
    exif = tiff_with_orientation(1)
    alpha = np.linspace(0, 1, 143, dtype=np.float32).reshape(11, 13) if transparent else None
    path, _ = written(tmp_path, Image(noise(), SRGB, primaries, metadata=Metadata(exif=exif, alpha=alpha)), quality=quality)
    back = formats.read(path)
    assert (back.transfer, back.primaries, back.metadata.exif) == (SRGB, primaries, exif)
    assert back.metadata.icc == _icc.build(SRGB, primaries)
    with PIL.Image.open(path) as picture:
        assert (picture.info["icc_profile"], picture.info["exif"]) == (back.metadata.icc, exif)
        assert picture.mode == ("RGBA" if transparent else "RGB")
    spec = OpenImageIO.ImageInput.open(str(path)).spec()
    assert (spec.width, spec.height, spec.nchannels) == (13, 11, 4 if transparent else 3)
    # RFC 9649, 2.7: this order
    found = [kind for kind, _ in webp_chunks(path.read_bytes())]
    assert found[:2] == [b"VP8X", b"ICCP"]
    assert found[-1] == b"EXIF"


def test_codes_of_other_depths(tmp_path):
    codes = np.arange(0, 65536, 257, dtype=np.uint16).repeat(3).reshape(16, 16, 3)
    path, remarks = written(tmp_path, Image(codes, SRGB), quality=100, depth="16")
    np.testing.assert_array_equal(formats.read(path).pixels, codes // 257)
    assert remarks == ("WebP has one depth, 8 bit; 16 is ignored",)
    floats = np.array([[[0.5, np.nan, np.inf], [-1, 1, 2]]], np.float32)
    path, remarks = written(tmp_path, Image(floats, SRGB), quality=100, compression="zip", layers={"a": floats[..., 0]})
    np.testing.assert_array_equal(formats.read(path).pixels[0], [[128, 0, 255], [0, 255, 255]])
    assert [line.partition(";")[0] for line in remarks] == [
        "WebP has one compression",
        "WebP has no layers",
        "1 NaN value written as 0",
    ]


def test_what_it_can_not_hold(tmp_path):
    grey = np.full((2, 2, 3), 100, np.uint8)
    with pytest.raises(MismatchError, match="linear light"):
        written(tmp_path, Image(grey.astype(np.float32), Transfer.LINEAR))
    for transfer in (Transfer.PQ, Transfer.HLG):
        with pytest.raises(MismatchError, match=f"WebP can't hold {transfer.name}"):
            written(tmp_path, Image(grey, transfer, Primaries.BT2020))
    for quality in (0, 101):
        with pytest.raises(UsageError, match=r"1\.\.100"):
            written(tmp_path, Image(grey, SRGB), quality=quality)
    for shape in ((1, 16383, 3), (16383, 1, 3)):
        with pytest.raises(UnwritableOutput, match="16382"):
            written(tmp_path, Image(np.zeros(shape, np.uint8), SRGB))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quality", [90, 100])
def test_the_largest_side_is_written(tmp_path, quality):
    path, _ = written(tmp_path, Image(np.zeros((1, 16382, 3), np.uint8), SRGB), quality=quality)
    assert formats.read(path).width == 16382
