"""TIFF: kinds of files, two other readers' opinions, what is written, metadata, odd and damaged files."""

import io
import struct
import tracemalloc

import imagecodecs
import numpy as np
import OpenImageIO
import PIL.Image
import PIL.ImageCms
import pytest
import tiff_samples
import tifffile
from format_samples import ink_profile, odd_profile, oriented
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiff_samples import built, codes, floats, made, plain

from hdrcli import formats, parallel
from hdrcli.color import Chromaticities, Primaries, Transfer, conversion_matrix, decode
from hdrcli.errors import MismatchError, UnreadableInput, UnsupportedInput, UsageError
from hdrcli.formats import WriteOptions, _exif, _icc, _tiff_pixels, tiff
from hdrcli.image import Image, Metadata

SAMPLES = tiff_samples.samples()
SHAPES = [(1, 1), (1, 5000), (5000, 1), (7, 9)]
REFUSED = ("CMYK without a profile", "L*a*b*", "signed", "LERC", "JPEG XL")
KINDS = {"uint8": "UINT8", "uint16": "UINT16", "float16": "HALF", "float32": "FLOAT"}


def read(tmp_path, data):
    (tmp_path / "in.tif").write_bytes(data)
    return formats.read(tmp_path / "in.tif")


def seen_by_openimageio(path, dtype):
    """``(H, W, C)`` as stored: alpha not multiplied in, nothing turned."""
    config = OpenImageIO.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)
    file = OpenImageIO.ImageInput.open(str(path), config)
    assert file, OpenImageIO.geterror()
    pixels = file.read_image(0, 0, 0, file.spec().nchannels, getattr(OpenImageIO, KINDS[np.dtype(dtype).name]))
    file.close()
    return pixels


def tags_of(path):
    """The tags of the first directory, as tifffile reads them."""
    with tifffile.TiffFile(path) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


def linear(pixels, **kwargs):
    return Image(np.asarray(pixels), Transfer.LINEAR, **kwargs)


# --- kinds of files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd", "lzma"])
def test_containers(tmp_path, dtype, compression):
    """Every mix of byte order, classic and Big, strips and tiles, channels together and apart, predictor or not."""
    kind = np.dtype(dtype).kind
    image = codes(dtype, 4) if kind == "u" else floats(dtype, 4)
    predictors = [None] if compression in (None, "packbits") else [None, 2 if kind == "u" else 3]
    for i, predictor in enumerate(predictors * 8):
        order, big, tile, planar = "<>"[i & 1], i & 2, (16, 32) if i & 4 else None, "separate" if i & 8 else "contig"
        options = {"compression": compression, "predictor": predictor, "byteorder": order, "bigtiff": bool(big), "tile": tile}
        options |= {"rowsperstrip": None if tile else 7, "planarconfig": planar, "extrasamples": ["unassalpha"]}
        back = read(tmp_path, made(np.moveaxis(image, -1, 0) if planar == "separate" else image, **options))
        expected = image.astype(np.float32) if dtype == np.float64 else image
        assert back.pixels.dtype == expected.dtype
        np.testing.assert_array_equal(back.pixels, expected[..., :3], err_msg=str(options))
        assert (back.transfer, back.primaries) == (Transfer.SRGB if kind == "u" else Transfer.LINEAR, Primaries.BT709)
        if kind == "u":
            np.testing.assert_allclose(back.metadata.alpha, image[..., 3] / np.iinfo(dtype).max, rtol=1e-7)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in REFUSED])
def test_samples_read_alike_on_one_thread_and_on_three(tmp_path, monkeypatch, name):
    monkeypatch.setattr(_tiff_pixels, "BATCH", 100)
    images = []
    for threads in (1, 3):
        monkeypatch.setattr(parallel, "threads", lambda count=threads: count)
        images.append(read(tmp_path, SAMPLES[name]))
    np.testing.assert_array_equal(images[0].pixels, images[1].pixels)


@pytest.mark.parametrize(
    "name", [n for n in SAMPLES if n.startswith(("8 bit", "16 bit", "planes", "JPEG", "WebP", "fax", "1 bit"))]
)
def test_openimageio_reads_the_same(tmp_path, name):
    if name == "JPEG XL":
        return
    image = read(tmp_path, SAMPLES[name])
    other = seen_by_openimageio(tmp_path / "in.tif", image.pixels.dtype)
    np.testing.assert_array_equal(image.pixels, other[..., :3] if other.shape[2] > 1 else np.repeat(other, 3, axis=2))


@pytest.mark.parametrize("attributes", [{"compression": "none"}, {"compression": "zip"}, {"compression": "lzw", "tile": 16}])
@pytest.mark.parametrize("image", [codes(), codes(np.uint16), floats()], ids=["8", "16", "float"])
def test_what_openimageio_writes(tmp_path, image, attributes):
    np.testing.assert_array_equal(read(tmp_path, tiff_samples.by_openimageio(image, **attributes)).pixels, image)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (codes(np.uint16), {"byteorder": ">", "predictor": 2, "compression": "lzw"}),
        (floats(), {"byteorder": ">", "predictor": 3, "compression": "deflate"}),
        (floats(np.float16), {"byteorder": ">", "predictor": 3, "compression": "deflate"}),
        (codes(height=50, width=70), {"compression": "jpeg", "tile": (32, 32)}),
        (codes(height=50, width=70), {"compression": "jpeg", "subsampling": (2, 2), "rowsperstrip": 16}),
        (codes(height=50, width=70), {"compression": "webp", "tile": (32, 32)}),
        (np.moveaxis(codes(), -1, 0), {"compression": "jpeg", "planarconfig": "separate"}),
        (codes(channels=1)[..., 0], {"compression": "jpeg", "photometric": "minisblack"}),
    ],
)
def test_what_tifffile_writes_reads_as_libtiff_reads_it(tmp_path, image, options):
    pixels = read(tmp_path, made(image, **options)).pixels
    other = seen_by_openimageio(tmp_path / "in.tif", pixels.dtype)
    np.testing.assert_array_equal(pixels, np.broadcast_to(other, pixels.shape))


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("samples", [1, 3])
def test_odd_depths_fill_the_next_larger_one(tmp_path, bits, samples):
    values, data = tiff_samples.packed_bits(bits, samples=samples)
    largest = 255 if bits <= 8 else 65535
    expected = np.rint(values * (largest / (2**bits - 1)))
    np.testing.assert_array_equal(read(tmp_path, data).pixels, np.broadcast_to(expected, (5, 7, 3)))


def test_32_bit_integers_become_16_bit_with_a_note(tmp_path):
    values = np.array([[0, 32768, 32769, 65537, 2**31, 2**32 - 1]], np.uint32)
    image = read(tmp_path, made(values, "minisblack"))
    np.testing.assert_array_equal(image.pixels[0, :, 1], [0, 0, 1, 1, 32768, 65535])
    assert image.metadata.notes == ("has 32-bit integers; read as 16 bit",)


def test_24_bit_floats(tmp_path):
    values = np.array([0.5, -2, 1 + 2**-15, 65536, 0, 1], np.float32)
    data = imagecodecs.float24_encode(values, byteorder="<")
    image = read(tmp_path, built(plain(1, 2, 3, 24, 3), [bytes(data)]))
    np.testing.assert_array_equal(image.pixels.reshape(-1), values)


def test_floats_beyond_the_type_are_named(tmp_path):
    image = read(tmp_path, made(np.array([[[1e300, -1e300, np.nan]]], np.float64)))
    np.testing.assert_array_equal(image.pixels, np.array([[[tiff._FLOAT_MAX, -tiff._FLOAT_MAX, 0]]], np.float32))
    assert len(image.metadata.notes) == 2


def test_white_is_zero_is_turned_round(tmp_path):
    grey = codes(channels=1)[..., 0]
    np.testing.assert_array_equal(read(tmp_path, made(grey, "miniswhite")).pixels[..., 2], 255 - grey)
    values, data = tiff_samples.packed_bits(1, photometric=0)
    np.testing.assert_array_equal(read(tmp_path, data).pixels[..., :1], 255 * (1 - values))


def test_palettes(tmp_path):
    picture = PIL.Image.fromarray(codes()).convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=99)
    image = read(tmp_path, tiff_samples.by_pillow(picture))
    np.testing.assert_array_equal(image.pixels, np.asarray(picture.convert("RGB")))
    palette = tiff_samples.palette_of(16)
    for scale, dtype, shift in ((1, np.uint16, 0), (257, np.uint8, 8), (256, np.uint8, 8)):
        entries = palette if scale == 1 else (palette >> 8) * scale
        tag = (3, entries.reshape(-1).tolist())
        values, data = tiff_samples.packed_bits(4, photometric=3, t320=tag)
        image = read(tmp_path, data)
        assert image.pixels.dtype == dtype
        np.testing.assert_array_equal(image.pixels, (entries.T >> shift)[values[..., 0]])


def test_rgb_inside_jpeg_is_not_taken_for_ycbcr(tmp_path):
    image = codes(height=32, width=32)
    stream = imagecodecs.jpeg_encode(image, level=98, colorspace="rgb", outcolorspace="rgb")
    tags = plain(32, 32, t259=(3, [7]))
    assert np.abs(read(tmp_path, built(tags, [stream])).pixels.astype(int) - image).max() <= 12


def test_last_strip_may_be_filled_up(tmp_path):
    image = codes(height=10)
    strips = [np.concatenate([image, image])[i : i + 6].tobytes() for i in (0, 6)]
    for compression, encode in ((1, bytes), (8, imagecodecs.zlib_encode), (32773, imagecodecs.packbits_encode)):
        data = built(plain(10, 24, t278=(4, [6]), t259=(3, [compression])), [bytes(encode(s)) for s in strips])
        np.testing.assert_array_equal(read(tmp_path, data).pixels, image)


def test_strip_sizes_may_be_missing_where_nothing_is_packed(tmp_path):
    image = codes(height=4, width=6)
    data = bytearray(built(plain(), [image.tobytes()]))
    place = data.rindex(struct.pack("<HH", 279, 4))
    data[place : place + 2] = struct.pack("<H", 280)
    np.testing.assert_array_equal(read(tmp_path, bytes(data)).pixels, image)


def test_first_full_size_picture_is_read(tmp_path):
    small, first, second = codes(height=4, width=4), codes(seed=1), codes(seed=2)
    image = read(tmp_path, tiff_samples.pages((small, 1), (first, 0), (second, 0)))
    np.testing.assert_array_equal(image.pixels, first)
    assert image.metadata.notes == ("has 2 pictures; the first full-size one is read",)
    assert read(tmp_path, tiff_samples.pages((first, 0), (small, 1))).metadata.notes == ()
    with pytest.raises(UnsupportedInput, match="only previews"):
        read(tmp_path, tiff_samples.pages((small, 1)))


def test_what_comes_after_the_picture_may_be_damaged(tmp_path):
    data = tiff_samples.pages((codes(), 0), (codes(), 0))
    (second,) = struct.unpack_from("<I", data, struct.unpack_from("<I", data, 4)[0] + 2 + 12 * data[8])
    assert read(tmp_path, data[:8] + data[8:second]).pixels.shape == (20, 24, 3)


# --- alpha ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", [False, True])
def test_associated_alpha_is_divided_out(tmp_path, dtype, planar):
    largest = np.iinfo(dtype).max
    straight = codes(dtype)
    alpha = np.random.default_rng(3).integers(1, largest, straight.shape[:2], dtype, endpoint=True)
    alpha[:5], alpha[5:8] = largest, 0
    stored = np.rint(straight * (alpha[..., None] / largest)).astype(dtype)
    stored[5:8] = straight[5:8]  # light without cover
    data = np.concatenate([stored, alpha[..., None]], axis=2)
    options = {"planarconfig": "separate"} if planar else {}
    image = read(tmp_path, made(np.moveaxis(data, -1, 0) if planar else data, extrasamples=["assocalpha"], **options))
    np.testing.assert_allclose(image.metadata.alpha, alpha / largest, rtol=1e-6)
    np.testing.assert_array_equal(image.pixels[:8], straight[:8])  # opaque pixels to the bit, uncovered ones as they are
    error = np.abs(image.pixels[8:].astype(float) - straight[8:])
    assert (error <= 0.5 * largest / alpha[8:, :, None] + 0.5).all()
    assert "its colours were divided by alpha" in image.metadata.notes


def test_associated_alpha_of_floats(tmp_path):
    straight, alpha = floats(), np.linspace(0, 1, 480, dtype=np.float32).reshape(20, 24, 1)
    image = read(tmp_path, made(np.concatenate([straight * alpha, alpha], axis=2), extrasamples=["assocalpha"]))
    np.testing.assert_allclose(image.pixels[1:], straight[1:], rtol=1e-6)
    np.testing.assert_array_equal(image.metadata.alpha, alpha[..., 0])


def test_opaque_alpha_and_other_channels(tmp_path):
    opaque = np.concatenate([codes(), np.full((20, 24, 1), 255, np.uint8)], axis=2)
    for kind in ("assocalpha", "unassalpha"):
        image = read(tmp_path, made(opaque, extrasamples=[kind]))
        assert (image.metadata.alpha, image.metadata.notes) == (None, ())
    more = np.concatenate([codes(channels=4), codes(channels=1, seed=5)], axis=2)
    image = read(tmp_path, made(more, extrasamples=["unspecified", "unassalpha"]))
    np.testing.assert_array_equal(image.metadata.alpha, (more[..., 4] / 255).astype(np.float32))
    assert image.metadata.notes[0] == "1 further channel left out"


# --- metadata -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_exif_profile_and_orientation(tmp_path, order, big):
    image = read(tmp_path, tiff_samples.described(order, big))
    np.testing.assert_array_equal(image.pixels, np.rot90(codes(height=4, width=6), -1))
    assert (image.primaries, image.transfer) == (Primaries.DISPLAY_P3, Transfer.SRGB)
    assert image.metadata.xmp == b"<x:xmpmeta/>"
    exif = PIL.Image.Exif()
    exif.load(b"Exif\0\0" + image.metadata.exif)
    assert (exif[271], exif[272], exif[270], exif.get(274)) == ("Canon", "EOS 5D", "A view", None)
    assert exif.get_ifd(0x8769) == {0x829A: 1 / 250, 0x8827: 400, 0x9003: "2026:11:20 12:00:00"}  # no maker note
    assert exif.get_ifd(0x8825) == {1: "N", 2: (48, 51, 29.96)}
    shot = _exif.shot(image.metadata.exif)
    assert (shot.make, shot.exposure_time, shot.iso, shot.artist) == ("Canon", 1 / 250, 400, "Zoë")
    assert shot.latitude == pytest.approx(48 + 51 / 60 + 29.96 / 3600)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientation(tmp_path, value):
    upright = codes(np.uint16)
    image = read(tmp_path, made(oriented(upright, value), extratags=[(274, 3, 1, value, True)]))
    np.testing.assert_array_equal(image.pixels, upright)


def test_grey_with_a_profile_stays_grey(tmp_path):
    image = read(tmp_path, made(codes(np.uint16)[..., 0], "minisblack", iccprofile=odd_profile()))
    assert (image.pixels[..., :1] == image.pixels).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profiles_of_no_name_are_converted(tmp_path, dtype):
    image = read(tmp_path, made(codes(dtype), iccprofile=odd_profile()))
    np.testing.assert_array_equal(image.codes, codes(dtype))
    assert image.metadata.notes or image.stored is not None


def test_damaged_profile_is_a_note(tmp_path):
    image = read(tmp_path, made(codes(), iccprofile=b"no profile"))
    assert (image.transfer, image.metadata.notes) == (Transfer.SRGB, ("its ICC profile is damaged; taken as sRGB",))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk_goes_through_its_profile(tmp_path, dtype):
    inks, profile = codes(dtype, 4), ink_profile()
    inks[0] = 0  # paper
    image = read(tmp_path, made(inks, "separated", iccprofile=profile, compression="lzw"))
    expected = _icc.from_cmyk(inks, profile)
    np.testing.assert_array_equal(image.pixels, expected.pixels)
    assert (image.transfer, image.primaries, image.metadata.icc) == (expected.transfer, expected.primaries, None)
    assert (image.pixels[0] == np.iinfo(image.pixels.dtype).max).all()
    assert set(expected.notes) <= set(image.metadata.notes)


def test_cmyk_under_a_profile_for_rgb_is_refused(tmp_path):
    with pytest.raises(UnsupportedInput):
        read(tmp_path, made(codes(channels=4), "separated", iccprofile=odd_profile()))


def test_floats_under_a_profile(tmp_path):
    profile = _icc.build(Transfer.LINEAR, Primaries.BT2020)
    image = read(tmp_path, made(floats(), iccprofile=profile))
    assert (image.is_hdr, image.primaries) == (True, Primaries.BT2020)
    np.testing.assert_array_equal(image.pixels, floats())


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("turn", [1, 6])
def test_encoded_floats_become_light(tmp_path, turn, dtype):
    """Some programs write sRGB as floats; all else of hdrcli knows floats as linear light only."""
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    values = floats(dtype)
    tags = [(274, 3, 1, turn, True)]
    image = read(tmp_path, made(oriented(values, turn), iccprofile=profile, extratags=tags))
    assert (image.is_hdr, image.primaries, image.pixels.dtype) == (True, Primaries.BT709, np.float32)
    assert image.metadata.notes == ("decoded from sRGB to linear light",)
    np.testing.assert_allclose(image.pixels, decode(values.astype(np.float64), Transfer.SRGB), rtol=1e-6)
    assert values.max() > 1
    assert values.min() < 0  # both survive
    tiff.write(image, tmp_path / "b.tif", WriteOptions())
    again = tiff.read(tmp_path / "b.tif")  # not under the old profile
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert (again.is_hdr, again.metadata.notes) == (True, ())


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"rowsperstrip": 16}, 13),  # bytes a pixel: colours 6, alpha as stored 2 and as float32 4, and some strips
        ({"rowsperstrip": 16, "compression": "lzw", "predictor": 2}, 13),
        ({"rowsperstrip": 2048, "compression": "deflate", "predictor": 2}, 17),  # the one strip 8, colours 6, alpha 2
        ({"rowsperstrip": 2048, "compression": "lzw", "byteorder": ">"}, 20),  # and the strip as coded
        ({"extratags": [(274, 3, 1, 6, True)]}, 21),  # turned: two of each but for alpha as stored
    ],
)
def test_reading_alpha_needs_little_more_than_the_picture(tmp_path, options, limit):
    side = 2048
    picture = np.tile(codes(np.uint16, 4, height=64, width=64), (32, 32, 1))
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", extrasamples=["unassalpha"], **options)
    tracemalloc.start()
    try:
        image = tiff.read(tmp_path / "a.tif")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image.metadata.alpha is not None
    assert peak / side**2 < limit


def test_chromaticities_without_a_profile(tmp_path):
    def tags(primaries):
        numbers = [round(v * 10000) for v in primaries.value.numbers]
        rationals = [n for v in numbers for n in (v, 10000)]
        return [(319, 5, 6, rationals[:12], True), (318, 5, 2, rationals[12:], True)]

    assert read(tmp_path, made(floats(), extratags=tags(Primaries.BT2020))).primaries is Primaries.BT2020
    image = read(tmp_path, made(codes(), extratags=tags(Primaries.BT2020)))
    assert (image.primaries, len(image.metadata.notes)) == (Primaries.BT709, 1)
    assert read(tmp_path, made(codes(), extratags=tags(Primaries.BT709))).metadata.notes == ()


# --- damaged and refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_named(tmp_path, name):
    with pytest.raises(UnsupportedInput, match=r"CMYK without|CIE L|signed numbers of 16|LERC|JPEG XL"):
        read(tmp_path, SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
def test_cut_files_are_damaged(tmp_path, name, capfd):
    data = SAMPLES[name]
    for share in (0.1, 0.5, 0.9):
        try:
            image = read(tmp_path, data[: int(share * len(data))])
        except (UnreadableInput, UnsupportedInput):
            continue
        np.testing.assert_array_equal(image.pixels, read(tmp_path, data).pixels)  # what was cut off was no part of the picture
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("tag", [273, 279, 324, 325])
def test_missing_strips_and_tiles_are_not_taken_for_black(tmp_path, tag):
    data = bytearray(made(codes(), rowsperstrip=6) if tag < 300 else made(codes(), tile=(16, 16), compression=8))
    file = tifffile.TiffFile(io.BytesIO(bytes(data)))
    entry = file.pages[0].tags[tag]
    size = struct.calcsize(entry.dataformat)
    data[entry.valueoffset + size : entry.valueoffset + 2 * size] = bytes(size)
    with pytest.raises(UnreadableInput, match="missing"):
        read(tmp_path, bytes(data))


@pytest.mark.parametrize(
    ("tags", "error", "words"),
    [
        ({256: (4, [30_000]), 257: (4, [20_000])}, UnsupportedInput, "too large"),
        ({256: (4, [1 << 20]), 259: (3, [8])}, UnreadableInput, "can't stand in"),
        ({256: (4, [0])}, UnreadableInput, "size is zero"),
        ({277: (3, [60_000])}, UnreadableInput, "samples"),
        ({258: (3, [8, 8, 16])}, UnsupportedInput, "different types"),
        ({258: (3, [64] * 3)}, UnsupportedInput, "64 bit"),
        ({278: (4, [0])}, UnreadableInput, "no rows"),
        ({317: (3, [7]), 259: (3, [8])}, UnreadableInput, "predictor"),
        ({262: (3, [32803])}, UnsupportedInput, "colour filter"),
        ({262: (3, [6]), 259: (3, [5])}, UnsupportedInput, "YCbCr"),
        ({259: (3, [6]), 262: (3, [6])}, UnsupportedInput, "old-style JPEG"),
        ({259: (3, [12345])}, UnsupportedInput, "number 12345"),
        ({262: (3, [3])}, UnreadableInput, "palette"),
        ({50706: (1, b"\1\4\0\0")}, UnsupportedInput, "DNG"),
        ({32997: (4, [5])}, UnsupportedInput, "volume"),
        ({322: (4, [1 << 20]), 323: (4, [1 << 20]), 324: (4, [8]), 325: (4, [9]), 259: (3, [8])}, UnreadableInput, "tiles of"),
        ({339: (3, [6] * 3)}, UnsupportedInput, "unknown kind"),
        ({259: (3, [7]), 258: (3, [16] * 3)}, UnreadableInput, "compression does not go"),
        ({259: (3, [5])}, UnreadableInput, "can't be decoded"),
    ],
)
def test_senseless_tags(tmp_path, tags, error, words):
    with pytest.raises(error, match=words):
        read(tmp_path, built(plain() | tags, [codes(height=4, width=6).tobytes()]))


def test_jpeg_that_promises_more_than_the_tags_is_not_decoded(tmp_path):
    stream = bytearray(imagecodecs.jpeg_encode(codes(height=32, width=32)))
    place = stream.index(b"\xff\xc0") + 5
    stream[place : place + 4] = struct.pack(">HH", 65000, 65000)
    with pytest.raises(UnreadableInput, match="another size"):
        read(tmp_path, built(plain(32, 32, photometric=6, t259=(3, [7])), [bytes(stream)]))


@pytest.mark.parametrize("encode", [imagecodecs.jpeg_encode, imagecodecs.webp_encode])
def test_a_tile_that_is_too_short_is_not_filled_up(tmp_path, encode):
    compression = 7 if encode is imagecodecs.jpeg_encode else 50001
    tags = plain(20, 16, photometric=6 if compression == 7 else 2, t259=(3, [compression]), t322=(4, [16]), t323=(4, [16]))
    tiles = [encode(codes(height=16, width=16)), encode(codes(height=4, width=16))]  # at the border rows may be missing
    assert read(tmp_path, built(tags, tiles, tiled=True)).pixels.shape == (20, 16, 3)
    with pytest.raises(UnreadableInput, match="cut short"):
        read(tmp_path, built(tags, tiles[::-1], tiled=True))


def test_directories_in_a_circle_end(tmp_path):
    data = bytearray(built(plain(), [codes(height=4, width=6).tobytes()]))
    (start,) = struct.unpack_from("<I", data, 4)
    struct.pack_into("<I", data, start + 2 + 12 * data[start], start)
    assert read(tmp_path, bytes(data)).pixels.shape == (4, 6, 3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_spoiled_files_are_images_or_named(tmp_path, name, place, patch):
    data = bytearray(SAMPLES[name])
    place %= len(data)
    data[place : place + len(patch)] = patch
    try:
        image = tiff.read(_written(tmp_path, bytes(data)))
    except (UnreadableInput, UnsupportedInput):
        return
    assert image.pixels.dtype.kind == "u" or np.isfinite(image.pixels).all()


def _written(tmp_path, data):
    (tmp_path / "in.tif").write_bytes(data)
    return tmp_path / "in.tif"


# --- writing --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("compression", ["none", "zip"])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "half", "float"])
def test_round_trip_and_witnesses(tmp_path, shape, compression, kind):
    depth = {"uint8": "8", "uint16": "16"}.get(kind, kind)
    dtype = {"half": np.float16, "float": np.float32}.get(kind, kind)
    pixels = (codes if kind.startswith("u") else floats)(dtype, height=shape[0], width=shape[1])
    image = Image(pixels, Transfer.SRGB if kind.startswith("u") else Transfer.LINEAR)
    path = tmp_path / "größe 絵.tif"
    assert tiff.write(image, path, WriteOptions(depth=depth, compression=compression)) == ()
    back = tiff.read(path)
    assert (back.pixels.dtype, back.transfer, back.primaries, back.metadata.notes) == (
        dtype,
        image.transfer,
        Primaries.BT709,
        (),
    )
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(seen_by_openimageio(path, dtype), pixels)
    np.testing.assert_array_equal(tifffile.imread(path), pixels)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_any_float_survives(tmp_path, pixels):
    tiff.write(linear(pixels), tmp_path / "a.tif", WriteOptions())
    np.testing.assert_array_equal(tiff.read(tmp_path / "a.tif").pixels, pixels)


def test_many_strips_on_many_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "BATCH", 4 * 24 * 12 * 3)
    files = []
    for threads in (1, 3):
        monkeypatch.setattr(parallel, "threads", lambda count=threads: count)
        tiff.write(linear(floats(height=100)), tmp_path / "a.tif", WriteOptions())
        files.append((tmp_path / "a.tif").read_bytes())
    assert files[0] == files[1]
    assert len(tifffile.TiffFile(io.BytesIO(files[0])).pages[0].dataoffsets) == 34
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(files[0])), floats(height=100))


def test_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_CLASSIC_LIMIT", 100)
    exif = tiff.read(_written(tmp_path, tiff_samples.described())).metadata.exif
    tiff.write(linear(floats(), metadata=Metadata(exif=exif)), tmp_path / "a.tif", WriteOptions(header={"a": "b" * 99}))
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    np.testing.assert_array_equal(seen_by_openimageio(tmp_path / "a.tif", np.float32), floats())
    back = tiff.read(tmp_path / "a.tif")
    assert _exif.shot(back.metadata.exif).latitude == _exif.shot(exif).latitude
    assert back.metadata.header == {"a": "b" * 99, "description": "A view"}


@pytest.mark.parametrize("primaries", list(Primaries))
def test_colour_space_goes_along(tmp_path, primaries):
    path = tmp_path / "a.tif"
    for image in (linear(floats(), primaries=primaries), Image(codes(np.uint16), Transfer.GAMMA22, primaries)):
        tiff.write(image, path, WriteOptions())
        back = tiff.read(path)
        assert (back.transfer, back.primaries, back.is_hdr) == (image.transfer, primaries, image.is_hdr)
    tiff.write(linear(floats(), primaries=primaries), path, WriteOptions())
    spec = OpenImageIO.ImageInput.open(str(path)).spec()
    assert bytes(spec.getattribute("ICCProfile")) == _icc.build(Transfer.LINEAR, primaries)
    tags = tags_of(path)
    if min(primaries.value.numbers) >= 0:
        numbers = np.array(tags[319] + tags[318]).reshape(-1, 2)
        np.testing.assert_allclose(numbers[:, 0] / numbers[:, 1], primaries.value.numbers, atol=1e-6)
    else:
        assert 319 not in tags


def test_primaries_of_no_name(tmp_path):
    primaries = Chromaticities((0.66, 0.31), (0.25, 0.66), (0.14, 0.07), (0.3127, 0.329))
    tiff.write(linear(floats(), primaries=primaries), tmp_path / "a.tif", WriteOptions())
    back = tiff.read(tmp_path / "a.tif")
    assert back.is_hdr
    wanted = conversion_matrix(primaries, Primaries.BT709)  # a profile is relative to D50: other numbers, same colours
    np.testing.assert_allclose(conversion_matrix(back.primaries, Primaries.BT709), wanted, atol=5e-4)


def test_srgb_has_a_profile_and_pq_has_none(tmp_path):
    tiff.write(Image(codes(), Transfer.SRGB), tmp_path / "a.tif", WriteOptions())
    assert tags_of(tmp_path / "a.tif")[34675] == _icc.build(Transfer.SRGB, Primaries.BT709)
    with pytest.raises(MismatchError, match="PQ"):
        tiff.write(Image(codes(np.uint16), Transfer.PQ, Primaries.BT2020), tmp_path / "a.tif", WriteOptions())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_alpha_is_unassociated(tmp_path, dtype):
    pixels = floats() if dtype == np.float32 else codes(dtype)
    alpha = (np.arange(480, dtype=np.float32) % 256 / 255).reshape(20, 24)
    transfer = Transfer.LINEAR if dtype == np.float32 else Transfer.SRGB
    tiff.write(Image(pixels, transfer, metadata=Metadata(alpha=alpha)), tmp_path / "a.tif", WriteOptions())
    assert tags_of(tmp_path / "a.tif")[338] == (2,)
    seen = seen_by_openimageio(tmp_path / "a.tif", dtype)
    np.testing.assert_array_equal(seen[..., :3], pixels)
    back = tiff.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_allclose(back.metadata.alpha, alpha, atol=1e-7)


def test_texts_exif_and_white(tmp_path):
    exif = tiff.read(_written(tmp_path, tiff_samples.described(">"))).metadata.exif
    metadata = Metadata(exif=exif, header={"owner": "Zoë", "software": "old"})
    options = WriteOptions(header={"software": "hdrcli 1.0", "hdrcli:model": "a\nb"})
    image = linear(floats(), white_luminance=203.0, metadata=metadata)
    assert tiff.write(image, tmp_path / "a.tif", options) == ()
    back = tiff.read(tmp_path / "a.tif")
    texts = {"owner": "Zoë", "software": "hdrcli 1.0", "hdrcli:model": "a\nb", "description": "A view"}
    assert back.metadata.header == texts
    assert back.white_luminance == 203.0
    wanted, got = _exif.shot(exif), _exif.shot(back.metadata.exif)
    assert (got.make, got.iso, got.latitude, got.captured) == (wanted.make, 400, wanted.latitude, wanted.captured)
    spec = OpenImageIO.ImageInput.open(str(tmp_path / "a.tif")).spec()
    assert (spec.getattribute("Software"), spec.getattribute("Make")) == ("hdrcli 1.0", "Canon")
    assert spec.getattribute("ExposureTime") == pytest.approx(1 / 250)
    tiff.write(Image(codes(), Transfer.SRGB, metadata=metadata), tmp_path / "b.tif", options)
    with PIL.Image.open(tmp_path / "b.tif") as picture:
        assert picture.getexif().get_ifd(0x8769)[0x8827] == 400


def test_description_of_the_photo_stays_where_there_are_no_texts(tmp_path):
    exif = tiff.read(_written(tmp_path, tiff_samples.described())).metadata.exif
    tiff.write(Image(codes(), Transfer.SRGB, metadata=Metadata(exif=exif)), tmp_path / "a.tif", WriteOptions())
    assert _exif.shot(tiff.read(tmp_path / "a.tif").metadata.exif).description == "A view"
    assert tiff.read(tmp_path / "a.tif").metadata.exif == exif


def test_damaged_exif_is_left_out_with_a_remark(tmp_path):
    image = linear(floats(), metadata=Metadata(exif=b"II*\0\x08\0\0\0\xff\xff"))
    assert tiff.write(image, tmp_path / "a.tif", WriteOptions()) == ("its EXIF is damaged; left out",)
    assert tiff.read(tmp_path / "a.tif").metadata.exif is None


def test_odd_values(tmp_path):
    pixels = np.array([[[np.nan, np.inf, -np.inf], [-1, 1e6, 2]]], np.float32)
    remarks = tiff.write(linear(pixels), tmp_path / "a.tif", WriteOptions())
    largest = np.finfo(np.float32).max
    np.testing.assert_array_equal(tiff.read(tmp_path / "a.tif").pixels, np.float32([[[0, largest, -largest], [-1, 1e6, 2]]]))
    assert len(remarks) == 2
    remarks = tiff.write(linear(pixels), tmp_path / "a.tif", WriteOptions(depth="half"))
    np.testing.assert_array_equal(tiff.read(tmp_path / "a.tif").pixels, np.float16([[[0, 65504, -65504], [-1, 65504, 2]]]))
    assert remarks[2] == "1 value beyond 65504 written as 65504; --depth float keeps them"


def test_codes_from_floats_and_of_linear_light(tmp_path):
    shown = np.array([[[0, 0.5, 1.2], [np.nan, 0.25, 1]]], np.float32)
    assert tiff.write(Image(shown, Transfer.SRGB), tmp_path / "a.tif", WriteOptions()) == ("1 NaN value written as 0",)
    np.testing.assert_array_equal(tiff.read(tmp_path / "a.tif").pixels, [[[0, 128, 255], [0, 64, 255]]])
    tiff.write(linear(codes(np.uint16)), tmp_path / "a.tif", WriteOptions())
    back = tiff.read(tmp_path / "a.tif")
    assert (back.pixels.dtype, back.transfer, back.is_hdr) == (np.uint16, Transfer.LINEAR, False)
    np.testing.assert_array_equal(back.pixels, codes(np.uint16))


def test_options_that_make_no_sense(tmp_path):
    with pytest.raises(UsageError, match="piz"):
        tiff.write(linear(floats()), tmp_path / "a.tif", WriteOptions(compression="piz"))
    layers = {"confidence": np.zeros((20, 24), np.float32)}
    remarks = tiff.write(linear(floats()), tmp_path / "a.tif", WriteOptions(depth="8", layers=layers))
    assert remarks == (
        "TIFF has no depth 8 for linear light; float is written",
        "layers are for EXR only; confidence left out",
    )


def test_same_bytes_twice(tmp_path):
    files = []
    for name in ("a.tif", "b.tif"):
        tiff.write(linear(floats()), tmp_path / name, WriteOptions(header={"x": "y"}))
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
