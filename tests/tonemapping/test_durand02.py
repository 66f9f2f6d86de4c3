"""Durand and Dorsey 2002: the bilateral filter against the sum that defines it, and pfstools."""

import math

import numpy as np
import pytest
from local_operators import LocalOperator, grey, landscape, needs_pfstools, pfstmo, shown

from hdrcli.color import luminance
from hdrcli.tonemapping import durand02
from hdrcli.tonemapping._local import Logs


class TestAnyPicture(LocalOperator):
    module = durand02
    differs = (0.7, 5.0)
    refused = {"space": 0.0, "range": -1.0, "contrast": 1.0, "white": 50.0, "normalise": "min", "detail": 0.0}  # noqa: RUF012


def base_of(logs, space, spread):
    bilateral = durand02.filtered(Logs(logs, 1, 1e-4), space, spread)
    return bilateral(logs, np.arange(logs.shape[0]), np.arange(logs.shape[1]))


def brute_force(logs, space, spread):
    """Eq. 5 as it stands, Gaussians for f and g."""
    y, x = np.mgrid[: logs.shape[0], : logs.shape[1]]
    out = np.empty_like(logs)
    for i, j in np.ndindex(logs.shape):
        weight = np.exp(-((y - i) ** 2 + (x - j) ** 2) / (2 * space**2) - (logs - logs[i, j]) ** 2 / (2 * spread**2))
        out[i, j] = (weight * logs).sum() / weight.sum()
    return out


@pytest.mark.parametrize(("space", "spread"), [(10, 0.92), (5, 0.4), (1.5, 0.9)])
def test_the_filter_is_the_bilateral_one(space, spread):
    logs = np.log(luminance(landscape(56, 72))).astype(np.float32)
    away = np.abs(base_of(logs, space, spread) - brute_force(logs, space, spread))
    assert away.mean() < 0.01
    assert away.max() < 0.08


def test_detail_keeps_its_contrast_and_the_base_loses_some():
    """Two plains far apart, with a ripple too small for the filter: the ripple stays, the plains come together."""
    y, x = np.mgrid[:128, :192]
    ripple = 0.05 * np.sin(x * 2.1) * np.sin(y * 1.7)
    logs = np.where(x < 96, -4.0, 4.0) + ripple
    out = np.log(shown(durand02, grey(np.exp(logs)), contrast=20.0, white=0.0, black=0.0)[..., 1].astype(np.float64))
    kept = math.log(20) / 8
    for side in (slice(8, 80), slice(112, 184)):
        part = out[8:-8, side]
        assert np.polyfit(ripple[8:-8, side].ravel(), (part - part.mean()).ravel(), 1)[0] == pytest.approx(1, abs=0.1)
    assert out[:, 112:184].mean() - out[:, 8:80].mean() == pytest.approx(8 * kept, rel=0.05)


def test_wide_pictures_are_looked_up_in_parts(monkeypatch):
    light = landscape(40, 120)
    whole = shown(durand02, light)
    monkeypatch.setattr(durand02, "_WIDEST", 50)
    np.testing.assert_allclose(shown(durand02, light), whole, atol=1e-6)


@needs_pfstools
def test_agrees_with_pfstools(tmp_path):
    """Its Gaussians are exp(-d^2 / sigma_r^2), and in space of standard deviation sigma_s / pi on square pictures, which it
    takes for periodic; so its border is left out."""
    y = luminance(landscape(256, 256)) + 1e-4
    logs = np.log(y).astype(np.float32)
    base = base_of(logs, 40 / math.pi, 0.9 / math.sqrt(2))
    low, high = np.percentile(base, (1, 99))
    theirs = np.log(pfstmo(tmp_path, "durand02", grey(y), "-s", 40, "-r", 0.9, "-c", 5, "-g")[..., 1])
    away = (theirs - (logs - (1 - 5 / (high - low)) * base))[48:-48, 48:-48]
    away = np.abs(away - np.median(away))
    assert away.mean() < 0.02  # nepers
    assert np.percentile(away, 99) < 0.06
