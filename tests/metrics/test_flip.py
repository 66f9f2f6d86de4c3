"""LDR- and HDR-FLIP: what the package gives when it is called as its authors do, HDR-FLIP also put together from LDR-FLIPs."""

import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.errors import MismatchError, Unavailable, UsageError
from hdrcli.metrics import Viewing
from hdrcli.metrics.flip import SCORES, hdr_flip, ldr_flip, version

flip_evaluator = pytest.importorskip("flip_evaluator", reason="the package flip-evaluator isn't installed")


def pair(height=40, width=50, noise=0.1, seed=0):
    rs = np.random.RandomState(seed)
    reference = 50 * np.exp(rs.standard_normal((height, width, 3)))
    return reference * np.exp(noise * rs.standard_normal(reference.shape)), reference


@pytest.mark.parametrize("ppd", [12.5, 30.0, 67.0])
def test_it_is_what_the_package_gives(ppd):
    test, reference = (p.astype(np.float32) for p in pair())
    told, mean, _ = flip_evaluator.evaluate(reference, test, "HDR", applyMagma=False, parameters={"ppd": ppd})
    found = hdr_flip(test, reference, ppd)
    assert found[0] == mean
    np.testing.assert_array_equal(found[1], told[..., 0])
    codes = [np.clip(p / 200, 0, 1) for p in (test, reference)]
    told, mean, _ = flip_evaluator.evaluate(codes[1], codes[0], "LDR", applyMagma=False, parameters={"ppd": ppd})
    found = ldr_flip(*codes, ppd)
    assert found[0] == mean
    np.testing.assert_array_equal(found[1], told[..., 0])


def test_the_mean_is_the_maps():
    for found in (hdr_flip(*pair(), 30), ldr_flip(*(np.clip(p / 200, 0, 1) for p in pair()), 30)):
        assert found[1].shape == (40, 50)
        assert found[1].dtype == np.float32
        assert found[0] == pytest.approx(found[1].mean(dtype=float), rel=1e-5)


def aces_codes(light):
    """The package's ACES curve of exposed light, as sRGB codes."""
    top, bottom = (0.9036 * light + 0.018) * light, (0.8748 * light + 0.354) * light + 0.14
    y = np.clip(top / bottom, 0, 1)
    return np.where(y <= 0.0031308, 12.92 * y, 1.055 * y ** (1 / 2.4) - 0.055)


def test_hdr_flip_is_the_largest_ldr_flip_of_tone_mapped_exposures():
    test, reference = pair(noise=0.3)
    luminance = reference @ np.array([0.2126729, 0.7151522, 0.0721750])
    a, b, c = 0.9036 - 0.85 * 0.8748, 0.018 - 0.85 * 0.354, -0.85 * 0.14
    brightest = (-b + np.sqrt(b * b - 4 * a * c)) / (2 * a)  # what the curve takes to 0.85
    start = np.log2(brightest / luminance.max())
    stop = np.log2(brightest / np.sort(luminance.ravel())[luminance.size // 2])
    levels = np.linspace(start, stop, max(2, int(np.ceil(stop - start))))
    assert len(levels) > 3
    maps = [ldr_flip(aces_codes(test * 2**e), aces_codes(reference * 2**e), 30)[1] for e in levels]
    np.testing.assert_allclose(hdr_flip(test, reference, 30)[1], np.max(maps, 0), atol=2e-4)


def test_equal_pictures_give_0_everywhere():
    _, reference = pair()
    mean, found = hdr_flip(reference, reference, 30)
    assert mean == 0
    assert not found.any()
    mean, found = ldr_flip(reference / reference.max(), reference / reference.max(), 30)
    assert mean == 0
    assert not found.any()


def test_more_noise_is_more_and_more_distance_hides_it():
    means = [hdr_flip(*pair(noise=noise), 30)[0] for noise in (0.01, 0.03, 0.1, 0.3, 1)]
    assert means == sorted(means)
    means = [hdr_flip(*pair(), ppd)[0] for ppd in (120, 67, 30, 10)]
    assert means == sorted(means)
    assert means[0] < 0.5 * means[-1]


@settings(max_examples=15, deadline=None)
@given(st.floats(-12, 12))
def test_a_factor_on_both_changes_nothing(stops):
    test, reference = pair(16, 16)
    assert hdr_flip(test * 2**stops, reference * 2**stops, 30)[0] == pytest.approx(hdr_flip(test, reference, 30)[0], rel=1e-5)


def test_any_floats_in_any_order_and_nothing_is_changed_or_printed(capfd):
    test, reference = pair()
    singles = [p.astype(np.float32) for p in (test, reference)]
    copies = [p.copy() for p in singles]
    told = hdr_flip(*singles, 30)[0]
    assert hdr_flip(*(p.astype(np.float64) for p in singles), 30)[0] == told
    assert hdr_flip(*(np.asfortranarray(p) for p in singles), 30)[0] == told
    assert hdr_flip(*(np.repeat(p, 2, 1)[:, ::2] for p in singles), 30)[0] == told
    assert all((a == b).all() for a, b in zip(singles, copies, strict=True))
    captured = capfd.readouterr()
    assert not captured.out
    assert not captured.err


def test_negative_light_counts_as_none():
    test, reference = pair()
    assert hdr_flip(test - 40, reference, 30)[0] == hdr_flip(np.maximum(test - 40, 0), reference, 30)[0]


def test_references_that_would_end_the_process_are_named():
    test, reference = pair(8, 8)
    for black in (0 * reference, -reference, 1e-30 * reference, np.full_like(reference, 1e-7)):
        with pytest.raises(Unavailable, match="black"):
            hdr_flip(test, black, 30)
    assert 0 < hdr_flip(0 * test, reference, 30)[0] <= 1


def test_constant_and_mostly_black_references_and_single_pixels_have_a_number():
    test, reference = pair(8, 8)
    assert hdr_flip(np.full_like(test, 4), np.full_like(test, 3), 30)[0] > 0
    reference[1:] = 0
    assert 0 < hdr_flip(test, reference, 30)[0] <= 1
    assert hdr_flip(test[:1, :1], test[:1, :1], 30)[0] == 0


@pytest.mark.parametrize("function", [hdr_flip, ldr_flip])
def test_what_can_not_be_compared_is_refused(function):
    codes = np.full((8, 9, 3), 0.5)
    broken = codes.copy()
    broken[2, 3, 1] = np.nan
    for test, reference in ((codes[:7], codes), (codes[..., 0], codes[..., 0]), (broken, codes), (codes, broken * np.inf)):
        with pytest.raises(MismatchError):
            function(test, reference, 30)
    with pytest.raises(MismatchError):
        function(np.full_like(codes, 1e300), codes, 30)
    for ppd in (0, -30, float("nan"), float("inf"), 1e6):
        with pytest.raises(UsageError, match="pixels per degree"):
            function(codes, codes, ppd)


def test_ldr_flip_takes_codes_only():
    codes = np.full((8, 9, 3), 0.5)
    for bad in (codes + 0.6, codes - 0.6):
        with pytest.raises(MismatchError, match=r"0\.\.1"):
            ldr_flip(bad, codes, 30)


def test_the_score_is_the_mean_at_the_viewers_distance():
    (score,) = SCORES
    assert (score.name, score.better, score.slow) == ("hdr_flip", "lower", True)
    for ppd in (10.0, 60.0):
        assert score.compute(*pair(), Viewing(ppd=ppd)) == hdr_flip(*pair(), ppd)[0]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    with pytest.raises(Unavailable, match=r"needs the package flip-evaluator .*hdrcli\[metrics\]"):
        hdr_flip(*pair(8, 8), 30)


def test_listing_does_not_import_the_package():
    script = (
        "import sys; from hdrcli.metrics.flip import SCORES, version; version(); assert 'flip_evaluator' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_version_names_the_package():
    assert version() == f"flip-evaluator {metadata.version('flip-evaluator')}"
