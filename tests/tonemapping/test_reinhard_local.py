"""Dodging and burning of Reinhard et al. 2002: eq. 5 to 9 by loops, closed forms, pfstools."""

import math

import numpy as np
import pytest
from local_operators import LocalOperator, codes, grey, landscape, needs_pfstools, pfstmo
from scipy.ndimage import gaussian_filter

from hdrcli.color import luminance
from hdrcli.tonemapping import Scene, _reinhard_local, reinhard


class TestAnyPicture(LocalOperator):
    module = reinhard
    parameters = {"local": True}  # noqa: RUF012
    reduced: dict = {}  # noqa: RUF012
    differs = (2.0, 16.0)
    halo = 0.22  # of one pixel: the smallest centre already sees its neighbours
    refused = {"phi": -1.0, "epsilon": 0.0, "scales": 0}  # noqa: RUF012

    def test_cells_give_what_pixels_give(self, monkeypatch):
        """Scales are pixels of the reduced picture, so the whole is given scales twice as large."""
        light = landscape()
        blurred = _reinhard_local._blurred
        with monkeypatch.context() as patch:
            patch.setattr(_reinhard_local, "_blurred", lambda values, sigma: blurred(values, 2 * sigma))
            whole = codes(self.shown(light))
        monkeypatch.setattr(_reinhard_local, "DETAIL", 0.0125)
        away = np.abs(codes(self.shown(light)) - whole)
        assert 0 < away.mean() <= self.differs[0]
        assert np.percentile(away, 99) <= self.differs[1]

    @pytest.mark.parametrize("small", [False, True])
    def test_strips_equal_the_whole(self, small, monkeypatch):
        monkeypatch.setattr(_reinhard_local, "DETAIL", 0.0025 if small else 2.0)
        light = landscape(97, 83)
        state = reinhard.prepare(Scene.whole(light), reinhard.Parameters(local=True))
        whole = reinhard.apply(light, state, 0)
        for rows in (1, 10, 64):
            strips = [reinhard.apply(light[i : i + rows], state, i) for i in range(0, 97, rows)]
            np.testing.assert_allclose(np.concatenate(strips), whole, atol=1e-5)


def by_loops(scaled, key, phi, epsilon, scales):
    """Eq. 5 to 8, pixel by pixel."""
    alpha = 1 / (2 * math.sqrt(2))
    # eq. 5 is exp(-r^2 / (alpha s)^2)
    blurred = [
        gaussian_filter(scaled.astype(np.float64), alpha * 1.6**i / math.sqrt(2), mode="nearest", truncate=5)
        for i in range(scales + 1)
    ]
    out = np.empty(scaled.shape)
    for pixel in np.ndindex(scaled.shape):
        chosen = blurred[0][pixel]
        for i in range(scales):
            v = (blurred[i][pixel] - blurred[i + 1][pixel]) / (2**phi * key / 1.6 ** (2 * i) + blurred[i][pixel])
            if abs(v) >= epsilon:
                break
            chosen = blurred[i][pixel]
        out[pixel] = chosen
    return out


@pytest.mark.parametrize(("phi", "epsilon"), [(8.0, 0.05), (1.0, 0.02), (4.0, 0.2)])
def test_surroundings_are_eq_5_to_8_of_the_paper(phi, epsilon):
    scaled = luminance(landscape(60, 80)).astype(np.float32)
    found = _reinhard_local.adapted(scaled, 0.18, phi, epsilon, 8)
    away = np.abs(found / by_loops(scaled, 0.18, phi, epsilon, 8) - 1)
    assert np.median(away) < 0.01
    assert np.mean(away > 0.05) < 0.02  # a scale more or less, where v is close to epsilon


def test_where_nothing_is_around_it_is_the_global_operator():
    light = grey(np.full((40, 40), 0.7))
    out = reinhard.apply(light, reinhard.prepare(Scene.whole(light), reinhard.Parameters(local=True)))
    np.testing.assert_allclose(out, 0.18 / 1.18, rtol=1e-3)


def test_a_dark_spot_in_the_light_is_burnt_in():
    """Eq. 9: a pixel darker than its surroundings becomes darker than the global operator shows it, contrast rises."""
    y = np.full((80, 80), 1.0, np.float32)
    y[36:44, 36:44] = 0.9
    light = grey(y)
    whole, local = (
        reinhard.apply(light, reinhard.prepare(Scene.whole(light), reinhard.Parameters(local=flag, white=1e6)))[..., 1]
        for flag in (False, True)
    )
    assert local[40, 40] / local[5, 5] < whole[40, 40] / whole[5, 5]


@needs_pfstools
@pytest.mark.parametrize(("phi", "mean", "worst"), [(1, 1.5, 16.0), (8, 5.0, 40.0)])
def test_agrees_with_pfstools(tmp_path, phi, mean, worst):
    """It blurs by a pyramid, whose scales are powers of two; the sharper the choice, the more that differs."""
    y = luminance(landscape(256, 384)) + 1e-3
    theirs = pfstmo(tmp_path, "reinhard02", grey(y), "-s", "-k", 0.18, "-p", phi)[..., 1]
    parameters = reinhard.Parameters(local=True, phi=phi, normalise="max")
    ours = reinhard.apply(grey(y), reinhard.prepare(Scene.whole(grey(y)), parameters))[..., 1]
    away = np.abs(codes(ours) - codes(theirs))
    assert away.mean() < mean
    assert np.percentile(away, 99) < worst
