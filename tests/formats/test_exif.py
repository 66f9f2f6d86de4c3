"""EXIF: what a photo says of its shot, in and out, and coordinates taken out. Witnesses: Pillow and OpenImageIO."""

import io
import struct
from dataclasses import fields, replace

import numpy as np
import OpenImageIO
import PIL.Image
import PIL.ImageOps
import pytest
from format_samples import tiff_with_orientation
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.formats import _exif
from hdrcli.formats._exif import Shot

WHOLE = Shot(
    make="Canon",
    model="EOS R5",
    lens_make="Canon Inc.",
    lens_model="RF 24-70 mm F2.8",
    serial="0123456",
    exposure_time=1 / 125,
    aperture=2.8,
    iso=400,
    focal_length=35,
    captured="2024:02:29 23:59:58",
    utc_offset=-9 * 3600 - 1800,
    latitude=48.85837,
    longitude=-2.294481,
    altitude=35.4,
    artist="Åsa Öberg",
    copyright="Åsa Öberg; Bo Ek",
    software="Firmware 1.2",
    description="Tower\nat night",
)
PLACELESS = replace(WHOLE, latitude=None, longitude=None, altitude=None)


def pillow(exif):
    entries = PIL.Image.Exif()
    entries.load(b"Exif\0\0" + exif)
    return entries


def by_pillow(main=(), exif=(), gps=(), order=b"II"):
    """A payload that Pillow wrote, of values by tag."""
    entries = PIL.Image.Exif()
    entries.endian = "<" if order == b"II" else ">"
    entries.update(main)
    if exif:
        entries.get_ifd(0x8769).update(exif)
    if gps:
        entries.get_ifd(0x8825).update(gps)
    return entries.tobytes()[6:]


GPS = {
    1: "S",
    2: (33.0, 51.0, 24.75),
    3: "E",
    4: (151.0, 12.0, 54.5),
    5: b"\1",
    6: 12.5,
    7: (10.0, 11.0, 12.0),
    29: "2024:02:29",
}


def tiff(folders, order="<", tail=b""):
    """A payload of folders one after another: lists of (tag, type, count, value bytes or int); ``tail`` behind them."""
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    for entries in folders:
        data += struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            raw = struct.pack(order + "I", value) if isinstance(value, int) else value.ljust(4, b"\0")
            data += struct.pack(order + "HHI", tag, kind, count) + raw
        data += bytes(4)
    return data + tail


def test_all_of_a_shot_comes_back():
    exif = _exif.from_shot(WHOLE)
    assert _exif.shot(exif) == WHOLE
    assert all(getattr(WHOLE, field.name) is not None for field in fields(Shot))
    assert _exif.orientation(exif) == 1
    assert _exif.from_shot(Shot()) == b""


def test_pillow_reads_what_is_written():
    entries = pillow(_exif.from_shot(WHOLE))
    exif, gps = entries.get_ifd(0x8769), entries.get_ifd(0x8825)
    assert entries[0x010F] == "Canon"
    assert entries[0x8298].encode("latin-1").decode() == "Åsa Öberg; Bo Ek"  # Pillow takes texts for Latin-1
    assert (exif[0x829A].numerator, exif[0x829A].denominator) == (1, 125)
    assert (exif[0x829D].numerator, exif[0x829D].denominator) == (14, 5)
    assert (exif[0x8827], exif[0x920A], exif[0x9003], exif[0x9011]) == (400, 35, "2024:02:29 23:59:58", "-09:30")
    assert (exif[0xA431], exif[0xA433], exif[0xA434]) == ("0123456", "Canon Inc.", "RF 24-70 mm F2.8")
    assert (gps[1], gps[3], gps[5], float(gps[6])) == ("N", "W", b"\0", 35.4)
    assert tuple(map(float, gps[2])) == (48, 51, 30.132)
    assert tuple(map(float, gps[4])) == (2, 17, 40.1316)


def test_openimageio_reads_what_is_written(tmp_path):
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + _exif.from_shot(WHOLE))
    spec = OpenImageIO.ImageInput.open(str(tmp_path / "a.jpg")).spec()
    expected = {
        "Make": WHOLE.make,
        "Model": WHOLE.model,
        "Exif:LensMake": WHOLE.lens_make,
        "Exif:LensModel": WHOLE.lens_model,
        "Exif:BodySerialNumber": WHOLE.serial,
        "ExposureTime": np.float32(WHOLE.exposure_time),
        "FNumber": np.float32(WHOLE.aperture),
        "Exif:PhotographicSensitivity": 400,
        "Exif:FocalLength": 35,
        "Exif:DateTimeOriginal": WHOLE.captured,
        "Exif:OffsetTimeOriginal": "-09:30",
        "GPS:LatitudeRef": "N",
        "GPS:LongitudeRef": "W",
        "GPS:Altitude": np.float32(WHOLE.altitude),
        "Artist": WHOLE.artist,
        "Copyright": WHOLE.copyright,
        "Software": WHOLE.software,
        "ImageDescription": WHOLE.description,
    }
    assert {name: spec.getattribute(name) for name in expected} == expected
    np.testing.assert_allclose(spec.getattribute("GPS:Latitude"), (48, 51, 30.132), rtol=1e-6)


TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)
NUMBERS = st.fractions(min_value=0, max_value=500_000, max_denominator=8000).filter(bool).map(float)


@given(
    st.builds(
        Shot,
        make=TEXTS,
        copyright=TEXTS,
        lens_model=TEXTS,
        exposure_time=NUMBERS,
        aperture=NUMBERS,
        focal_length=NUMBERS,
        iso=st.none() | st.integers(1, 2**32 - 1).map(float),
        captured=st.none() | st.datetimes().map(lambda d: d.replace(microsecond=0).isoformat(" ").replace("-", ":")),
        latitude=st.none() | st.integers(-90 * 10**8, 90 * 10**8).map(lambda n: n / 10**8),
        longitude=st.none() | st.integers(-180 * 10**8, 180 * 10**8).map(lambda n: n / 10**8),
        altitude=st.none() | st.integers(-10000, 1000000).map(lambda n: n / 100),
    )
)
@settings(max_examples=100, deadline=None)
def test_usual_values_come_back_exactly(shot):
    assert _exif.shot(_exif.from_shot(shot)) == shot


@given(st.floats(1e-6, 2**32 - 1))
def test_any_value_comes_back_nearly(value):
    back = _exif.shot(_exif.from_shot(Shot(focal_length=value, altitude=-value)))
    assert back.focal_length == pytest.approx(value, rel=2**-23)
    assert back.altitude == pytest.approx(-value, rel=2**-23)


def test_single_precision_gives_the_same_fractions():
    """What went through an EXR header, which has floats of 32 bit."""
    rough = replace(WHOLE, exposure_time=float(np.float32(1 / 125)), aperture=float(np.float32(2.8)))
    assert _exif.shot(_exif.from_shot(rough)) == WHOLE


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e300, 1e-300])
def test_numbers_that_exif_cannot_hold(value):
    names = ("exposure_time", "aperture", "iso", "focal_length", "latitude", "longitude", "altitude")
    for name in names:
        found = getattr(_exif.shot(_exif.from_shot(Shot(make="x", **{name: value}))), name)
        largest = value == 1e300 and found == 2**32 - 1
        assert largest or found in (None, 0, value)
    assert _exif.shot(_exif.from_shot(Shot(make="\0\ud800", captured="yesterday", utc_offset=10**9))) == Shot(make="?")


@pytest.mark.parametrize("order", [b"II", b"MM"])
def test_reading_what_pillow_wrote(order):
    main = {0x010F: "NIKON", 0x0110: "Z 9", 0x013B: "me", 0x0132: "2001:01:01 00:00:00", 0x0112: 6}
    exif = {0x829A: 0.0005, 0x829D: 5.6, 0x8827: 64, 0x920A: 85.0, 0x9003: "2023:05:06 07:08:09", 0x9011: "+05:45"}
    found = _exif.shot(by_pillow(main, exif, GPS, order))
    assert (found.make, found.model, found.artist) == ("NIKON", "Z 9", "me")
    assert (found.exposure_time, found.aperture, found.iso, found.focal_length) == (0.0005, 5.6, 64, 85)
    assert (found.captured, found.utc_offset) == ("2023:05:06 07:08:09", 5 * 3600 + 45 * 60)
    assert found.latitude == pytest.approx(-33.856875, abs=1e-12)
    assert found.longitude == pytest.approx(151.215138888888, abs=1e-11)
    assert found.altitude == -12.5


def test_second_sources():
    def of(main=None, **exif):
        return _exif.shot(by_pillow(main or {}, {int(tag[1:], 16): value for tag, value in exif.items()}))

    assert of(x9201=10.0).exposure_time == 1 / 1024  # APEX: Tv 10
    assert of(x9202=4.0).aperture == 4  # Av 4
    assert of(x829A=0.0, x9201=1.0).exposure_time == 0.5
    assert of(x8827=65535, x8832=102400).iso == 102400
    assert of(x8827=65535).iso == 65535
    assert of({0x0132: "2020:01:02 03:04:05"}, x9010="-01:00") == Shot(captured="2020:01:02 03:04:05", utc_offset=-3600)
    assert of(x9003="0000:00:00 00:00:00", x9004="2020:01:02 03:04:05").captured == "2020:01:02 03:04:05"
    assert of(x9003="    :  :     :  :  ").captured is None
    assert of(x9011="+01:00") == Shot()  # an offset of no date
    assert of(x9003="2020:01:02 03:04:05", x9011="   :  ").utc_offset is None


def test_numbers_without_value_or_sense():
    for pair in ((0, 0), (5, 0), (0, 1)):
        entry = tiff([[(0x8769, 4, 1, 26)], [(0x829A, 5, 1, 44)]], tail=struct.pack("<II", *pair))
        assert _exif.shot(entry) == Shot()
    entry = tiff([[(0x8769, 4, 1, 26)], [(0x829A, 5, 1, 44)]], tail=struct.pack("<II", 1, 30))
    assert _exif.shot(entry) == Shot(exposure_time=1 / 30)


def test_places_without_sense():
    for change in ({1: "X"}, {1: ""}, {2: (91.0, 0.0, 0.0)}):
        assert _exif.shot(by_pillow(gps=GPS | change)).latitude is None
    assert _exif.shot(by_pillow(gps={tag: value for tag, value in GPS.items() if tag != 3})).longitude is None


def test_texts():
    data = tiff([[(0x010F, 2, 6, 38), (0x8298, 2, 8, 44)]], tail=b"K\xf6ln\0x" + b"me\0you\0\0")
    assert _exif.shot(data) == Shot(make="Köln", copyright="me; you")
    assert _exif.shot(tiff([[(0x010F, 2, 4, b" \x07a\0")]])) == Shot(make="a")
    assert _exif.shot(tiff([[(0x010F, 2, 4, b"    ")]])) == Shot()
    huge = _exif.shot(tiff([[(0x010E, 2, 10**6, 26)]], tail=b"x" * 10**6)).description
    assert huge == "x" * 65536


def maker_note_photo(order=b"II"):
    """As from a camera: a maker note with offsets of its own, a thumbnail, GPS; and where the note's bytes stand."""
    note = b"MakerNote\0" + bytes(range(200))
    main = {0x010F: "Sony", 0x0112: 1, 0x0213: 1, 0x8298: "me"}
    payload = by_pillow(main, {0x829A: 0.01, 0x927C: note, 0xA434: "a lens of some length"}, GPS, order)
    assert note in payload
    return payload


@pytest.mark.parametrize("order", [b"II", b"MM"])
def test_place_is_erased_and_nothing_else_moves(order):
    photo = maker_note_photo(order)
    cleaned = _exif.without_gps(photo)
    assert len(cleaned) == len(photo)
    before, after = pillow(photo), pillow(cleaned)
    assert 0x8825 in before
    assert 0x8825 not in after
    assert {tag: value for tag, value in before.items() if tag != 0x8825} == dict(after.items())
    assert dict(before.get_ifd(0x8769)) == dict(after.get_ifd(0x8769))
    sign = "<" if order == b"II" else ">"
    for number in (33, 51, 24, 151, 12, 54):
        assert struct.pack(sign + "II", number, 1) in photo or number in (24, 54)
        assert struct.pack(sign + "II", number, 1) not in cleaned
    assert b"2024:02:29" in photo
    assert b"2024:02:29" not in cleaned
    changed = [i for i in range(len(photo)) if photo[i] != cleaned[i]]
    start = before[0x8825]
    assert min(changed) < start  # the entry in IFD0
    assert all(i >= start or i < 8 + 2 + 12 * len(before) + 4 for i in changed)
    assert _exif.without_gps(cleaned) == cleaned
    assert _exif.shot(cleaned) == replace(_exif.shot(photo), latitude=None, longitude=None, altitude=None)


def test_without_a_place_nothing_changes():
    for exif in (by_pillow({0x010F: "x"}), _exif.from_shot(PLACELESS), tiff_with_orientation(6), tiff_with_orientation(3, ">")):
        assert _exif.without_gps(exif) == exif


COORDINATES = struct.pack("<6I", 48, 1, 51, 1, 3013, 100)


def gps_folder(latitude_at):
    return [(1, 2, 2, b"N\0"), (2, 5, 3, latitude_at)]


def test_place_in_the_thumbnails_folder_and_in_the_exif_folder():
    # IFD0 at 8 (18 bytes), IFD1 at 26 (18), Exif at 44 (18), GPS at 62 (30), values at 92
    chain = [[(0x8769, 4, 1, 44)], [(0x8825, 4, 1, 62)], [(0x8825, 4, 1, 62)], gps_folder(92)]
    exif = bytearray(tiff(chain, tail=COORDINATES))
    struct.pack_into("<I", exif, 22, 26)  # the next folder
    cleaned = _exif.without_gps(bytes(exif))
    assert len(cleaned) == len(exif)
    assert COORDINATES not in cleaned
    assert cleaned[26:28] == cleaned[44:46] == bytes(2)  # folders of no entries
    assert cleaned[62:] == bytes(len(exif) - 62)


def test_xmp_inside_that_speaks_of_the_place():
    packet = b"<x exif:GPSLatitude='48,51.5N'/>"
    exif = tiff([[(0x010F, 2, 3, b"ab\0"), (0x02BC, 1, len(packet), 38)]], tail=packet)
    assert _exif.without_gps(exif) == tiff([[(0x010F, 2, 3, b"ab\0")]], tail=bytes(12 + len(packet)))
    other = tiff([[(0x02BC, 1, 8, 26)]], tail=b"<x><y/>\0")
    assert _exif.without_gps(other) == other


@pytest.mark.parametrize(
    "exif",
    [
        # values beyond the end, a folder cut short, an unknown type, a pointer of an odd type
        tiff([[(0x010F, 2, 3, b"ab\0"), (0x8825, 4, 1, 38)], gps_folder(4000)], tail=COORDINATES),
        tiff([[(0x010F, 2, 3, b"ab\0"), (0x8825, 4, 1, 38)], [*gps_folder(68), *[(9, 2, 1, b"A")] * 40]], tail=COORDINATES)[
            :300
        ]
        + COORDINATES,
        tiff([[(0x010F, 2, 3, b"ab\0"), (0x8825, 4, 1, 38)], [*gps_folder(80), (3, 99, 1, 0)]], tail=COORDINATES),
        tiff([[(0x010F, 2, 3, b"ab\0"), (0x8825, 5, 1, 38)], gps_folder(68)], tail=COORDINATES),
        # values that lie over IFD0; a second copy
        tiff([[(0x010F, 2, 3, b"ab\0"), (0x8825, 4, 1, 38)], [*gps_folder(80), (4, 5, 3, 20)]], tail=COORDINATES),
        tiff([[(0x010F, 2, 3, b"ab\0"), (0x8825, 4, 1, 38)], gps_folder(68)], tail=COORDINATES + b"again" + COORDINATES),
    ],
)
def test_where_it_cannot_be_done_in_place_the_rest_is_written_anew(exif):
    assert COORDINATES in exif
    assert _exif.without_gps(exif) == _exif.from_shot(Shot(make="ab"))


def test_two_latitudes_are_both_erased():
    second = struct.pack("<6I", 12, 1, 34, 1, 56, 1)
    exif = tiff([[(0x8825, 4, 1, 26)], [*gps_folder(68), (2, 5, 3, 92)]], tail=COORDINATES + second)
    assert _exif.without_gps(exif)[26:] == bytes(len(exif) - 26)


def test_links_in_a_circle_end():
    circle = bytearray(tiff([[(0x8769, 4, 1, 8), (0x8825, 4, 1, 38)], gps_folder(68)], tail=COORDINATES))
    struct.pack_into("<I", circle, 34, 8)
    assert COORDINATES not in _exif.without_gps(bytes(circle))
    many = tiff([[(0x014A, 4, 40, 26)]], tail=struct.pack("<40I", *range(26, 66)))
    assert _exif.without_gps(many) == b""


def test_a_link_to_nowhere_is_no_fault():
    """Behind the thumbnail's folder some cameras write nonsense; nobody can read a place there."""
    exif = bytearray(maker_note_photo())
    place = 10 + 12 * struct.unpack_from("<H", exif, 8)[0]
    struct.pack_into("<I", exif, place, 0x7FFFFFFF)
    assert len(_exif.without_gps(bytes(exif))) == len(exif)
    assert _exif.shot(_exif.without_gps(bytes(exif))).latitude is None


@given(st.binary(max_size=80), st.sampled_from([b"", b"II*\0", b"MM\0*", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises(garbage, head):
    exif = head + garbage
    assert isinstance(_exif.shot(exif), Shot)
    assert 1 <= _exif.orientation(exif) <= 8
    assert len(_exif.upright(exif)) == len(exif)
    assert _exif.shot(_exif.without_gps(exif)).latitude is None
    _exif.says_adobe_rgb(exif + b"R03\0")


@given(
    st.sampled_from([_exif.from_shot(WHOLE), maker_note_photo(), maker_note_photo(b"MM")]),
    st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), min_size=1, max_size=5),
    st.integers(0, 10**4) | st.none(),
)
@settings(max_examples=300, deadline=None)
def test_spoiled_payloads_never_raise_and_give_no_place_away(exif, changes, length):
    spoiled = bytearray(exif)
    for position, value in changes:
        spoiled[position % len(spoiled)] = value
    data = bytes(spoiled)[: None if length is None else length % len(spoiled)]
    _exif.shot(data)
    cleaned = _exif.shot(_exif.without_gps(data))
    assert (cleaned.latitude, cleaned.longitude, cleaned.altitude) == (None, None, None)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "code"), [(1, "B"), (3, "H"), (4, "I")])
def test_orientation_of_any_whole_type(kind, code, order):
    exif = tiff([[(0x010F, 2, 4, b"me\0\0"), (0x0112, kind, 1, 6)]], order)
    place = exif.index(struct.pack(order + "HHI", 0x0112, kind, 1)) + 8
    expected = exif[:place] + struct.pack(order + code, 6).ljust(4, b"\0") + exif[place + 4 :]
    assert _exif.orientation(expected) == 6
    upright = _exif.upright(expected)
    assert upright == exif[:place] + struct.pack(order + code, 1).ljust(4, b"\0") + exif[place + 4 :]
    with PIL.Image.new("RGB", (4, 2)) as picture:
        for payload, size in ((expected, (4, 2) if code == "B" else (2, 4)), (upright, (4, 2))):  # Pillow knows no BYTE
            picture.getexif().load(b"Exif\0\0" + payload)
            assert PIL.ImageOps.exif_transpose(picture).size == size


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_orientation(value, order):
    exif = tiff_with_orientation(value, order)
    assert _exif.orientation(exif) == value
    upright = _exif.upright(exif)
    assert _exif.orientation(upright) == 1
    assert len(upright) == len(exif)
    assert sum(a != b for a, b in zip(exif, upright, strict=True)) == (value != 1)


def test_orientation_without_sense():
    odd = [tiff([[(0x0112, kind, count, 6)]]) for kind, count in ((2, 1), (3, 2), (9, 1))]
    for exif in (tiff_with_orientation(0), tiff_with_orientation(9), b"", b"II*\0", tiff([[]]), *odd):
        assert _exif.orientation(exif) == 1
    assert _exif.without_prefix(b"Exif\0\0II*\0") == _exif.without_prefix(b"II*\0") == b"II*\0"


def test_adobe_rgb_as_cameras_say_it():
    def camera(colour_space, index):
        # IFD0 at 8, Exif at 26 (30 bytes), interoperability at 56
        exif = [(0xA001, 3, 1, colour_space), (0xA005, 4, 1, 56)]
        return tiff([[(0x8769, 4, 1, 26)], exif, [(1, 2, 4, index)]])

    assert _exif.says_adobe_rgb(camera(65535, b"R03\0"))
    assert not _exif.says_adobe_rgb(camera(1, b"R03\0"))
    assert not _exif.says_adobe_rgb(camera(65535, b"R98\0"))
    assert not _exif.says_adobe_rgb(camera(65535, b"R98\0") + b"R03\0")


def test_a_picture_with_it_opens_everywhere():
    stream = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(stream, "JPEG", exif=b"Exif\0\0" + _exif.without_gps(maker_note_photo()))
    assert PIL.Image.open(stream).getexif()[0x010F] == "Sony"
