"""JPEG: markers, orientation, profiles, CMYK, damaged files, and that opening costs no more than decoding."""

import io
import re
import struct
import subprocess
import sys
import tracemalloc

import cv2
import imagecodecs
import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from display_samples import XMP, XMP_SEGMENT, cmyk_picture, cmyk_profile, inks, jpeg_samples, segment, with_segments
from format_samples import grey_profile, odd_profile, oriented, tiff_with_orientation
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageCms

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, converted, decode, encode
from hdrcli.errors import HdrcliError, MismatchError, UnreadableInput, UnsupportedInput, UnwritableOutput, UsageError
from hdrcli.formats import WriteOptions, _icc, jpeg
from hdrcli.image import Image, Metadata

SRGB = Transfer.SRGB


def smooth(shape=(40, 56)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.stack([x * 4 % 256, y * 5 % 256, (x + y) * 2 % 256], -1).astype(np.uint8)


def jpeg_bytes(picture, **options):
    stream = io.BytesIO()
    (PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(stream, "JPEG", **options)
    return stream.getvalue()


def read_bytes(tmp_path, data):
    (tmp_path / "in.jpg").write_bytes(data)
    return formats.read(tmp_path / "in.jpg")


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 2}, {"keep_rgb": True}]
)
def test_codes_are_those_of_the_decoder(tmp_path, options):
    data = jpeg_bytes(smooth(), **options)
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, decoded(data))
    assert np.abs(image.pixels.astype(int) - np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))).max() <= 3
    assert (image.transfer, image.primaries, image.metadata.notes) == (SRGB, Primaries.BT709, ())


def test_grey(tmp_path):
    data = jpeg_bytes(PIL.Image.fromarray(smooth()[..., 0]))
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, np.stack([np.asarray(PIL.Image.open(io.BytesIO(data)))] * 3, -1))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (7, 9)])
def test_round_trip_and_witness(tmp_path, shape):
    pixels = np.full((*shape, 3), (200, 100, 50), np.uint8)
    path = tmp_path / "größe 絵.jpg"
    assert jpeg.write(Image(pixels, SRGB), path, WriteOptions()) == ()
    back = jpeg.read(path)
    assert np.abs(back.pixels.astype(int) - pixels).max() <= 2
    seen = OpenImageIO.ImageBuf(str(path)).get_pixels(OpenImageIO.UINT8)
    assert np.abs(seen.astype(int) - pixels).max() <= 2


def test_quality_and_subsampling(tmp_path):
    sizes = {}
    for quality in (1, 75, 89, 90, 100):
        jpeg.write(Image(smooth(), SRGB), tmp_path / "a.jpg", WriteOptions(quality=quality))
        sizes[quality] = (tmp_path / "a.jpg").stat().st_size
        picture = PIL.Image.open(tmp_path / "a.jpg")
        assert (picture.layer[0][1:3] == (1, 1)) == (quality >= 90)
        picture.close()
    assert sorted(sizes.values()) == list(sizes.values())
    with pytest.raises(UsageError):
        jpeg.write(Image(smooth(), SRGB), tmp_path / "a.jpg", WriteOptions(quality=0))


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation(tmp_path, value):
    data = jpeg_bytes(
        oriented(smooth(), value), quality=100, subsampling=0, exif=b"Exif\0\0" + tiff_with_orientation(value, ">")
    )
    image = read_bytes(tmp_path, data)
    assert np.abs(image.pixels.astype(int) - smooth()).max() <= 3
    assert image.metadata.exif == tiff_with_orientation(1, ">")
    np.testing.assert_array_equal(image.pixels, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB))
    jpeg.write(image, tmp_path / "b.jpg", WriteOptions(quality=100))
    again = jpeg.read(tmp_path / "b.jpg")
    assert again.metadata.exif == image.metadata.exif
    assert np.abs(again.pixels.astype(int) - smooth()).max() <= 6


@pytest.mark.parametrize(
    ("transfer", "primaries"),
    [
        (SRGB, Primaries.DISPLAY_P3),
        (Transfer.GAMMA22, Primaries.ADOBE_RGB),
        (Transfer.GAMMA18, Primaries.PROPHOTO),
        (Transfer.LINEAR, Primaries.BT709),
    ],
)
def test_known_profiles_leave_the_codes_alone(tmp_path, transfer, primaries):
    profile = _icc.build(transfer, primaries)
    data = jpeg_bytes(smooth(), icc_profile=profile)
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, decoded(data))
    assert (image.transfer, image.primaries, image.metadata.icc) == (transfer, primaries, profile)
    if transfer is not Transfer.LINEAR:
        jpeg.write(Image(smooth(), transfer, primaries), tmp_path / "b.jpg", WriteOptions())
        again = jpeg.read(tmp_path / "b.jpg")
        assert (again.transfer, again.primaries) == (transfer, primaries)


def test_large_profile_in_several_segments(tmp_path):
    profile = _icc.build(SRGB, Primaries.DISPLAY_P3)
    profile += bytes(150_000)  # trailing bytes belong to no tag
    jpeg.write(Image(smooth(), SRGB, Primaries.DISPLAY_P3, metadata=Metadata(icc=profile)), tmp_path / "a.jpg", WriteOptions())
    data = (tmp_path / "a.jpg").read_bytes()
    assert data.count(b"ICC_PROFILE\0") == 3
    image = jpeg.read(tmp_path / "a.jpg")
    assert image.metadata.icc == profile
    assert image.primaries is Primaries.DISPLAY_P3
    with PIL.Image.open(tmp_path / "a.jpg") as picture:
        assert picture.info["icc_profile"] == profile
    start = data.index(b"ICC_PROFILE\0\2") - 4
    size = struct.unpack_from(">H", data, start + 2)[0]
    broken = read_bytes(tmp_path, data[:start] + data[start + 2 + size :])
    assert "damaged" in broken.metadata.notes[0]
    assert broken.primaries is Primaries.BT709


def test_other_profile_is_converted_with_a_note(tmp_path):
    data = jpeg_bytes(smooth(), icc_profile=odd_profile())
    image = read_bytes(tmp_path, data)
    assert "converted" in image.metadata.notes[0]
    assert np.abs(image.pixels.astype(int) - decoded(data)).max() > 5


def test_grey_with_profiles(tmp_path):
    grey = PIL.Image.fromarray(smooth()[..., 0])
    gamma3 = grey_profile(b"curv" + bytes(4) + struct.pack(">IH", 1, 3 * 256))
    data = jpeg_bytes(grey, icc_profile=gamma3)
    image = read_bytes(tmp_path, data)
    np.testing.assert_allclose(image.pixels, 65535 * encode((decoded(data) / 255) ** 3, SRGB), atol=2)
    np.testing.assert_array_equal(image.stored, decoded(data))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read_bytes(tmp_path, jpeg_bytes(grey, icc_profile=srgb)).metadata.notes == ()


def test_cmyk(tmp_path):
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[:8, :, 0] = 255  # cyan above, white below
    inks[:, 8:, 3] = 255  # black on the right
    picture = PIL.Image.frombytes("CMYK", (16, 16), inks.tobytes())
    image = read_bytes(tmp_path, jpeg_bytes(picture, quality=100, icc_profile=cmyk_profile()))
    assert "CMYK" in image.metadata.notes[0]
    assert "inks" in image.metadata.notes[0]
    light = converted(decode(image.pixels / np.iinfo(image.pixels.dtype).max, image.transfer), image.primaries, Primaries.BT709)
    assert light[15, 0].min() > 0.9
    assert light[0, 15].max() < 0.01
    assert light[0, 0, 0] < 0.02 < 0.7 < light[0, 0, 1:].min()
    with pytest.raises(UnsupportedInput, match="CMYK without"):
        read_bytes(tmp_path, jpeg_bytes(picture))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with pytest.raises(UnsupportedInput, match=r"CMYK.* for RGB"):
        read_bytes(tmp_path, jpeg_bytes(picture, icc_profile=srgb))
    with pytest.raises(UnsupportedInput, match=r"CMYK.* damaged"):
        read_bytes(tmp_path, jpeg_bytes(picture, icc_profile=b"nonsense"))


@pytest.mark.parametrize("kind", ["CMYK", "YCCK", "CMYK without Adobe's marker"])
def test_inks_are_those_of_the_witness(tmp_path, monkeypatch, kind):
    """Pillow is the witness; the profile is left out by a stand-in that hands the amounts of ink over."""
    given = []

    def from_cmyk(pixels, icc):
        given.append(pixels.copy())
        return _icc.Meaning(np.ascontiguousarray(pixels[..., :3]), SRGB, Primaries.ADOBE_RGB, notes=("converted",))

    monkeypatch.setattr(_icc, "from_cmyk", from_cmyk)
    amounts = inks((64, 96))
    if kind == "YCCK":
        light = 255 - amounts
        data = imagecodecs.jpeg8_encode(light, level=95, colorspace="CMYK", outcolorspace="YCCK", subsampling="444")
    else:
        data = jpeg_bytes(cmyk_picture(amounts), quality=95, subsampling=0)
    adobe = data.index(b"\xff\xee")
    assert data[adobe + 15] == (2 if kind == "YCCK" else 0)
    if "without" in kind:
        data = data[:adobe] + data[adobe + 16 :]
    image = read_bytes(tmp_path, with_segments(data, segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(200))))
    np.testing.assert_array_equal(given[0], np.asarray(PIL.Image.open(io.BytesIO(data))))
    assert np.abs(given[0].astype(int) - amounts).max() <= (10 if kind == "YCCK" else 4)
    assert (image.transfer, image.primaries) == (SRGB, Primaries.ADOBE_RGB)
    assert image.metadata.notes == ("converted",)


def test_damaged_cmyk(tmp_path):
    data = jpeg_bytes(cmyk_picture(np.tile(inks(), (4, 4, 1))), quality=98, icc_profile=cmyk_profile())
    scan = data.index(b"\xff\xda")
    for bad in (data[: (scan + len(data)) // 2] + b"\xff\xd9", data[:-2]):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, bad)


def test_xmp(tmp_path):
    image = read_bytes(tmp_path, jpeg_samples()["xmp"])
    assert image.metadata.xmp == XMP
    assert image.metadata.panorama
    both = with_segments(jpeg_bytes(smooth()), segment(0xE1, b"Exif\0\0" + tiff_with_orientation(1)), XMP_SEGMENT)
    assert read_bytes(tmp_path, both).metadata.exif == tiff_with_orientation(1)
    assert read_bytes(tmp_path, both).metadata.xmp == XMP


def test_all_samples_are_read(tmp_path, capfd):
    for data in jpeg_samples().values():
        read_bytes(tmp_path, data)
    assert capfd.readouterr() == ("", "")


def patched(data, *changes):
    data = bytearray(data)
    for place, value in changes:
        data[place] = value
    return bytes(data)


def test_what_libjpeg_warns_of_in_vain_hides_no_damage(tmp_path):
    """It utters the first warning only: a harmless one must not stand in front of one that has cost pixels."""
    plain = jpeg_bytes(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), quality=90)
    scan = plain.index(b"\xff\xda")
    spectrum = scan + 2 + int.from_bytes(plain[scan + 2 : scan + 4], "big") - 3
    adobe = with_segments(plain, segment(0xEE, b"Adobe\0\x64\0\0\0\0\7"))
    for odd in (patched(plain, (spectrum + 1, 0)), patched(plain, (plain.index(b"JFIF") + 5, 2)), adobe):
        image = read_bytes(tmp_path, odd)
        np.testing.assert_array_equal(image.pixels, decoded(plain))
        assert image.metadata.notes == ()
        with pytest.raises(UnreadableInput, match="premature end"):
            read_bytes(tmp_path, odd[: (scan + len(odd)) // 2] + b"\xff\xd9")


def test_blocks_that_went_wrong_between_restarts(tmp_path):
    data = jpeg_bytes(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), restart_marker_blocks=2)
    restart = data.index(b"\xff\xd3")
    with pytest.raises(UnreadableInput, match="extraneous"):
        read_bytes(tmp_path, data[:restart] + bytes(40) + data[restart:])


def test_a_colour_without_a_scan(tmp_path):
    data = jpeg_bytes(smooth(), subsampling=0, progressive=True)
    starts = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    first = starts[0]  # all three components' DC: leave one
    size = int.from_bytes(data[first + 2 : first + 4], "big")
    assert data[first + 4] == 3
    only = segment(0xDA, b"\1" + data[first + 5 : first + 7] + data[first + 2 + size - 3 : first + 2 + size])
    with pytest.raises(UnreadableInput, match="colours are missing"):
        read_bytes(tmp_path, data[:first] + only + data[first + 2 + size :])


def test_trailers_and_second_pictures_are_ignored(tmp_path):
    data = jpeg_bytes(smooth())
    other = jpeg_bytes(255 - smooth(), exif=b"Exif\0\0" + tiff_with_orientation(6))
    for trailer in (b"trailer", bytes(100), other):
        image = read_bytes(tmp_path, data + trailer)
        np.testing.assert_array_equal(image.pixels, decoded(data))
        assert image.metadata.exif is None


def test_markers_in_unusual_places(tmp_path):
    data = jpeg_bytes(smooth())
    filled = with_segments(
        data, b"\xff\xff\xff", segment(0xFE, b"a comment with \xff\xd9 and \xff\xda"), segment(0xE2, b"MPF\0")
    )
    np.testing.assert_array_equal(read_bytes(tmp_path, filled).pixels, decoded(data))


def test_truncated_and_corrupt_files(tmp_path, capfd):
    data = jpeg_bytes(np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8), quality=90)
    scan = data.index(b"\xff\xda")
    half = len(data) // 2
    frame = data.index(b"\xff\xc0")
    cases = [data[:n] for n in (3, 20, frame + 5, scan + 3, scan + 14, half, len(data) - 2, len(data) - 1)]
    cases += [
        data[:half] + b"\xff\xd9",
        data[:2] + b"\xff\xd9",
        data[: scan + 14] + b"\xff\xd9",
        data[: frame + 2] + b"\0\2" + data[frame + 4 :],
    ]
    for bad in cases:
        with pytest.raises(UnreadableInput) as raised:
            read_bytes(tmp_path, bad)
        assert "in.jpg" in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_truncated_progressive(tmp_path):
    data = jpeg_bytes(smooth(), progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    with pytest.raises(UnreadableInput):
        read_bytes(tmp_path, data[:last_scan])


def test_extraneous_bytes_are_noted_without_noise(tmp_path, capfd):
    data = jpeg_bytes(smooth())
    image = read_bytes(tmp_path, data[:-2] + b"abcdef" + data[-2:])
    np.testing.assert_array_equal(image.pixels, decoded(data))
    assert "extraneous" in image.metadata.notes[0]
    assert capfd.readouterr() == ("", "")


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_spoiled_files_raise_nothing_else(tmp_path_factory, position, garbage):
    data = jpeg_bytes(
        smooth((16, 16)), icc_profile=_icc.build(SRGB, Primaries.DISPLAY_P3), exif=b"Exif\0\0" + tiff_with_orientation(6)
    )
    position = 2 + position % (len(data) - 2)
    path = tmp_path_factory.getbasetemp() / "spoiled.jpg"
    path.write_bytes(data[:position] + garbage + data[position + len(garbage) :])
    try:
        jpeg.read(path)
    except HdrcliError as error:
        assert error.where == str(path)  # noqa: PT017


@pytest.mark.parametrize(
    ("marker", "bits", "parts", "word"), [(0xC3, 8, 3, "lossless"), (0xC1, 12, 3, "12 bits"), (0xC0, 8, 2, "2 comp")]
)
def test_other_processes_are_refused_by_name(tmp_path, marker, bits, parts, word):
    frame = segment(marker, struct.pack(">BHHB", bits, 8, 8, parts) + b"\1\x11\0" * parts)
    with pytest.raises(UnsupportedInput, match=word):
        read_bytes(tmp_path, b"\xff\xd8" + frame + b"\xff\xd9")


def test_size_beyond_the_limit(tmp_path):
    data = jpeg_bytes(smooth())
    frame = data.index(b"\xff\xc0")
    huge = data[: frame + 5] + struct.pack(">HH", 65_500, 65_500) + data[frame + 9 :]
    with pytest.raises(UnsupportedInput, match="too large"):
        read_bytes(tmp_path, huge)


@pytest.mark.parametrize("progressive", [False, True])
def test_promises_that_the_bytes_can_not_hold(tmp_path, progressive):
    data = jpeg_bytes(smooth(), progressive=progressive)
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    huge = data[: frame + 5] + struct.pack(">HH", 20_000, 19_999) + data[frame + 9 :]
    tracemalloc.start()
    with pytest.raises(UnreadableInput, match="so short a file"):
        read_bytes(tmp_path, huge)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


@pytest.mark.parametrize("options", [{}, {"progressive": True, "optimize": True}, {"subsampling": 2, "optimize": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_emptiest_pictures_keep_their_promise(tmp_path, mode, options):
    data = jpeg_bytes(PIL.Image.new(mode, (4000, 1000), "white"), quality=1, **options)
    assert read_bytes(tmp_path, data).pixels.min() == 255


def test_very_many_scans(tmp_path):
    data = jpeg_bytes(smooth(), progressive=True)
    last = data.rindex(b"\xff\xda")
    many = data[:last] + data[last:-2] * 600 + data[-2:]
    with pytest.raises(UnsupportedInput, match="scans"):
        read_bytes(tmp_path, many)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_memory_is_that_of_the_codes(tmp_path, name):
    """In a process of its own; 24 megapixels are 69 MiB of codes. OpenCV alone would take them twice."""
    assert cv2.imwrite(str(tmp_path / name), cv2.resize(smooth((60, 40)), (4000, 6000)), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    source = (
        "import resource, sys; from hdrcli import formats;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "formats.read(sys.argv[1]); before = peak(); formats.read(sys.argv[2]); print(peak() - before)"
    )
    (tmp_path / "small").mkdir()
    assert cv2.imwrite(str(tmp_path / "small" / name), smooth())  # loads what reading needs
    command = [sys.executable, "-c", source, tmp_path / "small" / name, tmp_path / name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    codes, file = 4000 * 6000 * 3 / 1024, (tmp_path / name).stat().st_size / 1024
    assert int(done.stdout) < 1.1 * codes + 1.1 * file + 10_000


def test_what_can_not_be_written(tmp_path):
    path = tmp_path / "a.jpg"
    with pytest.raises(MismatchError):
        jpeg.write(Image(np.zeros((2, 2, 3), np.float32), Transfer.LINEAR), path, WriteOptions())
    with pytest.raises(MismatchError):
        jpeg.write(Image(smooth(), Transfer.PQ, Primaries.BT2020), path, WriteOptions())
    with pytest.raises(UnwritableOutput, match="65535"):
        jpeg.write(Image(np.zeros((1, 65536, 3), np.uint8), SRGB), path, WriteOptions())


def test_remarks(tmp_path):
    alpha = np.ones((40, 56), np.float32)
    image = Image(smooth(), SRGB, metadata=Metadata(alpha=alpha, exif=bytes(70_000)))
    options = WriteOptions(depth="16", compression="zip", layers={"confidence": alpha})
    remarks = " | ".join(jpeg.write(image, tmp_path / "a.jpg", options))
    for word in ("16", "zip", "confidence", "alpha", "EXIF"):
        assert word in remarks
    assert jpeg.write(Image(smooth(), SRGB), tmp_path / "a.jpg", WriteOptions(depth="8")) == ()


def test_floats_are_code_units(tmp_path):
    pixels = np.full((16, 16, 3), 0.5, np.float32)
    pixels[0, 0, 0] = np.nan
    assert jpeg.write(Image(pixels, SRGB), tmp_path / "a.jpg", WriteOptions()) == ("1 NaN value written as 0",)
    assert abs(int(jpeg.read(tmp_path / "a.jpg").pixels[-1, -1, 0]) - 128) <= 1


def test_mislabelled_and_empty(tmp_path):
    (tmp_path / "a.png").write_bytes(jpeg_bytes(smooth()))
    assert formats.read(tmp_path / "a.png").metadata.notes == ("is named .png but holds jpeg; read as jpeg",)
    with pytest.raises(UnreadableInput, match="empty"):
        read_bytes(tmp_path, b"")


def test_pillow_is_not_imported_for_usual_files(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg_bytes(smooth(), icc_profile=_icc.build(SRGB, Primaries.DISPLAY_P3)))
    source = "import sys; from hdrcli import formats; formats.read(sys.argv[1]); print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source, tmp_path / "a.jpg"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_adobe_rgb_marked_by_exif_alone(tmp_path):
    """Cameras write Adobe RGB without a profile: ColorSpace "uncalibrated" and InteroperabilityIndex R03 (DCF 2.0)."""
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    path = tmp_path / "adobe.jpg"
    PIL.Image.new("RGB", (16, 16), (200, 60, 40)).save(path, exif=exif)
    image = formats.read(path)
    assert (image.transfer, image.primaries) == (Transfer.GAMMA22, Primaries.ADOBE_RGB)
    exif.get_ifd(0x8769)[0xA005] = {1: "R98"}
    PIL.Image.new("RGB", (16, 16), (200, 60, 40)).save(path, exif=exif)
    assert formats.read(path).primaries is Primaries.BT709
