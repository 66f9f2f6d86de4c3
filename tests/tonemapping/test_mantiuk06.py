"""Mantiuk, Myszkowski, Seidel 2006: the solver against dense least squares, closed forms, OpenCV and pfstools."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from local_operators import LocalOperator, codes, grey, landscape, needs_pfstools, pfstmo, shown

from hdrcli.color import luminance
from hdrcli.tonemapping import Scene, mantiuk06


class TestAnyPicture(LocalOperator):
    module = mantiuk06
    differs = (2.0, 10.0)
    refused = {"factor": 0.0, "contrast": 1.0, "steps": 0, "tolerance": 0.0, "normalise": "maximum"}  # noqa: RUF012


def pyramid(light):
    levels = [light]
    while min(levels[-1].shape) // 2 >= 3:
        levels.append(mantiuk06._halved(levels[-1]))
    return levels


@pytest.mark.parametrize("shape", [(12, 20), (13, 9), (1, 8), (7, 1)])
def test_doubling_is_four_times_the_adjoint_of_halving(shape):
    rng = np.random.default_rng(0)
    fine = rng.normal(size=shape).astype(np.float32)
    half = mantiuk06._halved(fine)
    coarse = rng.normal(size=half.shape).astype(np.float32)
    assert np.vdot(fine, mantiuk06._doubled(coarse, shape)) == pytest.approx(4 * np.vdot(half, coarse), rel=1e-4)


def test_the_solver_finds_the_least_squares():
    rng = np.random.default_rng(1)
    light = rng.normal(size=(13, 10)).astype(np.float32)
    wanted = [mantiuk06._contrasts(rng.normal(size=level.shape).astype(np.float32)) for level in pyramid(light)]
    weights = [tuple(rng.uniform(0.2, 3, part.shape).astype(np.float32) for part in pair) for pair in wanted]
    rows, right = [], []
    for pixel in np.eye(light.size, dtype=np.float32).reshape(-1, *light.shape):
        contrasts = [mantiuk06._contrasts(level) for level in pyramid(pixel)]
        rows.append(
            np.concatenate(
                [
                    (2**k * np.sqrt(w) * c).ravel()
                    for k, (pair, weight) in enumerate(zip(contrasts, weights, strict=True))
                    for c, w in zip(pair, weight, strict=True)
                ]
            )
        )
    right = np.concatenate(
        [
            (2**k * np.sqrt(w) * c).ravel()
            for k, (pair, weight) in enumerate(zip(wanted, weights, strict=True))
            for c, w in zip(pair, weight, strict=True)
        ]
    )
    dense = np.linalg.lstsq(np.array(rows).T.astype(np.float64), right, rcond=None)[0].reshape(light.shape)
    found = mantiuk06.solved(wanted, weights, np.zeros_like(light), 500, 1e-6)
    np.testing.assert_allclose(found - found.mean(), dense - dense.mean(), atol=1e-3)


@given(st.floats(1e-5, 6))
def test_the_transducer_goes_both_ways(contrast):
    assert mantiuk06.contrast_of(mantiuk06.response(np.array(contrast))) == pytest.approx(contrast, rel=1e-6)


def test_the_transducer_counts_just_noticeable_differences():
    """Of the authors' table: 1 at a contrast of 1 %, about 31 at 2 : 1, 106 at its end, 10511 : 1."""
    ratios = np.array([1.01, 1.995, 10511.0])
    np.testing.assert_allclose(mantiuk06.response(np.log10(ratios)), [1, 31, 106], rtol=0.05)


def test_factor_one_changes_nothing():
    logs = np.log(luminance(landscape(64, 96))).astype(np.float32)
    tone = mantiuk06.mapped(logs, mantiuk06.Parameters(factor=1.0, tolerance=1e-6, steps=500))
    np.testing.assert_allclose(tone - tone.mean(), logs - logs.mean(), atol=0.01)


def test_large_contrasts_lose_more_than_small_ones():
    light = landscape()
    logs = np.log(luminance(light)).astype(np.float32)
    tone = mantiuk06.mapped(logs, mantiuk06.Parameters())
    before, after = np.abs(np.diff(logs)), np.abs(np.diff(tone))
    strong, weak = before > np.percentile(before, 99), before < np.median(before)
    assert after[strong].mean() / before[strong].mean() < 0.7 * after[weak].mean() / before[weak].mean()


def test_equalisation_flattens_the_histogram_of_contrasts():
    logs = np.log(luminance(landscape())).astype(np.float32)
    wanted = mantiuk06._equalised([mantiuk06._contrasts(level) for level in pyramid(logs)], 0.5)
    inside = [(along[:-1], down[:, :-1]) for along, down in wanted]
    sizes = [np.hypot(*(mantiuk06.response(np.abs(part) / np.log(10)) for part in pair)) for pair in inside]
    strongest = 0.5 * float(mantiuk06.response(np.array(4.0)))
    shares = np.percentile(np.concatenate([size.ravel() for size in sizes]), [10, 50, 90]) / strongest
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.02)
    assert np.isfinite(shown(mantiuk06, landscape(), equalise=True)).all()


def test_with_a_power_for_a_transducer_it_is_opencvs():
    """OpenCV's operator has T = G^0.4185: scaling responses by s is the power s^(1 / 0.4185) of light. It stretches what it
    gets and gives to 0..1."""
    y = np.exp(cv2.GaussianBlur(np.log(luminance(landscape(96, 128))), (0, 0), 2)).astype(np.float32)
    theirs = cv2.createTonemapMantiuk(gamma=1.0, scale=0.7, saturation=1.0).process(grey(y))[..., 1]
    logs = np.log(np.maximum((y - y.min()) / np.ptp(y), 1e-4)).astype(np.float32)
    gamma = np.float32(0.7 ** (1 / 0.4185))
    wanted = [tuple(gamma * part for part in mantiuk06._contrasts(level)) for level in pyramid(logs)]
    weights = [tuple(mantiuk06._weight(part) for part in pair) for pair in wanted]
    ours = np.exp(mantiuk06.solved(wanted, weights, logs * np.float32(0.1), 1000, 1e-6))
    np.testing.assert_allclose((ours - ours.min()) / np.ptp(ours), theirs, atol=4e-3)


@needs_pfstools
@pytest.mark.parametrize("factor", [0.3, 0.1])
def test_agrees_with_pfstools(tmp_path, factor):
    y = luminance(landscape(256, 384)) + 1e-3
    theirs = pfstmo(tmp_path, "mantiuk06", grey(y), "-f", factor, "-s", 1)[..., 1]
    settings = {"factor": factor, "contrast": 10**2.3, "white": 0.1, "black": 0.1, "saturation": 1.0}
    state = mantiuk06.prepare(Scene.whole(grey(y)), mantiuk06.Parameters(**settings))
    away = np.abs(codes(np.exp(state.offset)) - codes(theirs))
    assert away.mean() < 2.0
    assert np.percentile(away, 99) < 8.0
