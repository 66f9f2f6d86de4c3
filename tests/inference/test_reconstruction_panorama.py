"""Equirectangular panoramas: the left and the right border of the photo are neighbours."""

import numpy as np
import pytest
from fakes import FakeGenerator
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer
from hdrcli.conversion import load_generator
from hdrcli.image import brightest_channel
from hdrcli.inference import reconstruction
from hdrcli.inference.reconstruction import Reconstruction, ask, reconstruct
from hdrcli.inference.working import working_shape

CELL = 4  # pixels
SIZE = (48 * CELL, 88 * CELL)  # what a generator of working size 64 sees as 48 x 88 cells


def panorama(seed=0, dtype=np.uint8):
    """A scene without a seam (waves that end where they begin), a clipped area across the border, lamps, and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    y, x = y / SIZE[0], x / SIZE[1] * 2 * np.pi
    waves = sum(np.sin(k * x[..., None] + rng.uniform(0, 6, 3) + 7 * y[..., None]) for k in (1, 2, 5))
    v = 0.5 + 0.15 * waves + rng.normal(0, 0.02, (*SIZE, 3))
    around = np.hypot((y - 0.4) * 6, np.angle(np.exp(1j * (x - 0.1))))
    v += 1.5 * np.exp(-(around[..., None] ** 2))
    return np.rint(np.clip(v, 0, 1) * np.iinfo(dtype).max).astype(dtype)


def local(ldr, clip):
    """An answer that depends on each cell alone, of a different hue everywhere."""
    return np.exp2(3 * ldr + 2 * clip) * (0.5 + ldr[::-1])


def blurring(ldr, clip):
    """An answer that depends on the surroundings too, as those of networks do, and on where the picture ends."""
    near = sum(np.pad(ldr + clip, ((0, 0), (0, 0), (8, 8)))[..., k : k + ldr.shape[2]] for k in range(17)) / 17
    return np.exp2(4 * near)


def expanded(codes, answer, *, equirect=True, multiple=8, **choices):
    codes = np.ascontiguousarray(codes)
    generator = answer if hasattr(answer, "spec") else FakeGenerator(answer, multiple=multiple)
    coarse = ask(generator, codes, Transfer.SRGB, equirect=equirect)
    return reconstruct(codes, Transfer.SRGB, coarse, Reconstruction(**choices))


def steps(stops, lost):
    """Mean step in stops between the border columns, and between neighbours elsewhere, among lost pixels."""
    difference = np.abs(stops - np.roll(stops, 1, axis=1))
    both = lost & np.roll(lost, 1, axis=1)
    assert both[:, 0].sum() > 20
    return difference[:, 0][both[:, 0]].mean(), difference[:, 1:][both[:, 1:]].mean()


class TestRolling:
    """A panorama begins anywhere: rolled by whole cells, it is expanded to the same, rolled."""

    @settings(deadline=None, max_examples=12)
    @given(
        cells=st.integers(-88, 88),
        answer=st.sampled_from([local, blurring]),
        whole=st.booleans(),
        dtype=st.sampled_from([np.uint8, np.uint16]),
        strength=st.sampled_from([0.5, 1.0]),
    )
    def test_and_rolled_back_nothing_changed(self, cells, answer, whole, dtype, strength):
        codes = panorama(dtype=dtype)
        assert working_shape(*SIZE, 64, 8) == (48, 88)
        pixels = cells * CELL
        once = expanded(codes, answer, whole=whole, strength=strength)
        rolled = np.roll(expanded(np.roll(codes, pixels, axis=1), answer, whole=whole, strength=strength), -pixels, axis=1)
        np.testing.assert_allclose(rolled, once, rtol=2e-5)

    def test_without_the_flag_it_does_change(self):
        """What the others would be worth, were they to hold anyway."""
        codes = panorama()
        rolled = np.roll(expanded(np.roll(codes, SIZE[1] // 2, axis=1), blurring, equirect=False), -(SIZE[1] // 2), axis=1)
        assert rolled.max() > 20
        assert np.abs(rolled - expanded(codes, blurring, equirect=False)).max() > 1

    def test_with_the_default_generator(self):
        """Its answer depends on what surrounds a cell, and a little on all of the picture."""
        codes, generator = panorama(), load_generator("default")
        lost = brightest_channel(codes) >= 250
        rolled = np.roll(expanded(np.roll(codes, SIZE[1] // 2, axis=1), generator), -(SIZE[1] // 2), axis=1)
        assert np.abs(np.log2(rolled[lost] / expanded(codes, generator)[lost])).max() < 0.1


class TestSeam:
    @pytest.mark.parametrize("answer", [local, blurring, "default"])
    def test_a_clipped_area_across_the_border_has_no_step_there(self, answer):
        codes = panorama()
        lost = codes.min(axis=2) >= 252
        answer = load_generator("default") if answer == "default" else answer
        stops = {flag: np.log2(expanded(codes, answer, equirect=flag)[..., 1]) for flag in (False, True)}
        seam, inside = steps(stops[True], lost)
        assert seam < 2 * inside
        if answer is not local:
            assert steps(stops[False], lost)[0] > 3 * seam

    def test_two_answers_meet_in_the_middle(self):
        """Even a generator that says what it says by the column, which no panorama deserves, leaves no step at the border."""
        codes = np.full((*SIZE, 3), 255, np.uint8)
        out = expanded(codes, lambda ldr, clip: np.exp2(np.linspace(0, 6, ldr.shape[2])) * np.ones_like(ldr))
        seam, _ = steps(np.log2(out[..., 0]), np.ones(SIZE, bool))
        assert seam < 0.1

    @pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 6), (40, 80), (500, 1000), (7, 301)])
    @pytest.mark.parametrize("whole", [False, True])
    def test_any_size(self, size, whole):
        out = expanded(np.full((*size, 3), 255, np.uint8), 10.0, whole=whole)
        np.testing.assert_allclose(out, 10.0, rtol=0.01)

    @pytest.mark.parametrize("whole", [False, True])
    def test_strips_equal_the_whole(self, monkeypatch, whole):
        once = expanded(panorama(), blurring, whole=whole)
        monkeypatch.setattr(reconstruction, "STRIP_ROWS", 9)
        assert expanded(panorama(), blurring, whole=whole).tobytes() == once.tobytes()


def test_the_generator_sees_the_photo_continued_by_an_eighth_in_steps_of_its_multiple():
    generator = FakeGenerator(1.0)
    ask(generator, panorama(), Transfer.SRGB, equirect=True)
    height, width, margin = 48, 88, 16
    for grid in generator.seen.values():
        assert grid.shape == (1, 3, height, width + 2 * margin)
        np.testing.assert_array_equal(grid[..., :margin], grid[..., width : width + margin])
        np.testing.assert_array_equal(grid[..., -margin:], grid[..., margin : 2 * margin])
