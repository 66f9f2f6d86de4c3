"""Learned tone mapping: a small answer on a large picture, with the large picture's edges."""

from pathlib import Path

import numpy as np
import pytest
from fakes import smooth_scene

from hdrcli.color import Transfer, encode, luminance
from hdrcli.inference import learned
from hdrcli.inference.generator import GeneratorSpec, from_t
from hdrcli.inference.learned import prepare


class FakeToner:
    """A G_X that shows ``display(y)``, linear light in [0, 1], of the exposed light it sees."""

    ran_on = "test"

    def __init__(self, display, working_size=32, peak=256.0):
        self.display = display
        self.spec = GeneratorSpec("fake", "1", ("t",), working_size, 8, peak, Path("fake"), role="g_x")
        self.seen = None

    def __call__(self, inputs):
        self.seen = from_t(inputs["t"], self.spec.peak)
        return encode(np.clip(self.display(self.seen), 0, 1), Transfer.SRGB).astype(np.float32)


def toned(light, display, exposure=1.0, strip=None, around=False, **options):
    """The picture tone-mapped, in strips of so many rows."""
    toning = prepare(FakeToner(display, **options), lambda rows: light[rows], *light.shape[:2], exposure, around=around)
    step = strip or light.shape[0]
    return np.concatenate([toning.apply(light[i : i + step], i) for i in range(0, light.shape[0], step)])


SCENE = smooth_scene(150, 210)


def test_a_gain_for_all_is_that_gain():
    light = np.minimum(SCENE * 0.05, 4)
    np.testing.assert_allclose(toned(light, lambda y: y / 4), light / 4, rtol=0.03, atol=3e-4)


def test_a_global_curve_is_followed():
    """Display light y / (1 + y): within a tenth of a stop in most places."""
    expected = luminance(SCENE / (1 + SCENE))
    shown = luminance(toned(SCENE, lambda y: y / (1 + y), working_size=96))
    stops = np.abs(np.log2(shown + 0.01) - np.log2(expected + 0.01))
    assert np.quantile(stops, 0.9) < 0.15


def test_texture_keeps_its_contrast():
    rng = np.random.default_rng(0)
    light = (0.2 * np.exp2(rng.normal(0, 0.15, (160, 160, 1)))).astype(np.float32).repeat(3, 2)
    out = toned(light, lambda y: 0.5 * np.sqrt(y))
    assert np.log2(out).std() == pytest.approx(np.log2(light).std(), rel=0.1)


def test_edges_of_the_gain_lie_on_edges_of_the_scene():
    """Left 64 times as bright as right, both shown alike: no halo wider than a few pixels, though cells are 8 pixels wide."""
    light = np.full((256, 256, 3), 0.05, np.float32)
    light[:, :123] = 3.2
    out = luminance(toned(light, lambda y: np.where(y > 0.4, y / 8, y * 4)))[128]
    wrong = np.abs(np.log2(out / np.where(np.arange(256) < 123, 0.4, 0.2)))
    assert np.median(wrong) < 0.05
    assert (wrong > 0.35).sum() <= 8


@pytest.mark.parametrize("strip", [1, 7, 64])
def test_strips_equal_the_whole(strip):
    np.testing.assert_array_equal(toned(SCENE, lambda y: y / (1 + y), strip=strip), toned(SCENE, lambda y: y / (1 + y)))


def test_the_exposure_is_that_of_a_photo_whatever_the_scale():
    seen = []
    for scale in (1e-3, 1.0, 1e4):
        toner = FakeToner(lambda y: y)
        light = SCENE * np.float32(scale)
        toning = prepare(toner, lambda rows, light=light: light[rows], *light.shape[:2])
        assert toning.exposure * scale == pytest.approx(prepare(toner, lambda rows: SCENE[rows], 150, 210).exposure, rel=1e-3)
        seen.append(toner.seen)
    assert (seen[0].max(axis=1) >= 1).mean() == pytest.approx(learned.CLIPPED_SHARE, abs=0.02)


def test_a_lamp_does_not_turn_the_picture_black():
    light = np.full((64, 64, 3), 0.1, np.float32)
    light[:20, :20] = 1e5
    assert 0.1 * learned.automatic_exposure(light) == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (9, 7)])
def test_any_size(shape):
    light = np.full((*shape, 3), 0.2, np.float32)
    np.testing.assert_allclose(toned(light, lambda y: y / 2), 0.1, rtol=0.01)


@pytest.mark.parametrize("value", [0.0, 1e9])
def test_black_and_blinding_are_finite(value):
    light = np.full((20, 20, 3), value, np.float32)
    for exposure in (1.0, None):
        out = toned(light, lambda y: y / (1 + y), exposure)
        assert np.isfinite(out).all()
        assert 0 <= out.min() <= out.max() <= 1


def test_colours_are_the_scenes_whatever_the_generator_says():
    light = np.minimum(SCENE * 0.2, 0.8) * np.array([1.0, 0.6, 0.3], np.float32)
    out = toned(light, lambda y: y * np.array([0.2, 0.5, 0.9], np.float32).reshape(3, 1, 1))
    ratio = out / luminance(out)[..., None]
    np.testing.assert_allclose(ratio, light / luminance(light)[..., None], rtol=2e-3)


def test_beyond_the_screen_luminance_stays_and_colours_fade():
    light = np.full((32, 32, 3), 0.1, np.float32) * np.array([1.0, 1.0, 4.0], np.float32)
    out = toned(light, lambda y: y * 6)
    assert out.max() <= 1
    np.testing.assert_allclose(luminance(out), luminance(np.minimum(light * 6, 1)), rtol=0.02)
    assert out[0, 0, 2] == pytest.approx(1, abs=1e-3)
    assert 2 * out[0, 0, 0] > out[0, 0, 2]


def test_other_primaries_are_shown_as_they_are():
    """Greys alike; the same gain on what is given."""
    toning = prepare(FakeToner(lambda y: y / (1 + y)), lambda rows: SCENE[rows], *SCENE.shape[:2], 1.0)
    plain = toning.apply(SCENE, 0)
    np.testing.assert_array_equal(toning.apply(SCENE, 0, SCENE), plain)
    grey = np.repeat(luminance(SCENE)[..., None], 3, 2).astype(np.float32)
    shown = toning.apply(SCENE, 0, grey)
    np.testing.assert_allclose(luminance(shown), luminance(plain), rtol=2e-3, atol=1e-5)


def test_the_borders_of_a_panorama_are_neighbours():
    """The scene turned by a third of a circle gives the picture turned as much, whatever stands at the border."""
    x = np.arange(240) / 240
    stops = 3 * np.sign(np.sin(2 * np.pi * (x - 0.02))) + np.sin(2 * np.pi * x)
    light = np.exp2(stops).astype(np.float32)[None, :, None].repeat(120, 0).repeat(3, 2)
    turned = np.roll(toned(np.roll(light, 80, 1), lambda y: y / (1 + y), around=True), -80, 1)
    np.testing.assert_allclose(turned, toned(light, lambda y: y / (1 + y), around=True), atol=0.004)
    assert np.abs(turned - toned(light, lambda y: y / (1 + y))).max() > 0.02  # flat, it has borders
    strips = toned(light, lambda y: y / (1 + y), strip=7, around=True)
    np.testing.assert_array_equal(strips, toned(light, lambda y: y / (1 + y), around=True))
