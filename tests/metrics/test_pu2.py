"""PU2, and PSNR and SSIM on it, against the values of public code; its encoding also in test_encodings."""

import numpy as np
import pytest
import skimage.metrics
from reference_scenes import PROTOCOL_PAIRS, percentiles_to_999, protocol_pair, reference_values

from hdrcli.errors import MismatchError, Unavailable
from hdrcli.metrics import Viewing
from hdrcli.metrics.pu2 import SCORES, pu2_encode, pu2_psnr_lum, pu2_ssim_lum_wang

MEASURES = (pu2_psnr_lum, pu2_ssim_lum_wang)


def test_the_range_of_old_displays_is_0_to_255():
    np.testing.assert_allclose(pu2_encode(np.array([0.8, 80.0])), [0, 255], atol=1e-4)


def test_it_rises_everywhere_and_clamps_only_at_the_ends_of_its_table():
    codes = pu2_encode(np.geomspace(1e-5, 1e10, 5000))
    assert (np.diff(codes) > 0).all()
    np.testing.assert_array_equal(pu2_encode(np.array([-1, 0, 1e-9, 1e12])), codes[[0, 0, 0, -1]])


def test_a_step_is_the_sensitivity():
    # dP / d ln L = sensitivity * 255 / (number of steps in 0.8..80)
    nits = np.array([0.01, 1.0, 100.0, 5000.0])
    h = 0.01  # three table entries
    slope = (pu2_encode(nits * np.exp(h)) - pu2_encode(nits * np.exp(-h))) / (2 * h)
    sensitivity = 30.162 * ((4.0627 / nits) ** 1.6596 + 1) ** -0.2712
    np.testing.assert_allclose(slope, sensitivity * 255 / (149.9244 - 31.9270), rtol=2e-3)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_public_code_agrees(name):
    reference, test = (percentiles_to_999(p) for p in protocol_pair(name))
    expected = reference_values("protocols")["pairs"][name]["expandnet"]["display"]
    assert pu2_psnr_lum(test, reference) == pytest.approx(expected["pu2_psnr_lum"], abs=1e-6)
    assert pu2_ssim_lum_wang(test, reference) == pytest.approx(expected["pu2_ssim_lum_wang"], abs=1e-8)


def test_scikit_image_agrees_on_encoded_luminance():
    reference, test = protocol_pair("12_rgb_wide")
    x, y = (pu2_encode(p @ np.array([0.212656, 0.715158, 0.072186])) for p in (test, reference))
    assert pu2_psnr_lum(test, reference) == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(y, x, data_range=255), abs=1e-10
    )
    witness = skimage.metrics.structural_similarity(
        x, y, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert pu2_ssim_lum_wang(test, reference) == pytest.approx(witness, abs=1e-12)


def test_equal_images():
    reference, _ = protocol_pair("12_rgb_wide")
    assert pu2_psnr_lum(reference, reference) == float("inf")
    assert pu2_ssim_lum_wang(reference, reference) == 1


def test_bad_pairs_are_named():
    with pytest.raises(Unavailable, match="smaller than the window"):
        pu2_ssim_lum_wang(np.ones((10, 20, 3)), np.ones((10, 20, 3)))
    for measure in MEASURES:
        with pytest.raises(MismatchError, match="differ"):
            measure(np.ones((20, 20, 3)), np.ones((20, 1, 3)))


def test_scores():
    reference, test = protocol_pair("12_rgb_wide")
    for score, measure in zip(SCORES, MEASURES, strict=True):
        assert score.name == measure.__name__
        assert score.better == "higher"
        assert score.slow  # only when asked for: PU21 has replaced it
        assert score.compute(test, reference, Viewing()) == measure(test, reference)
