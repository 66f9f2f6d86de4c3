"""Mantiuk, Daly, Kerofsky 2008: the quadratic program against SciPy's, closed forms, the curve against pfstools."""

import numpy as np
import pytest
from local_operators import LocalOperator, grey, landscape, needs_pfstools, pfstmo, shown
from scipy.optimize import minimize

from hdrcli.color import luminance
from hdrcli.tonemapping import Scene, mantiuk08


class TestAnyPicture(LocalOperator):
    module = mantiuk08
    differs = (5.0, 12.0)  # a picture seen on a smaller screen, by definition
    refused = {"peak": 0.0, "black": 150.0, "ambient": -1.0, "density": 0.0, "white": -1.0, "normalise": "x"}  # noqa: RUF012


def curve_of(light, **parameters):
    logs = np.log10(luminance(light)).astype(np.float32)
    density = mantiuk08.counted(logs, 30.0)
    return density.nodes, mantiuk08.curve(density, mantiuk08.Parameters(**parameters))


@pytest.mark.parametrize("most", [0.8, 50.0])
def test_the_quadratic_program_is_solved(most):
    rng = np.random.default_rng(1)
    matrix, right = rng.random((60, 12)), rng.random(60) * 3
    quadratic, linear = matrix.T @ matrix, matrix.T @ right
    found = mantiuk08.bounded_least_squares(quadratic, linear, most)
    expected = minimize(
        lambda x: 0.5 * x @ quadratic @ x - linear @ x,
        np.full(12, min(most, 1) / 24),
        jac=lambda x: quadratic @ x - linear,
        bounds=[(0, None)] * 12,
        constraints=[{"type": "ineq", "fun": lambda x: most - x.sum(), "jac": lambda x: -np.ones(12)}],
        method="SLSQP",
        options={"maxiter": 1000, "ftol": 1e-14},
    ).x
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.min() >= 0
    assert found.sum() <= most + 1e-9


def test_the_quadratic_program_starts_anywhere():
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(40, 8))
    quadratic, linear = matrix.T @ matrix, rng.normal(size=8) * 5
    plain = mantiuk08.bounded_least_squares(quadratic, linear, 1.0)
    for start in (np.zeros(8), np.eye(8)[3], np.full(8, 0.125)):
        np.testing.assert_allclose(mantiuk08.bounded_least_squares(quadratic, linear, 1.0, start), plain, atol=1e-7)


def test_the_eye_sees_best_at_a_few_cycles_a_degree():
    frequency = np.geomspace(0.3, 40, 200)
    seen = mantiuk08.sensitivity(frequency, np.full(200, 100.0))
    assert 2 < frequency[seen.argmax()] < 6
    assert 100 < seen.max() < 300
    assert (mantiuk08.sensitivity(frequency, np.full(200, 1.0)) < seen).all()


def test_the_response_starts_at_zero_and_grows():
    seen = mantiuk08.response(np.linspace(0, 2, 50), np.full(50, 100.0))
    assert seen[0] == 0
    assert (np.diff(seen) > 0).all()


def test_a_display_wide_enough_shows_contrasts_as_they_are():
    light = np.exp2(np.clip(np.log2(landscape()), -3.5, 2)).astype(np.float32)
    nodes, shown_at = curve_of(light, peak=4000.0, black=0.01, ambient=0.0)
    middle = slice(nodes.size // 3, -nodes.size // 4)
    assert np.polyfit(nodes[middle], shown_at[middle], 1)[0] == pytest.approx(1, abs=0.1)


def test_the_curve_rises_and_stays_within_the_display():
    nodes, shown_at = curve_of(landscape())
    reflected = mantiuk08.Parameters().reflected
    assert nodes.size > 30
    assert (np.diff(shown_at) >= -1e-9).all()
    assert shown_at[0] >= np.log10(reflected) - 1e-9
    assert shown_at[-1] == pytest.approx(np.log10(200 - 0.8 + reflected))


def test_more_ambient_light_lifts_the_shadows():
    dim, bright = (shown(mantiuk08, landscape(), ambient=lux) for lux in (10.0, 3000.0))
    assert np.percentile(luminance(bright), 20) > 1.2 * np.percentile(luminance(dim), 20)


def test_white_is_kept_for_what_is_to_be_white():
    """Reserving the display's white for 1.0 makes what is brighter white too."""
    light = landscape()
    free, reserved = shown(mantiuk08, light), shown(mantiuk08, light, white=1.0)
    assert luminance(reserved).mean() > luminance(free).mean()


def test_a_gap_between_luminances_is_one_step():
    y = np.full((64, 64), 0.01, np.float32)
    y[20:40, 20:40] = 1000.0
    out = shown(mantiuk08, grey(y), normalise="max")[..., 1]
    assert out[0, 0] < 0.2 * out[30, 30]
    assert out[30, 30] > 0.5


def test_saturation_follows_the_slope():
    """Mantiuk et al. 2009: 1 where contrast is kept, less where it is lost."""
    np.testing.assert_allclose(mantiuk08.saturation_for(np.array([0.0, 1.0])), [0, 1])
    assert mantiuk08.saturation_for(np.array([0.3]))[0] == pytest.approx(2.48 * 0.3**0.82 / (1 + 1.48 * 0.3**0.82))


@needs_pfstools
@pytest.mark.parametrize(("arguments", "parameters"), [((), {}), (("-e", 1.5), {"enhancement": 1.5})])
def test_agrees_with_pfstools(tmp_path, arguments, parameters):
    """Codes of its display are v^(1 / 2.2); the nodes of its curve lie elsewhere, by less than half a step."""
    y = luminance(landscape(256, 384)) + 1e-3
    theirs = pfstmo(tmp_path, "mantiuk08", grey(y), *arguments)[..., 1]
    settings = mantiuk08.Parameters(normalise="max", **parameters)
    ours = mantiuk08.apply(grey(y), mantiuk08.prepare(Scene.whole(grey(y)), settings))[..., 1]
    away = 255 * np.abs(np.clip(ours, 0, 1) ** (1 / 2.2) - np.clip(theirs, 0, 1))
    assert away.mean() < 2.0
    assert np.percentile(away, 99) < 5.0
