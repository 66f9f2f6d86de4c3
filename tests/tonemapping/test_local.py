"""What local operators share: cells, lines from log luminance to tone, the shoulder."""

import cv2
import numpy as np
import pytest
from local_operators import grey, landscape

from hdrcli.color import luminance
from hdrcli.tonemapping import Scene, _local


@pytest.mark.parametrize(
    ("height", "width", "megapixels", "cell"),
    [(100, 100, 0.01, 1), (100, 100, 0.0099, 2), (101, 100, 0.0025, 4), (4000, 6000, 2.0, 4), (4000, 6000, 6.5, 2)],
)
def test_cells_are_powers_of_two_that_suffice(height, width, megapixels, cell):
    rows = np.zeros((1, width, 3), np.float32)
    scene = Scene(rows, height, width, lambda part: rows)
    assert _local.cell_for(scene, megapixels) == cell


@pytest.mark.parametrize("size", [(64, 96), (61, 83), (1, 9), (5, 1)])
def test_cells_hold_means_and_middles(size):
    light = landscape()[: size[0], : size[1]]
    scene, cell = Scene.whole(light), 4
    padded = np.pad(luminance(light), ((0, -size[0] % cell), (0, -size[1] % cell)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // cell, cell, -1, cell)
    megapixels = blocks.shape[0] * blocks.shape[2] / 1e6
    if size == (5, 1):
        megapixels = 2e-6
    floor = _local.logs(scene, megapixels).floor
    for of, expected in (
        ("light", np.log(np.maximum(blocks.mean((1, 3)), floor))),
        ("logs", np.log(np.maximum(blocks, floor)).mean((1, 3))),
    ):
        found = _local.logs(scene, megapixels, of=of)
        assert found.cell == cell
        np.testing.assert_allclose(found.values, expected, atol=1e-4)
    middle = _local.logs(scene, megapixels, of="middle").values
    assert middle.shape == (blocks.shape[0], blocks.shape[2])
    assert np.isin(np.round(middle, 3), np.round(np.log(np.maximum(luminance(light), floor)), 3)).all()


def test_grids_are_enlarged_bilinearly():
    grid = np.random.default_rng(0).normal(size=(12, 17)).astype(np.float32)
    whole = cv2.resize(grid, (17 * 4, 12 * 4), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(_local.enlarged(grid, 4, 5, 38, 66), whole[5:38, :66], atol=1e-5)
    rows, columns = np.array([0, 7, 47]), np.array([1, 30, 67])
    np.testing.assert_allclose(_local._between(grid, 4, rows, columns), whole[rows[:, None], columns], atol=1e-5)


def test_a_tone_that_is_a_line_of_log_luminance_comes_back_exactly():
    light = landscape(128, 160)
    scene = Scene.whole(light)
    small = _local.logs(scene, 0.006)
    assert small.cell == 2
    tones = _local.toned(scene, small, 0.4 * small.values - 3, prior=0.4)
    display = luminance(_local.apply(light, tones))
    y = luminance(light)
    seen = y > small.floor
    np.testing.assert_allclose(display[seen], np.minimum(np.exp(0.4 * np.log(y) - 3), 1)[seen], rtol=1e-3)


@pytest.mark.parametrize("peak", [1.0, 1.5, 40.0, 3e8])
def test_the_shoulder_rises_from_the_knee_to_white(peak):
    tone = np.linspace(-3, np.log(peak), 400, dtype=np.float32)[None]
    shown = _local.displayed(grey(np.ones_like(tone)), np.ones_like(tone), tone, 1.0, 1.0, peak)[0, :, 0]
    below = tone[0] < np.log(0.7)
    np.testing.assert_allclose(shown[below], np.exp(tone[0][below]), rtol=1e-5)
    assert (np.diff(shown) >= -1e-7).all()
    assert shown[-1] == pytest.approx(1, abs=1e-5)
    if peak == 1:
        np.testing.assert_allclose(shown, np.exp(tone[0]), rtol=1e-5)


def test_percentiles_leave_black_borders_out():
    y = np.full((64, 64), 0.0, np.float32)
    y[:, 40:] = np.linspace(1, 2, 24)
    sample = _local.sampled(Scene.whole(grey(y)))
    assert sample.extent(np.exp(sample.light), 0, 100) == pytest.approx((1, 2), rel=1e-3)
