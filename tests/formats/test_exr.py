"""OpenEXR: round trips, a second reader's opinion, odd values, damaged and unusual files."""

import subprocess
import sys
from pathlib import Path

import exr_samples
import numpy as np
import OpenEXR
import OpenImageIO
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hdrcli import formats
from hdrcli.color import Chromaticities, Primaries, Transfer
from hdrcli.errors import MismatchError, UnreadableInput, UnsupportedInput, UsageError
from hdrcli.formats import WriteOptions, _exr_strips, exr
from hdrcli.image import Image, Metadata

SHAPES = [(1, 1), (1, 5000), (5000, 1), (7, 9)]


def linear(pixels, **kwargs):
    return Image(np.asarray(pixels), Transfer.LINEAR, **kwargs)


def random_pixels(shape, dtype=np.float16, seed=0):
    return (np.random.default_rng(seed).random((*shape, 3)) * 10 - 1).astype(dtype)


def write_channels(path, channels, **header):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage} | header
    with OpenEXR.File(header, channels) as file:
        file.write(str(path))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("compression", ["none", "zip", "piz"])
@pytest.mark.parametrize("depth", ["half", "float"])
def test_lossless_round_trip_and_witness(tmp_path, shape, compression, depth):
    pixels = random_pixels(shape, np.float16 if depth == "half" else np.float32)
    path = tmp_path / "größe 絵.exr"
    assert exr.write(linear(pixels), path, WriteOptions(depth=depth, compression=compression)) == ()
    back = exr.read(path)
    assert back.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(back.pixels, pixels)
    np.testing.assert_array_equal(OpenImageIO.ImageBuf(str(path)).get_pixels(OpenImageIO.FLOAT), pixels.astype(np.float32))


@pytest.mark.parametrize("compression", ["dwaa", "dwab"])
def test_lossy_round_trip_is_close(tmp_path, compression):
    pixels = np.full((40, 50, 3), 0.5, np.float16)
    exr.write(linear(pixels), tmp_path / "a.exr", WriteOptions(compression=compression))
    np.testing.assert_allclose(exr.read(tmp_path / "a.exr").pixels, pixels, rtol=0.05)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arrays.arrays(
        np.float16,
        st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)),
        elements=st.floats(-65504, 65504, width=16),
    )
)
def test_any_half_survives(tmp_path, pixels):
    exr.write(linear(pixels), tmp_path / "a.exr", WriteOptions())
    np.testing.assert_array_equal(exr.read(tmp_path / "a.exr").pixels, pixels)


@pytest.mark.parametrize("compression", exr.COMPRESSIONS)
def test_compression_and_type_in_the_header(tmp_path, compression):
    exr.write(linear(random_pixels((4, 4), np.float32)), tmp_path / "a.exr", WriteOptions(compression=compression))
    spec = OpenImageIO.ImageBuf(str(tmp_path / "a.exr")).spec()
    assert spec.getattribute("compression") == compression
    assert spec.format == OpenImageIO.TypeDesc("half")


@pytest.mark.parametrize("primaries", list(Primaries))
def test_header_carries_what_the_numbers_mean(tmp_path, primaries):
    image = linear(
        random_pixels((3, 4)), primaries=primaries, white_luminance=203.0, metadata=Metadata(header={"studio": "Zoë"})
    )
    options = WriteOptions(header={"software": "hdrcli 1.0", "hdrcli:model": "a\nb"})
    exr.write(image, tmp_path / "a.exr", options)
    back = exr.read(tmp_path / "a.exr")
    assert (back.primaries, back.white_luminance) == (primaries, 203.0)
    assert back.metadata.header == {"studio": "Zoë", "software": "hdrcli 1.0", "hdrcli:model": "a\nb"}
    assert back.metadata.notes == ()
    spec = OpenImageIO.ImageBuf(str(tmp_path / "a.exr")).spec()
    assert spec.getattribute("Software") == "hdrcli 1.0"
    c = primaries.value
    np.testing.assert_allclose(spec.getattribute("chromaticities"), (*c.red, *c.green, *c.blue, *c.white), atol=1e-6)


def test_header_names_of_openexr_itself_are_left_out_with_a_remark(tmp_path):
    names = ("channels", "compression", "", "n" * 300, "cameraColorBalance", "aperture")
    options = WriteOptions(header=dict.fromkeys(names, "x"))
    remarks = exr.write(linear(random_pixels((2, 2))), tmp_path / "a.exr", options)
    assert len(remarks) == 6
    assert exr.read(tmp_path / "a.exr").metadata.header == {}


def test_layers_and_alpha(tmp_path):
    pixels = np.full((2, 3, 3), 0.5, np.float32)
    alpha = np.array([[1, 0.5, 0.25], [1, 1, 0]], np.float32)
    layer = np.arange(6, dtype=np.float32).reshape(2, 3)
    image = linear(pixels, metadata=Metadata(alpha=alpha))
    exr.write(image, tmp_path / "a.exr", WriteOptions(depth="float", layers={"confidence": layer}))
    buffer = OpenImageIO.ImageBuf(str(tmp_path / "a.exr"))
    assert buffer.spec().channelnames == ("R", "G", "B", "A", "confidence")
    values = buffer.get_pixels(OpenImageIO.FLOAT)
    np.testing.assert_array_equal(values[..., 0], pixels[..., 0] * np.where(alpha > 0, alpha, 1))  # premultiplied
    np.testing.assert_array_equal(values[..., 4], layer)
    back = exr.read(tmp_path / "a.exr")
    np.testing.assert_array_equal(back.metadata.alpha, alpha)
    np.testing.assert_array_equal(back.pixels, pixels)
    assert any("confidence" in note for note in back.metadata.notes)


@pytest.mark.parametrize("depth", ["half", "float"])
def test_light_where_nothing_covers_survives(tmp_path, depth):
    """Glows, flames, reflections: premultiplied files add them to what lies behind."""
    pixels = exr_samples.pixels(6, 7, np.float32)
    alpha = np.random.default_rng(0).choice(np.float32([0, 0.25, 1]), (6, 7))
    premultiplied = np.dstack([pixels * np.where(alpha > 0, alpha, 1)[..., None], alpha]).astype(np.float16).astype(np.float32)
    (tmp_path / "a.exr").write_bytes(exr_samples.of_openimageio(premultiplied))
    exr.write(exr.read(tmp_path / "a.exr"), tmp_path / "b.exr", WriteOptions(depth=depth))
    for name in ("a.exr", "b.exr"):
        written = OpenImageIO.ImageBuf(str(tmp_path / name)).get_pixels(OpenImageIO.FLOAT)
        np.testing.assert_array_equal(written, premultiplied)


@pytest.mark.parametrize("compression", exr.COMPRESSIONS)
@pytest.mark.parametrize(("depth", "with_alpha"), [("half", False), ("float", True)])
def test_strips_equal_the_whole(tmp_path, monkeypatch, compression, depth, with_alpha):
    pixels = exr_samples.pixels(600, 7, np.float16 if depth == "half" else np.float32)
    pixels[5, 3, 1], pixels[590, 0, 0] = np.nan, np.inf  # in the first and the last strip
    alpha = np.random.default_rng(0).choice(np.float32([0, 0.25, 1]), (600, 7)) if with_alpha else None
    image = linear(pixels, metadata=Metadata(alpha=alpha))
    options = WriteOptions(depth=depth, compression=compression, layers={"z": pixels[..., 2].astype(np.float32)})
    remarks = exr.write(image, tmp_path / "whole.exr", options)
    whole = exr.read(tmp_path / "whole.exr")
    monkeypatch.setattr(_exr_strips, "STRIP_PIXELS", 7 * 50)
    assert exr.write(image, tmp_path / "strips.exr", options) == remarks
    assert len(remarks) == 2
    assert (tmp_path / "strips.exr").read_bytes() == (tmp_path / "whole.exr").read_bytes()
    read = exr.read(tmp_path / "strips.exr")
    assert read.metadata.notes == whole.metadata.notes
    np.testing.assert_array_equal(read.pixels, whole.pixels)
    if alpha is not None:
        np.testing.assert_array_equal(read.metadata.alpha, whole.metadata.alpha)


def test_writing_changes_nothing_of_the_image(tmp_path):
    pixels, alpha = np.full((3, 4, 3), np.inf, np.float32), np.full((3, 4), 0.5, np.float32)
    exr.write(linear(pixels, metadata=Metadata(alpha=alpha)), tmp_path / "a.exr", WriteOptions(depth="float"))
    assert (pixels == np.inf).all()
    assert (alpha == 0.5).all()


def test_layer_of_another_size_is_a_mismatch(tmp_path):
    with pytest.raises(MismatchError):
        exr.write(linear(random_pixels((2, 2))), tmp_path / "a.exr", WriteOptions(layers={"z": np.zeros((3, 3), np.float32)}))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_odd_values_written_to_half(tmp_path, dtype):
    pixels = np.array([[[np.nan, np.inf, -np.inf], [-2, 1, 65504]]], dtype)
    remarks = exr.write(linear(pixels), tmp_path / "a.exr", WriteOptions())
    np.testing.assert_array_equal(exr.read(tmp_path / "a.exr").pixels, [[[0, 65504, -65504], [-2, 1, 65504]]])
    assert any(r.startswith("1 NaN value ") for r in remarks)
    assert any(r.startswith("2 infinite values ") for r in remarks)
    assert len(remarks) == 2


@pytest.mark.parametrize("odd", [np.nan, -np.nan, np.inf, -np.inf])
def test_each_odd_half_is_found_alone(tmp_path, odd):
    pixels = np.ones((2, 2, 3), np.float16)
    pixels[1, 1, 1] = odd
    assert len(exr.write(linear(pixels), tmp_path / "a.exr", WriteOptions())) == 1
    assert np.isfinite(exr.read(tmp_path / "a.exr").pixels).all()


def test_overflow_of_half_is_clamped_and_float_keeps_it(tmp_path):
    pixels = np.full((2, 2, 3), 1e6, np.float32)
    (remark,) = exr.write(linear(pixels), tmp_path / "a.exr", WriteOptions())
    assert "12 values beyond 65504" in remark
    assert "--depth float" in remark
    assert (exr.read(tmp_path / "a.exr").pixels == 65504).all()
    assert exr.write(linear(pixels), tmp_path / "b.exr", WriteOptions(depth="float")) == ()
    np.testing.assert_array_equal(exr.read(tmp_path / "b.exr").pixels, pixels)


@pytest.mark.parametrize(("dtype", "largest"), [(np.float16, 65504), (np.float32, np.finfo(np.float32).max)])
def test_odd_values_read(tmp_path, dtype, largest):
    plane = np.array([[np.nan, np.inf, -np.inf, 1]], dtype)
    write_channels(tmp_path / "a.exr", dict.fromkeys("RGB", plane))
    image = exr.read(tmp_path / "a.exr")
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels[0, :, 0].astype(np.float64), [0, largest, -float(largest), 1])
    assert len(image.metadata.notes) == 2


def test_unknown_depth_is_remarked(tmp_path):
    (remark,) = exr.write(linear(random_pixels((2, 2))), tmp_path / "a.exr", WriteOptions(depth="16"))
    assert "16" in remark
    assert exr.read(tmp_path / "a.exr").pixels.dtype == np.float16


def test_wrong_requests(tmp_path):
    with pytest.raises(UsageError):
        exr.write(linear(random_pixels((2, 2))), tmp_path / "a.exr", WriteOptions(compression="lzma"))
    with pytest.raises(MismatchError):
        exr.write(Image(np.zeros((2, 2, 3), np.uint8), Transfer.SRGB), tmp_path / "a.exr", WriteOptions())


def test_grey_uint_and_mixed_channels(tmp_path):
    plane = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_channels(tmp_path / "y.exr", {"Y": plane})
    np.testing.assert_array_equal(exr.read(tmp_path / "y.exr").pixels, np.stack([plane] * 3, -1))
    write_channels(tmp_path / "u.exr", {c: plane.astype(np.uint32) for c in "RGB"})
    image = exr.read(tmp_path / "u.exr")
    np.testing.assert_array_equal(image.pixels[..., 0], plane)
    assert "uint" in image.metadata.notes[0]
    write_channels(tmp_path / "m.exr", {"R": plane, "G": plane.astype(np.float32), "B": plane})
    assert exr.read(tmp_path / "m.exr").pixels.dtype == np.float32


@pytest.mark.parametrize("names", [("Y", "RY"), ("beauty.R", "beauty.G"), ("Z",), ("R", "Y2"), ("X", "Y2", "Z")])
def test_other_channels_are_refused_by_name(tmp_path, names):
    write_channels(tmp_path / "a.exr", {name: np.ones((2, 2), np.float16) for name in names})
    with pytest.raises(UnsupportedInput, match=names[0]):
        exr.read(tmp_path / "a.exr")


def test_odd_chromaticities_and_aspect_are_noted(tmp_path):
    channels = {c: np.ones((2, 3), np.float16) for c in "RGB"}
    write_channels(tmp_path / "a.exr", channels, pixelAspectRatio=2.0, chromaticities=(0.3, 0.3) * 4)
    image = exr.read(tmp_path / "a.exr")
    notes = " | ".join(image.metadata.notes)
    assert "aspect" in notes
    assert "chromaticities that make no sense" in notes
    assert image.primaries is Primaries.BT709


def test_chromaticities_of_the_files_own_stay(tmp_path):
    numbers = (0.6, 0.3, 0.3, 0.6, 0.2, 0.1, 0.3, 0.3)
    write_channels(tmp_path / "a.exr", {c: np.ones((2, 3), np.float16) for c in "RGB"}, chromaticities=numbers)
    image = exr.read(tmp_path / "a.exr")
    assert isinstance(image.primaries, Chromaticities)
    assert image.metadata.notes == ()
    exr.write(image, tmp_path / "b.exr", WriteOptions())
    back = exr.read(tmp_path / "b.exr")
    assert back.primaries == image.primaries
    np.testing.assert_allclose(OpenImageIO.ImageBuf(str(tmp_path / "b.exr")).spec().getattribute("chromaticities"), numbers)


@pytest.mark.parametrize(("name", "primaries"), [("lin_ap1_scene", Primaries.ACESCG), ("lin_rec2020_scene", Primaries.BT2020)])
def test_interop_id_goes_before_chromaticities(tmp_path, name, primaries):
    channels = {c: np.ones((2, 3), np.float16) for c in "RGB"}
    write_channels(tmp_path / "a.exr", channels, colorInteropID=name)
    write_channels(tmp_path / "b.exr", channels, colorInteropID=name, chromaticities=Primaries.ADOBE_RGB.value.numbers)
    for path in (tmp_path / "a.exr", tmp_path / "b.exr"):
        image = exr.read(path)
        assert image.primaries is primaries
        assert "colorInteropID" not in image.metadata.header  # it would be wrong once the pixels are converted
    write_channels(tmp_path / "c.exr", channels, colorInteropID="studio:lin_own_scene")
    assert exr.read(tmp_path / "c.exr").metadata.notes == (
        "color space 'studio:lin_own_scene' is not known; taken as linear Rec.709",
    )


def test_damaged_files_are_named_without_noise(tmp_path, capfd):
    path = tmp_path / "a.exr"
    exr.write(linear(random_pixels((64, 64))), path, WriteOptions())
    data = path.read_bytes()
    spoiled = bytearray(data)
    spoiled[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    for bad in (*(data[:n] for n in (4, 30, 200, 400, len(data) // 2, len(data) - 1)), bytes(spoiled)):
        path.write_bytes(bad)
        with pytest.raises(UnreadableInput) as raised:
            formats.read(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


def test_header_that_promises_too_much(tmp_path):
    path = tmp_path / "a.exr"
    exr.write(linear(random_pixels((2, 2))), path, WriteOptions())
    data = path.read_bytes()
    box = np.array([0, 0, 1, 1], "<i4").tobytes()
    for right, bottom, error in ((99_999, 99_999, UnsupportedInput), (19_999, 14_999, UnreadableInput)):
        path.write_bytes(data.replace(box, np.array([0, 0, right, bottom], "<i4").tobytes()))
        with pytest.raises(error):
            exr.read(path)


def test_mislabelled(tmp_path):
    path = tmp_path / "a.jpg"
    exr.write(linear(random_pixels((2, 2))), path, WriteOptions())
    assert "holds exr" in formats.read(path).metadata.notes[-1]


def test_formats_import_nothing_heavy():
    source = """
import sys
from pathlib import Path
from hdrcli.formats import exr, jpeg, png, radiance
print(sorted({"numpy", "cv2", "OpenEXR", "PIL", "torch"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_failing_writes_are_os_errors(tmp_path, capfd):
    image = linear(random_pixels((300, 300)))
    with pytest.raises(FileNotFoundError):
        exr.write(image, tmp_path / "missing" / "a.exr", WriteOptions())
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="space"):
            exr.write(image, "/dev/full", WriteOptions())
    assert capfd.readouterr() == ("", "")


def test_attribute_of_an_unknown_kind(tmp_path):
    exr.write(linear(random_pixels((2, 2))), tmp_path / "a.exr", WriteOptions(header={"owner": "someone"}))
    data = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "b.exr").write_bytes(data.replace(b"chromaticities\0chromaticities\0", b"chromaticities\0chromaticitiez\0"))
    assert "unknown kind" in exr.read(tmp_path / "b.exr").metadata.notes[0]


def test_text_that_is_not_utf_8_is_latin_1(tmp_path):
    exr.write(linear(random_pixels((2, 2))), tmp_path / "a.exr", WriteOptions(header={"studio": "Caf?"}))
    (tmp_path / "b.exr").write_bytes((tmp_path / "a.exr").read_bytes().replace(b"Caf?", b"Caf\xe9"))
    assert exr.read(tmp_path / "b.exr").metadata.header == {"studio": "Café"}
