"""OpenEXR as the field writes it: parts, tiles, layers, windows, luminance-chroma, alpha, and what is refused by name."""

import contextlib
import struct

import exr_samples
import numpy as np
import OpenEXR
import OpenImageIO
import pytest

from hdrcli.color import Primaries, Transfer, rgb_to_xyz
from hdrcli.errors import UnreadableInput, UnsupportedInput
from hdrcli.formats import WriteOptions, _exr_chroma, _exr_strips, exr
from hdrcli.image import Image, Metadata

PLANE = np.arange(12, dtype=np.float16).reshape(3, 4)
COLOUR = {"R": PLANE, "G": PLANE + 1, "B": PLANE + 2}
PICTURE = np.stack([PLANE, PLANE + 1, PLANE + 2], -1)


@pytest.fixture
def read(tmp_path):
    def read_bytes(data):
        (tmp_path / "in.exr").write_bytes(data)
        return exr.read(tmp_path / "in.exr")

    return read_bytes


@contextlib.contextmanager
def openimageio_without_core():
    """OpenImageIO reads luminance-chroma through OpenEXR's C++ classes only."""
    OpenImageIO.attribute("openexr:core", 0)
    try:
        yield
    finally:
        OpenImageIO.attribute("openexr:core", 1)


def witness(path, *, part=0):
    return OpenImageIO.ImageBuf(str(path), part, 0).get_pixels(OpenImageIO.FLOAT)


LOSSY = ("pxr24", "b44", "b44a", "dwaa", "dwab")


@pytest.mark.parametrize("name", [name for name in exr_samples.samples() if name.startswith(("scanline", "tiled", "mip"))])
def test_every_compression_and_layout(read, tmp_path, name):
    data = exr_samples.samples()[name]
    image = read(data)
    assert image.metadata.notes == ()
    if not name.endswith(LOSSY):
        np.testing.assert_array_equal(image.pixels, exr_samples.pixels())
    np.testing.assert_allclose(image.pixels, witness(tmp_path / "in.exr"), rtol=2e-3)  # two decoders of lossy data


# --- parts -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiled", [False, True])
def test_first_part_with_colour(read, tmp_path, tiled):
    extra = {"type": OpenEXR.tiledimage, "tiles": tiles(16)} if tiled else {"compression": OpenEXR.PIZ_COMPRESSION}
    picture = exr_samples.pixels(40, 50, np.float32)
    parts = [
        ("depth", {"Z": picture[..., 0].copy()}, {}),
        ("beauty", exr_samples.planes(picture), extra),
        ("other", exr_samples.planes(picture * 2), {}),
    ]
    image = read(exr_samples.multi_part(*parts))
    np.testing.assert_array_equal(image.pixels, picture)
    np.testing.assert_array_equal(image.pixels, witness(tmp_path / "in.exr", part=1))
    assert image.metadata.notes == ("has 3 parts; part 2 is read",)


def tiles(side):
    found = OpenEXR.TileDescription()
    found.xSize = found.ySize = side
    return found


def test_plain_colour_in_a_later_part_goes_before_layers(read):
    image = read(exr_samples.multi_part(("a", {f"normal.{c}": PLANE for c in "RGB"}, {}), ("b", COLOUR, {})))
    np.testing.assert_array_equal(image.pixels, PICTURE)


def test_other_parts_are_not_decoded(read):
    """The first part's pixels are spoiled: who decoded them would fail."""
    noise, picture = np.random.default_rng(0).random((64, 64)).astype(np.float16), exr_samples.pixels(64, 64)
    data = bytearray(exr_samples.multi_part(("depth", {"Z": noise}, {}), ("beauty", exr_samples.planes(picture), {})))
    (first,) = struct.unpack_from("<Q", data, end_of_headers(data))
    data[first + 12 : first + 1000] = bytes(988)
    np.testing.assert_array_equal(read(bytes(data)).pixels, picture)


def end_of_headers(data):
    # the last attribute of the last part, its end and that of all headers
    at = 8
    while data[at]:
        while data[at]:
            at = data.index(b"\0", data.index(b"\0", at) + 1) + 1
            at += 4 + struct.unpack_from("<i", data, at)[0]
        at += 1
    return at + 1


def test_deep_data_is_refused(read):
    with pytest.raises(UnsupportedInput, match="deep"):
        read(exr_samples.deep())


def test_deep_parts_are_passed_over(read):
    picture = exr_samples.pixels(4, 5)
    header = {"compression": OpenEXR.ZIPS_COMPRESSION, "type": OpenEXR.deepscanline}
    parts = [("deep", exr_samples.deep_channels(), header), ("flat", exr_samples.planes(picture), {})]
    np.testing.assert_array_equal(read(exr_samples.multi_part(*parts)).pixels, picture)


def test_part_without_its_offsets(read):
    data = bytearray(exr_samples.multi_part(("depth", {"Z": PLANE}, {}), ("beauty", COLOUR, {})))
    start = end_of_headers(data)
    data[start + 8 : start + 16] = bytes(8)
    with pytest.raises(UnreadableInput, match="places"):
        read(bytes(data))


# --- names -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "layer"),
    [
        (("beauty.R", "beauty.G", "beauty.B"), "beauty"),
        (("ViewLayer.Combined.R", "ViewLayer.Combined.G", "ViewLayer.Combined.B"), "ViewLayer.Combined"),
        (("r", "g", "b"), None),
        (("Red", "Green", "Blue"), None),
    ],
)
def test_names_of_colour(read, names, layer):
    others = {"A_normals.R": PLANE * 0, "A_normals.G": PLANE * 0, "A_normals.B": PLANE * 0, "depth.Z": PLANE}
    image = read(exr_samples.exr(dict(zip(names, COLOUR.values(), strict=True)) | others))
    np.testing.assert_array_equal(image.pixels, PICTURE)
    assert any("A_normals.R" in note for note in image.metadata.notes)
    assert (f"layer {layer} is read" in image.metadata.notes) == (layer is not None)


def test_layer_has_its_own_alpha(read):
    channels = {f"beauty.{c}": plane for c, plane in COLOUR.items()} | {"beauty.A": np.full_like(PLANE, 0.5)}
    image = read(exr_samples.exr(channels | {"matte.A": PLANE}))
    assert (image.metadata.alpha == 0.5).all()
    np.testing.assert_array_equal(image.pixels, PICTURE * np.float32(2))


def test_layers_of_mixed_types(read):
    """The package would put channels of two types into one array."""
    image = read(exr_samples.exr(COLOUR | {"x.R": PLANE, "x.G": PLANE.astype(np.float32), "x.B": PLANE}))
    np.testing.assert_array_equal(image.pixels, PICTURE)


@pytest.mark.parametrize("name", ["luminance", "Gray", "L"])
def test_sole_channel_of_luminance_is_grey(read, name):
    image = read(exr_samples.exr({name: PLANE}))
    np.testing.assert_array_equal(image.pixels, np.stack([PLANE] * 3, -1))
    assert image.metadata.notes == (f"channel {name} is read as grey",)
    with pytest.raises(UnsupportedInput, match="luminance, mask"):
        read(exr_samples.exr({"luminance": PLANE, "mask": PLANE}))


def test_many_channels_make_a_short_line(read):
    with pytest.raises(UnsupportedInput, match="and 28 more"):
        read(exr_samples.exr({f"c{i:02}": PLANE for i in range(40)}))


@pytest.mark.parametrize(
    "names", [("N.X", "N.Y", "N.Z"), ("P.x", "P.y", "P.z", "Z"), ("uv.X", "uv.Y"), ("v.Y", "v.Z"), ("X", "Y")]
)
def test_directions_are_no_picture(read, names):
    with pytest.raises(UnsupportedInput, match="no R, G, B or sole Y"):
        read(exr_samples.exr(dict.fromkeys(names, PLANE)))


def test_grey_with_depth(read):
    """Plain Z is the depth of OpenEXR's standard."""
    image = read(exr_samples.exr({"Y": PLANE, "Z": PLANE + 1}))
    np.testing.assert_array_equal(image.pixels, np.stack([PLANE] * 3, -1))
    assert image.metadata.notes == ("channels left out: Z",)


# --- colours ---------------------------------------------------------------------------------------------------------------

BT709_TO_XYZ = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.2126390, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]]
)


def test_xyz_must_say_so(read):
    light = exr_samples.pixels(8, 9, np.float32)
    xyz = exr_samples.planes((light @ BT709_TO_XYZ.T).astype(np.float32), "XYZ")
    with pytest.raises(UnsupportedInput, match="does not say that they are CIE XYZ"):
        read(exr_samples.exr(xyz))
    numbers = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3)
    for header in ({"colorInteropID": "lin_ciexyzd65_scene"}, {"chromaticities": numbers}):
        for names in ("XYZ", "RGB"):
            image = read(exr_samples.exr(dict(zip(names, xyz.values(), strict=True)), **header))
            np.testing.assert_allclose(image.pixels, light, rtol=1e-4, atol=1e-4)
            assert image.primaries is Primaries.BT709
            assert image.metadata.notes == ("holds CIE XYZ; converted to Rec.709",)


ENCODED = [
    ("srgb_rec709_scene", Primaries.BT709, lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)),
    ("srgb_p3d65_scene", Primaries.DISPLAY_P3, lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)),
    ("srgb_ap1_scene", Primaries.ACESCG, lambda v: np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)),
    ("g22_rec709_scene", Primaries.BT709, lambda v: v**2.2),
    ("g18_rec709_scene", Primaries.BT709, lambda v: v**1.8),
    ("g22_adobergb_scene", Primaries.ADOBE_RGB, lambda v: v**2.19921875),
    ("g24_rec709_display", Primaries.BT709, lambda v: v**2.4),
    ("g26_p3d65_display", Primaries.DISPLAY_P3, lambda v: v**2.6),
    ("hlg_rec2020_display", Primaries.BT2020, lambda v: np.where(v <= 0.5, v * v / 3, None)),
]


@pytest.mark.parametrize(("name", "primaries", "curve"), ENCODED)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_encoded_colours_are_decoded(read, name, primaries, curve, dtype):
    codes = np.random.default_rng(0).random((8, 9, 3)).astype(dtype) * dtype(0.5)
    image = read(exr_samples.of_openimageio(codes, attributes=[("colorInteropID", name)]))
    expected = np.asarray(curve(codes.astype(np.float64)), np.float64)
    np.testing.assert_allclose(image.pixels, expected, rtol=1e-5, atol=1e-7)
    assert image.pixels.dtype == np.float32
    assert image.transfer is Transfer.LINEAR
    assert image.primaries is primaries
    assert image.white_luminance is None
    assert image.metadata.notes == (f"is encoded ({name}); decoded to linear light",)


def test_the_witness_means_srgb(read):
    """It writes its own name of a color space as the identifier."""
    codes = np.random.default_rng(0).random((8, 9, 3)).astype(np.float32)
    image = read(exr_samples.of_openimageio(codes, attributes=[("oiio:ColorSpace", "sRGB")]))
    expected = OpenImageIO.ImageBufAlgo.colorconvert(OpenImageIO.ImageBuf(codes), "srgb_rec709_scene", "lin_rec709_scene")
    np.testing.assert_allclose(image.pixels, expected.get_pixels(OpenImageIO.FLOAT), rtol=1e-3, atol=1e-6)


def test_pq_says_its_white(read):
    codes = np.full((2, 3, 3), 0.5806888, np.float32)  # BT.2408: 203 cd/m2
    codes[0, 0] = 2, -1, 1
    image = read(exr_samples.of_openimageio(codes, attributes=[("colorInteropID", "pq_rec2020_display")]))
    assert image.white_luminance == 10000
    np.testing.assert_allclose(image.pixels[1] * 10000, 203, rtol=1e-3)
    np.testing.assert_allclose(image.pixels[0, 0], [1, 0, 1], atol=1e-6)


def test_alpha_is_divided_out_before_decoding(read):
    codes, alpha = np.random.default_rng(0).random((8, 9, 3)).astype(np.float32), np.full((8, 9, 1), 0.25, np.float32)
    data = exr_samples.of_openimageio(
        np.dstack([codes * alpha, alpha]), attributes=[("colorInteropID", "g22_rec709_scene"), ("oiio:UnassociatedAlpha", 0)]
    )
    np.testing.assert_allclose(read(data).pixels, codes**2.2, rtol=1e-5)


# --- windows ---------------------------------------------------------------------------------------------------------------


def box(left, top, right, bottom):
    return (np.array([left, top], np.int32), np.array([right, bottom], np.int32))


WINDOWS = [
    (box(2, 1, 5, 3), box(0, 0, 9, 5)),  # inside
    (box(-2, -1, 1, 1), box(0, 0, 9, 9)),  # across the corner
    (box(0, 0, 3, 2), box(1, 1, 2, 2)),  # overscan
    (box(-100, 50, -97, 52), box(-100, 50, -96, 52)),  # far from the origin
]


@pytest.mark.parametrize(("data", "display"), WINDOWS)
@pytest.mark.parametrize("kind", ["half", "float_alpha", "grey"])
def test_the_picture_is_the_display_window(read, tmp_path, data, display, kind):
    channels = {"half": COLOUR, "grey": {"Y": PLANE}}.get(kind)
    if channels is None:
        channels = {c: plane.astype(np.float32) for c, plane in COLOUR.items()} | {"A": np.ones((3, 4), np.float32)}
    image = read(exr_samples.exr(channels, dataWindow=data, displayWindow=display))
    (left, top), (right, bottom) = display
    whole = OpenImageIO.ROI(int(left), int(right) + 1, int(top), int(bottom) + 1, 0, 1, 0, len(channels))
    expected = OpenImageIO.ImageBuf(str(tmp_path / "in.exr")).get_pixels(OpenImageIO.FLOAT, whole)
    if kind == "float_alpha" and image.metadata.alpha is not None:
        np.testing.assert_array_equal(image.metadata.alpha, expected[..., 3])
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(expected[..., :3], image.pixels.shape))
    assert "is not the display window" in image.metadata.notes[0]


def test_windows_that_do_not_meet(read):
    with pytest.raises(UnsupportedInput, match=r"in\.exr: has no pixels in its display window"):
        read(exr_samples.exr(COLOUR, dataWindow=box(0, 0, 3, 2), displayWindow=box(100, 100, 200, 200)))


# --- luminance-chroma ------------------------------------------------------------------------------------------------------


def with_edges(height, width):
    """Hard colour edges, for ringing; and greys."""
    picture = np.random.default_rng(0).random((height, width, 3)) * [1, 0.3, 0.05] + 0.01
    picture[height // 4 : height // 2, width // 4 : width // 2] = [5, 0.02, 0.01]
    picture[:, : width // 5] = picture[:, : width // 5, :1]
    return picture


@pytest.mark.parametrize("shape", [(2, 2), (64, 64), (10, 300), (300, 10)])
@pytest.mark.parametrize("make", [exr_samples.pixels, with_edges])
def test_subsampled_chroma_against_the_witness(read, tmp_path, shape, make):
    picture = make(*shape)
    image = read(exr_samples.luminance_chroma(picture.astype(np.float32)))
    assert image.pixels.dtype == np.float32
    with openimageio_without_core():
        expected = witness(tmp_path / "in.exr")
    # the reference rounds to half at each of its steps
    error = np.abs(image.pixels - expected) / expected.max(axis=2, keepdims=True)
    assert error.max() < 3e-3


def test_strips_make_no_difference(monkeypatch):
    picture = with_edges(40, 60)
    y = picture @ exr_samples.WEIGHTS
    chroma = [((picture[..., i] - y) / y)[::2, ::2].astype(np.float32) for i in (0, 2)]
    weights = exr_samples.WEIGHTS.astype(np.float32)
    whole = _exr_chroma.rgb(y, *chroma, weights)
    monkeypatch.setattr(_exr_chroma, "_STRIP_PIXELS", 300)
    np.testing.assert_array_equal(_exr_chroma.rgb(y, *chroma, weights), whole)


def test_constant_chroma_is_exact(read):
    """A filter must bring back what it can't have lost: luminance varies, colour does not."""
    colour = np.array([2.0, 1.0, 0.5])
    picture = colour * (1 + np.random.default_rng(0).random((20, 30, 1)))
    np.testing.assert_allclose(read(exr_samples.luminance_chroma(picture, dtype=np.float32)).pixels, picture, rtol=1e-5)


def test_grey_stays_grey_to_the_last_bit(read):
    grey = np.repeat(exr_samples.pixels()[..., :1], 3, axis=2).astype(np.float32)
    pixels = read(exr_samples.luminance_chroma(grey, weights=np.array([0.25, 0.5, 0.25]))).pixels
    np.testing.assert_array_equal(pixels, grey)


@pytest.mark.parametrize("primaries", [Primaries.BT709, Primaries.ACESCG])
def test_full_chroma_is_a_closed_form(read, primaries):
    picture = with_edges(21, 33)  # odd sizes: nothing is halved
    header = {"chromaticities": primaries.value.numbers}
    data = exr_samples.luminance_chroma(picture, factor=1, dtype=np.float32, weights=rgb_to_xyz(primaries)[1], **header)
    image = read(data)
    assert image.primaries is primaries
    np.testing.assert_allclose(image.pixels, picture, rtol=2e-4)


def test_subsampled_colour_is_refused(read):
    plane = exr_samples.subsampled(np.ones((4, 4), np.float16), (2, 2), (8, 8))
    channels = {"R": np.ones((8, 8), np.float16), "G": np.ones((8, 8), np.float16), "B": plane}
    with pytest.raises(UnsupportedInput, match="subsampled"):
        read(exr_samples.exr(channels))


# --- panoramas, sizes ------------------------------------------------------------------------------------------------------


def test_panorama(read):
    assert read(exr_samples.exr(COLOUR, envmap=OpenEXR.ENVMAP_LATLONG)).metadata.panorama
    assert not read(exr_samples.exr(COLOUR)).metadata.panorama
    cube = read(exr_samples.exr(COLOUR, envmap=OpenEXR.ENVMAP_CUBE)).metadata
    assert not cube.panorama
    assert "cube map" in cube.notes[0]


def test_crop_of_a_large_frame(read):
    image = read(exr_samples.exr(COLOUR, displayWindow=box(0, 0, 8191, 4319)))
    assert image.pixels.shape == (4320, 8192, 3)
    np.testing.assert_array_equal(image.pixels[:3, :4], PICTURE)
    assert not image.pixels[3:].any()
    with pytest.raises(UnsupportedInput, match="has 4 x 3 pixels in a display window of 20000 x 10000"):
        read(exr_samples.exr(COLOUR, displayWindow=box(0, 0, 19_999, 9_999)))


@pytest.mark.parametrize("lines", [OpenEXR.INCREASING_Y, OpenEXR.DECREASING_Y])
@pytest.mark.parametrize(("data", "display"), [(box(-2, -9, 1, 90), box(0, 0, 9, 99)), (box(0, 0, 3, 99), box(1, 20, 2, 30))])
@pytest.mark.parametrize("kind", ["half", "alpha", "grey"])
def test_strips_of_windows(read, monkeypatch, lines, data, display, kind):
    (_, top), (_, bottom) = data
    planes = exr_samples.planes(exr_samples.pixels(bottom - top + 1, 4, np.float32 if kind == "alpha" else np.float16))
    channels = {"half": planes, "alpha": planes | {"A": planes["G"] / 8}, "grey": {"Y": planes["G"]}}[kind]
    data = exr_samples.exr(channels, dataWindow=data, displayWindow=display, lineOrder=lines)
    whole = read(data)
    monkeypatch.setattr(_exr_strips, "STRIP_PIXELS", 4 * 16)
    decoded = []
    decode = exr._planes
    monkeypatch.setattr(exr, "_planes", lambda *given: decoded.append(given[2]) or decode(*given))
    strips = read(data)
    assert [window.height for window in decoded] == [16] * 6 + [4]
    np.testing.assert_array_equal(strips.pixels, whole.pixels)
    assert (whole.metadata.alpha is None) == (kind != "alpha")
    np.testing.assert_array_equal(strips.metadata.alpha, whole.metadata.alpha)


@pytest.mark.parametrize("kept", [0.4, 0.999])
def test_strips_of_damaged_files(read, monkeypatch, kept):
    monkeypatch.setattr(_exr_strips, "STRIP_PIXELS", 40 * 16)
    data = exr_samples.exr(exr_samples.planes(exr_samples.pixels(200, 40)))
    with pytest.raises(UnreadableInput, match="damaged"):
        read(data[: int(kept * len(data))])


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        (b"displayWindow\0box2i\0", (0, 0, 1_000_000, 1_000_000), UnsupportedInput),
        (b"displayWindow\0box2i\0", (0, 0, -5, 3), UnreadableInput),
        (b"dataWindow\0box2i\0", (0, 0, 30_000, 30_000), UnsupportedInput),
        (b"dataWindow\0box2i\0", (-(2**31), -(2**31), 2**31 - 1, 2**31 - 1), UnreadableInput),
        (b"tiles\0tiledesc\0", (2**30, 2**30), UnreadableInput),
        (b"tiles\0tiledesc\0", (0, 16), UnreadableInput),
    ],
)
def test_what_a_header_promises_is_checked_first(read, name, value, error):
    data = bytearray(exr_samples.samples()["tiled"])
    at = data.index(name) + len(name) + 4
    data[at : at + 4 * len(value)] = struct.pack(f"<{len(value)}i", *value)
    with pytest.raises(error):
        read(bytes(data))


def test_many_channels_count(read, monkeypatch):
    monkeypatch.setattr(exr, "_MAX_BYTES", 12 * 2 * 5)
    assert read(exr_samples.exr(COLOUR | {"Z": PLANE})).pixels.shape == (3, 4, 3)
    with pytest.raises(UnsupportedInput, match="6 channels"):
        read(exr_samples.exr(COLOUR | {"Z": PLANE, "U": PLANE, "V": PLANE}))


def test_lack_of_memory_is_not_damage(read, monkeypatch):
    def refuse(count):
        raise MemoryError(count)

    monkeypatch.setattr(exr, "check_memory", refuse)
    with pytest.raises(MemoryError, match="144"):  # 12 pixels of three halves, as decoded and as a picture
        read(exr_samples.exr(COLOUR))


def test_attribute_that_stands_twice(read):
    data = exr_samples.exr(COLOUR)
    at = data.index(b"dataWindow\0")
    length = len(b"dataWindow\0box2i\0") + 4 + 16
    with pytest.raises(UnreadableInput, match="twice"):
        read(data[:at] + data[at : at + length] + data[at:])


def test_written_panorama(tmp_path):
    for panorama in (True, False):
        exr.write(Image(PICTURE, Transfer.LINEAR, metadata=Metadata(panorama=panorama)), tmp_path / "a.exr", WriteOptions())
        assert exr.read(tmp_path / "a.exr").metadata.panorama is panorama
        kind = OpenImageIO.ImageBuf(str(tmp_path / "a.exr")).spec().get_string_attribute("textureformat")
        assert (kind == "LatLong Environment") is panorama
