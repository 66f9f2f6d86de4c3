"""BMP: every depth and header against closed forms, colour, damaged files; Pillow and OpenImageIO where they are right."""

import io
import struct
import tracemalloc

import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from display_samples import (
    RLE4_INDICES,
    RLE4_STREAM,
    RLE8_INDICES,
    RLE8_STREAM,
    bmp_file,
    bmp_palette,
    bmp_rows,
    bmp_samples,
    bmp_v4_extra,
    bmp_with_profile,
    noise,
    packed_pixels,
    saved,
    smooth,
)
from format_samples import grey_profile, odd_profile
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, decode, rgb_to_xyz
from hdrcli.errors import HdrcliError, UnreadableInput, UnsupportedInput
from hdrcli.formats import _icc, bmp

SRGB = (Transfer.SRGB, Primaries.BT709)
COLOURS = noise((1, 256))[0]


def read_bytes(tmp_path, data):
    (tmp_path / "in.bmp").write_bytes(data)
    return formats.read(tmp_path / "in.bmp")


def test_it_is_only_read():
    assert not hasattr(bmp, "write")
    assert ".bmp" not in formats.written()
    assert not bmp.matches(b"BM is how this text starts, and not a bitmap".ljust(64))


@pytest.mark.parametrize("width", range(1, 10))
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palettes(tmp_path, bits, width):
    indices = noise((3, width), channels=1, largest=2**bits - 1)[..., 0]
    table = COLOURS[: 2**bits]
    image = read_bytes(tmp_path, bmp_file(bmp_rows(indices, bits), bits, width, 3, palette=bmp_palette(table)))
    np.testing.assert_array_equal(image.pixels, table[indices])
    assert image.pixels.dtype == np.uint8
    assert ((image.transfer, image.primaries), image.metadata.notes, image.metadata.alpha) == (SRGB, (), None)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("header", [12, 16, 40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("width", [1, 2, 3, 5])
def test_24_bits_below_every_header(tmp_path, width, header, top_down):
    rgb = noise((4, width))
    top_down = top_down and header != 12  # which has heights without a sign
    rows = bmp_rows(rgb[..., ::-1], 24, top_down)
    extra = bmp_v4_extra(0x73524742) if header >= 108 else b""
    image = read_bytes(tmp_path, bmp_file(rows, 24, width, -4 if top_down else 4, header=header, extra=extra))
    np.testing.assert_array_equal(image.pixels, rgb)


def test_rows_in_many_strips(tmp_path, monkeypatch):
    monkeypatch.setattr(bmp, "_STRIP", 40)
    rgb = noise((23, 13))
    indices = noise((23, 13), channels=1)[..., 0]
    for top_down in (False, True):
        height = -23 if top_down else 23
        rows = bmp_rows(rgb[..., ::-1], 24, top_down)
        np.testing.assert_array_equal(read_bytes(tmp_path, bmp_file(rows, 24, 13, height)).pixels, rgb)
        # the last row of the file may lack its padding
        np.testing.assert_array_equal(read_bytes(tmp_path, bmp_file(rows[:-1], 24, 13, height)).pixels, rgb)
        data = bmp_file(bmp_rows(indices, 8, top_down), 8, 13, height, palette=bmp_palette(COLOURS))
        np.testing.assert_array_equal(read_bytes(tmp_path, data).pixels, COLOURS[indices])


MASKS = {
    "555": (16, (0x7C00, 0x3E0, 0x1F)),
    "565": (16, (0xF800, 0x7E0, 0x1F)),
    "444 turned": (16, (0xF, 0xF0, 0xF00)),
    "1555": (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    "4444": (16, (0xF00, 0xF0, 0xF, 0xF000)),
    "BGRA": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "ABGR": (32, (0xFF000000, 0xFF0000, 0xFF00, 0xFF)),
    "RGBX": (32, (0xFF, 0xFF00, 0xFF0000)),
    "10 bits": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
    "16 and 8 bits": (32, (0xFFFF0000, 0xFF00, 0xFF)),
    "1 bit": (16, (0x4, 0x2, 0x1)),
}


@pytest.mark.parametrize("name", MASKS)
def test_fields_are_stretched_to_the_whole_range(tmp_path, name):
    bits, masks = MASKS[name]
    largest = [(m >> ((m & -m).bit_length() - 1)) for m in masks] + [1] * (4 - len(masks))
    fields = np.stack([noise(dtype=np.uint32, channels=1, seed=i, largest=n)[..., 0] for i, n in enumerate(largest)], -1)
    fields[0, 0], fields[0, 1] = largest, 0
    rows = bmp_rows(packed_pixels(fields, masks), bits)
    codes = 65535 if max(largest) > 255 else 255
    expected = np.floor(fields * codes / np.array(largest, float) + 0.5)
    headers = (56, 108, 124) if len(masks) == 4 else (40, 52, 56, 108)
    for header in headers:
        extra = bmp_v4_extra(0x73524742) if header >= 108 else b""
        image = read_bytes(tmp_path, bmp_file(rows, bits, 13, 11, header=header, compression=3, masks=masks, extra=extra))
        assert image.pixels.dtype == (np.uint16 if codes == 65535 else np.uint8)
        np.testing.assert_array_equal(image.pixels, expected[..., :3])
        if len(masks) == 4:
            np.testing.assert_allclose(image.metadata.alpha, expected[..., 3] / codes, atol=1e-6)
        else:
            assert image.metadata.alpha is None


def test_fields_without_masks(tmp_path):
    values = noise(dtype=np.uint16, channels=1)[..., 0]
    image = read_bytes(tmp_path, bmp_file(bmp_rows(values, 16), 16, 13, 11))
    five = np.stack([values >> 10 & 31, values >> 5 & 31, values & 31], -1)
    np.testing.assert_array_equal(image.pixels, np.floor(five * 255 / 31 + 0.5))
    rgba = noise(channels=4)
    rows = bmp_rows(packed_pixels(rgba, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), 32)
    image = read_bytes(tmp_path, bmp_file(rows, 32, 13, 11))
    np.testing.assert_array_equal(image.pixels, rgba[..., :3])
    assert image.metadata.alpha is None  # the fourth byte is filling without a mask for it


def test_alpha_that_nobody_wrote(tmp_path):
    rgba = noise(channels=4)
    masks = MASKS["BGRA"][1]
    for value, notes in ((255, 0), (0, 1)):
        rgba[..., 3] = value
        rows = bmp_rows(packed_pixels(rgba, masks), 32)
        image = read_bytes(tmp_path, bmp_file(rows, 32, 13, 11, header=56, compression=3, masks=masks))
        np.testing.assert_array_equal(image.pixels, rgba[..., :3])
        assert image.metadata.alpha is None
        assert len(image.metadata.notes) == notes


def test_run_lengths(tmp_path):
    eight = bmp_file(RLE8_STREAM, 8, 7, 4, compression=1, palette=bmp_palette(COLOURS))
    np.testing.assert_array_equal(read_bytes(tmp_path, eight).pixels, COLOURS[RLE8_INDICES])
    four = bmp_file(RLE4_STREAM, 4, 7, 3, compression=2, palette=bmp_palette(COLOURS[:16]))
    np.testing.assert_array_equal(read_bytes(tmp_path, four).pixels, COLOURS[RLE4_INDICES])
    # an end of the row before the end of the picture, runs past the end of a row, and no end at all where all rows are there
    for stream, bits, width, height, expected in (
        (RLE8_STREAM[:-2] + b"\0\0\0\1", 8, 7, 4, RLE8_INDICES),
        (b"\x09\5\0\0\3\1\0\1", 8, 4, 2, [[1, 1, 1, 0], [5, 5, 5, 5]]),
        (b"\4\5\0\0\4\1", 8, 4, 2, [[1] * 4, [5] * 4]),
        (b"\0\1", 8, 4, 2, [[0] * 4] * 2),
        (b"\5\x12\0\0\0\5\x34\x56\x70\0\0\1", 4, 5, 2, [[3, 4, 5, 6, 7], [1, 2, 1, 2, 1]]),
    ):
        data = bmp_file(
            stream, bits, width, height, compression=1 if bits == 8 else 2, palette=bmp_palette(COLOURS[: 1 << bits])
        )
        np.testing.assert_array_equal(read_bytes(tmp_path, data).pixels, COLOURS[np.array(expected)])


@given(st.lists(st.tuples(st.integers(1, 255), st.integers(0, 15)), min_size=1, max_size=40), st.sampled_from([4, 8]))
@settings(max_examples=30, deadline=None)
def test_any_runs(tmp_path_factory, runs, bits):
    """Each run a row of its own, as wide as the longest."""
    width = max(count for count, _ in runs)
    stream = b"".join(bytes((count, value * (17 if bits == 4 else 1), 0, 0)) for count, value in runs) + b"\0\1"
    expected = np.zeros((len(runs), width), int)
    for row, (count, value) in zip(expected[::-1], runs, strict=True):
        row[:count] = value
    path = tmp_path_factory.getbasetemp() / "runs.bmp"
    table = bmp_palette(COLOURS[: 1 << bits])
    path.write_bytes(bmp_file(stream, bits, width, len(runs), compression=1 if bits == 8 else 2, palette=table))
    np.testing.assert_array_equal(bmp.read(path).pixels, COLOURS[expected])


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 255)), min_size=1, max_size=60), min_size=1, max_size=6),
    st.sampled_from([4, 8]),
)
@settings(max_examples=30, deadline=None)
def test_many_runs_a_row(tmp_path_factory, rows, bits):
    """Long stretches of runs are decoded another way; rows are cut at the width, which is that of the first one."""
    width = sum(count for count, _ in rows[0])
    stream = b"".join(bytes(number for run in row for number in run) + b"\0\0" for row in rows) + b"\0\1"
    expected = np.zeros((len(rows), width), int)
    for out, row in zip(expected[::-1], rows, strict=True):
        halves = [(v >> 4, v & 15) if bits == 4 else (v, v) for _, v in row]
        indices = [half[i % 2] for (count, _), half in zip(row, halves, strict=True) for i in range(count)][:width]
        out[: len(indices)] = indices
    path = tmp_path_factory.getbasetemp() / "many.bmp"
    table = bmp_palette(COLOURS[: 1 << bits])
    path.write_bytes(bmp_file(stream, bits, width, len(rows), compression=1 if bits == 8 else 2, palette=table))
    np.testing.assert_array_equal(bmp.read(path).pixels, COLOURS[expected])


@pytest.mark.parametrize("end", [1, 2, 5, 7, 9, 12, 17, 19, 21])
def test_run_lengths_cut_short(tmp_path, end):
    with pytest.raises(UnreadableInput, match="ends early"):
        read_bytes(tmp_path, bmp_file(RLE8_STREAM[:end], 8, 7, 4, compression=1, palette=bmp_palette(COLOURS)))


def test_samples_are_those_of_the_witnesses(tmp_path, capfd):
    """Those that each reads: neither knows 2 bits, Pillow few masks; fields of five bits both round another way."""
    samples = bmp_samples()
    compared = 0
    for name, data in samples.items():
        image = read_bytes(tmp_path, data)
        tolerance = 1 if name in ("555", "565", "1555") else 0
        if name not in ("palette2", "os2-middle", "bitfields10", "rle4", "rle8"):
            seen = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
            np.testing.assert_allclose(image.pixels, seen, rtol=0, atol=tolerance, err_msg=name)
            compared += 1
        if name not in ("palette2", "bitfields10"):
            seen = OpenImageIO.ImageBuf(str(tmp_path / "in.bmp")).get_pixels(OpenImageIO.UINT8)
            np.testing.assert_allclose(image.pixels, seen[..., :3], rtol=0, atol=tolerance, err_msg=name)
            compared += 1
    assert compared == 2 * len(samples) - 7
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_files_of_pillow(tmp_path, mode):
    picture = PIL.Image.fromarray(smooth()).convert(mode)
    np.testing.assert_array_equal(read_bytes(tmp_path, saved(picture, "BMP")).pixels, np.asarray(picture.convert("RGB")))


def test_palettes_shorter_than_their_indices(tmp_path):
    indices = np.arange(8).reshape(2, 4)
    for colors, gap in ((5, 0), (0, 0)):  # said so, or cut by the start of the pixels
        data = bmp_file(bmp_rows(indices, 8), 8, 4, 2, palette=bmp_palette(COLOURS[:5]), colors=colors, gap=gap)
        expected = np.where(indices[..., None] < 5, COLOURS[indices], 0)
        np.testing.assert_array_equal(read_bytes(tmp_path, data).pixels, expected)


@pytest.mark.parametrize(
    ("transfer", "primaries"), [(Transfer.SRGB, Primaries.DISPLAY_P3), (Transfer.GAMMA22, Primaries.ADOBE_RGB)]
)
def test_embedded_profiles(tmp_path, transfer, primaries):
    profile = _icc.build(transfer, primaries)
    image = read_bytes(tmp_path, bmp_with_profile(noise(), profile))
    np.testing.assert_array_equal(image.pixels, noise())
    assert (image.transfer, image.primaries, image.metadata.icc) == (transfer, primaries, profile)
    cut = bmp_with_profile(noise(), profile)[:-9]
    image = read_bytes(tmp_path, cut)
    assert ((image.transfer, image.primaries), "damaged" in image.metadata.notes[0]) == (SRGB, True)


def test_profiles_for_other_pixels(tmp_path):
    image = read_bytes(tmp_path, bmp_with_profile(noise(), odd_profile()))
    np.testing.assert_array_equal(image.stored, noise())
    grey = grey_profile(b"curv" + bytes(4) + struct.pack(">IH", 1, 256))
    assert "for GRAY" in read_bytes(tmp_path, bmp_with_profile(noise(), grey)).metadata.notes[0]


def test_linked_profiles_are_noted(tmp_path):
    image = read_bytes(tmp_path, bmp_with_profile(noise(), b"profile.icc\0", kind=b"KNIL"))
    assert (image.transfer, image.primaries) == SRGB
    assert "another file" in image.metadata.notes[0]


def xyz(primaries):
    return rgb_to_xyz(primaries).T


@pytest.mark.parametrize(
    ("endpoints", "gamma", "transfer", "primaries"),
    [
        (None, 0.0, Transfer.SRGB, Primaries.BT709),
        (xyz(Primaries.BT709), 2.2, Transfer.SRGB, Primaries.BT709),
        (xyz(Primaries.BT709), 1 / 2.2, Transfer.SRGB, Primaries.BT709),
        ([(0.64, 0.33, 0.03), (0.3, 0.6, 0.1), (0.15, 0.06, 0.79)], 2.2, Transfer.SRGB, Primaries.BT709),
        (xyz(Primaries.ADOBE_RGB), 2.2, Transfer.GAMMA22, Primaries.ADOBE_RGB),
        (xyz(Primaries.BT2020), 1.0, Transfer.LINEAR, Primaries.BT2020),
        (xyz(Primaries.PROPHOTO), 1.8, Transfer.GAMMA18, Primaries.PROPHOTO),
    ],
)
def test_calibration(tmp_path, endpoints, gamma, transfer, primaries):
    rows = bmp_rows(noise()[..., ::-1], 24)
    data = bmp_file(rows, 24, 13, 11, header=108, extra=bmp_v4_extra(0, endpoints, gamma))
    image = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(image.pixels, noise())
    assert (image.transfer, image.primaries, image.metadata.notes) == (transfer, primaries, ())


@pytest.mark.parametrize("gamma", [2.6, 1 / 2.6, 1.45])
def test_calibration_by_another_gamma(tmp_path, gamma):
    rows = bmp_rows(noise()[..., ::-1], 24)
    extra = bmp_v4_extra(0, xyz(Primaries.DISPLAY_P3), gamma)
    image = read_bytes(tmp_path, bmp_file(rows, 24, 13, 11, header=108, extra=extra))
    np.testing.assert_array_equal(image.codes, noise())
    light = decode(image.pixels / 65535, image.transfer)
    np.testing.assert_allclose(light, (noise() / 255) ** max(gamma, 1 / gamma), atol=3e-5)
    assert (image.primaries, len(image.metadata.notes)) == (Primaries.DISPLAY_P3, 1)


def test_calibration_that_makes_no_sense(tmp_path):
    rows = bmp_rows(noise()[..., ::-1], 24)
    extra = bytearray(bmp_v4_extra(0, xyz(Primaries.BT709), 2.2))
    extra[-4:] = struct.pack("<I", 3 << 16)
    image = read_bytes(tmp_path, bmp_file(rows, 24, 13, 11, header=108, extra=bytes(extra)))
    assert "different gammas" in image.metadata.notes[0]
    same = bmp_v4_extra(0, [(0.3, 0.3, 0.3)] * 3, 2.2)
    image = read_bytes(tmp_path, bmp_file(rows, 24, 13, 11, header=108, extra=same))
    assert "make no sense" in image.metadata.notes[0]
    assert (image.transfer, image.primaries) == SRGB


@pytest.mark.parametrize("name", ["palette1", "palette8", "rgb", "rgba", "565", "os2", "rle4"])
def test_truncated_files_are_refused(tmp_path, name):
    data = bmp_samples()[name]
    cut = 3 if name == "rle4" else 4
    for end in (18, 20, 30, 53, 60, len(data) // 2, len(data) - cut):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, data[:end])


def patched(data, place, code, *values):
    data = bytearray(data)
    struct.pack_into(code, data, place, *values)
    return bytes(data)


def test_headers_that_make_no_sense(tmp_path):
    data = bmp_file(bmp_rows(noise()[..., ::-1], 24), 24, 13, 11)
    fields = bmp_samples()["565"]
    for bad in (
        patched(data, 10, "<I", 20),  # pixels start in the header
        patched(data, 10, "<I", 1 << 31),
        patched(data, 18, "<i", 0),
        patched(data, 18, "<i", -13),
        patched(data, 22, "<i", 0),
        patched(data, 22, "<i", 12),
        patched(data, 30, "<I", 1),  # run lengths for 24 bits
        patched(data, 30, "<I", 3),
        patched(fields, 54, "<I", 0xF0F0),  # a field with a hole
        patched(fields, 54, "<I", 0x7FF),  # fields on top of each other
        patched(fields, 54, "<I", 0x1F0000),  # and beyond the pixel
        bmp_file(b"", 8, 1, 1),  # no palette
    ):
        with pytest.raises(UnreadableInput):
            read_bytes(tmp_path, bad)


@pytest.mark.parametrize(
    ("bits", "compression", "header", "word"),
    [
        (0, 4, 40, "JPEG"),
        (0, 5, 40, "PNG"),
        (24, 4, 40, "JPEG"),
        (64, 0, 40, "64 bits"),
        (1, 3, 64, "OS/2"),
        (32, 11, 40, "11"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path, bits, compression, header, word):
    with pytest.raises(UnsupportedInput, match=word):
        read_bytes(tmp_path, bmp_file(bytes(100), bits, 2, 2, compression=compression, header=header))


@pytest.mark.parametrize(("bits", "compression"), [(1, 0), (8, 0), (24, 0), (32, 3), (8, 1), (4, 2)])
def test_promises_that_the_bytes_can_not_hold(tmp_path, bits, compression):
    masks = (0xFF0000, 0xFF00, 0xFF) if compression == 3 else ()
    palette = bmp_palette(COLOURS[: 1 << bits]) if bits <= 8 else b""
    tracemalloc.start()
    for height in (19_999, -19_999):
        data = bmp_file(bytes(100), bits, 20_000, height, compression=compression, masks=masks, palette=palette)
        with pytest.raises(UnreadableInput, match=r"so short a file|ends early"):
            read_bytes(tmp_path, data)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    with pytest.raises(UnsupportedInput, match="too large"):
        read_bytes(tmp_path, bmp_file(bytes(100), bits, 40_000, 40_000, compression=compression, masks=masks, palette=palette))


@given(st.sampled_from(sorted(bmp_samples())), st.integers(0, 3000), st.binary(min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_spoiled_files_raise_nothing_else(tmp_path_factory, name, position, garbage):
    data = bmp_samples()[name]
    position %= min(len(data), 200)
    path = tmp_path_factory.getbasetemp() / "spoiled.bmp"
    path.write_bytes(data[:position] + garbage + data[position + len(garbage) :])
    try:
        bmp.read(path)
    except HdrcliError as error:
        assert error.where == str(path)  # noqa: PT017
