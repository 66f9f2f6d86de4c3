"""Classical expansion operators: the contract of all, the formula of each."""

import dataclasses

import numpy as np
import pytest

from hdrcli import registry
from hdrcli.color import Primaries, luminance
from hdrcli.expansion import akyuz07, landis02

OPERATORS = registry.names("hdrcli.expansion")


def grey(values):
    return (np.array(values, np.float32)[None, :, None] * np.ones(3, np.float32)).astype(np.float32)


@pytest.fixture
def light():
    return np.random.default_rng(0).random((16, 20, 3)).astype(np.float32)


@pytest.mark.parametrize("name", OPERATORS)
class TestEveryOperator:
    def test_says_what_it_is(self, name):
        module = registry.load("hdrcli.expansion", name)
        assert module.SUMMARY
        assert "\n" not in module.SUMMARY
        assert dataclasses.is_dataclass(module.Parameters)

    def test_gives_float32_of_the_same_shape(self, name, light):
        module = registry.load("hdrcli.expansion", name)
        out = module.apply(light, module.Parameters(), Primaries.BT709)
        assert (out.dtype, out.shape) == (np.float32, light.shape)
        assert np.isfinite(out).all()

    def test_black_stays_black_and_more_light_stays_more(self, name):
        module = registry.load("hdrcli.expansion", name)
        out = module.apply(grey(np.linspace(0, 1, 100)), module.Parameters(), Primaries.BT709)[0, :, 0]
        assert out[0] == pytest.approx(0, abs=1e-6)
        assert (np.diff(out) > 0).all()

    def test_hue_is_kept(self, name, light):
        module = registry.load("hdrcli.expansion", name)
        out = module.apply(light, module.Parameters(), Primaries.BT709)
        np.testing.assert_allclose(out * luminance(light)[..., None], light * luminance(out)[..., None], rtol=1e-4, atol=1e-6)

    def test_pixels_do_not_see_each_other(self, name, light):
        """Never normalised by the image's own extremes: a crop gives what the whole gives."""
        module = registry.load("hdrcli.expansion", name)
        whole = module.apply(light, module.Parameters(), Primaries.BT709)
        np.testing.assert_allclose(
            module.apply(light[3:9, 2:11].copy(), module.Parameters(), Primaries.BT709), whole[3:9, 2:11], rtol=1e-6
        )


def test_linear_is_the_input(light):
    linear = registry.load("hdrcli.expansion", "linear")
    np.testing.assert_array_equal(linear.apply(light, linear.Parameters(), Primaries.BT709), light)


def test_akyuz_is_a_power_of_luminance_times_the_peak():
    values = np.array([0.1, 0.5, 1.0])
    out = akyuz07.apply(grey(values), akyuz07.Parameters(gamma=2.0, peak=5.0), Primaries.BT709)[0, :, 0]
    np.testing.assert_allclose(out, 5 * values**2, rtol=1e-5)


@pytest.mark.parametrize("module", [akyuz07, landis02])
def test_the_curve_is_that_of_luminance(module):
    """A colour gets the factor of the grey of its luminance, not of its mean or brightest channel."""
    colour = np.array([[[0.2, 0.95, 0.1]]], np.float32)
    same = grey([float(luminance(colour)[0, 0])])
    parameters = module.Parameters()
    factor = module.apply(same, parameters, Primaries.BT709)[0, 0, 0] / same[0, 0, 0]
    np.testing.assert_allclose(module.apply(colour, parameters, Primaries.BT709), colour * factor, rtol=1e-5)


def test_landis_changes_nothing_below_the_threshold_and_reaches_the_peak_at_white():
    values = np.array([0.2, 0.4, 0.7, 1.0])
    out = landis02.apply(grey(values), landis02.Parameters(threshold=0.4, alpha=2.0, peak=6.0), Primaries.BT709)[0, :, 0]
    k = ((0.7 - 0.4) / 0.6) ** 2
    np.testing.assert_allclose(out, [0.2, 0.4, 0.7 * (1 - k + 6 * k), 6.0], rtol=1e-5)
