"""TMQI against its definition in 80-bit arithmetic and the authors' release, run on pairs that are made again here."""

import math

import numpy as np
import pytest
from reference_scenes import TMQI_PAIRS, box, reference_values, scene, tmqi_pair

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Viewing, _windows
from hdrcli.metrics.tmqi import (
    LEAST_SIDE,
    SCORES,
    TONEMAP_SCORES,
    _halved,
    _normal_distribution,
    _threshold,
    naturalness,
    structural_fidelity,
    tmqi,
)

VALUES = reference_values("tmqi")
SMALL = VALUES["small_image_behaviour"]


@pytest.mark.parametrize("name", TMQI_PAIRS)
def test_the_definition_in_80_bits(name):
    found, expected = tmqi(*tmqi_pair(name)), VALUES["pairs"][name]["target"]
    tolerance = 1e-7 if name.startswith("t5") else 1e-8
    assert found.q == pytest.approx(expected["Q"], abs=tolerance)
    assert found.s == pytest.approx(expected["S"], abs=tolerance)
    assert found.n == pytest.approx(expected["N"], abs=1e-10)
    assert found.s_local == pytest.approx(expected["s_local"], abs=tolerance)
    assert not found.inverted
    assert not found.looks_normalised


@pytest.mark.parametrize("name", TMQI_PAIRS[:4])  # on t5 the release returns rounding noise
def test_the_authors_release(name):
    found, expected = tmqi(*tmqi_pair(name)), VALUES["pairs"][name]["release_1_0"]
    assert found.q == pytest.approx(expected["Q"], abs=1e-8)
    assert found.s_local == pytest.approx(expected["s_local"], abs=1e-8)
    assert found.n == pytest.approx(expected["N"], abs=1e-10)


@pytest.mark.parametrize("rows", [192, 176, 161])
def test_small_pictures(rows):
    hdr, ldr = (p[:rows, : min(256, rows + 10)] for p in tmqi_pair("t1_rgb_reinhard"))
    expected = SMALL["crops of t1 from the top left, rows z, columns min(256, z+10)"][str(rows)]
    assert tmqi(hdr, ldr).q == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("crop", [(slice(0, LEAST_SIDE - 1), slice(None)), (slice(None), slice(0, LEAST_SIDE - 1))])
def test_smaller_pictures_have_none(crop):
    hdr, ldr = (p[crop] for p in tmqi_pair("t1_rgb_reinhard"))
    with pytest.raises(Unavailable, match="smaller than 161"):
        tmqi(hdr, ldr)
    assert 0 <= naturalness(ldr) <= 1  # needs no size


def test_codes_in_0_to_1_are_noticed():
    hdr, ldr = tmqi_pair("t1_rgb_reinhard")
    found, expected = tmqi(hdr, ldr / 255), SMALL["t1 with LDR divided by 255 (misuse)"]
    assert found.looks_normalised
    assert (found.q, found.s, found.n) == pytest.approx((expected["Q"], expected["S"], expected["N"]), abs=1e-8)


def test_a_white_ldr_picture():
    hdr, ldr = tmqi_pair("t1_rgb_reinhard")
    found, expected = tmqi(hdr, np.full_like(ldr, 255)), SMALL["t1 with an all-255 LDR"]
    assert (found.q, found.s) == pytest.approx((expected["Q"], expected["S"]), abs=1e-8)


def test_inverted_contrast():
    hdr, ldr = tmqi_pair("t1_rgb_reinhard")
    found = tmqi(hdr, 255 - ldr)
    assert found.inverted
    assert found.s == 0
    assert min(found.s_local) < 0
    assert found.q == pytest.approx(0.1988 * found.n**0.7088, abs=1e-15)
    assert structural_fidelity(hdr, 255 - ldr) == 0


def test_the_scale_of_the_hdr_picture_does_not_count():
    hdr, ldr = tmqi_pair("t1_rgb_reinhard")
    value = tmqi(hdr, ldr)
    assert tmqi(hdr * 0.001, ldr).q == pytest.approx(value.q, abs=1e-9)
    single = tmqi(hdr.astype(np.float32), ldr.astype(np.uint8))
    assert single.q == pytest.approx(value.q, abs=1e-6)


def test_an_offset_of_the_hdr_picture_does_not_count():
    hdr, ldr = tmqi_pair("t1_rgb_reinhard")
    assert tmqi(hdr - 0.5, ldr).q == pytest.approx(tmqi(hdr, ldr).q, abs=1e-8)


def test_parts_agree_with_the_whole():
    hdr, ldr = tmqi_pair("t2_rgb_clip90")
    found = tmqi(hdr, ldr)
    assert structural_fidelity(hdr, ldr) == found.s
    assert naturalness(ldr) == found.n
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    assert found.s == pytest.approx(math.prod(s**w for s, w in zip(found.s_local, weights)), abs=1e-14)
    assert found.q == pytest.approx(0.8012 * found.s**0.3046 + 0.1988 * found.n**0.7088, abs=1e-15)


def test_fidelity_at_the_finest_scale_written_out(monkeypatch):
    """With 121 centred taps at every position, and exact Phi: on a picture cut to what is worth the loop."""
    from hdrcli.metrics import tmqi as module

    hdr, ldr = (p[:24, :25] for p in tmqi_pair("t3_lum_log_noise"))
    x = (hdr - hdr.min()) * round((2**32 - 1) / (hdr.max() - hdr.min()))
    window = np.outer(*[np.exp(-((np.arange(11) - 5.0) ** 2) / 4.5)] * 2)
    window /= window.sum()
    tau = 128 / (1.4 * 69.07515367726)
    total = 0.0
    for row in range(14):
        for column in range(15):
            a, b = (p[row : row + 11, column : column + 11] for p in (x, ldr))
            da, db = a - (window * a).sum(), b - (window * b).sum()
            sa, sb, c = math.sqrt((window * da**2).sum()), math.sqrt((window * db**2).sum()), (window * da * db).sum()
            p, q = (math.erfc(-(s - tau) / (tau / 3) / math.sqrt(2)) / 2 for s in (sa, sb))
            total += (2 * p * q + 0.01) / (p * p + q * q + 0.01) * (c + 10) / (sa * sb + 10)
    monkeypatch.setattr(_windows, "TILE", 7)  # several tiles
    assert module._fidelity(x, ldr, 16) == pytest.approx(total / (14 * 15), abs=1e-11)


# cycles per degree, threshold
@pytest.mark.parametrize(
    ("frequency", "threshold"),
    [(16, 1.32361010524494), (8, 0.93220293930819), (4, 1.12801311715084), (2, 1.73169295742162), (1, 2.89367595025435)],
)
def test_thresholds(frequency, threshold):
    assert _threshold(frequency) == pytest.approx(threshold, abs=1e-12)


def test_the_normal_distribution():
    z = np.concatenate([np.linspace(-3, 12, 20011), [1e3, 1e30]])
    expected = [math.erfc(-v / math.sqrt(2)) / 2 for v in z]
    np.testing.assert_allclose(_normal_distribution(z), expected, rtol=0, atol=1e-12)


def test_halves_of_odd_sides_repeat_the_last_sample():
    np.testing.assert_array_equal(_halved(np.array([[1.0, 2, 4], [3, 4, 8], [5, 6, 7]])), [[2.5, 6], [5.5, 7]])


def test_naturalness_of_textbook_pictures():
    assert naturalness(np.full((22, 22), 116.0)) == 0  # no contrast
    checks = 116 + 20 * (np.indices((44, 33)).sum(axis=0) % 2 * 2 - 1.0)
    deviation = 20 * math.sqrt((121 - 1 / 121) / 120)  # 61 of one kind, 60 of the other
    t = deviation / 64.29
    mode = 3.4 / 12.5
    density = (t / mode) ** 3.4 * ((1 - t) / (1 - mode)) ** 9.1
    brightness = math.exp(-((checks.mean() - 115.94) ** 2) / (2 * 27.99**2))
    assert naturalness(checks) == pytest.approx(density * brightness, abs=1e-12)


def test_blocks_that_stick_out_are_filled_with_zeros():
    """sigma of t1, whose sides are no multiples of 11, written out block by block."""
    _, ldr = tmqi_pair("t1_rgb_reinhard")
    plane = ldr @ np.array([0.2126, 0.7152, 0.0722])
    sigma = 0.0
    for row in range(0, 192, 11):
        for column in range(0, 256, 11):
            real = plane[row : row + 11, column : column + 11]
            block = np.zeros((11, 11))
            block[: real.shape[0], : real.shape[1]] = real
            sigma += block.std(ddof=1) * real.size / plane.size
    assert sigma == pytest.approx(VALUES["pairs"]["t1_rgb_reinhard"]["target"]["sig"], abs=1e-9)
    t, mode = sigma / 64.29, 3.4 / 12.5
    brightness = math.exp(-((plane.mean() - 115.94) ** 2) / (2 * 27.99**2))
    expected = (t / mode) ** 3.4 * ((1 - t) / (1 - mode)) ** 9.1 * brightness
    assert naturalness(ldr) == pytest.approx(expected, abs=1e-12)


def test_more_contrast_than_any_natural_picture_has():
    checks = 127.5 * (1 + (np.indices((44, 44)).sum(axis=0) % 2 * 2 - 1.0))
    assert naturalness(checks) == 0  # sigma is above 64.29


def test_blur_and_tone_mapping_order_as_they_should():
    hdr, good = tmqi_pair("t1_rgb_reinhard")
    blurred = np.round(box(good, 9))
    dark = np.round(good / 8)
    assert tmqi(hdr, good).s > tmqi(hdr, blurred).s
    assert tmqi(hdr, good).q > tmqi(hdr, dark).q


def test_constant_and_extreme_hdr_pictures_have_none():
    hdr = scene(161, 161, 1)
    ldr = np.clip(hdr, 0, 255)
    with pytest.raises(Unavailable, match="constant"):
        tmqi(np.ones_like(hdr), ldr)
    with pytest.raises(Unavailable, match="scale them down"):
        tmqi(1e8 * hdr, ldr)


def test_wrong_shapes_are_named():
    with pytest.raises(MismatchError, match="differ"):
        tmqi(np.ones((200, 200, 3)), np.ones((200, 200)))
    with pytest.raises(MismatchError, match="200 x 200 x 4"):
        tmqi(np.ones((200, 200, 4)), np.ones((200, 200, 4)))


def test_scores():
    hdr, ldr = tmqi_pair("t1_rgb_reinhard")
    found = tmqi(hdr, ldr)
    assert SCORES == ()
    assert [s.name for s in TONEMAP_SCORES] == ["tmqi", "tmqi_s", "tmqi_n"]
    assert [s.compute(ldr, hdr, Viewing()) for s in TONEMAP_SCORES] == [found.q, found.s, found.n]
