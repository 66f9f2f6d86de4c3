"""Radiance: rounding, both run-length codings, orientations, header variables, odd values, damaged files."""

from dataclasses import replace

import cv2
import numpy as np
import OpenImageIO
import pytest
import radiance_samples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hdrcli import formats
from hdrcli.color import Chromaticities, Primaries, Transfer, rgb_to_xyz
from hdrcli.errors import MismatchError, UnreadableInput, UnsupportedInput
from hdrcli.formats import WriteOptions, radiance
from hdrcli.formats._exif import Shot, from_shot
from hdrcli.formats._exif import shot as shot_of_exif
from hdrcli.image import Image, Metadata

SHAPES = [(1, 1), (1, 5000), (5000, 1), (7, 9), (2, 40000), (3, 7), (3, 8)]


def linear(pixels, **kwargs):
    return Image(np.asarray(pixels), Transfer.LINEAR, **kwargs)


def wide_range(shape, seed=0):
    return np.exp(np.random.default_rng(seed).normal(0, 8, (*shape, 3))).astype(np.float32)


def read_bytes(tmp_path, data):
    (tmp_path / "in.hdr").write_bytes(data)
    return formats.read(tmp_path / "in.hdr")


def flat_file(rgbe, *lines, size=None):
    """An uncompressed file of (H, W, 4) uint8."""
    size = size or f"-Y {rgbe.shape[0]} +X {rgbe.shape[1]}"
    header = "\n".join(["#?RADIANCE", "FORMAT=32-bit_rle_rgbe", *lines, "", size, ""])
    return header.encode() + rgbe.tobytes()


def some_rgbe(shape, seed=0):
    rng = np.random.default_rng(seed)
    rgbe = rng.integers(0, 256, (*shape, 4), np.uint8)
    rgbe[..., 0] |= 128  # normalised
    rgbe[..., 3] = rng.integers(120, 140, shape)
    return rgbe


def decoded(rgbe):
    return np.ldexp(rgbe[..., :3].astype(np.float32), rgbe[..., 3:].astype(np.int32) - 136)


@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_and_witnesses(tmp_path, shape):
    pixels = wide_range(shape)
    path = tmp_path / "größe 絵.hdr"
    assert radiance.write(linear(pixels), path, WriteOptions()) == ()
    back = radiance.read(path).pixels
    error = np.abs(back - pixels).max(axis=2) / pixels.max(axis=2)
    assert error.max() <= 0.004
    np.testing.assert_array_equal(OpenImageIO.ImageBuf(str(path)).get_pixels(OpenImageIO.FLOAT), back)
    np.testing.assert_array_equal(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1], back)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 12), st.just(3)),
        elements=st.floats(0, float(np.float32(1.6e38)), width=32, allow_subnormal=False),
    )
)
@example(np.full((1, 1, 3), radiance.LARGEST, np.float32))
@example(np.full((1, 1, 3), np.nextafter(np.float32(1), np.float32(0)), np.float32))  # rounds up into the next exponent
@example(np.full((1, 9, 3), 255.5 / 256, np.float32))
@example(np.array([[[1e-32, 0, 1.1e-32]]], np.float32))
def test_each_pixel_is_the_nearest_and_stays_so(tmp_path, pixels):
    path = tmp_path / "a.hdr"
    radiance.write(linear(pixels), path, WriteOptions())
    back = radiance.read(path).pixels
    largest = pixels.max(axis=2, keepdims=True).astype(np.float64)
    kept = largest >= 1.01e-32
    error = np.abs(back.astype(np.float64) - pixels)
    assert (error <= np.where(kept, largest / 255, 1.1e-32)).all()
    radiance.write(linear(back), path, WriteOptions())
    np.testing.assert_array_equal(radiance.read(path).pixels, back)


def test_header_round_trip(tmp_path):
    header = {"software": "hdrcli 1.0\nEXPOSURE=3", "exposure": "2.5", "odd name=": "ü"}
    image = linear(wide_range((3, 9)), primaries=Primaries.BT2020, white_luminance=203.0, metadata=Metadata(header=header))
    radiance.write(image, tmp_path / "a.hdr", WriteOptions(header={"Software": "hdrcli 2.0"}))
    text = (tmp_path / "a.hdr").read_bytes().split(b"\n\n")[0].decode()
    assert text.splitlines()[-1] == "FORMAT=32-bit_rle_rgbe"
    assert "\nEXPOSURE" not in text
    back = radiance.read(tmp_path / "a.hdr")
    assert (back.primaries, back.white_luminance) == (Primaries.BT2020, 203.0)
    assert back.metadata.header == {"SOFTWARE": "hdrcli 2.0", "ODD_NAME_": "ü"}
    assert back.metadata.notes == ()


@pytest.mark.parametrize("primaries", list(Primaries))
def test_primaries_round_trip(tmp_path, primaries):
    radiance.write(linear(wide_range((2, 2)), primaries=primaries), tmp_path / "a.hdr", WriteOptions())
    assert radiance.read(tmp_path / "a.hdr").primaries is primaries


def test_odd_values_written(tmp_path):
    pixels = np.array([[[np.nan, np.inf, -np.inf], [-2, 1, 3e38]]], np.float32)
    remarks = radiance.write(linear(pixels), tmp_path / "a.hdr", WriteOptions())
    back = radiance.read(tmp_path / "a.hdr").pixels
    np.testing.assert_array_equal(back, np.array([[[0, radiance.LARGEST, 0], [0, 0, radiance.LARGEST]]], np.float32))
    assert [r.split(" ", 1)[0] for r in remarks] == ["1", "2", "1", "1"]


def test_odd_values_of_half(tmp_path):
    pixels = np.array([[[np.nan, np.inf, -1]]], np.float16)
    assert len(radiance.write(linear(pixels), tmp_path / "a.hdr", WriteOptions())) == 3


def test_what_the_format_can_not_hold_is_remarked(tmp_path):
    image = linear(wide_range((2, 2)), metadata=Metadata(alpha=np.ones((2, 2), np.float32)))
    options = WriteOptions(depth="half", compression="zip", layers={"confidence": np.ones((2, 2), np.float32)})
    remarks = " | ".join(radiance.write(image, tmp_path / "a.hdr", options))
    for word in ("half", "zip", "confidence", "alpha"):
        assert word in remarks


def test_display_encoded_is_a_mismatch(tmp_path):
    with pytest.raises(MismatchError):
        radiance.write(Image(np.zeros((2, 2, 3), np.uint8), Transfer.SRGB), tmp_path / "a.hdr", WriteOptions())


@pytest.mark.parametrize("shape", [(3, 5), (3, 20)])
def test_uncompressed(tmp_path, shape):
    rgbe = some_rgbe(shape)
    np.testing.assert_array_equal(read_bytes(tmp_path, flat_file(rgbe)).pixels, decoded(rgbe))


def test_black_is_black(tmp_path):
    rgbe = np.array([[[200, 100, 50, 0]]], np.uint8)
    assert (read_bytes(tmp_path, flat_file(rgbe)).pixels == 0).all()


def test_old_run_length(tmp_path):
    a, b = [200, 10, 20, 130], [140, 150, 160, 129]
    header = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 600\n"
    # 299 repeats are 43 + 1 * 256: the second count of a row stands in the next byte
    first = bytes([*a, 1, 1, 1, 43, 1, 1, 1, 1, *b, 1, 1, 1, 43, 1, 1, 1, 1])
    second = bytes([*b, *a, 1, 1, 1, 86, 1, 1, 1, 2])
    pixels = read_bytes(tmp_path, header + first + second).pixels
    expected = np.array([[a] * 300 + [b] * 300, [b] + [a] * 599], np.uint8)
    np.testing.assert_array_equal(pixels, decoded(expected))


def old_runs(rgbe, counts):
    """Pixels of one line, each repeated so many times in all; counts of more than 255 in several bytes."""
    out = b""
    for pixel, count in zip(rgbe, counts, strict=True):
        out += bytes(pixel)
        more = count - 1
        while more:
            out += bytes((1, 1, 1, more & 255))
            more >>= 8
    return out


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=8), st.integers(1, 9), st.data())
def test_any_old_runs(tmp_path_factory, counts, height, data):
    rgbe = some_rgbe((height, len(counts)))
    orders = [data.draw(st.permutations(counts)) for _ in range(height)]
    body = b"".join(old_runs(line, order) for line, order in zip(rgbe, orders, strict=True))
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {sum(counts)}\n".encode()
    pixels = read_bytes(tmp_path_factory.getbasetemp(), header + body).pixels
    expected = [np.repeat(line, order, axis=0) for line, order in zip(rgbe, orders, strict=True)]
    np.testing.assert_array_equal(pixels, decoded(np.array(expected, np.uint8)))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([[1, 1, 1, 5], [9, 9, 9, 130]], "makes no sense"),  # nothing to repeat
        ([[9, 9, 9, 130], [1, 1, 1, 4]], "makes no sense"),  # beyond the line
        ([[9, 9, 9, 130], [1, 1, 1, 3], [1, 1, 1, 1]], "makes no sense"),  # across its end
        ([[9, 9, 9, 130], *[[1, 1, 1, 0]] * 5, [1, 1, 1, 3]], "makes no sense"),  # a count of more than four bytes
        ([[9, 9, 9, 130], [1, 1, 1, 3], [9, 9, 9, 130]], "ends early"),
        ([[9, 9, 9, 130], *[[1, 1, 1, 0]] * 3], "ends early"),
    ],
)
def test_old_runs_that_make_no_sense(tmp_path, body, words):
    header = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 4\n"
    with pytest.raises(UnreadableInput, match=words):
        read_bytes(tmp_path, header + np.array(body, np.uint8).tobytes())


def test_own_decoder_agrees_with_opencv(tmp_path):
    path = tmp_path / "a.hdr"
    pixels = wide_range((6, 300))
    pixels[:, 100:290] = 0.5
    radiance.write(linear(pixels), path, WriteOptions())
    data = path.read_bytes()
    header = radiance._parse_header(data)
    own = radiance._to_float(radiance._decode_scanlines(memoryview(data)[header.end :], 6, 300))
    np.testing.assert_array_equal(own, radiance.read(path).pixels)


def test_scanlines_of_both_kinds(tmp_path):
    pixels = np.full((1, 20, 3), 0.5, np.float32)
    radiance.write(linear(pixels), tmp_path / "a.hdr", WriteOptions())
    run = (tmp_path / "a.hdr").read_bytes().rpartition(b"+X 20\n")[2]
    rgbe = some_rgbe((1, 20))
    header = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 3 +X 20\n"
    image = read_bytes(tmp_path, header + run + rgbe.tobytes() + run)
    np.testing.assert_array_equal(image.pixels, np.concatenate([pixels, decoded(rgbe), pixels]))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("y", "-+")
@pytest.mark.parametrize("x", "+-")
@pytest.mark.parametrize("by_columns", [False, True])
def test_orientations(tmp_path, compressed, y, x, by_columns):
    rgbe = some_rgbe((9, 12))
    stored = rgbe[::-1] if y == "+" else rgbe
    stored = stored[:, ::-1] if x == "-" else stored
    stored = stored.transpose(1, 0, 2) if by_columns else stored
    size = f"{x}X 12 {y}Y 9" if by_columns else f"{y}Y 9 {x}X 12"
    data = flat_file(np.ascontiguousarray(stored), size=size)
    if compressed:
        radiance.write(linear(decoded(np.ascontiguousarray(stored))), tmp_path / "a.hdr", WriteOptions())
        body = (tmp_path / "a.hdr").read_bytes().partition(b"\n\n")[2].partition(b"\n")[2]
        data = data[: data.index(size.encode())] + size.encode() + b"\n" + body
    np.testing.assert_array_equal(read_bytes(tmp_path, data).pixels, decoded(rgbe))


def test_exposure_colorcorr_and_other_variables(tmp_path):
    rgbe = some_rgbe((2, 3))
    lines = [
        "EXPOSURE=2",
        "# EXPOSURE=100",
        "EXPOSURE= 4",
        "COLORCORR=1 2 4",
        "SOFTWARE=pfilt",
        "PIXASPECT=2",
        "EXPOSURE=nonsense",
    ]
    image = read_bytes(tmp_path, flat_file(rgbe, *lines))
    np.testing.assert_allclose(image.pixels, decoded(rgbe) / np.array([8, 16, 32], np.float32), rtol=1e-6)
    assert image.metadata.header == {"SOFTWARE": "pfilt"}
    assert any("nonsense" in note for note in image.metadata.notes)
    assert any("aspect" in note for note in image.metadata.notes)


def test_xyze(tmp_path):
    rgbe = some_rgbe((2, 3))
    data = flat_file(rgbe).replace(b"rle_rgbe", b"rle_xyze")
    image = read_bytes(tmp_path, data)
    np.testing.assert_allclose(image.pixels @ rgb_to_xyz(Primaries.BT709).T, decoded(rgbe), rtol=1e-4, atol=1e-4)
    assert image.primaries is Primaries.BT709
    assert "XYZ" in image.metadata.notes[0]


def test_primaries_of_the_files_own_stay(tmp_path):
    image = read_bytes(tmp_path, flat_file(some_rgbe((2, 3)), "PRIMARIES=0.640 0.330 0.290 0.600 0.150 0.060 0.333 0.333"))
    assert image.primaries == Chromaticities((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), (0.333, 0.333))
    assert image.metadata.notes == ()
    radiance.write(image, tmp_path / "b.hdr", WriteOptions())
    assert radiance.read(tmp_path / "b.hdr").primaries == image.primaries


@pytest.mark.parametrize("numbers", ["0.3 0.3 0.3 0.3 0.3 0.3 0.333 0.333", "0.64 0.33", "many"])
def test_nonsense_primaries_are_noted(tmp_path, numbers):
    image = read_bytes(tmp_path, flat_file(some_rgbe((2, 3)), f"PRIMARIES={numbers}"))
    assert image.primaries is Primaries.BT709
    assert "PRIMARIES" in image.metadata.notes[0]


def test_header_lines_of_the_shot(tmp_path):
    shot = Shot(
        make="Canon",
        model="Canon EOS R5",
        lens_model="RF24-70mm F2.8",
        exposure_time=1 / 125,
        aperture=2.8,
        iso=400.0,
        focal_length=35.0,
        captured="2024:03:01 01:30:00",
        utc_offset=2 * 3600,
        latitude=-33.85675,
        longitude=151.21525,
        altitude=12.5,
        copyright="Zoë",
    )
    metadata = Metadata(exif=from_shot(shot), header={"hdrcli:model": "x"})
    radiance.write(linear(wide_range((2, 9)), metadata=metadata), tmp_path / "a.hdr", WriteOptions())
    lines = (tmp_path / "a.hdr").read_bytes().split(b"\n\n")[0].decode().splitlines()
    assert "CAPDATE=2024:03:01 01:30:00" in lines
    assert "GMT=2024:02:29 23:30:00" in lines
    assert not [line for line in lines if line.startswith("EXPOSURE")]
    back = radiance.read(tmp_path / "a.hdr").metadata
    assert back.header == {"HDRCLI_MODEL": "x"}
    # one line for the camera: the maker's name stands in the model's
    assert shot_of_exif(back.exif) == replace(shot, make=None)
    assert OpenImageIO.ImageBuf(str(tmp_path / "a.hdr")).spec().width == 9


def test_shot_lines_that_make_no_sense_stay_text(tmp_path):
    lines = {"APERTURE": "-1", "ISO": "fast", "LATITUDE": "91", "CAPDATE": "yesterday", "GMT": "2024:01:01 00:00:00"}
    metadata = read_bytes(tmp_path, flat_file(some_rgbe((2, 3)), *(f"{k}={v}" for k, v in lines.items()))).metadata
    assert metadata.exif is None
    assert metadata.header == lines


def test_file_of_the_witness(tmp_path):
    pixels = wide_range((11, 13))
    buffer = OpenImageIO.ImageBuf(pixels)
    assert buffer.write(str(tmp_path / "a.hdr"))
    expected = OpenImageIO.ImageBuf(str(tmp_path / "a.hdr")).get_pixels(OpenImageIO.FLOAT)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.hdr").pixels, expected)


def test_damaged_files(tmp_path, capfd):
    radiance.write(linear(wide_range((30, 40))), tmp_path / "a.hdr", WriteOptions())
    data = (tmp_path / "a.hdr").read_bytes()
    start = data.index(b"+X 40\n") + 6
    bad_run = data[: start + 4] + b"\xff" + data[start + 5 :]
    no_size = data.replace(b"-Y 30 +X 40", b"-Y 30 -Y 40")
    for bad in (data[:5], data[:40], data[: start - 3], data[:start], data[: len(data) // 2], data[:-1], bad_run, no_size):
        with pytest.raises(UnreadableInput) as raised:
            read_bytes(tmp_path, bad)
        assert "in.hdr" in str(raised.value)
    flat = flat_file(some_rgbe((4, 4)))
    with pytest.raises(UnreadableInput):
        read_bytes(tmp_path, flat[:-1])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("size", "error"),
    [("-Y 99999 +X 99999", UnsupportedInput), ("-Y 20000 +X 19000", UnreadableInput), ("-Y 0 +X 5", UnreadableInput)],
)
def test_header_that_promises_too_much(tmp_path, size, error):
    with pytest.raises(error):
        read_bytes(tmp_path, flat_file(some_rgbe((2, 2)), size=size))


def test_other_format_is_refused(tmp_path):
    with pytest.raises(UnsupportedInput, match="spectral"):
        read_bytes(tmp_path, flat_file(some_rgbe((2, 2))).replace(b"32-bit_rle_rgbe", b"spectral"))


@pytest.mark.parametrize("kind", ["rgbe", "xyze"])
def test_too_large_once_the_exposure_is_out(tmp_path, kind):
    data = flat_file(some_rgbe((2, 9)), "EXPOSURE=1e-20", "EXPOSURE=1e-20").replace(b"rle_rgbe", b"rle_" + kind.encode())
    image = read_bytes(tmp_path, data)
    assert np.isfinite(image.pixels).all()
    assert any("infinite" in note for note in image.metadata.notes)


def test_bytes_behind_the_picture(tmp_path):
    pixels = radiance._quantized(wide_range((5, 40)))
    radiance.write(linear(pixels), tmp_path / "a.hdr", WriteOptions())
    np.testing.assert_array_equal(read_bytes(tmp_path, (tmp_path / "a.hdr").read_bytes() + b"\n\0trailer").pixels, pixels)


def test_needs_no_place_for_temporary_files(tmp_path, monkeypatch):
    # OpenCV's codec would go through one
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("OPENCV_TEMP_PATH", str(tmp_path / "nowhere"))
    pixels = radiance._quantized(wide_range((5, 40)))
    radiance.write(linear(pixels), tmp_path / "a.hdr", WriteOptions())
    np.testing.assert_array_equal(radiance.read(tmp_path / "a.hdr").pixels, pixels)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("flat", (5, 7)),
        ("old runs", (5, 7)),
        ("line ends of Windows", (5, 7)),
        ("new runs", (9, 20)),
        ("both kinds of runs", (9, 20)),
        ("-Y +X", (9, 20)),
        ("new runs, wide", (3, 300)),
    ],
)
def test_samples_hold_what_they_were_made_of(tmp_path, name, shape):
    expected = decoded(np.array(radiance_samples.picture(*shape), np.uint8))
    np.testing.assert_array_equal(read_bytes(tmp_path, radiance_samples.samples()[name]).pixels, expected)
