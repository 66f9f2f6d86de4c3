"""Full-resolution reconstruction: the promises, with generators that say what a test wants."""

from itertools import pairwise

import numpy as np
import pytest
from fakes import FakeGenerator, expanded, smooth_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer, decode, decoding_table
from hdrcli.errors import MismatchError
from hdrcli.inference import reconstruction
from hdrcli.inference.reconstruction import Reconstruction, ask, confidence, reconstruct
from hdrcli.inference.working import blend_weight


def photo(height, width, dtype=np.uint8, seed=0):
    """Random codes, about a third of them near the clip point or on it."""
    rng = np.random.default_rng(seed)
    v = np.minimum(rng.random((height, width, 3)) * rng.choice([0.5, 1.0, 1.3], (height, width, 1)), 1)
    return np.rint(v * np.iinfo(dtype).max).astype(dtype)


def unit(codes):
    return codes / float(np.iinfo(codes.dtype).max)


def linear(codes, transfer=Transfer.SRGB):
    return decode(unit(codes), transfer)


def noise_generator(seed):
    """Says anything between black and its peak."""
    return lambda ldr, clip: np.exp2(np.random.default_rng(seed).uniform(-12, 8, ldr.shape))


SAID = [0.0, 0.3, 1.0, 20.0, 256.0, noise_generator(1), noise_generator(2)]


class TestMeasuredPixelsStayMeasured:
    """Promise 1."""

    @settings(deadline=None, max_examples=40)
    @given(
        height=st.integers(1, 40),
        width=st.integers(1, 40),
        dtype=st.sampled_from([np.uint8, np.uint16]),
        said=st.sampled_from(SAID),
        half=st.booleans(),
        strength=st.sampled_from([0.0, 0.3, 1.0]),
        peak_stops=st.sampled_from([None, 0.0, 2.0]),
        ev=st.sampled_from([-3.0, 0.0, 1.5]),
        seed=st.integers(0, 5),
    )
    def test_below_094_a_channel_is_the_rounded_table(self, height, width, dtype, said, half, strength, peak_stops, ev, seed):
        codes = photo(height, width, dtype, seed)
        out_type = np.float16 if half else np.float32
        choices = {"strength": strength, "peak_stops": peak_stops, "gain": 2.0**ev}
        out = expanded(codes, said, dtype=out_type, **choices)
        table = (decoding_table(Transfer.SRGB, np.iinfo(dtype).max + 1) * np.float32(2.0**ev)).astype(out_type)
        measured = unit(codes) < 0.94
        np.testing.assert_array_equal(out[measured], table[codes][measured])

    @pytest.mark.parametrize("transfer", [Transfer.SRGB, Transfer.GAMMA22, Transfer.GAMMA18])
    def test_every_encoding_is_linearised_by_its_own_curve(self, transfer):
        codes = photo(20, 30)
        measured = unit(codes) < 0.94
        out = expanded(codes, 20.0, transfer)
        np.testing.assert_allclose(out[measured], linear(codes, transfer)[measured], rtol=1e-6)

    @settings(deadline=None, max_examples=25)
    @given(st.sampled_from([np.uint8, np.uint16]), st.sampled_from(SAID), st.integers(0, 5))
    def test_lost_channels_never_get_darker(self, dtype, said, seed):
        codes = photo(30, 40, dtype, seed)
        table = decoding_table(Transfer.SRGB, np.iinfo(dtype).max + 1)
        assert (expanded(codes, said) >= table[codes]).all()

    @pytest.mark.parametrize("code", range(238, 256))
    @pytest.mark.parametrize("said", [0.2, 1.0, 6.0])
    def test_the_formula_holds_in_flat_regions(self, code, said):
        v = code / 255
        a, lin = blend_weight(np.array(v)), decode(np.array(v), Transfer.SRGB)
        out = expanded(np.full((40, 40, 3), code, np.uint8), said)
        np.testing.assert_allclose(out, (1 - a) * lin + a * max(lin, said), rtol=2e-3)

    def test_strength_0_is_the_linearised_photo_whatever_is_said(self):
        codes = photo(20, 30)
        np.testing.assert_array_equal(expanded(codes, 50.0, strength=0.0), decoding_table(Transfer.SRGB, 256)[codes])


class TestMoreIsMore:
    codes = photo(40, 50)

    def test_of_what_the_generator_says(self):
        steps = [expanded(self.codes, y) for y in (0.5, 1.0, 2.0, 8.0, 64.0)]
        for low, high in pairwise(steps):
            assert (high >= low - 1e-6).all()
        assert steps[-1].max() > 50

    def test_of_strength(self):
        steps = [expanded(self.codes, 30.0, strength=s) for s in (0, 0.25, 0.5, 0.75, 1)]
        for low, high in pairwise(steps):
            assert (high >= low * (1 - 1e-5)).all()

    def test_strength_is_even_in_stops(self):
        white = np.full((40, 40, 3), 255, np.uint8)
        stops = [float(np.log2(expanded(white, 16.0, strength=s)[20, 20, 0])) for s in (0, 0.25, 0.5, 1)]
        np.testing.assert_allclose(stops, [0, 1, 2, 4], atol=2e-3)

    def test_of_the_code_within_a_ramp(self):
        ramp = np.linspace(60000, 65535, 3000).astype(np.uint16)
        codes = np.broadcast_to(ramp[None, :, None], (64, 3000, 3))
        out = expanded(codes, 8.0)
        assert (np.diff(out[32, :, 0]) >= -1e-3).all()

    @pytest.mark.parametrize("stops", [0.0, 1.0, 3.0])
    def test_nothing_is_reconstructed_above_peak_stops(self, stops):
        out = expanded(self.codes, 200.0, peak_stops=stops)
        assert out.max() <= 2.0**stops * (1 + 1e-5)
        assert expanded(self.codes, 200.0, peak_stops=stops, gain=4.0).max() <= 4 * 2.0**stops * (1 + 1e-5)

    @pytest.mark.parametrize("whole", [False, True])
    def test_nothing_is_brighter_than_the_generator_can_say(self, whole):
        """Not even where survivors lend texture."""
        assert expanded(self.codes, 256.0, whole=whole).max() <= 256 * (1 + 1e-5)
        assert expanded(self.codes, 256.0, whole=whole, peak_stops=1.0).max() <= 2 * (1 + 1e-5)

    def test_gain_is_a_factor_on_everything(self):
        np.testing.assert_allclose(expanded(self.codes, 9.0, gain=4.0), 4 * expanded(self.codes, 9.0), rtol=1e-6)


class TestNumbers:
    @pytest.mark.parametrize("whole", [False, True])
    @pytest.mark.parametrize("gain", [1.0, 2.0**20, 2.0**-30])
    @pytest.mark.parametrize("said", [0.0, 256.0])
    def test_half_is_always_finite(self, whole, gain, said):
        out = expanded(photo(40, 40), said, dtype=np.float16, gain=gain, whole=whole)
        assert out.dtype == np.float16
        assert np.isfinite(out).all()
        assert (out >= 0).all()

    @pytest.mark.parametrize("whole", [False, True])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("rows", [2, 7, 64])
    def test_strips_equal_the_whole(self, monkeypatch, whole, dtype, rows):
        codes = photo(150, 90, dtype)
        once = expanded(codes, noise_generator(3), whole=whole)
        monkeypatch.setattr(reconstruction, "STRIP_ROWS", rows)
        assert expanded(codes, noise_generator(3), whole=whole).tobytes() == once.tobytes()

    @pytest.mark.parametrize("whole", [False, True])
    def test_single_rows_equal_the_whole_to_the_last_bits(self, monkeypatch, whole):
        codes = photo(150, 90)
        once = expanded(codes, noise_generator(3), whole=whole)
        monkeypatch.setattr(reconstruction, "STRIP_ROWS", 1)  # OpenCV interpolates single rows by other means
        np.testing.assert_allclose(expanded(codes, noise_generator(3), whole=whole), once, rtol=1e-5)

    @pytest.mark.parametrize("whole", [False, True])
    def test_same_numbers_twice(self, whole):
        codes = photo(300, 200)
        first = expanded(codes, noise_generator(3), whole=whole)
        assert all(expanded(codes, noise_generator(3), whole=whole).tobytes() == first.tobytes() for _ in range(3))

    @pytest.mark.parametrize("whole", [False, True])
    @pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3), (257, 1)])
    @pytest.mark.parametrize("code", [0, 128, 255])
    def test_any_size(self, whole, size, code):
        out = expanded(np.full((*size, 3), code, np.uint8), 10.0, whole=whole)
        assert out.shape == (*size, 3)
        assert np.isfinite(out).all()
        if code == 255:
            np.testing.assert_allclose(out, 10.0, rtol=0.01)

    def test_the_photo_is_left_as_it_was(self):
        codes = photo(20, 20)
        codes.flags.writeable = False
        expanded(codes, 4.0)

    def test_float_codes_are_refused(self):
        coarse = ask(FakeGenerator(1.0), photo(8, 8), Transfer.SRGB)
        with pytest.raises(MismatchError, match="uint8 or uint16"):
            reconstruct(np.zeros((8, 8, 3), np.float32), Transfer.SRGB, coarse, Reconstruction())


class TestSmallLamps:
    def test_a_lamp_of_four_pixels_in_a_large_photo_is_seen_and_lit(self):
        codes = np.full((1000, 1500, 3), 60, np.uint8)
        dark = ask(FakeGenerator(1.0), codes, Transfer.SRGB)
        codes[400:402, 700:702] = 255
        generator = FakeGenerator(lambda ldr, clip: np.where(clip > 0.01, 40.0, 0.05))
        coarse = ask(generator, codes, Transfer.SRGB)
        assert not np.array_equal(coarse.share, dark.share)
        assert generator.seen["clip"].max() > 0.05
        out = reconstruct(codes, Transfer.SRGB, coarse, Reconstruction())
        np.testing.assert_allclose(out[400:402, 700:702], 40, rtol=0.05)
        out[400:402, 700:702] = out[0, 0]
        assert (out == out[0, 0]).all()

    def test_no_dark_rim_where_a_lamp_meets_a_wall(self):
        """Cells in which nothing was lost have no say, however dark the generator paints the wall."""
        codes = np.full((200, 300, 3), 90, np.uint8)
        y, x = np.mgrid[0:200, 0:300]
        lamp = np.hypot(y - 101, x - 147) < 37
        codes[lamp] = 255
        out = expanded(codes, lambda ldr, clip: np.where(clip > 0, 64.0, 0.01))
        assert out[lamp].min() > 0.8 * 64
        np.testing.assert_array_equal(out[~lamp], decoding_table(Transfer.SRGB, 256)[codes][~lamp])

    def test_a_rim_that_the_generator_dims_by_half_stays_a_gradient(self):
        """A generator that averages over cells says less at a lamp's border: by no more than that may it get darker."""
        codes = np.full((200, 300, 3), 90, np.uint8)
        y, x = np.mgrid[0:200, 0:300]
        lamp = np.hypot(y - 101, x - 147) < 37
        codes[lamp] = 255
        out = expanded(codes, lambda ldr, clip: np.where(clip > 0, 32.0 + 32.0 * clip**2, 0.01))
        assert out[lamp].min() > 32
        assert np.abs(np.diff(np.log2(out[101, 112:183, 0]))).max() < 0.25


class TestSurvivors:
    def sky(self, noise=0.25):
        """A sky whose red survived, with texture, and whose green and blue clipped."""
        rng = np.random.default_rng(0)
        red = np.clip(190 + rng.normal(0, 12, (160, 200)), 120, 235).astype(np.uint8)
        return np.stack([red, np.full_like(red, 255), np.full_like(red, 255)], axis=-1)

    def test_lend_their_texture_to_what_clipped(self):
        codes = self.sky()
        out = np.log2(expanded(codes, 4.0))
        texture = out[..., 0] - out[..., 0].mean()
        for channel in (1, 2):
            assert np.corrcoef(texture.ravel(), out[..., channel].ravel())[0, 1] > 0.95
            assert out[..., channel].std() > 0.5 * texture.std()

    def test_do_not_change_the_mean_level(self):
        out = np.log2(expanded(self.sky(), 4.0))
        np.testing.assert_allclose(out[..., 1:].mean(axis=(0, 1)), 2, atol=0.05)

    def test_stay_what_they_were(self):
        codes = self.sky()
        np.testing.assert_array_equal(expanded(codes, 4.0)[..., 0], decoding_table(Transfer.SRGB, 256)[codes[..., 0]])

    def test_lend_nothing_where_all_clipped(self):
        codes = np.full((100, 100, 3), 255, np.uint8)
        np.testing.assert_allclose(expanded(codes, 4.0), 4, rtol=2e-3)


class TestContinuity:
    def test_no_step_where_the_blend_begins_and_ends(self):
        """Neighbouring 16-bit codes give neighbouring light, whatever is reconstructed."""
        ramp = np.linspace(0.92 * 65535, 65535, 4096).astype(np.uint16)
        codes = np.broadcast_to(ramp[None, :, None], (64, 4096, 3))
        row = expanded(codes, 8.0)[32, :, 0]
        assert np.abs(np.diff(np.log2(row))).max() < 0.02

    def test_no_step_across_strips_or_cells(self):
        """A smooth answer stays smooth: no facets, no seams."""
        codes = np.full((600, 900, 3), 255, np.uint8)

        def slope(ldr, clip):
            return np.exp2(np.broadcast_to(np.linspace(0, 6, ldr.shape[2]), ldr.shape))

        stops = np.log2(expanded(codes, slope)[..., 0])
        assert np.abs(np.diff(stops, axis=0)).max() < 1e-4
        assert np.abs(np.diff(stops, axis=1)).max() < 2.5 * 6 / 900
        assert stops.max() - stops.min() > 5.5

    def test_no_facets_where_cells_differ(self):
        """A jump from cell to cell becomes a soft slope, without the kinks of linear interpolation."""
        codes = np.full((600, 900, 3), 255, np.uint8)

        def jump(ldr, clip):
            return np.where(np.arange(ldr.shape[2]) < ldr.shape[2] // 2, 1.0, 64.0) * np.ones_like(ldr)

        stops = np.log2(expanded(codes, jump)[300, :, 0])
        cell = 900 / 80
        assert stops[0] == pytest.approx(0, abs=0.01)
        assert stops[-1] == pytest.approx(6, abs=0.01)
        assert np.abs(np.diff(stops, n=2)).max() < 0.2 * 6 / cell


class TestGrey:
    def test_a_grey_photo_stays_grey(self):
        codes = np.repeat(np.random.default_rng(0).integers(0, 256, (60, 80, 1), dtype=np.uint8), 3, axis=2)
        codes[:, 40:] = 255
        tint = np.array([4.0, 8.0, 16.0])[:, None, None]
        out = expanded(codes, lambda ldr, clip: tint * np.ones_like(ldr))
        assert out.max() > 2
        np.testing.assert_array_equal(out[..., 0], out[..., 1])
        np.testing.assert_array_equal(out[..., 0], out[..., 2])


class TestCalm:
    """Where the photo is smooth, the generator may not draw edges or spots of colour; where it has edges, it keeps its word."""

    def test_a_sky_that_clips_smoothly_gets_no_island(self):
        ramp = np.clip(np.linspace(0.5, 1.5, 900), 0, 1)
        codes = np.rint(ramp * 255).astype(np.uint8)[None, :, None] * np.ones((600, 1, 3), np.uint8)

        def island(ldr, clip):
            return np.where(clip > 0.3, 8.0, 0.9) * np.ones_like(ldr)

        stops = np.log2(expanded(codes, island)[300, :, 1])
        far = stops[-50:].mean()
        assert far > 2.5
        # the answer jumps within one cell (11 pixels), the result takes several
        border = int(np.flatnonzero(codes[0, :, 0] >= 253)[0])
        assert stops[border] < 0.92 * far

    def test_spots_of_colour_in_a_white_wall_fade(self):
        codes = np.full((600, 900, 3), 255, np.uint8)

        def spots(ldr, clip):
            spot = (np.indices(ldr.shape[-2:]) // 3).sum(0) % 2
            return np.stack([4.0 + 4.0 * spot, 4.0 + 0.0 * spot, 8.0 - 4.0 * spot])

        out = expanded(codes, spots)[200:400, 300:600]
        assert np.ptp(np.log2(out[..., 0] / out[..., 2])) < 0.6  # 2 stops as said

    def test_a_bright_window_in_a_dark_wall_keeps_its_brightness_up_to_the_frame(self):
        codes = np.full((600, 900, 3), 40, np.uint8)
        codes[150:450, 300:600] = 255
        out = expanded(codes, lambda ldr, clip: np.where(clip > 0.3, 16.0, 0.02) * np.ones_like(ldr))
        assert out[155:445, 305:595].min() > 15


class TestWhole:
    """Mode "all": the generator's output for measured channels too."""

    def test_a_generator_that_agrees_changes_nothing_measured(self):
        scene = smooth_scene(120, 160)
        codes = np.rint(np.clip(scene, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
        out = expanded(codes, lambda ldr, clip: decode(ldr, Transfer.SRGB), whole=True)
        measured = (unit(codes) < 0.9).all(axis=2)
        difference = np.log2(out[measured] + 2**-10) - np.log2(linear(codes)[measured] + 2**-10)
        assert np.sqrt(np.mean(difference**2)) < 0.1

    def test_an_overall_gain_reaches_measured_pixels(self):
        codes = np.full((100, 100, 3), 128, np.uint8)
        codes[:, 50:] = 64
        out = expanded(codes, lambda ldr, clip: 2 * decode(ldr, Transfer.SRGB), whole=True)
        np.testing.assert_allclose(out, 2 * linear(codes), rtol=0.05)

    def test_edges_stay_at_full_resolution(self):
        codes = np.full((300, 300, 3), 200, np.uint8)
        codes[:, 151:] = 40
        out = expanded(codes, lambda ldr, clip: 1.5 * decode(ldr, Transfer.SRGB), whole=True)
        ratio = out[150, 151, 0] / out[150, 150, 0]
        assert ratio == pytest.approx(linear(np.uint8([40]))[0] / linear(np.uint8([200]))[0], rel=0.3)

    def test_strength_0_is_the_linearised_photo(self):
        codes = photo(30, 30)
        out = expanded(codes, noise_generator(1), whole=True, strength=0.0)
        np.testing.assert_allclose(out, linear(codes), rtol=1e-4, atol=2e-6)


class TestAsk:
    def test_the_generator_sees_the_whole_photo_as_nchw_float32(self):
        codes = photo(300, 400)
        generator = FakeGenerator(1.0)
        ask(generator, codes, Transfer.SRGB)
        assert set(generator.seen) == {"ldr", "clip"}
        for grid in generator.seen.values():
            assert grid.shape == (1, 3, 56, 72)
            assert grid.dtype == np.float32
            assert grid.flags.c_contiguous
            assert grid.min() >= 0
            assert grid.max() <= 1

    def test_what_it_says_comes_back_in_stops(self):
        coarse = ask(FakeGenerator(8.0), photo(100, 100), Transfer.SRGB)
        np.testing.assert_allclose(coarse.stops, 3, atol=1e-3)

    def test_it_may_say_no_more_than_its_peak(self):
        coarse = ask(FakeGenerator(1e6, peak=64.0), photo(100, 100), Transfer.SRGB)
        np.testing.assert_allclose(coarse.stops, 6, atol=1e-3)


class TestStoredCodes:
    """A profile changed the codes on the way in: the codes in the file say what is lost; light comes from the new ones."""

    @staticmethod
    def mended(codes, stored, said, **settings):
        coarse = ask(FakeGenerator(said), codes, Transfer.SRGB, stored=stored)
        return reconstruct(codes, Transfer.SRGB, coarse, Reconstruction(**settings), stored=stored)

    @settings(deadline=None, max_examples=25)
    @given(st.sampled_from([np.uint8, np.uint16]), st.sampled_from(SAID), st.booleans(), st.sampled_from([0.3, 1.0]))
    def test_the_same_codes_twice_change_nothing(self, dtype, said, whole, strength):
        codes = photo(40, 50, dtype)
        twice = self.mended(codes, codes.copy(), said, whole=whole, strength=strength)
        assert twice.tobytes() == expanded(codes, said, whole=whole, strength=strength).tobytes()

    @pytest.mark.parametrize("code", [200, 241, 246, 252, 255])
    @pytest.mark.parametrize("converted", [30000, 58000, 65535])
    def test_the_formula_holds_in_flat_regions(self, code, converted):
        v = np.array(code / 255)
        a, light = blend_weight(v), decode(np.array(converted / 65535), Transfer.SRGB)
        out = self.mended(np.full((40, 40, 3), converted, np.uint16), np.full((40, 40, 3), code, np.uint8), 6.0)
        np.testing.assert_allclose(out, (1 - a) * light + a * max(light, 6.0), rtol=2e-3)

    def test_what_the_file_holds_unclipped_stays_measured_even_where_the_profile_clips_it(self):
        stored = photo(60, 80)
        codes = np.minimum(stored.astype(np.uint32) * 400, 65535).astype(np.uint16)
        measured = unit(stored) < 0.94
        assert (codes[measured] == 65535).any()
        table = decoding_table(Transfer.SRGB, 65536)
        np.testing.assert_array_equal(self.mended(codes, stored, 20.0)[measured], table[codes][measured])

    def test_white_that_the_profile_maps_below_the_clip_point_is_still_lost(self):
        stored = np.full((60, 80, 3), 90, np.uint8)
        stored[20:40, 20:60] = 255
        out = self.mended(stored.astype(np.uint16) * 220, stored, 16.0)  # white: 0.86
        np.testing.assert_allclose(out[25:35, 30:50], 16, rtol=0.02)

    def test_the_generator_is_told_what_the_file_lost(self):
        stored = photo(100, 120)
        codes = (stored // 2).astype(np.uint16) * 257
        generator = FakeGenerator(1.0)
        coarse = ask(generator, codes, Transfer.SRGB, stored=stored)
        np.testing.assert_array_equal(coarse.share, ask(FakeGenerator(1.0), stored, Transfer.SRGB).share)
        assert generator.seen["clip"].max() > 0.5
        assert generator.seen["ldr"].max() < 0.51

    def test_codes_that_do_not_belong_together_are_refused(self):
        codes = photo(8, 8)
        coarse = ask(FakeGenerator(1.0), codes, Transfer.SRGB)
        with pytest.raises(MismatchError, match="shape"):
            reconstruct(codes, Transfer.SRGB, coarse, Reconstruction(), stored=photo(8, 9))
        with pytest.raises(MismatchError, match="uint8 or uint16"):
            reconstruct(codes, Transfer.SRGB, coarse, Reconstruction(), stored=np.zeros((8, 8, 3), np.float32))


def test_confidence_is_the_largest_blend_weight_of_a_pixel():
    codes = photo(20, 30)
    np.testing.assert_allclose(confidence(codes), blend_weight(unit(codes).max(axis=2)), atol=1e-7)
    assert confidence(codes).dtype == np.float32
