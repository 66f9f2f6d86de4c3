import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Primaries, Transfer, converted, encode, luminance
from hdrcli.conversion import TonemapOptions, tonemap
from hdrcli.image import Image, Metadata
from hdrcli.viewing import light


def linear(pixels, **more):
    return Image(np.asarray(pixels, np.float32), Transfer.LINEAR, **more)


def noise(height, width, seed=0):
    return np.exp2(np.random.default_rng(seed).normal(0, 3, (height, width, 3))).astype(np.float32)


def shares(whole, small):
    """``(small, whole)``: how much of each small pixel's area is which pixel, in exact fractions."""
    step = Fraction(whole, small)
    rows = [
        [max(min(Fraction(x + 1), (i + 1) * step) - max(Fraction(x), i * step), 0) for x in range(whole)] for i in range(small)
    ]
    return np.array([[float(share / step) for share in row] for row in rows])


@given(st.integers(1, 40), st.integers(1, 40), st.data())
@settings(deadline=None, max_examples=60)
def test_reduced_is_the_mean_over_each_area(height, width, data):
    h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    picture = noise(height, width).astype(np.float32)
    expected = np.einsum("ij,jkc,lk->ilc", shares(height, h), picture.astype(np.float64), shares(width, w))
    small = light.reduced(lambda part: picture[part], (height, width), (h, w))
    assert small.shape == (h, w, 3)
    assert small == pytest.approx(expected, rel=2e-4)


def test_reduced_in_strips_equals_the_whole(monkeypatch):
    picture = noise(501, 37)
    whole = light.reduced(lambda part: picture[part], (501, 37), (97, 11))
    monkeypatch.setattr(light, "STRIP_PIXELS", 200)
    assert np.allclose(light.reduced(lambda part: picture[part], (501, 37), (97, 11)), whole, rtol=1e-6)


def test_what_is_not_finite_stays_where_it_is():
    picture = np.ones((60, 60, 3), np.float32)
    picture[10, 20] = np.nan
    picture[59, 59] = np.inf
    small = light.reduced(lambda part: picture[part], (60, 60), (20, 20))
    wrong = ~np.isfinite(small).all(axis=-1)
    assert [tuple(map(int, at)) for at in np.argwhere(wrong)] == [(3, 6), (19, 19)]
    assert np.allclose(small[~wrong], 1)


def test_reduced_never_enlarges():
    with pytest.raises(ValueError, match="larger"):
        light.reduced(lambda part: np.ones((2, 2, 3), np.float32)[part], (2, 2), (3, 2))


def test_codes_become_the_light_they_stand_for():
    codes = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2)
    rows = light.rows_of(Image(codes, Transfer.SRGB))
    assert encode(rows(slice(None)), Transfer.SRGB)[:, 0, 0] * 255 == pytest.approx(np.arange(256), abs=1e-3)
    # HDR reference white: BT.2408, 203 cd/m2, the signals 0.58 of PQ and 0.75 of HLG
    for transfer, signal, tolerance in ((Transfer.PQ, 0.5807, 0.002), (Transfer.HLG, 0.75, 1e-5)):
        image = Image(np.full((1, 1, 3), signal, np.float32), transfer, Primaries.BT2020)
        assert light.rows_of(image)(slice(None)) == pytest.approx(1, rel=tolerance)
        assert light.is_hdr(image)
    assert light.nits_of_white(Image(codes, Transfer.PQ, white_luminance=10000)) == 203
    assert light.nits_of_white(linear(noise(1, 1), white_luminance=80)) == 80
    assert light.nits_of_white(linear(noise(1, 1))) is None


def test_alpha_and_primaries():
    red = np.zeros((2, 1, 3), np.float32)
    red[..., 0] = 1
    image = linear(red, primaries=Primaries.DISPLAY_P3, metadata=Metadata(alpha=np.array([[0.25], [0]], np.float32)))
    rows = light.rows_of(image)(slice(None))
    assert rows[0, 0] == pytest.approx(0.25 * converted(red[:1], Primaries.DISPLAY_P3, Primaries.BT709)[0, 0], abs=1e-6)
    assert not rows[1].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ldr_is_shown_as_it_is(dtype):
    codes = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (30, 20, 3), dtype)
    shown = light.display(Image(codes, Transfer.SRGB), (30, 20), TonemapOptions("reinhard"))
    assert np.abs(shown.astype(float) - codes * (255 / np.iinfo(dtype).max)).max() <= 0.51
    darker = light.display(Image(np.full((4, 4, 3), 255, np.uint8), Transfer.SRGB), (2, 2), TonemapOptions(ev=-1))
    assert (darker == 188).all()  # sRGB code of half the light


def test_black_and_white_stripes_become_the_grey_of_half_the_light():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[::2] = 255
    shown = light.display(Image(stripes, Transfer.SRGB), (20, 20), TonemapOptions("reinhard"))
    assert (shown == 188).all()


def test_hdr_is_tone_mapped():
    image = linear(noise(64, 48))
    options = TonemapOptions("mulaw", {"mu": "300"}, ev=1)
    assert np.array_equal(light.display(image, (64, 48), options), tonemap(image, options).pixels)
    small = light.display(image, (16, 12), options)
    toned = tonemap(image, options)
    assert np.array_equal(small, light.display(toned, (16, 12), TonemapOptions("reinhard")))


def test_large_hdr_is_tone_mapped_at_a_size_between():
    picture = np.full((1500, 20, 3), 0.2, np.float32)
    picture[:750] = np.nan
    picture[-1] = -1
    shown = light.display(linear(picture), (30, 1), TonemapOptions("reinhard"))
    assert shown.shape == (30, 1, 3)
    assert not shown[:15].any()
    assert len(np.unique(shown[15:29])) == 1


def test_histogram():
    picture = noise(50, 60)
    picture[0, :5] = 0
    picture[1, :4] = np.nan
    picture[2, :3] = np.inf
    picture[3, 0] = 2.0**60
    picture[3, 1] = 2.0**-60
    found = light.histogram(lambda part: picture[part], 50, 60)
    y = luminance(picture.astype(np.float64))
    y = y[np.isfinite(y) & (y > 0)]
    edges = np.arange(-24, 40.01, 0.25)
    expected = np.histogram(np.clip(np.log2(y), -24, 39.99), edges)[0]
    assert found.first == -24
    assert np.abs(np.array(found.counts) - expected).sum() <= 4  # rounding at an edge
    assert (sum(found.counts), found.black, found.not_finite) == (3000 - 12, 5, 7)


def test_histogram_in_strips(monkeypatch):
    picture = noise(50, 60)
    whole = light.histogram(lambda part: picture[part], 50, 60)
    monkeypatch.setattr(light, "STRIP_PIXELS", 100)
    assert light.histogram(lambda part: picture[part], 50, 60) == whole


def test_summaries():
    photo = np.full((10, 20, 3), 99, np.uint8)
    photo[0, :10, 1] = 255
    assert light.summary(Image(photo, Transfer.SRGB)) == "20 x 10, LDR, 5 % clipped"
    ramp = np.geomspace(2.0**-6, 2.0**4, 2000, dtype=np.float32).reshape(40, 50, 1).repeat(3, 2)
    text = light.summary(linear(ramp))
    assert text.startswith("50 x 40, HDR, 10.0 stops, 40 % above 1.0, peak +4.0")
    ramp[0, 0] = np.nan
    assert light.summary(linear(ramp)).endswith("3 values not finite")
    assert light.summary(linear(np.zeros((2, 2, 3)))) == "2 x 2, HDR, black, 0 % above 1.0"
    pq = Image(np.full((3, 3, 3), float(encode(np.array(0.1), Transfer.PQ)), np.float32), Transfer.PQ)
    assert light.summary(pq) == "3 x 3, HDR in PQ, 0.0 stops, peak 1e+03 cd/m2"
    assert light.summary(Image(np.full((3, 3, 3), 0.5, np.float32), Transfer.HLG)) == "3 x 3, HDR in HLG, 0.0 stops"
    few = np.full((200, 200, 3), 9, np.uint8)
    few[0, 0] = 255
    assert light.summary(Image(few, Transfer.SRGB)).endswith("< 0.01 % clipped")
    assert math.isclose(float(few.max()), 255)
