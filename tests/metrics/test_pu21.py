"""PU21 and its PSNR, against the authors' MATLAB code run on pairs that can be made again here."""

import numpy as np
import pytest
import skimage.metrics

from hdrcli.metrics.pu21 import pu21_encode, pu21_psnr_rgb


def box(a, n):
    """Circular box blur."""
    for axis in (0, 1):
        a = sum(np.roll(a, k, axis=axis) for k in range(-(n // 2), n // 2 + 1)) / n
    return a


def scene(h, w, seed):
    """Gradients, waves, filtered noise and four bright discs, 0.05..4000 cd/m2: from a frozen random stream."""
    rs = np.random.RandomState(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    u, v = x / w, y / h
    t = 0.35 * box(rs.rand(h, w) - 0.5, 3) + 0.8 * box(rs.rand(h, w) - 0.5, 9)
    logl = 0.2 + 1.6 * v + 0.45 * np.sin(2 * np.pi * (5 * u + 2 * v)) + 0.2 * np.sin(2 * np.pi * (17 * u - 11 * v)) + t
    for cx, cy, r, g in ((0.2, 0.25, 0.05, 1.9), (0.75, 0.2, 0.03, 2.1), (0.55, 0.7, 0.08, 0.9), (0.85, 0.8, 0.02, 1.5)):
        d = np.hypot((u - cx), (v - cy) * h / w)
        logl = logl + g / (1 + np.exp((d - r) * 120))
    tint = [1 + 0.25 * np.sin(2 * np.pi * (2 * u + v + k / 3.0)) for k in range(3)]
    return np.stack([10.0**logl * c for c in tint], axis=-1)


def noisy():
    r = scene(160, 192, 6)
    return r, r * (1 + 0.10 * np.random.RandomState(106).uniform(-1, 1, r.shape))


def relative_with_zeros_and_negatives():
    r = scene(61, 83, 21) / 400.0
    t = 0.37 * np.minimum(r, np.percentile(r, 92)) ** 0.9 * np.array([1.05, 1.0, 0.93]) - 0.0015
    t[:4, :5, :] = 0.0
    return r, t


def beyond_both_ends():
    r = 2.0 * scene(48, 64, 22) ** 1.35
    r[40:, :16, :] *= 1e-4
    return r, 1.3 * box(r, 3) * (1 + 0.2 * np.random.RandomState(122).uniform(-1, 1, r.shape))


# cd/m2 -> PU21 units, from the authors' encoder, variant banding_glare
@pytest.mark.parametrize(
    ("nits", "units"),
    [
        (0.005, 5.4704566540382e-10),
        (0.1, 5.7170738396694),
        (1, 36.543911139419),
        (10, 123.64748355385),
        (100, 256.3838973127),
        (1000, 420.09692134924),
        (10000, 595.3939200201),
    ],
)
def test_encoding_of_known_luminances(nits, units):
    assert pu21_encode(np.array(nits)) == pytest.approx(units, abs=1e-8)


def test_encoding_rises_and_clamps_to_its_range():
    units = pu21_encode(np.geomspace(0.005, 10000, 999))
    assert (np.diff(units) > 0).all()
    np.testing.assert_array_equal(pu21_encode(np.array([-1, 0, 1e6])), pu21_encode(np.array([0.005, 0.005, 1e4])))


# dB, the authors' pu21_metric in GNU Octave
@pytest.mark.parametrize(
    ("pair", "decibel"),
    [
        (noisy, 38.956897804989),
        (relative_with_zeros_and_negatives, 32.975452747407),
        (beyond_both_ends, 13.062855729562),
    ],
)
def test_psnr_agrees_with_the_authors_code(pair, decibel):
    reference, test = pair()
    assert pu21_psnr_rgb(test, reference) == pytest.approx(decibel, abs=1e-6)


def test_psnr_is_that_of_scikit_image_on_encoded_values():
    reference, test = noisy()
    witness = skimage.metrics.peak_signal_noise_ratio(pu21_encode(reference), pu21_encode(test), data_range=256)
    assert pu21_psnr_rgb(test, reference) == pytest.approx(witness, abs=1e-9)


def test_equal_images_give_infinity():
    reference, _ = noisy()
    assert pu21_psnr_rgb(reference, reference) == float("inf")
