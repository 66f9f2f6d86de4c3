"""PSNR against scikit-image, closed forms and the values of papers' code."""

import math

import numpy as np
import pytest
import skimage.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_scenes import PROTOCOL_PAIRS, protocol_pair, reference_values

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Viewing
from hdrcli.metrics._encodings import BT709_TO_BT2020, pq_encode
from hdrcli.metrics.psnr import SCORES, decibels, mean_squared_error, psnr, psnr_linear, psnr_mu, psnr_tanh_mu

DECIBEL = 1e-6
MEASURES = (psnr_linear, psnr_mu, psnr_tanh_mu)


def random_pair(seed=0, shape=(40, 50, 3)):
    rng = np.random.default_rng(seed)
    return rng.random(shape), rng.random(shape)


def test_a_constant_error_in_closed_form():
    assert psnr(np.full((5, 6), 0.75), np.full((5, 6), 0.5), 1) == pytest.approx(20 * math.log10(4), abs=1e-12)
    assert psnr(np.full((5, 6), 0.75), np.full((5, 6), 0.5), 4) == pytest.approx(20 * math.log10(16), abs=1e-12)


def test_one_mean_over_samples_and_not_of_decibels():
    reference = np.zeros((1, 2, 3))
    test = reference.copy()
    test[..., 0] = 0.3
    assert psnr(test, reference, 1) == pytest.approx(-10 * math.log10(0.09 / 3), abs=1e-12)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (40, 50), (40, 50, 3), (700, 500, 3)])
def test_any_shape_is_that_of_scikit_image(shape):
    test, reference = random_pair(1, shape)
    witness = skimage.metrics.peak_signal_noise_ratio(reference, test, data_range=2.5)
    assert psnr(test, reference, 2.5) == pytest.approx(witness, abs=1e-10)


def test_differences_are_taken_in_float64():
    reference = np.full((4, 4), 60000, np.float16)
    assert psnr(-reference, reference, 60000) == pytest.approx(-20 * math.log10(2), abs=1e-3)
    assert mean_squared_error(np.array([200], np.uint8), np.array([220], np.uint8)) == 400


@pytest.mark.parametrize("measure", MEASURES)
def test_equal_pictures_give_infinity(measure):
    picture, _ = random_pair()
    assert measure(picture, picture.copy()) == math.inf
    assert psnr(picture, picture, 1) == math.inf
    assert decibels(0, 1) == math.inf
    assert decibels(math.inf, 1) == -math.inf


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
@settings(max_examples=25)
def test_symmetry_and_scale(seed, factor):
    test, reference = random_pair(seed, (6, 7, 3))
    assert psnr(test, reference, 1) == pytest.approx(psnr(reference, test, 1), abs=1e-12)
    assert psnr(factor * test, factor * reference, factor) == pytest.approx(psnr(test, reference, 1), abs=1e-9)
    for measure in MEASURES:  # a common scale cancels
        assert measure(factor * test, factor * reference) == pytest.approx(measure(test, reference), abs=1e-8)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_papers_code(name):
    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]
    assert psnr_linear(test, reference) == pytest.approx(expected["ntire21"]["psnr_linear"], abs=DECIBEL)
    assert psnr_tanh_mu(test, reference) == pytest.approx(expected["ntire21"]["mu_psnr"], abs=DECIBEL)
    assert psnr_mu(test, reference) == pytest.approx(expected["mu"]["refmax"]["psnr_mu"], abs=DECIBEL)
    assert psnr_mu(test, reference) == pytest.approx(expected["fhdr"]["psnr_mu"], abs=DECIBEL)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_papers_code_on_pq_codes(name):
    def codes(picture, levels=None):
        code = pq_encode(np.clip(picture @ BT709_TO_BT2020.T, 0, 1e4))
        return np.round(code * levels) / levels if levels else code

    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]["hdrtv"]
    assert psnr(codes(test, 65535), codes(reference, 65535), 1) == pytest.approx(expected["psnr"], abs=DECIBEL)
    assert psnr(codes(test), codes(reference), 1) == pytest.approx(expected["psnr_unquantised"], abs=DECIBEL)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_float32_pictures_are_close(name):
    reference, test = protocol_pair(name)
    for measure in MEASURES:
        single = measure(test.astype(np.float32), reference.astype(np.float32))
        assert single == pytest.approx(measure(test, reference), abs=1e-3)


def test_negative_light_counts_as_none():
    reference, test = random_pair()
    test[:10] = 0
    darker = test.copy()
    darker[:10] = -5
    for measure in MEASURES:
        assert measure(darker, reference) == measure(test, reference)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_black_reference_has_no_peak(measure):
    with pytest.raises(Unavailable, match="scale by"):
        measure(np.ones((4, 4, 3)), np.zeros((4, 4, 3)))


@pytest.mark.parametrize("shape", [(4, 5, 1), (1, 5, 3), (4, 5), (5, 4, 3)])
def test_other_shapes_are_not_stretched(shape):
    with pytest.raises(MismatchError, match=r"4 x 5 x 3"):
        psnr(np.ones(shape), np.zeros((4, 5, 3)), 1)
    with pytest.raises(MismatchError, match="differ"):
        psnr_mu(np.ones(shape), np.ones((4, 5, 3)))


def test_empty_pictures_are_named():
    with pytest.raises(MismatchError, match="empty"):
        psnr(np.ones((0, 5, 3)), np.ones((0, 5, 3)), 1)


def test_scores():
    reference, test = protocol_pair("12_rgb_wide")
    for score, measure in zip(SCORES, MEASURES, strict=True):
        assert score.name == measure.__name__
        assert (score.unit, score.better) == ("dB", "higher")
        assert score.compute(test, reference, Viewing()) == measure(test, reference)
