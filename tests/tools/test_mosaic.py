"""The mosaic tool: patterns whose energy is known."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest


def load():
    """The script as a module; it lies outside any package."""
    spec = importlib.util.spec_from_file_location("mosaic", Path(__file__).parent / "mosaic.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mosaic = load()


def tiled(cell, side=64):
    return np.tile(cell, (side // cell.shape[0], side // cell.shape[1]))


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_pattern_is_found_at_its_own_period_alone(period):
    """A line in every ``period`` columns repeats so often and no more often; its halves are told apart by symmetry."""
    columns = np.cos(2 * math.pi * np.arange(64) / period)
    image = np.tile(columns, (64, 1)) + 5
    for p in mosaic.PERIODS:
        expected = np.std(columns) if p == period else 0
        assert mosaic.rms_at_period(image, p) == pytest.approx(expected, abs=1e-9)


def test_all_periods_together_are_the_variance_of_a_cell():
    cell = np.random.default_rng(0).standard_normal((8, 8))
    found = [mosaic.rms_at_period(tiled(cell), p) for p in mosaic.PERIODS]
    assert np.square(found).sum() == pytest.approx(cell.var(), rel=1e-9)


def test_several_pictures_are_averaged():
    cell = np.array([[1.0, -1.0], [1.0, -1.0]])
    stack = np.stack([tiled(cell), np.zeros((64, 64))])
    assert mosaic.rms_at_period(stack, 2) == pytest.approx(math.sqrt(0.5))


def test_noise_has_no_lines_and_a_faint_mosaic_has():
    noise = np.random.default_rng(0).standard_normal((4, 3, 64, 64))
    for p in (4, 8):
        assert mosaic.line_above(noise, p) == pytest.approx(0, abs=1.5)
    faint = noise + tiled(np.array([[0.2, -0.2], [-0.2, 0.2]]))
    assert mosaic.line_above(faint, 2) > 10
    assert mosaic.line_above(faint, 4) == pytest.approx(mosaic.line_above(noise, 4), abs=1)


def test_the_band_holds_what_is_finest():
    checkers = tiled(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    coarse = tiled(np.kron(checkers[:2, :2], np.ones((8, 8))))
    assert mosaic.band(checkers) > 0.1
    assert mosaic.band(np.cos(2 * math.pi * np.arange(64) / 16) * np.ones((64, 1))) < 1e-6
    assert mosaic.band(coarse) < 0.01
