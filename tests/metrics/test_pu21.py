"""PU21, and PSNR and SSIM on it, against the authors' MATLAB code run on pairs that are made again here."""

import numpy as np
import pytest
import skimage.metrics
from reference_scenes import PROTOCOL_PAIRS, percentiles_to_999, protocol_pair, reference_values

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Viewing
from hdrcli.metrics.pu21 import SCORES, pu21_encode, pu21_psnr_lum, pu21_psnr_rgb, pu21_ssim_lum_matlab


def test_encoding_rises_and_clamps_to_its_range():
    units = pu21_encode(np.geomspace(0.005, 10000, 999))
    assert (np.diff(units) > 0).all()
    np.testing.assert_array_equal(pu21_encode(np.array([-1, 0, 1e6])), pu21_encode(np.array([0.005, 0.005, 1e4])))


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_the_authors_code_agrees(name):
    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]
    for found, wanted in (
        (pu21_psnr_rgb(test, reference), expected["sihdr"]["pu21_psnr_rgb"]),
        (pu21_psnr_lum(test, reference), expected["sihdr"]["pu21_psnr_lum"]),
    ):
        assert found == pytest.approx(wanted, abs=1e-6)
    assert pu21_ssim_lum_matlab(test, reference) == pytest.approx(expected["sihdr"]["pu21_ssim_lum_matlab"], abs=1e-8)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_the_authors_code_agrees_on_stretched_pictures(name):
    reference, test = (percentiles_to_999(p) for p in protocol_pair(name))
    expected = reference_values("protocols")["pairs"][name]["expandnet"]["display"]
    assert pu21_psnr_rgb(test, reference) == pytest.approx(expected["pu21_psnr_rgb"], abs=1e-6)
    assert pu21_psnr_lum(test, reference) == pytest.approx(expected["pu21_psnr_lum"], abs=1e-6)
    assert pu21_ssim_lum_matlab(test, reference) == pytest.approx(expected["pu21_ssim_lum_matlab"], abs=1e-8)


def test_psnr_and_ssim_are_those_of_scikit_image_on_encoded_values():
    reference, test = protocol_pair("07_rgb_noise10")
    witness = skimage.metrics.peak_signal_noise_ratio(pu21_encode(reference), pu21_encode(test), data_range=256)
    assert pu21_psnr_rgb(test, reference) == pytest.approx(witness, abs=1e-9)
    weights = np.array([0.212656, 0.715158, 0.072186])
    edged = (np.pad(pu21_encode(p @ weights), 5, mode="edge") for p in (reference, test))
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    witness = skimage.metrics.structural_similarity(*edged, data_range=256, **gaussian)
    assert pu21_ssim_lum_matlab(test, reference) == pytest.approx(witness, abs=1e-12)


def test_equal_images():
    reference, _ = protocol_pair("07_rgb_noise10")
    assert pu21_psnr_rgb(reference, reference) == float("inf")
    assert pu21_psnr_lum(reference, reference) == float("inf")
    assert pu21_ssim_lum_matlab(reference, reference) == 1


def test_strips_are_the_whole():
    rng = np.random.default_rng(0)
    test, reference = rng.random((2, 500, 400, 3)) * 100  # more than two strips
    error = np.mean((pu21_encode(test) - pu21_encode(reference)) ** 2)
    assert pu21_psnr_rgb(test, reference) == pytest.approx(10 * np.log10(256**2 / error), abs=1e-10)


def test_colour_errors_that_keep_luminance():
    reference = np.full((12, 12, 3), 50.0)
    test = reference + np.array([0.715158, -0.212656, 0.0]) * 20
    assert pu21_psnr_lum(test, reference) > 250
    assert pu21_psnr_rgb(test, reference) < 30


def test_bad_pairs_are_named():
    with pytest.raises(Unavailable, match="smaller than the window"):
        pu21_ssim_lum_matlab(np.ones((10, 20, 3)), np.ones((10, 20, 3)))
    for measure in (pu21_psnr_rgb, pu21_psnr_lum, pu21_ssim_lum_matlab):
        with pytest.raises(MismatchError, match="differ"):
            measure(np.ones((20, 20, 3)), np.ones((20, 1, 3)))


def test_scores():
    reference, test = protocol_pair("12_rgb_wide")
    for score, measure in zip(SCORES, (pu21_psnr_rgb, pu21_psnr_lum, pu21_ssim_lum_matlab), strict=True):
        assert score.name == measure.__name__
        assert score.better == "higher"
        assert not score.slow
        assert score.compute(test, reference, Viewing()) == measure(test, reference)
