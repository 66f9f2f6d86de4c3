"""Fattal, Lischinski, Werman 2002: the Poisson solver and the attenuation by closed forms, the whole against pfstools."""

import cv2
import numpy as np
import pytest
from local_operators import LocalOperator, grey, landscape, needs_pfstools, pfstmo, shown

from hdrcli.color import luminance
from hdrcli.tonemapping import fattal02


class TestAnyPicture(LocalOperator):
    module = fattal02
    differs = (1.5, 8.0)
    refused = {"beta": 1.1, "noise": -0.1, "finest": -1, "contrast": 0.5, "black": -1.0, "detail": float("nan")}  # noqa: RUF012


def minus_laplacian(u):
    """Of a surface, nothing flowing across its borders; as sums over neighbours."""
    padded = np.pad(u, 1, mode="edge")
    return 4 * u - padded[:-2, 1:-1] - padded[2:, 1:-1] - padded[1:-1, :-2] - padded[1:-1, 2:]


def test_the_poisson_equation_is_solved():
    u = np.random.default_rng(0).normal(size=(38, 54))
    found = fattal02.solved((-minus_laplacian(u)).astype(np.float32))
    np.testing.assert_allclose(found, u - u.mean(), atol=1e-4)


def test_without_attenuation_the_picture_comes_back():
    logs = np.log(luminance(landscape(61, 75))).astype(np.float32)
    tone = fattal02.compressed(logs, 1.0, 0.0, 0)
    np.testing.assert_allclose(tone - tone.mean(), logs - logs.mean(), atol=1e-3)


def test_attenuation_is_a_power_of_the_gradient():
    """A picture of one level: ramps of two slopes, whose ratio becomes its beta-th power."""
    steep, flat = 0.4, 0.1
    logs = np.concatenate([np.arange(30) * steep, 29 * steep + np.arange(1, 31) * flat])
    light = np.tile(logs, (40, 1)).astype(np.float32)
    phi = fattal02.attenuation(light, 0.8, 0.0, 0)
    assert phi[20, 40] / phi[20, 15] == pytest.approx((flat / steep) ** -0.2, rel=1e-4)
    usual = 0.1 * np.mean(np.abs(np.gradient(np.pad(logs, 1, mode="edge")))[1:-1])
    assert phi[20, 15] == pytest.approx((steep / usual) ** -0.2, rel=0.02)


def test_large_gradients_lose_more_than_small_ones():
    y = luminance(landscape())
    logs = np.log(y).astype(np.float32)
    tone = fattal02.compressed(logs, 0.85, 0.0, 0)
    inside, across = np.abs(np.diff(logs)), np.abs(np.diff(tone))
    strong, weak = inside > np.percentile(inside, 99), inside < np.median(inside)
    assert across[strong].mean() / inside[strong].mean() < 0.5 * across[weak].mean() / inside[weak].mean()


def test_levels_are_those_of_the_whole_picture():
    """Solved on cells of 2, a smooth picture has the attenuation that it has pixel by pixel, from the same level on."""
    logs = cv2.GaussianBlur(np.log(luminance(landscape(256, 256))).astype(np.float32), (0, 0), 3)
    fine = fattal02.attenuation(logs, 0.85, 0.02, 2)
    coarse = fattal02.attenuation(fattal02._halved(logs), 0.85, 0.02, 2, cell=2)
    np.testing.assert_allclose(coarse, fattal02._halved(fine), rtol=0.06)


@needs_pfstools
@pytest.mark.parametrize("finest", [0, 2])
def test_agrees_with_pfstools(tmp_path, monkeypatch, finest):
    """Its tone is a factor of ours: it leaves the paper's alpha to its gamma. Its pyramid goes down to 8 pixels."""
    monkeypatch.setattr(fattal02, "_COARSEST", 8)
    y = luminance(landscape(256, 384)) + 1e-3
    logs = np.log(100 * (y - y.min()) / np.ptp(y) + 1e-4).astype(np.float32)
    tone = fattal02.compressed(logs, 0.9, 0.001, finest).astype(np.float64)[::4, ::4]
    arguments = ("-a", 1, "-b", 0.9, "-g", 1, "-n", 0.001, "-d", finest, "-w", 0.5, "-k", 0.01)
    theirs = pfstmo(tmp_path, "fattal02", grey(y), *arguments)[::4, ::4, 1]

    def rest(factor):
        ours = np.exp(factor * (tone - tone.max()))
        line = np.stack([ours.ravel(), np.ones(ours.size)], axis=1)
        found = np.linalg.lstsq(line, theirs.ravel(), rcond=None)[0]
        return np.abs(line @ found - theirs.ravel()).mean() / np.subtract(*np.percentile(theirs, (99.5, 0.5)))

    factors = np.geomspace(0.5, 12, 60)
    best = factors[np.argmin([rest(f) for f in factors])]
    assert min(rest(f) for f in best * np.linspace(0.94, 1.06, 61)) < 2e-3


def test_papers_form_takes_all_pixels():
    out = shown(fattal02, landscape(), normalise="max")
    assert luminance(out).max() == pytest.approx(1, abs=0.02)
