"""What operators share: tables of curves, colour, exposure, the scene."""

import numpy as np
import pytest
from fakes import smooth_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hdrcli.color import Transfer, encode, luminance
from hdrcli.tonemapping import Scene
from hdrcli.tonemapping import _color as color
from hdrcli.tonemapping import _curves as curves
from hdrcli.tonemapping import _exposure as exposure

light = st.floats(0, 2.0**40, width=32)
pixels = arrays(np.float32, (3, 5, 3), elements=st.floats(0, 1024, width=32))


class TestTables:
    @pytest.mark.parametrize("curve", [np.sqrt, lambda x: x / (1 + x), lambda x: np.log1p(x) / 30, lambda x: x**0.1 / 30])
    def test_are_the_curve_to_within_a_hundred_thousandth(self, curve):
        x = np.geomspace(1e-11, 1e12, 200_001).astype(np.float32)
        np.testing.assert_allclose(curves.tabulated(curve)(x), curve(x.astype(np.float64)), rtol=1e-5)

    def test_a_display_curve_is_right_to_a_tenth_of_a_code(self):
        x = np.geomspace(1e-6, 1e4, 300_001).astype(np.float32)
        kinked = curves.tabulated(lambda x: np.minimum(x, 1))(x)
        exact = encode(np.minimum(x.astype(np.float64), 1), Transfer.SRGB)
        assert np.abs(encode(kinked.astype(np.float64), Transfer.SRGB) - exact).max() * 255 < 0.1

    def test_go_on_flat_beyond_their_ends(self):
        table = curves.tabulated(lambda x: x)
        low, high = table(np.array([0, 1e-38, 2.0**-40], np.float32)), table(np.array([3e38, 2.0**42], np.float32))
        assert len(set(low)) == len(set(high)) == 1

    @given(arrays(np.float32, (4, 7), elements=light))
    def test_a_value_means_the_same_everywhere(self, x):
        table = curves.tabulated(np.sqrt)
        np.testing.assert_array_equal(table(x).ravel(), [table(v.reshape(1, 1))[0, 0] for v in x.ravel()])

    def test_older_opencv_gives_the_same(self, monkeypatch):
        import cv2

        table, codes = np.arange(65536, dtype=np.float32), np.array([[0, 1, 65535], [7, 300, 40000]], np.uint16)
        new = curves.looked_up(table, codes)
        monkeypatch.setattr(cv2, "__version__", "4.10.0")
        np.testing.assert_array_equal(curves.looked_up(table, codes), new)


class TestCodes:
    def test_are_rounded_to_nearest(self):
        x = np.linspace(0, 1, 1_000_001).astype(np.float32)
        exact = encode(x.astype(np.float64), Transfer.SRGB)
        assert np.abs(curves.srgb_codes(x) - exact * 255).max() < 0.53
        assert np.abs(curves.srgb_codes(x, 16) - exact * 65535).max() < 0.52

    @pytest.mark.parametrize("bits", [8, 16])
    def test_end_at_the_ends(self, bits):
        codes = curves.srgb_codes(np.array([-1, 0, 1, 1.001, 9], np.float32), bits)
        np.testing.assert_array_equal(codes, np.array([0, 0, 1, 1, 1]) * (2**bits - 1))


class TestColour:
    @given(pixels)
    def test_luminance_is_pixel_by_pixel(self, rgb):
        whole = color.luminance(rgb)
        np.testing.assert_allclose(whole, luminance(rgb.astype(np.float64)), rtol=1e-5, atol=1e-30)
        np.testing.assert_array_equal(np.concatenate([color.luminance(rgb[i : i + 1]) for i in range(3)]), whole)

    @pytest.mark.parametrize("width", [1, 3, 17, 64, 1001])
    def test_mixing_is_pixel_by_pixel(self, width):
        rng = np.random.default_rng(width)
        rgb, matrix = rng.random((9, width, 3), np.float32), rng.random((3, 3))
        whole = color.mixed(rgb, matrix)
        np.testing.assert_allclose(whole, rgb @ matrix.T, rtol=1e-5)
        for rows in (1, 2, 5):
            strips = [color.mixed(rgb[i : i + rows], matrix) for i in range(0, 9, rows)]
            np.testing.assert_array_equal(np.concatenate(strips), whole)

    @given(pixels, arrays(np.float32, (3, 5), elements=st.floats(0, 1, width=32)), st.sampled_from([1.0, 0.5, 0.0, 1.6]))
    @settings(deadline=None)
    def test_recoloured_is_inside_and_has_the_luminance(self, rgb, display, saturation):
        y = color.luminance(rgb)
        out = color.recoloured(rgb, y, display, saturation)
        assert out.min() >= 0
        assert out.max() <= 1
        if saturation == 1:
            lit = y > 1e-6
            np.testing.assert_allclose(color.luminance(out)[lit], display[lit], atol=2e-5)

    def test_without_saturation_it_is_grey(self):
        rgb = smooth_scene(5, 6)
        out = color.recoloured(rgb, color.luminance(rgb), np.full((5, 6), 0.4, np.float32), 0.0)
        np.testing.assert_allclose(out, 0.4, rtol=1e-5)

    def test_saturation_is_the_exponent_of_ratios(self):
        rgb, display = np.array([[[0.5, 0.25, 0.125]]], np.float32), np.array([[0.2]], np.float32)
        y = color.luminance(rgb)
        np.testing.assert_allclose(color.recoloured(rgb, y, display, 0.5)[0, 0], 0.2 * (rgb[0, 0] / y[0, 0]) ** 0.5, rtol=1e-5)

    @given(arrays(np.float32, (2, 4, 3), elements=st.floats(-1, 4, width=32)))
    def test_into_gamut_keeps_luminance_and_hue(self, rgb):
        y = np.clip(color.luminance(rgb), 0, 1)
        rgb = rgb + (y - color.luminance(rgb))[..., None]  # of a luminance that is in range
        out = color.into_gamut(rgb.copy(), y)
        assert out.min() >= 0
        assert out.max() <= 1
        np.testing.assert_allclose(color.luminance(out), y, atol=1e-4)
        before, after = rgb - y[..., None], out - y[..., None]
        np.testing.assert_allclose(np.cross(before, after), 0, atol=1e-3)  # the same direction from grey

    def test_what_is_inside_is_not_touched(self):
        rgb = np.random.default_rng(0).random((4, 6, 3), np.float32)
        np.testing.assert_array_equal(color.into_gamut(rgb.copy(), color.luminance(rgb)), rgb)


class TestExposure:
    def test_log_average(self):
        y = np.random.default_rng(0).lognormal(0, 1, 10_000).astype(np.float32)
        assert exposure.log_average(y, "max") == pytest.approx(np.exp(np.log(y).mean()), rel=1e-5)
        assert exposure.log_average(y) == pytest.approx(1, rel=0.05)
        sunny = np.append(y, [1e6] * 50)
        assert exposure.log_average(sunny) == pytest.approx(exposure.log_average(y), rel=0.02)
        boxed = np.append(y, np.full(5000, 1e-6))
        assert exposure.log_average(boxed) == exposure.log_average(y)
        assert exposure.log_average(np.zeros(5)) == 0

    def test_extent(self):
        y = np.append(np.linspace(1, 2, 100_000), [0, 0, 1e9])
        assert exposure.extent(y) == pytest.approx((1.001, 1.999), rel=1e-4)
        assert exposure.extent(y, "max") == (1, 1e9)
        assert exposure.extent(np.zeros(3)) == exposure.extent(np.zeros(3), "max") == (0, 0)

    def test_automatic(self):
        y = np.full(100, 4.0)
        assert exposure.automatic(y) == pytest.approx(0.18 / 4)
        assert exposure.automatic(y, 0.5) == pytest.approx(0.125)
        assert exposure.automatic(y, exposure="keep") == exposure.automatic(np.zeros(3)) == 1

    def test_max_looks_at_every_pixel(self):
        picture = np.ones((2000, 1500, 3), np.float32)
        picture[1001, 1003] = (3, 7, 5)
        scene = Scene.whole(picture)
        assert exposure.brightest_of(scene, "max") == 7
        assert exposure.brightest_of(scene) == 1
        assert exposure.luminance_of(scene, "max").shape == (2000, 1500)
        assert exposure.luminance_of(scene).shape == scene.sample.shape[:2]


class TestScene:
    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 3_000_000), (2_000_000, 1), (2400, 1000)])
    def test_sample_is_large_enough_and_no_larger(self, size):
        picture = np.broadcast_to(np.float32(1), (*size, 3))
        scene = Scene.whole(picture)
        count = scene.sample.shape[0] * scene.sample.shape[1]
        assert min(size[0] * size[1], 1 << 17) <= count <= 1 << 20

    def test_luminance_and_strips(self):
        picture = smooth_scene(700, 300)
        scene = Scene.whole(picture, exposure=2.0)
        np.testing.assert_array_equal(scene.luminance(), color.luminance(picture))
        assert scene.luminance(np.float64).dtype == np.float64
        assert sum(scene.over(len)) == 700
        np.testing.assert_array_equal(np.concatenate([scene.rows(s) for s in scene.strips(33)]), picture)
        assert scene.exposure == 2


class TestAboveBlack:
    @given(arrays(np.float32, (3, 5, 3), elements=st.floats(-64, 1024, width=32)))
    @settings(max_examples=50, deadline=None)
    def test_luminance_stays_and_nothing_is_negative(self, rgb):
        before = np.maximum(color.luminance(rgb), 0)
        after = color.above_black(rgb.copy())
        assert after.min() >= 0
        np.testing.assert_allclose(color.luminance(after), before, rtol=1e-4, atol=1e-3)

    @given(pixels)
    def test_what_is_not_negative_is_left_alone(self, rgb):
        np.testing.assert_array_equal(color.above_black(rgb.copy()), rgb)

    def test_hue_stays(self):
        """Differences of channels keep their ratios."""
        (red, green, blue), *_ = color.above_black(np.array([[[1.0, -0.2, 0.1]]], np.float32))[0]
        assert (red - blue) / (blue - green) == pytest.approx(0.9 / 0.3, rel=1e-4)
        assert green == pytest.approx(0, abs=1e-6)

    def test_a_pixel_does_not_care_for_its_neighbours(self):
        rgb = np.random.default_rng(0).normal(0.5, 1, (7, 9, 3)).astype(np.float32)
        rows = np.concatenate([color.above_black(rgb[n : n + 1].copy()) for n in range(7)])
        np.testing.assert_array_equal(color.above_black(rgb.copy()), rows)
