"""SSIM in its three variants, against scikit-image, the window written out, and the values of papers' code."""

import numpy as np
import pytest
import skimage.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_scenes import PROTOCOL_PAIRS, protocol_pair, reference_values

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Viewing, _windows
from hdrcli.metrics._encodings import BT709_TO_BT2020, pq_encode, refmax_mu_law
from hdrcli.metrics.ssim import SCORES, ssim, ssim_linear_wang, ssim_map, ssim_mu_wang, ssim_tanh_mu_wang

VARIANTS = ("wang", "matlab", "uniform7")
SIDE = {"wang": 11, "matlab": 11, "uniform7": 7}
MEASURES = (ssim_linear_wang, ssim_mu_wang, ssim_tanh_mu_wang)
SHARE = 1e-8


def random_pair(shape=(40, 50, 3), seed=0):
    rng = np.random.default_rng(seed)
    reference = rng.random(shape)
    return np.clip(reference + 0.2 * rng.standard_normal(shape), 0, 1), reference


def witness(test, reference, peak, variant):
    """scikit-image's. Its map covers the whole picture; that of MATLAB is what it gives on a replicated edge."""
    colour = {"channel_axis": 2} if test.ndim == 3 else {}
    if variant == "uniform7":
        return skimage.metrics.structural_similarity(test, reference, data_range=peak, **colour)
    if variant == "matlab":
        edge = [(5, 5), (5, 5), (0, 0)][: test.ndim]
        test, reference = np.pad(test, edge, mode="edge"), np.pad(reference, edge, mode="edge")
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return skimage.metrics.structural_similarity(test, reference, data_range=peak, **gaussian, **colour)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", [(11, 11), (12, 40, 3), (40, 50), (150, 290, 3)])
@pytest.mark.parametrize("peak", [1.0, 2.0])
def test_scikit_image_agrees(variant, shape, peak):
    test, reference = random_pair(shape)
    assert ssim(test, reference, peak=peak, variant=variant) == pytest.approx(
        witness(test, reference, peak, variant), abs=1e-12
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_map_written_out_at_one_position(variant):
    test, reference = random_pair((30, 31), 3)
    side, peak = SIDE[variant], 0.7
    offsets = np.arange(side) - side // 2
    taps = np.ones(side) if variant == "uniform7" else np.exp(-(offsets**2) / 4.5)
    window = np.outer(taps, taps) / taps.sum() ** 2
    row, column = 13, 17  # top left corner of the window
    x, y = (p[row : row + side, column : column + side] for p in (test, reference))
    mx, my = (window * x).sum(), (window * y).sum()
    factor = 49 / 48 if variant == "uniform7" else 1
    vx, vy = factor * (window * (x - mx) ** 2).sum(), factor * (window * (y - my) ** 2).sum()
    c = factor * (window * (x - mx) * (y - my)).sum()
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    expected = (2 * mx * my + c1) * (2 * c + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    at = (row + 5, column + 5) if variant == "matlab" else (row, column)
    assert ssim_map(test, reference, peak=peak, variant=variant)[at] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(("variant", "size"), [("wang", (30, 40)), ("matlab", (40, 50)), ("uniform7", (34, 44))])
def test_size_and_mean_of_the_map(variant, size):
    test, reference = random_pair()
    colour = ssim_map(test, reference, peak=1, variant=variant)
    assert colour.shape == (*size, 3)
    assert ssim(test, reference, peak=1, variant=variant) == pytest.approx(colour.mean(), abs=1e-14)
    grey = ssim_map(test[..., 1], reference[..., 1], peak=1, variant=variant)
    np.testing.assert_array_equal(grey, colour[..., 1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_tiles_are_the_whole(variant, monkeypatch):
    test, reference = random_pair((64, 81, 3))
    whole = ssim_map(test, reference, peak=1, variant=variant)
    monkeypatch.setattr(_windows, "TILE", 13)
    np.testing.assert_allclose(ssim_map(test, reference, peak=1, variant=variant), whole, rtol=0, atol=1e-13)


@pytest.mark.parametrize("variant", VARIANTS)
def test_equal_pictures_give_exactly_one(variant):
    _, reference = random_pair()
    assert ssim(reference, reference.copy(), peak=1, variant=variant) == 1
    assert ssim(0 * reference, 0 * reference, peak=1, variant=variant) == 1


@given(seed=st.integers(0, 1000), factor=st.floats(1e-3, 1e3), variant=st.sampled_from(VARIANTS))
@settings(max_examples=20, deadline=None)
def test_symmetry_scale_and_range(seed, factor, variant):
    test, reference = random_pair((13, 14), seed)
    value = ssim(test, reference, peak=1, variant=variant)
    assert ssim(reference, test, peak=1, variant=variant) == pytest.approx(value, abs=1e-13)
    assert ssim(factor * test, factor * reference, peak=factor, variant=variant) == pytest.approx(value, abs=1e-10)
    assert ssim(test.T, reference.T, peak=1, variant=variant) == pytest.approx(value, abs=1e-13)
    assert -1 <= value <= 1


def test_constants_matter_by_their_peak():
    test, reference = random_pair()
    assert ssim(test, reference, peak=2, variant="uniform7") > ssim(test, reference, peak=1, variant="uniform7")


def test_a_constant_on_a_large_pedestal_has_no_variance():
    # E[x^2] - E[x]^2 would give deviations of 1e1 here
    flat = np.full((40, 40), 4e9 / 3)
    found = _windows.moments(flat, flat, _windows.gaussian_taps())
    assert np.sqrt(found.variance_x).max() < 1e-5
    assert np.abs(found.covariance).max() < 1e-10


def test_moments_with_a_large_pedestal_are_those_without():
    test, reference = random_pair((40, 40))
    taps = _windows.gaussian_taps()
    without, on_top = (_windows.moments(test + p, reference + p, taps) for p in (0.0, 2.0**20))
    for a, b in zip(without[2:], on_top[2:]):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_papers_values(name):
    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]
    encode = refmax_mu_law(reference)
    relative = np.clip(test / reference.max(), 0, 1), np.clip(reference / reference.max(), 0, 1)
    assert ssim_mu_wang(test, reference) == pytest.approx(expected["mu"]["refmax"]["ssim_mu_wang"], abs=SHARE)
    found = ssim(encode(test), encode(reference), peak=1, variant="uniform7")
    assert found == pytest.approx(expected["mu"]["refmax"]["ssim_mu_uniform7_L1"], abs=SHARE)
    for peak in (1, 2):
        found = ssim(*relative, peak=peak, variant="uniform7")
        assert found == pytest.approx(expected["fhdr"][f"ssim_linear_uniform7_L{peak}"], abs=SHARE)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_papers_values_on_pq_codes(name):
    reference, test = (np.round(pq_encode(np.clip(p @ BT709_TO_BT2020.T, 0, 1e4)) * 65535) / 65535 for p in protocol_pair(name))
    expected = reference_values("protocols")["pairs"][name]["hdrtv"]
    assert ssim(test, reference, peak=1, variant="wang") == pytest.approx(expected["ssim_wang"], abs=SHARE)
    for peak in (1, 2):
        found = ssim(test, reference, peak=peak, variant="uniform7")
        assert found == pytest.approx(expected[f"ssim_uniform7_L{peak}"], abs=SHARE)


def test_linear_and_tanh_mu_law_against_scikit_image():
    reference, test = protocol_pair("11_rgb_relative_odd")
    lit = np.maximum(test, 0)
    assert ssim_linear_wang(test, reference) == pytest.approx(witness(lit, reference, reference.max(), "wang"), abs=1e-12)
    n = np.percentile(reference, 99)
    encoded = (np.log1p(5000 * np.tanh(p / n)) / np.log(5001) for p in (lit, reference))
    assert ssim_tanh_mu_wang(test, reference) == pytest.approx(witness(*encoded, 1, "wang"), abs=1e-12)


@pytest.mark.parametrize("variant", VARIANTS)
def test_float32_is_close_and_other_memory_orders_are_equal(variant):
    test, reference = random_pair()
    value = ssim(test, reference, peak=1, variant=variant)
    single = ssim(test.astype(np.float32), reference.astype(np.float32), peak=1, variant=variant)
    assert single == pytest.approx(value, abs=1e-5)
    turned = ssim(np.asfortranarray(test), reference[::-1][::-1], peak=1, variant=variant)
    assert turned == value


@pytest.mark.parametrize("variant", VARIANTS)
def test_smaller_than_the_window(variant):
    side = SIDE[variant]
    picture = np.ones((side, side - 1, 3))
    for function in (ssim, ssim_map):
        with pytest.raises(Unavailable, match=f"smaller than the window, {side} x {side}"):
            function(picture, picture, peak=1, variant=variant)
    fits = np.ones((side, side))
    assert ssim(fits, fits, peak=1, variant=variant) == 1


def test_wrong_shapes_are_named():
    with pytest.raises(MismatchError, match="differ"):
        ssim(np.ones((20, 20, 3)), np.ones((20, 20)), peak=1, variant="wang")
    with pytest.raises(MismatchError, match="20 x 20 x 4"):
        ssim(np.ones((20, 20, 4)), np.ones((20, 20, 4)), peak=1, variant="wang")
    for measure in MEASURES:
        with pytest.raises(MismatchError, match="differ"):
            measure(np.ones((20, 20, 3)), np.ones((20, 21, 3)))
        with pytest.raises(Unavailable, match="scale by"):
            measure(np.ones((20, 20, 3)), np.zeros((20, 20, 3)))


def test_scores():
    reference, test = protocol_pair("12_rgb_wide")
    for score, measure in zip(SCORES, MEASURES, strict=True):
        assert score.name == measure.__name__
        assert score.better == "higher"
        assert score.compute(test, reference, Viewing()) == measure(test, reference)
