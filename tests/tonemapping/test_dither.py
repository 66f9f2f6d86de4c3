"""Dithering to 8 bits: exact where light is that of a code, right in the mean elsewhere, and without bands."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer, decode, encode
from hdrcli.tonemapping import _dither
from hdrcli.tonemapping._curves import srgb_codes

dithered = _dither.dithered_codes


def script():
    """The tile's script as a module; it lies outside any package."""
    spec = importlib.util.spec_from_file_location("blue_noise", Path(__file__).parents[1] / "tools" / "blue_noise.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def light_of(codes):
    return decode(np.asarray(codes, np.float64) / 255, Transfer.SRGB).astype(np.float32)


def flat(light, shape=(64, 64)):
    return np.broadcast_to(np.float32(light), (*shape, 3))


def sky(height=192, width=600):
    """Three codes over 600 pixels, as float codes ``(H, W, 3)``."""
    across, down = np.linspace(0, 3, width)[None, :, None], np.linspace(0, 0.5, height)[:, None, None]
    return np.array([118.2, 160.4, 205.1]) + across * [1, 1.1, 0.9] + down


class TestTile:
    def test_is_what_its_script_makes(self):
        np.testing.assert_array_equal(script().tile(), np.frombuffer(_dither._TILE.read_bytes(), np.uint8).reshape(64, 64))

    def test_holds_all_thresholds_equally_often(self):
        tile = np.frombuffer(_dither._TILE.read_bytes(), np.uint8)
        np.testing.assert_array_equal(np.bincount(tile, minlength=256), 16)

    def test_is_blue(self):
        """Below a tenth of the sampling frequency there is next to nothing; white noise would have 1."""
        tile = np.frombuffer(_dither._TILE.read_bytes(), np.uint8).reshape(64, 64) - 127.5
        power = np.abs(np.fft.fft2(tile)) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64)))
        assert power[(frequency > 0) & (frequency < 0.1)].mean() < 1e-3 * power.mean()


class TestCodes:
    def test_light_of_a_code_is_that_code(self):
        codes = np.arange(256)
        # what an operator leaves of it: to a few units in the last place
        for wrong in (1, 1 - 3e-7, 1 + 3e-7):
            light = np.broadcast_to((light_of(codes) * np.float32(wrong))[:, None, None], (256, 64, 3))
            for first in range(0, 64, 7):
                np.testing.assert_array_equal(dithered(light, first), np.broadcast_to(codes[:, None, None], light.shape))

    def test_beyond_the_ends(self):
        np.testing.assert_array_equal(
            dithered(np.array([[[-1, 0, 1], [1.001, 9, np.inf]]], np.float32))[0], [[0, 0, 255], [255] * 3]
        )

    @given(st.floats(0, 255))
    @settings(max_examples=200, deadline=None)
    def test_mean_of_a_flat_area_is_its_value(self, code):
        codes = dithered(flat(light_of(code)))
        assert codes.mean() == pytest.approx(code, abs=0.055)
        assert int(codes.max()) - int(codes.min()) <= 1

    def test_mean_over_all_values_is_right(self):
        light = np.linspace(0, 1, 64 * 64 * 150, dtype=np.float32).reshape(-1, 64, 1).repeat(3, axis=2)
        exact = encode(light.astype(np.float64), Transfer.SRGB) * 255
        for low, high in ((0, 5), (5, 50), (50, 250), (0, 255)):
            part = (exact >= low) & (exact <= high)
            error = (dithered(light) - exact)[part]
            assert abs(error.mean()) < 0.01
            assert np.abs(error).max() < 1.03

    def test_grey_stays_grey(self):
        light = np.random.default_rng(0).random((50, 70, 1), np.float32).repeat(3, axis=2)
        codes = dithered(light)
        assert (codes == codes[..., :1]).all()

    @given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 90))
    @settings(deadline=None, max_examples=50)
    def test_strips_and_crops_equal_the_whole(self, top, left, rows):
        light = np.random.default_rng(1).random((300, 280, 3), np.float32)
        whole = dithered(light)
        np.testing.assert_array_equal(dithered(light[top : top + rows], top), whole[top : top + rows])
        np.testing.assert_array_equal(dithered(light[top : top + rows, left:], top, left), whole[top : top + rows, left:])
        strips = [dithered(light[i : i + rows], i) for i in range(0, 300, rows)]
        np.testing.assert_array_equal(np.concatenate(strips), whole)

    def test_wide_pictures_repeat_the_tile(self):
        light = np.random.default_rng(3).random((2, 64, 3), np.float32)
        wide = np.tile(light, (1, 300, 1))
        np.testing.assert_array_equal(dithered(wide, 5), np.tile(dithered(light, 5), (1, 300, 1)))

    def test_what_came_in_stays(self):
        light = np.full((3, 4, 3), 2, np.float32)
        light.flags.writeable = False
        dithered(light)
        assert (light == 2).all()

    def test_never_far_from_rounding(self):
        light = np.random.default_rng(2).random((64, 64, 3), np.float32)
        assert np.abs(dithered(light).astype(int) - srgb_codes(light.copy())).max() == 1


def test_a_sky_has_no_bands():
    """What is left after eyes have averaged (a Gaussian of two pixels): bands of a sixth of a code, or nearly nothing."""
    exact = sky()
    light = light_of(exact)

    def left(codes):
        seen = cv2.GaussianBlur(codes.astype(np.float64) - exact, (0, 0), 2)[12:-12, 12:-12]
        return float(np.sqrt((seen @ (0.2126, 0.7152, 0.0722)) ** 2).mean())

    assert left(srgb_codes(light.copy())) > 0.1
    assert left(dithered(light)) < 0.012
