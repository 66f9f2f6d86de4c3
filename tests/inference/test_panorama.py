"""The sun of an equirectangular panorama: found on clear days only, and given its light."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer, decoding_table, encode, luminance
from hdrcli.inference.panorama import SUN_OVER_SKY, Sun, find_sun, raise_sun

SIZE = (128, 256)


def sphere(size=SIZE):
    """Unit vectors (x right, y up, z ahead) and solid angles, these as exact integrals over each cell."""
    height, width = size
    polar = np.linspace(0, np.pi, height + 1)
    middle = (polar[:-1] + polar[1:]) / 2
    azimuth = (np.arange(width) + 0.5) * 2 * np.pi / width - np.pi
    y = np.cos(middle)[:, None] * np.ones(width)
    across = np.sin(middle)[:, None]
    cells = (np.cos(polar[:-1]) - np.cos(polar[1:]))[:, None] * np.full(width, 2 * np.pi / width)
    return np.stack([across * np.sin(azimuth), y, across * np.cos(azimuth)], axis=-1), cells


def towards(elevation, azimuth):
    up, turn = np.radians([elevation, azimuth])
    return np.array([np.cos(up) * np.sin(turn), np.sin(up), np.cos(up) * np.cos(turn)])


def degrees_from(direction, size=SIZE):
    return np.degrees(np.arccos(np.clip(sphere(size)[0] @ direction, -1, 1)))


def clear_day(elevation=40.0, azimuth=20.0, size=SIZE, ground=0.25, sky=(0.14, 0.2, 0.32), glow=6.0, spread=5.0):
    """Radiance of a blue sky that brightens towards the sun, over bright ground: (H, W, 3), 1 = white."""
    vectors, _ = sphere(size)
    away = degrees_from(towards(elevation, azimuth), size)[..., None]
    above = vectors[..., 1:2] > 0
    light = np.array(sky) + glow * np.exp(-away / spread)
    return np.where(above, light, np.array([0.9, 1.0, 0.8]) * ground)


def photographed(radiance, dtype=np.uint8):
    top = np.iinfo(dtype).max
    return np.rint(np.clip(encode(np.clip(radiance, 0, 1), Transfer.SRGB), 0, 1) * top).astype(dtype)


def linear(codes, dtype=np.float32):
    return decoding_table(Transfer.SRGB, np.iinfo(codes.dtype).max + 1)[codes].astype(dtype)


def found(radiance):
    codes = photographed(radiance)
    return find_sun(codes, linear(codes))


def irradiance(light, direction):
    """On a plane that faces this way, per channel."""
    vectors, cells = sphere(light.shape[:2])
    return np.einsum("hwc,hw->c", light.astype(np.float64), np.maximum(vectors @ direction, 0) * cells)


class TestFind:
    @settings(deadline=None, max_examples=25)
    @given(elevation=st.floats(12, 89), azimuth=st.floats(-180, 180), dtype=st.sampled_from([np.uint8, np.uint16]))
    def test_the_sun_of_a_clear_day_anywhere_in_the_sky(self, elevation, azimuth, dtype):
        codes = photographed(clear_day(elevation, azimuth), dtype)
        sun = find_sun(codes, linear(codes))
        assert sun is not None
        off = math.degrees(math.acos(min(1.0, float(towards(sun.elevation, sun.azimuth) @ towards(elevation, azimuth)))))
        assert off < 1.5  # a cell

    def test_its_light_is_measured_against_the_sky(self):
        codes = photographed(clear_day())
        light = linear(codes)
        sky = luminance(irradiance(light, np.array([0.0, 1.0, 0.0])))
        assert find_sun(codes, light).irradiance == pytest.approx(SUN_OVER_SKY * sky, rel=1e-3)

    def test_its_clipped_area_is_told(self):
        radiance = clear_day()
        codes = photographed(radiance)
        area = (sphere()[1] * (codes.min(axis=2) >= 247)).sum()
        assert find_sun(codes, linear(codes)).solid_angle == pytest.approx(area, rel=0.1)

    @pytest.mark.parametrize("white", [0.25, 8.0])
    def test_everything_scales_with_white(self, white):
        codes = photographed(clear_day())
        one, other = find_sun(codes, linear(codes)), find_sun(codes, linear(codes) * np.float32(white), white)
        assert other.irradiance == pytest.approx(one.irradiance * white, rel=1e-5)
        assert replace(other, irradiance=one.irradiance) == one

    def test_the_photo_may_begin_anywhere(self):
        codes = photographed(clear_day(azimuth=0.3))
        here = find_sun(codes, linear(codes))
        for columns in (64, 128, 130):
            rolled = np.roll(codes, columns, axis=1)
            there = find_sun(rolled, linear(rolled))
            turned = (here.azimuth + columns * 360 / SIZE[1] + 180) % 360 - 180
            assert math.cos(math.radians(there.azimuth - turned)) > math.cos(math.radians(1e-3))
            assert there.solid_angle == pytest.approx(here.solid_angle, rel=1e-6)
            assert there.elevation == pytest.approx(here.elevation, abs=1e-5)

    @pytest.mark.parametrize("size", [(64, 128), (300, 600), (700, 1400)])
    def test_photos_of_any_size(self, size):
        sun = found(clear_day(size=size))
        assert sun.elevation == pytest.approx(40, abs=3)
        assert sun.azimuth == pytest.approx(20, abs=3)

    def test_sun_and_blue_sky_together_are_white(self):
        codes = photographed(clear_day(60))
        light = linear(codes)
        sun = find_sun(codes, light)
        sky = irradiance(light, np.array([0.0, 1.0, 0.0]))
        together = sky + np.array(sun.colour) * sun.irradiance * math.sin(math.radians(sun.elevation))
        assert sky.max() / sky.min() > 1.3
        assert together.max() / together.min() < 1.02
        assert luminance(np.array(sun.colour)) == pytest.approx(1)


class TestNoSun:
    """Each differs from the clear day in one thing."""

    def test_the_clear_day_itself_has_one(self):
        assert found(clear_day()) is not None

    def test_a_grey_sky(self):
        assert found(clear_day(sky=(0.21, 0.2, 0.2))) is None

    def test_ground_that_the_sky_alone_lights(self):
        assert found(clear_day(ground=0.04)) is None

    def test_a_lamp_with_a_sharp_edge(self):
        day = clear_day(glow=0)
        day[degrees_from(towards(40, 20)) < 7] = 5
        assert found(day) is None

    def test_two_lights_of_a_size(self):
        assert found(np.maximum(clear_day(), clear_day(45, -120))) is None

    def test_a_row_of_lights(self):
        day = clear_day()
        for azimuth in (60, 100):
            day = np.maximum(day, clear_day(40, azimuth))
        assert found(day) is None

    def test_a_band_of_light(self):
        vectors, _ = sphere()
        band = 8 * np.exp(-np.abs(np.degrees(np.arcsin(vectors[..., 1:2])) - 30) / 3) * (np.abs(vectors[..., :1]) < 0.7)
        assert found(clear_day(glow=0) + band * (vectors[..., 2:] > 0)) is None

    def test_a_light_below_the_horizon(self):
        day = clear_day(glow=0, ground=0.4)
        day += 6 * np.exp(-degrees_from(towards(-30, 20))[..., None] / 5)
        assert found(day) is None

    def test_a_sky_that_is_white_all_over(self):
        assert found(clear_day(glow=60, spread=30)) is None

    def test_nothing_clipped(self):
        assert found(clear_day(glow=0.3)) is None

    @pytest.mark.parametrize("code", [0, 128, 255])
    @pytest.mark.parametrize("size", [(1, 2), (1, 1), (5, 10), (3, 1000)])
    def test_flat_pictures_of_any_size(self, size, code):
        codes = np.full((*size, 3), code, np.uint8)
        assert find_sun(codes, linear(codes)) is None


def photo_with_sun(elevation=40.0, azimuth=20.0, size=SIZE, dtype=np.float32):
    codes = photographed(clear_day(elevation, azimuth, size))
    light = linear(codes, dtype)
    return codes, light, find_sun(codes, light)


class TestRaise:
    @settings(deadline=None, max_examples=25)
    @given(
        elevation=st.floats(12, 89),
        azimuth=st.floats(-180, 180),
        dtype=st.sampled_from([np.float32, np.float16]),
    )
    def test_the_plane_that_faces_it_gets_its_irradiance_on_top(self, elevation, azimuth, dtype):
        codes, light, sun = photo_with_sun(elevation, azimuth, dtype=dtype)
        before = light.copy()
        raise_sun(light, codes, sun)
        assert np.isfinite(light).all()
        assert (light >= before).all()
        direction = towards(sun.elevation, sun.azimuth)
        added = irradiance(light, direction) - irradiance(before, direction)
        np.testing.assert_allclose(added, np.array(sun.colour) * sun.irradiance, rtol=0.01)

    @pytest.mark.parametrize("azimuth", [20.0, -179.5, 180.0])
    @pytest.mark.parametrize("elevation", [20.0, 88.0])
    def test_all_else_stays_to_the_last_bit(self, elevation, azimuth):
        codes, light, sun = photo_with_sun(elevation, azimuth)
        before = light.copy()
        raise_sun(light, codes, sun)
        changed = (light != before).any(axis=2)
        assert changed.any()
        assert degrees_from(towards(sun.elevation, sun.azimuth))[changed].max() < 3
        assert (codes[changed] > 0.94 * 255).all()

    def test_the_disc_has_the_size_of_the_sun_and_a_soft_rim_where_pixels_are_small_enough(self):
        codes, light, sun = photo_with_sun(size=(1500, 3000))
        raise_sun(light, codes, sun)
        _, cells = sphere((1500, 3000))
        bright = cells[light[..., 1] > light.max() / 2].sum()
        assert bright == pytest.approx(math.pi * math.radians(0.533 / 2) ** 2, rel=0.1)
        assert light.max() > 2**12
        levels = np.unique(light[..., 1][light[..., 1] > 10])
        assert (levels < 0.9 * levels.max()).sum() > 4

    def test_halves_hold_the_light_of_a_bright_exposure_in_a_larger_disc(self):
        codes, light, sun = photo_with_sun(size=(600, 1200), dtype=np.float16)
        bright = replace(sun, irradiance=sun.irradiance * 100)
        before = light.copy()
        raise_sun(light, codes, bright)
        direction = towards(sun.elevation, sun.azimuth)
        added = luminance(irradiance(light, direction) - irradiance(before, direction))
        assert added == pytest.approx(bright.irradiance, rel=0.02)
        assert 10000 < light.max() < 65504

    def test_more_than_halves_can_hold_ends_at_their_largest(self):
        codes, light, sun = photo_with_sun(dtype=np.float16)
        raise_sun(light, codes, replace(sun, irradiance=1e12))
        assert light.max() == 65504

    def test_pixels_of_which_a_channel_survived_take_no_part(self):
        codes, light, sun = photo_with_sun(size=(600, 1200))
        middle = np.unravel_index(degrees_from(towards(sun.elevation, sun.azimuth), (600, 1200)).argmin(), (600, 1200))
        codes[middle] = (200, 255, 255)
        before = light.copy()
        raise_sun(light, codes, sun)
        np.testing.assert_array_equal(light[middle], before[middle])
        direction = towards(sun.elevation, sun.azimuth)
        added = luminance(irradiance(light, direction) - irradiance(before, direction))
        assert added == pytest.approx(sun.irradiance, rel=0.01)

    def test_where_nothing_clipped_nothing_is_added(self):
        codes = photographed(clear_day(glow=0))
        light = linear(codes)
        before = light.copy()
        raise_sun(light, codes, Sun(40.0, 20.0, 0.01, 5.0, (1.0, 1.0, 1.0), ""))
        np.testing.assert_array_equal(light, before)


def test_what_it_was_recognised_by_is_told():
    _, _, sun = photo_with_sun()
    assert "40 degrees" in sun.why
    assert "sky blue/red" in sun.why
    assert "\n" not in sun.why
