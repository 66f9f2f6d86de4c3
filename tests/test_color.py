"""Transfer functions, primaries, luminance: against other implementations, published numbers and closed forms."""

import numpy as np
import OpenImageIO
import pytest
import skimage.color
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import (
    Chromaticities,
    Primaries,
    Transfer,
    chromaticities_of,
    conversion_matrix,
    converted,
    decode,
    decoding_table,
    encode,
    find_primaries,
    luminance,
    named_primaries,
    rgb_to_xyz,
)

CURVES = [t for t in Transfer if t is not Transfer.LINEAR]


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(CURVES), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_encode_undoes_decode(transfer, values):
    v = np.array(values)
    np.testing.assert_allclose(encode(decode(v, transfer), transfer), v, atol=2e-6)


@pytest.mark.parametrize("transfer", CURVES)
def test_curves_rise_from_0_to_1(transfer):
    x = decode(np.linspace(0, 1, 4097), transfer)
    assert (np.diff(x) > 0).all()
    np.testing.assert_allclose(x[[0, -1]], [0, 1], atol=1e-6)


@pytest.mark.parametrize("transfer", list(Transfer))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_that_comes_in_goes_out(transfer, dtype):
    v = np.linspace(0, 1, 5, dtype=dtype)
    assert decode(v, transfer).dtype == encode(v, transfer).dtype == dtype


def test_srgb_as_scikit_image_has_it():
    grey = np.linspace(0, 1, 256)[:, None] * np.ones(3)
    np.testing.assert_allclose(decode(grey[:, 0], Transfer.SRGB), skimage.color.rgb2xyz(grey)[:, 1], atol=1e-6)


def test_srgb_as_openimageio_has_it():
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None, :, None] * np.ones(3, np.float32)
    image = OpenImageIO.ImageBuf(OpenImageIO.ImageSpec(256, 1, 3, "float"))
    image.set_pixels(OpenImageIO.ROI(), ramp)
    linear = OpenImageIO.ImageBufAlgo.colorconvert(image, "sRGB", "lin_srgb").get_pixels()
    np.testing.assert_allclose(decode(ramp[0], Transfer.SRGB), linear[0], atol=3e-5)


def test_srgb_is_odd_below_zero():
    v = np.array([-0.5, -0.02])
    np.testing.assert_array_equal(decode(v, Transfer.SRGB), -decode(-v, Transfer.SRGB))


# cd/m2 -> PQ code: computed from SMPTE ST 2084 in another language
@pytest.mark.parametrize(
    ("nits", "code"), [(1, 0.14994573210018), (100, 0.5080784215174), (1000, 0.75182709624704), (10000, 1)]
)
def test_pq_codes_of_luminances(nits, code):
    np.testing.assert_allclose(encode(np.array(nits / 10000), Transfer.PQ), code, rtol=1e-10)


def test_hlg_reference_white_is_203_nits_on_a_1000_nit_display():
    """BT.2408: code 75 % of HLG; the display's gamma is 1.2."""
    assert 1000 * decode(np.array(0.75), Transfer.HLG) ** 1.2 == pytest.approx(203, abs=0.5)
    assert decode(np.array(0.5), Transfer.HLG) == pytest.approx(1 / 12)


@pytest.mark.parametrize("codes", [256, 65536])
def test_decoding_table_holds_every_code_and_is_read_only(codes):
    table = decoding_table(Transfer.SRGB, codes)
    assert table.dtype == np.float32
    assert not table.flags.writeable
    v = np.arange(codes) / (codes - 1)
    np.testing.assert_allclose(table, np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4), rtol=1e-6)


def test_srgb_matrix_as_in_iec_61966():
    published = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    np.testing.assert_allclose(rgb_to_xyz(Primaries.BT709), published, atol=1e-4)


# rows published by Lindbloom (Bradford), ACES and Apple, to their digits
@pytest.mark.parametrize(
    ("source", "first_row"),
    [
        (Primaries.DISPLAY_P3, [1.2249, -0.2247, 0.0]),
        (Primaries.BT2020, [1.6605, -0.5876, -0.0728]),
        (Primaries.ADOBE_RGB, [1.3984, -0.3984, 0.0]),
        (Primaries.PROPHOTO, [2.0342, -0.7274, -0.3067]),
        (Primaries.ACESCG, [1.7051, -0.6218, -0.0833]),
    ],
)
def test_published_matrices_to_rec709(source, first_row):
    np.testing.assert_allclose(conversion_matrix(source, Primaries.BT709)[0], first_row, atol=6e-4)


@pytest.mark.parametrize("source", list(Primaries))
@pytest.mark.parametrize("target", list(Primaries))
def test_white_stays_white_and_the_way_back_is_the_inverse(source, target):
    matrix = conversion_matrix(source, target)
    np.testing.assert_allclose(matrix @ np.ones(3), 1, atol=1e-12)
    np.testing.assert_allclose(conversion_matrix(target, source) @ matrix, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("primaries", list(Primaries))
def test_primaries_are_found_by_their_chromaticities(primaries):
    assert find_primaries(primaries.value) is primaries
    assert primaries.label


def test_luminance_takes_linear_rgb_with_the_weights_of_the_standard():
    np.testing.assert_allclose(luminance(np.eye(3)), [0.2126, 0.7152, 0.0722], atol=5e-5)
    np.testing.assert_allclose(luminance(np.eye(3), Primaries.BT2020), [0.2627, 0.6780, 0.0593], atol=5e-5)
    assert luminance(np.full(3, 0.25)) == pytest.approx(0.25)  # no curve is applied


def test_luminance_keeps_type_and_shape():
    y = luminance(np.ones((4, 5, 3), np.float32))
    assert (y.dtype, y.shape) == (np.float32, (4, 5))


ODD = Chromaticities((0.66, 0.31), (0.25, 0.68), (0.14, 0.07), (0.32, 0.34))


@pytest.mark.parametrize("source", [Primaries.PROPHOTO, ODD])
@pytest.mark.parametrize("target", [Primaries.BT709, Primaries.ACESCG, ODD])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conversion_is_the_matrix_and_leaves_grey_alone(source, target, dtype):
    rgb = np.random.default_rng(1).uniform(-0.5, 30, (5, 7, 3)).astype(dtype)
    out = converted(rgb, source, target)
    np.testing.assert_allclose(
        out, rgb @ conversion_matrix(source, target).T, rtol=2e-5 if dtype == np.float32 else 1e-12, atol=2e-5
    )
    assert out.dtype == dtype
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    np.testing.assert_array_equal(converted(grey, source, target), grey)


@pytest.mark.parametrize(
    ("numbers", "sense"),
    [
        (ODD.numbers, True),
        *((p.value.numbers, True) for p in Primaries),
        ((0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.31, 0.0), False),  # white without luminance
        ((0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.31, 0.33), False),  # on one line
        ((0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.8, 0.1), False),  # white outside
        ((float("nan"), *ODD.numbers[1:]), False),
        ((float("inf"), *ODD.numbers[1:]), False),
        ((0.0,) * 8, False),
    ],
)
def test_chromaticities_that_make_sense(numbers, sense):
    pairs = [tuple(numbers[i : i + 2]) for i in range(0, 8, 2)]
    chromaticities = Chromaticities(*pairs)
    assert chromaticities.makes_sense is sense
    named = named_primaries(chromaticities)
    if not sense:
        assert named is None
    else:
        assert chromaticities_of(named) == chromaticities
        assert isinstance(named, Primaries) is (numbers != ODD.numbers)
        white = rgb_to_xyz(named) @ np.ones(3)
        np.testing.assert_allclose(white[1], 1)


def test_labels_tell_primaries_apart():
    labels = {p.label for p in Primaries} | {ODD.label}
    assert len(labels) == len(Primaries) + 1
