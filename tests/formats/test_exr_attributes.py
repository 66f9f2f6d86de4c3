"""OpenEXR's standard attributes of a shot: from EXIF, to EXIF, and as OpenImageIO reads and writes them."""

from dataclasses import fields, replace

import exr_samples
import numpy as np
import OpenImageIO
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer
from hdrcli.formats import WriteOptions, exr
from hdrcli.formats._exif import Shot, from_shot, shot
from hdrcli.image import Image, Metadata

PIXELS = np.ones((2, 3, 3), np.float16)
SHOT = Shot(
    make="NIKON CORPORATION",
    model="NIKON Z 8",
    lens_make="Nikon",
    lens_model="NIKKOR Z 24-70mm f/2.8 S",
    serial="3001234",
    exposure_time=1 / 250,
    aperture=2.8,
    iso=64.0,
    focal_length=35.5,
    captured="2024:06:21 17:03:09",
    utc_offset=2 * 3600,
    latitude=47.376886,
    longitude=-8.541694,
    altitude=-408.25,
    artist="Zoë Müller",
    copyright="© 2024 Müller",
    software="Ver.02.01",
    description="First line\nsecond: 絵",
)


def round_trip(tmp_path, metadata, **options):
    exr.write(Image(PIXELS, Transfer.LINEAR, metadata=metadata), tmp_path / "a.exr", WriteOptions(**options))
    return exr.read(tmp_path / "a.exr").metadata


def assert_same(found, expected):
    for field in fields(Shot):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(b, float):
            assert a == pytest.approx(b, rel=2**-23), field.name  # the attributes are single precision
        else:
            assert a == b, field.name


def test_every_field_comes_back(tmp_path):
    back = round_trip(tmp_path, Metadata(exif=from_shot(SHOT)))
    assert_same(shot(back.exif), SHOT)
    assert back.header == {}
    assert back.notes == ()


def test_usual_numbers_come_back_exactly(tmp_path):
    usual = Shot(exposure_time=0.008, aperture=5.6, iso=100.0, focal_length=50.0, latitude=47.3769, altitude=0.1)
    assert shot(round_trip(tmp_path, Metadata(exif=from_shot(usual))).exif) == usual


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.sampled_from([field.name for field in fields(Shot)])))
def test_any_fields_may_be_missing(tmp_path, missing):
    partly = replace(SHOT, **dict.fromkeys(missing))
    if partly.captured is None:
        partly = replace(partly, utc_offset=None)  # an offset of no time means nothing
    back = round_trip(tmp_path, Metadata(exif=from_shot(partly) or None))
    assert_same(shot(back.exif or b""), partly)


def test_the_same_words_for_artist_and_copyright(tmp_path):
    same = Shot(artist="Zoë", copyright="Zoë")
    assert shot(round_trip(tmp_path, Metadata(exif=from_shot(same))).exif) == same


def test_header_entries_go_before_exif_and_stay(tmp_path):
    header = {"hdrcli:model": "m", "hdrcli:scale": "1 = white", "comments": "by hand"}
    back = round_trip(tmp_path, Metadata(exif=from_shot(SHOT), header=header))
    assert back.header == {"hdrcli:model": "m", "hdrcli:scale": "1 = white"}
    assert shot(back.exif).description == "by hand"


def test_the_witness_knows_them_by_name_and_type(tmp_path):
    round_trip(tmp_path, Metadata(exif=from_shot(SHOT)), header={"software": "hdrcli 9"})
    spec = OpenImageIO.ImageBuf(str(tmp_path / "a.exr")).spec()
    floats = {
        "ExposureTime": 0.004,
        "FNumber": 2.8,
        "isoSpeed": 64,
        "nominalFocalLength": 35.5,
        "latitude": 47.376886,
        "longitude": -8.541694,
        "altitude": -408.25,
        "utcOffset": -7200,  # UTC = local time + offset
    }
    texts = {
        "DateTime": SHOT.captured,
        "Copyright": SHOT.copyright,
        "ImageDescription": SHOT.description,
        "cameraMake": SHOT.make,
        "cameraModel": SHOT.model,
        "cameraSerialNumber": SHOT.serial,
        "lensMake": SHOT.lens_make,
        "lensModel": SHOT.lens_model,
        "Software": "hdrcli 9",
    }
    types = {attribute.name: str(attribute.type) for attribute in spec.extra_attribs}
    for name, value in floats.items():
        assert types[name] == "float", name
        assert spec.getattribute(name) == pytest.approx(value), name
    for name, text in texts.items():
        assert spec.getattribute(name) == text, name


def test_what_the_witness_writes(tmp_path):
    given = {
        "Make": "Canon",
        "Model": "EOS R5",
        "ExposureTime": 0.004,
        "FNumber": 2.8,
        "Exif:PhotographicSensitivity": 400,
        "Exif:FocalLength": 85.0,
        "Exif:LensModel": "RF85mm",
        "DateTime": "2024:06:21 17:03:09",
        "Artist": "A",
        "Copyright": "C",
        "ImageDescription": "D",
        "Software": "OpenImageIO",
    }
    (tmp_path / "a.exr").write_bytes(exr_samples.of_openimageio(PIXELS, attributes=given.items()))
    metadata = exr.read(tmp_path / "a.exr").metadata
    assert shot(metadata.exif) == Shot(
        make="Canon",
        model="EOS R5",
        exposure_time=0.004,
        aperture=2.8,
        iso=400.0,
        focal_length=85.0,
        lens_model="RF85mm",
        captured="2024:06:21 17:03:09",
        artist="A",
        copyright="C",
        description="D",
    )
    assert metadata.header == {"Software": "OpenImageIO"}  # what wrote the file, not the camera's


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("expTime", float("nan")),
        ("expTime", float("inf")),
        ("aperture", 0.0),
        ("isoSpeed", -100.0),
        ("latitude", 91.0),
        ("longitude", -181.0),
        ("utcOffset", 1e9),
        ("aperture", "f/8"),
        ("capDate", "yesterday"),
    ],
)
def test_nonsense_is_left_out(tmp_path, name, value):
    (tmp_path / "a.exr").write_bytes(exr_samples.exr(exr_samples.planes(PIXELS), **{name: value, "cameraModel": "M"}))
    metadata = exr.read(tmp_path / "a.exr").metadata
    assert shot(metadata.exif) == Shot(model="M")
    assert metadata.header == ({"capDate": "yesterday"} if name == "capDate" else {})


def test_whole_numbers_count_too(tmp_path):
    """Some writers store isoSpeed as an int."""
    (tmp_path / "a.exr").write_bytes(exr_samples.exr(exr_samples.planes(PIXELS), isoSpeed=800))
    assert shot(exr.read(tmp_path / "a.exr").metadata.exif) == Shot(iso=800.0)


def test_no_shot_no_exif(tmp_path):
    assert round_trip(tmp_path, Metadata(exif=b"II*\0 nothing in it")).exif is None
