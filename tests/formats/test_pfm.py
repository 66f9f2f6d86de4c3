"""PFM: both byte orders, grey, scale, header, another reader and writer, what is lost, damaged files."""

import cv2
import numpy as np
import OpenImageIO
import pfm_samples
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pfm_samples import pixels

from hdrcli import formats
from hdrcli.color import Primaries, Transfer
from hdrcli.errors import MismatchError, UnreadableInput, UnsupportedInput
from hdrcli.formats import WriteOptions, pfm
from hdrcli.image import Image, Metadata

SAMPLES = pfm_samples.samples()
SHAPES = [(1, 1), (1, 5000), (5000, 1), (7, 9)]
LARGEST = np.finfo(np.float32).max


def linear(values, **kwargs):
    return Image(np.asarray(values), Transfer.LINEAR, **kwargs)


def read(tmp_path, data):
    (tmp_path / "in.pfm").write_bytes(data)
    return formats.read(tmp_path / "in.pfm")


def seen_by_openimageio(path):
    config = OpenImageIO.ImageSpec()
    config.attribute("pnm:pfmflip", 1)  # the default as documented, but OpenImageIO 3.2 forgets it where nothing is configured
    file = OpenImageIO.ImageInput.open(str(path), config)
    values = file.read_image(0, 0, 0, file.spec().nchannels, OpenImageIO.FLOAT)
    file.close()
    return values


def test_opencv_agrees(tmp_path):
    values = pixels()
    pfm.write(linear(values), tmp_path / "a.pfm", WriteOptions())
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.pfm"), cv2.IMREAD_UNCHANGED)[..., ::-1], values)


@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip_and_witness(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(pfm, "_STRIP_BYTES", 1000)
    values, path = pixels(*shape), tmp_path / "größe 絵.pfm"
    assert pfm.write(linear(values), path, WriteOptions()) == ()
    back = pfm.read(path)
    assert (back.pixels.dtype, back.transfer, back.primaries, back.metadata.notes) == (
        np.float32,
        Transfer.LINEAR,
        Primaries.BT709,
        (),
    )
    np.testing.assert_array_equal(back.pixels, values)
    np.testing.assert_array_equal(seen_by_openimageio(path), values)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_any_float_survives(tmp_path, values):
    pfm.write(linear(values), tmp_path / "a.pfm", WriteOptions())
    np.testing.assert_array_equal(pfm.read(tmp_path / "a.pfm").pixels, values)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_openimageio_writes(tmp_path, channels):
    values = pixels(channels=channels)
    buffer = OpenImageIO.ImageBuf(values)
    buffer.write(str(tmp_path / "a.pfm"))
    np.testing.assert_array_equal(pfm.read(tmp_path / "a.pfm").pixels, np.broadcast_to(values, (5, 7, 3)))


@pytest.mark.parametrize("name", [n for n in SAMPLES if n not in ("carriage returns", "nan and inf")])
def test_samples_read_as_openimageio_reads_them(tmp_path, name):
    image = read(tmp_path, SAMPLES[name])
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(seen_by_openimageio(tmp_path / "in.pfm"), image.pixels.shape))


def test_remarks_on_reading(tmp_path):
    assert read(tmp_path, SAMPLES["scaled"]).metadata.notes == ("its scale is 2.5; values were multiplied by it",)
    assert read(tmp_path, SAMPLES["something behind"]).metadata.notes == ("4 bytes behind the picture are ignored",)
    image = read(tmp_path, SAMPLES["nan and inf"])
    assert len(image.metadata.notes) == 2
    assert (image.pixels[0, 0] == 0).all()
    assert (image.pixels[1, 1, 1], image.pixels[2, 2, 2]) == (LARGEST, -LARGEST)


def test_line_ends_of_other_systems(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, SAMPLES["carriage returns"]).pixels, pixels())
    values = pixels()
    values[-1, 0, 0] = np.frombuffer(b"\n\0\0\x40", "<f4")[0]  # the first sample looks like the end of a line
    image = read(tmp_path, pfm_samples.pfm(values, b"PF\n7 5\n-1.0\r"))
    np.testing.assert_array_equal(image.pixels, values)
    assert image.metadata.notes == ()


def test_largest_scale(tmp_path):
    image = read(tmp_path, pfm_samples.pfm(np.full((1, 2, 3), -4, np.float32), b"PF 2 1 -3e38\n"))
    assert (image.pixels == -LARGEST).all()


@pytest.mark.parametrize(
    ("header", "error", "words"),
    [
        (b"PF\n20000 20001\n-1\n", UnsupportedInput, "too large"),
        (b"PF\n0 5\n-1\n", UnreadableInput, "size is zero"),
        (b"PF\n7 6\n-1\n", UnreadableInput, "ends early"),
        (b"PF\n7 5\n0\n", UnreadableInput, "scale"),
        (b"PF\n7 5\n-1e99\n", UnreadableInput, "scale"),
        (b"PF\n7 5\nnan\n", UnreadableInput, "header"),
        (b"PF\n-7 5\n-1\n", UnreadableInput, "header"),
        (b"PF\n7\n", UnreadableInput, "header"),
        (b"PF\n" + b" " * 500 + b"7 5\n-1\n", UnreadableInput, "header"),
        (b"PF\n9999999999 5\n-1\n", UnreadableInput, "header"),
    ],
)
def test_damaged_headers(tmp_path, header, error, words):
    with pytest.raises(error, match=words):
        read(tmp_path, pfm_samples.pfm(pixels(), header))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(SAMPLES)), st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_spoiled_files_are_images_or_named(tmp_path, name, place, patch):
    data = bytearray(SAMPLES[name])
    place %= len(data)
    data[place : place + len(patch)] = patch
    (tmp_path / "a.pfm").write_bytes(data)
    try:
        image = pfm.read(tmp_path / "a.pfm")
    except (UnreadableInput, UnsupportedInput):
        return
    assert np.isfinite(image.pixels).all()


def test_what_is_lost_is_named(tmp_path):
    metadata = Metadata(exif=b"II*\0", alpha=np.ones((5, 7), np.float32), header={"a": "b"})
    image = linear(pixels().astype(np.float16), primaries=Primaries.BT2020, metadata=metadata)
    layers = {"confidence": np.zeros((5, 7), np.float32)}
    remarks = pfm.write(image, tmp_path / "a.pfm", WriteOptions(depth="half", compression="zip", layers=layers))
    assert len(remarks) == 7
    assert remarks[-2:] == (
        "PFM can't say that its primaries are Rec.2020",
        "PFM has no room for a record; header entries left out",
    )
    np.testing.assert_array_equal(pfm.read(tmp_path / "a.pfm").pixels, image.pixels.astype(np.float32))


def test_lost_record_is_named(tmp_path):
    header = {"hdrcli:model": "a 1", "hdrcli:scale": "1 = LDR white", "hdrcli:exposure": "+0 EV", "software": "x"}
    image = linear(pixels(), white_luminance=203.0, metadata=Metadata(header=header))
    expected = "PFM has no room for a record; model, scale, exposure, white luminance left out"
    assert pfm.write(image, tmp_path / "a.pfm", WriteOptions()) == (expected,)
    assert pfm.write(linear(pixels()), tmp_path / "a.pfm", WriteOptions()) == ()


def test_odd_values(tmp_path):
    values = np.array([[[np.nan, np.inf, -np.inf], [-1, 1e-40, 2]]], np.float32)
    remarks = pfm.write(linear(values), tmp_path / "a.pfm", WriteOptions(depth="float"))
    assert len(remarks) == 2
    expected = np.array([[[0, LARGEST, -LARGEST], [-1, 1e-40, 2]]], np.float32)
    np.testing.assert_array_equal(pfm.read(tmp_path / "a.pfm").pixels, expected)


def test_display_encoded_pixels_are_a_mismatch(tmp_path):
    with pytest.raises(MismatchError, match="expand"):
        pfm.write(Image(np.zeros((2, 2, 3), np.uint8), Transfer.SRGB), tmp_path / "a.pfm", WriteOptions())


def test_unreadable_place(tmp_path):
    with pytest.raises(UnreadableInput, match="can't be read"):
        pfm.read(tmp_path / "none.pfm")
