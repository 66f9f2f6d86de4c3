"""Whole commands on the files that users bring: every format in and out, colour, metadata, panoramas, threads."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import OpenImageIO
import PIL.Image
import pytest
from command_line import Cli, codes, files, save

import hdrcli
from hdrcli.color import Primaries, Transfer, conversion_matrix, decode
from hdrcli.formats import _exif, _icc

SHOT = _exif.Shot(
    make="Maker",
    model="Model 7",
    exposure_time=0.004,
    aperture=2.8,
    iso=200.0,
    focal_length=35.0,
    captured="2026:11:20 10:11:12",
    latitude=47.5,
    longitude=-8.25,
    artist="A. Body",
)


def saved_by_pillow(path: str, picture: np.ndarray, **options: object) -> Path:
    """A picture (RGB) with metadata, by Pillow."""
    PIL.Image.fromarray(picture).save(path, **options)
    return Path(path)


@pytest.fixture
def taken() -> Path:
    """A JPEG with EXIF, turned by 90 degrees in the camera."""
    exif = _exif.from_shot(SHOT)
    with io.BytesIO() as stream:
        entries = PIL.Image.Exif()
        entries.load(b"Exif\0\0" + exif)
        entries[0x0112] = 6
        PIL.Image.fromarray(codes()[..., ::-1]).save(stream, "JPEG", quality=95, exif=entries)
        Path("taken.jpg").write_bytes(stream.getvalue())
    return Path("taken.jpg")


@pytest.mark.parametrize("name", ["x.png", "x.webp", "x.bmp", "x.tif", "x.jpg"])
def test_every_photo_format_gives_the_same_light(cli: Cli, name: str) -> None:
    picture = np.ascontiguousarray(codes()[..., ::-1])
    lossless = {"webp": {"lossless": True, "exact": True}, "jpg": {"quality": 100, "subsampling": 0}}
    path = saved_by_pillow(name, picture, **lossless.get(name[2:], {}))
    assert cli("expand", path, "-m", "linear", "-o", "out.exr", "--depth", "float").code == 0
    expected = decode(picture / 255, Transfer.SRGB)
    tolerance = 0.03 if name == "x.jpg" else 1e-6
    np.testing.assert_allclose(hdrcli.read("out.exr").pixels, expected, atol=tolerance)


@pytest.mark.parametrize("extension", ["exr", "hdr", "tif", "pfm"])
def test_every_hdr_format_comes_out_and_goes_back_in(cli: Cli, photo: Path, extension: str) -> None:
    assert cli("expand", photo, "--format", extension).code == 0
    made = f"photo.{extension}"
    assert files() == {"photo.png", made}
    witness = OpenImageIO.ImageBuf(made)
    assert (witness.spec().width, witness.spec().height, witness.spec().nchannels) == (64, 48, 3)
    image = hdrcli.read(made)
    assert image.is_hdr
    seen = witness.get_pixels(OpenImageIO.FLOAT)
    if extension == "pfm":  # rows run upwards, says the format's definition; OpenImageIO does not turn them by default
        seen = seen[::-1]
    np.testing.assert_array_equal(seen, image.pixels.astype(np.float32))
    if extension != "pfm":  # it holds nothing but numbers
        header = {name.lower().replace(":", "_"): text for name, text in image.metadata.header.items()}
        assert {"hdrcli_model", "hdrcli_scale", "hdrcli_exposure", "software"} <= set(header)
    assert cli("tonemap", made, "-o", "back.tif", "--bits", "16").code == 0
    assert OpenImageIO.ImageBuf("back.tif").spec().format == OpenImageIO.UINT16


def test_half_tiff_and_its_compressions(cli: Cli, photo: Path) -> None:
    assert cli("expand", photo, "-o", "a.tif", "--depth", "half", "--compression", "none").code == 0
    assert hdrcli.read("a.tif").pixels.dtype == np.float16
    ran = cli("expand", photo, "-o", "b.tif", "--compression", "dwaa")
    assert (ran.code, len(ran.lines)) == (2, 1)
    assert files() == {"photo.png", "a.tif"}


def test_a_format_that_is_only_read_is_no_output(cli: Cli, photo: Path) -> None:
    ran = cli("expand", photo, "-o", "x.gif")
    assert ran.code == 2
    assert ".exr" in ran.err


@pytest.mark.parametrize("extension", ["exr", "hdr", "tif"])
def test_metadata_goes_there_and_back(cli: Cli, taken: Path, extension: str) -> None:
    assert cli("expand", taken, "--format", extension).code == 0
    image = hdrcli.read(f"taken.{extension}")
    assert (image.width, image.height) == (48, 64)  # turned upright, once
    assert cli("tonemap", f"taken.{extension}", "-o", "back.jpg").code == 0
    with PIL.Image.open("back.jpg") as back:
        assert back.size == (48, 64)
        entries = back.getexif()
        assert entries.get(0x0112, 1) == 1
        if extension == "exr":
            shot = _exif.shot(entries.tobytes()[6:])
            assert (shot.make, shot.model, shot.iso) == ("Maker", "Model 7", 200)
            assert shot.exposure_time == pytest.approx(0.004)
            assert shot.latitude == pytest.approx(47.5)


@pytest.mark.parametrize(("what", "place", "maker"), [(None, True, True), ("gps", False, True), ("all", False, False)])
@pytest.mark.parametrize("command", ["expand", "tonemap"])
def test_strip(cli: Cli, taken: Path, command: str, what: str | None, place: bool, maker: bool) -> None:
    options = ["--strip", what] if what else []
    assert cli("expand", taken, "-o", "x.exr", *(options if command == "expand" else [])).code == 0
    made = "x.exr"
    if command == "tonemap":
        made = "x.png"
        assert cli("tonemap", "x.exr", "-o", made, *options).code == 0
    exif = hdrcli.read(made).metadata.exif
    shot = _exif.Shot() if exif is None else _exif.shot(exif)
    assert (shot.latitude is not None) is place
    assert (shot.make is not None) is maker
    if command == "expand":
        assert "hdrcli:model" in hdrcli.read(made).metadata.header


@pytest.mark.parametrize("name", ["srgb", "p3", "rec2020", "acescg"])
def test_primaries(cli: Cli, name: str) -> None:
    picture = np.ascontiguousarray(codes()[..., ::-1])
    path = saved_by_pillow("p3.png", picture, icc_profile=_icc.build(Transfer.SRGB, Primaries.DISPLAY_P3))
    assert cli("expand", path, "-m", "linear", "--primaries", name, "--depth", "float").code == 0
    image = hdrcli.read("p3.exr")
    target = {"srgb": "BT709", "p3": "DISPLAY_P3", "rec2020": "BT2020", "acescg": "ACESCG"}[name]
    assert image.primaries is Primaries[target]
    light = decode(picture / 255, Transfer.SRGB) @ conversion_matrix(Primaries.DISPLAY_P3, Primaries[target]).T
    np.testing.assert_allclose(image.pixels, light, atol=1e-5)
    witness = OpenImageIO.ImageInput.open("p3.exr").spec().getattribute("chromaticities")
    np.testing.assert_allclose(witness, Primaries[target].value.numbers, atol=1e-6)


def test_panorama_by_its_xmp(cli: Cli) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r GPano:ProjectionType="equirectangular"/></x:xmpmeta>'
    save("p.png", codes(32, 64))
    with PIL.Image.open("p.png") as picture:
        picture.save("p.jpg", xmp=xmp)
    assert cli("expand", "p.jpg", "-m", "linear").code == 0
    assert hdrcli.read("p.exr").metadata.panorama
    assert cli("expand", "p.jpg", "-m", "linear", "--projection", "flat", "-o", "flat.exr").code == 0
    assert not hdrcli.read("flat.exr").metadata.panorama
    for projection in ("auto", "flat"):
        assert (
            cli("tonemap", "p.exr", "-t", "fusion", "--no-dither", "--projection", projection, "-o", f"{projection}.png").code
            == 0
        )
    assert not np.array_equal(hdrcli.read("auto.png").pixels, hdrcli.read("flat.png").pixels)
    save("photo.png")
    ran = cli("expand", "photo.png", "--projection", "equirect")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert "2:1" in ran.err


def test_threads_change_nothing_but_the_time(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    from hdrcli import conversion, parallel

    monkeypatch.setattr(parallel, "_limit", None)
    before = cv2.getNumThreads()
    try:
        for count in (1, 2):
            conversion._loaded.cache_clear()
            assert cli("expand", photo, "-o", f"{count}.exr", "--threads", count).code == 0
    finally:
        cv2.setNumThreads(before)
        conversion._loaded.cache_clear()
    assert Path("1.exr").read_bytes() == Path("2.exr").read_bytes()
    ran = cli("expand", photo, "--threads", 0)
    assert (ran.code, len(ran.lines)) == (2, 1)


def test_json_names_colour_and_projection(cli: Cli, photo: Path) -> None:
    record = json.loads(cli("expand", photo, "--json", "--primaries", "acescg", "-q").out)
    assert record["primaries"] == "ACEScg"
    assert record["panorama"] is False


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\0\0\0\x14ftypisom", "a video"),
    ],
)
def test_what_is_not_read_is_named(cli: Cli, head: bytes, name: str) -> None:
    Path("x.jpg").write_bytes(head + bytes(100))
    ran = cli("expand", "x.jpg")
    assert ran.code == 1
    assert f"x.jpg: is {name}, which hdrcli does not read" in ran.err


def test_exposure_counts_after_automatic_exposure(cli: Cli, photo: Path) -> None:
    assert cli("expand", photo, "-o", "x.exr").code == 0
    means = []
    for ev in (-2, 0, 2):
        assert cli("tonemap", "x.exr", "-o", f"{ev}.png", "--ev", ev).code == 0
        means.append(hdrcli.read(f"{ev}.png").pixels.mean())
    assert means[0] < means[1] - 20 < means[2] - 40


@pytest.mark.parametrize("parameter", ["key=-1", "key=0", "white=-1"])
def test_parameters_that_make_no_picture_are_refused(cli: Cli, photo: Path, parameter: str) -> None:
    assert cli("expand", photo, "-o", "x.exr").code == 0
    ran = cli("tonemap", "x.exr", "-p", parameter)
    assert (ran.code, len(ran.lines)) == (2, 1)
