import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import inspection
from hdrcli.color import Primaries, Transfer, decode, luminance
from hdrcli.image import FLOAT_MAX, Image
from hdrcli.inspection import PERCENTILES, code_statistics, holds_light, light_statistics

BIN = 2.0**-12  # what a value of light may be off, relative to itself


@pytest.fixture(params=[1 << 20, 50])
def _strips(request, monkeypatch):
    """One strip, and many."""
    monkeypatch.setattr(inspection, "_STRIP_PIXELS", request.param)


def some_codes(dtype, seed=0, height=61, width=47):
    rng = np.random.default_rng(seed)
    largest = np.iinfo(dtype).max
    codes = rng.beta(0.3, 0.3, (height, width, 3)) * (largest + 0.9)
    codes[rng.random((height, width)) < 0.05] = 0
    return codes.astype(dtype)


@pytest.mark.usefixtures("_strips")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_codes_against_the_whole_array(dtype):
    codes = some_codes(dtype)
    found = code_statistics(codes, 0.97)
    over = codes >= 0.97 * np.iinfo(dtype).max
    assert found.largest == np.iinfo(dtype).max
    assert found.clipped == pytest.approx(over.mean(axis=(0, 1)), abs=1e-15)
    assert found.lost == pytest.approx([(over.sum(axis=2) == n).mean() for n in (1, 2, 3)], abs=1e-15)
    assert found.black == (codes.max(axis=2) == 0).mean()
    for q in PERCENTILES:
        assert found.percentiles[q] == tuple(np.percentile(codes, q, axis=(0, 1), method="inverted_cdf"))


def test_shares_are_those_that_expand_reports():
    from hdrcli.conversion import ExpandOptions as Options
    from hdrcli.conversion import expand
    from hdrcli.image import CLIP_CODE

    codes = some_codes(np.uint8)
    expansion = expand(Image(codes, Transfer.SRGB), Options(model="linear"))
    assert code_statistics(codes, CLIP_CODE).clipped == expansion.clipped


@pytest.mark.parametrize(
    ("colour", "clipped", "lost", "black"),
    [
        ((255, 247, 248), (1, 0, 1), (0, 1, 0), 0),
        ((0, 0, 0), (0, 0, 0), (0, 0, 0), 1),
        ((0, 0, 1), (0, 0, 0), (0, 0, 0), 0),
        ((255, 255, 255), (1, 1, 1), (0, 0, 1), 0),
        ((247, 247, 255), (0, 0, 1), (1, 0, 0), 0),
    ],
)
def test_one_colour(colour, clipped, lost, black):
    found = code_statistics(np.full((3, 2, 3), colour, np.uint8), 0.97)
    assert (found.clipped, found.lost, found.black) == (clipped, lost, black)
    assert set(found.percentiles.values()) == {colour}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=40))
def test_few_pixels(pixels):
    codes = np.array(pixels, np.uint8)[None]
    found = code_statistics(codes, 0.97)
    for q in PERCENTILES:
        assert found.percentiles[q] == tuple(np.percentile(codes, q, axis=(0, 1), method="inverted_cdf"))


@pytest.mark.usefixtures("_strips")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("primaries", [Primaries.BT709, Primaries.BT2020])
def test_light_against_the_whole_array(dtype, primaries):
    rng = np.random.default_rng(1)
    pixels = np.exp2(rng.normal(-2, 4, (53, 64, 3))).astype(dtype)
    pixels[:4, :16] = 0
    pixels[4:9, :16, 1] *= -1  # luminance below 0 in most of these
    found = light_statistics(Image(pixels, Transfer.LINEAR, primaries))
    exact = pixels.astype(np.float64)
    y = luminance(exact, primaries)
    assert (found.smallest, found.largest) == (exact.min(), exact.max())
    assert found.negative == (exact.min(axis=2) < 0).mean() == 80 / (53 * 64)
    assert found.above_white == (exact.max(axis=2) > 1).mean()
    assert found.black == (y <= 0).mean() > 64 / (53 * 64)
    assert found.not_finite == 0
    for q in PERCENTILES:
        wanted = max(0, np.percentile(y, q, method="inverted_cdf"))
        assert found.percentiles[q] == pytest.approx(wanted, rel=1.1 * BIN), q
    lit = y[y > 0]
    assert (found.least, found.most) == pytest.approx((lit.min(), lit.max()), rel=1.1 * BIN)
    assert found.usual == pytest.approx(tuple(np.percentile(lit, (0.1, 99.9), method="inverted_cdf")), rel=1.1 * BIN)
    assert found.log_mean == pytest.approx(2 ** np.log2(lit).mean(), rel=BIN)


def test_a_ramp_of_stops():
    stops = np.linspace(-8, 8, 1601)
    ramp = np.exp2(stops).astype(np.float32)[None, :, None].repeat(3, 2)
    found = light_statistics(Image(ramp, Transfer.LINEAR))
    # the values in order are the percentiles in order
    for q in PERCENTILES:
        assert np.log2(found.percentiles[q]) == pytest.approx(stops[int(np.ceil(16.01 * q)) - 1], abs=0.0005)
    assert np.log2(found.log_mean) == pytest.approx(0, abs=0.0005)
    assert np.log2(found.most / found.least) == pytest.approx(16, abs=0.001)
    assert found.above_white == 800 / 1601


@pytest.mark.parametrize("transfer", [Transfer.PQ, Transfer.HLG])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_encoded_light_is_decoded(transfer, dtype):
    pixels = some_codes(np.uint16, 3)
    codes = pixels / 65535
    image = Image(pixels if dtype == np.uint16 else codes.astype(np.float32), transfer)
    assert holds_light(image)
    found = light_statistics(image)
    light = decode(codes, transfer)
    assert found.largest == pytest.approx(light.max(), rel=1e-4)
    wanted = np.percentile(luminance(light), 50, method="inverted_cdf")
    assert found.percentiles[50.0] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("dtype", "transfer", "light"),
    [
        (np.uint8, Transfer.SRGB, False),
        (np.uint16, Transfer.LINEAR, False),
        (np.float32, Transfer.LINEAR, True),
        (np.float32, Transfer.SRGB, True),
        (np.uint16, Transfer.PQ, True),
    ],
)
def test_which_statistics(dtype, transfer, light):
    assert holds_light(Image(np.zeros((1, 1, 3), dtype), transfer)) is light


def test_converted_pixels_do_not_count_where_codes_are_kept():
    image = Image(np.zeros((1, 1, 3), np.uint16), Transfer.SRGB, stored=np.full((1, 1, 3), 255, np.uint8))
    assert not holds_light(image)
    assert code_statistics(image.codes, 0.97).lost == (0, 0, 1)


def test_black_has_no_range():
    found = light_statistics(Image(np.zeros((2, 2, 3), np.float16), Transfer.LINEAR))
    assert (found.black, found.least, found.most, found.log_mean, found.usual) == (1, None, None, None, None)
    assert set(found.percentiles.values()) == {0}


def test_minus_zero_is_black():
    assert light_statistics(Image(np.full((2, 2, 3), -0.0, np.float32), Transfer.LINEAR)).black == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_odd_values_are_counted_and_do_no_harm(dtype):
    pixels = np.ones((4, 5, 3), dtype)
    pixels[0, 0] = np.nan
    pixels[1, 1, 0] = np.inf
    pixels[2, 2] = -np.inf
    found = light_statistics(Image(pixels, Transfer.LINEAR))
    assert found.not_finite == 7
    assert (found.smallest, found.largest) == (-np.float32(FLOAT_MAX), np.float32(FLOAT_MAX))
    assert found.black == 2 / 20
    assert found.percentiles[50.0] == pytest.approx(1, rel=BIN)


def test_the_largest_floats_overflow_nothing():
    found = light_statistics(Image(np.full((40, 50, 3), FLOAT_MAX, np.float32), Transfer.LINEAR))
    assert found.not_finite == 0
    assert found.most == found.percentiles[0.1] == pytest.approx(FLOAT_MAX, rel=BIN)


@pytest.mark.parametrize(("dtype", "limit"), [(np.uint8, 20e6), (np.uint16, 30e6), (np.float16, 60e6)])
def test_memory_does_not_grow_with_the_picture(dtype, limit):
    """Not more than a few strips: NumPy reports its allocations to tracemalloc."""
    pixels = np.ones((4000, 3000, 3), dtype)
    transfer = Transfer.LINEAR if dtype == np.float16 else Transfer.SRGB
    image = Image(pixels, transfer)
    tracemalloc.start()
    try:
        if holds_light(image):
            light_statistics(image)
        else:
            code_statistics(pixels, 0.97)
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()
