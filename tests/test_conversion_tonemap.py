"""tonemap(): what its options mean, whatever the operator."""

import colorsys

import numpy as np
import pytest
from fakes import smooth_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import conversion, registry
from hdrcli.color import Primaries, Transfer, conversion_matrix, decode, encode, luminance, rgb_to_xyz
from hdrcli.conversion import TonemapOptions, check_tonemap, takes_exposure, tonemap
from hdrcli.errors import UsageError
from hdrcli.image import Image
from hdrcli.tonemapping._steady import Steady

OPERATORS = registry.names("hdrcli.tonemapping")
MODULES = {name: registry.load("hdrcli.tonemapping", name) for name in OPERATORS}
WITH_WHITE = [name for name in OPERATORS if hasattr(MODULES[name], "WHITE")]
# nothing but luminance decides what a pixel becomes, and colours keep their ratios
OF_LUMINANCE = {
    "bt2390": {},
    "clip": {},
    "drago03": {},
    "durand02": {},
    "fattal02": {"saturation": "1"},
    "gamma": {},
    "mantiuk06": {"saturation": "1"},
    "reinhard": {},
}


def hdr(pixels, primaries=Primaries.BT709):
    return Image(np.ascontiguousarray(pixels, dtype=np.float32), Transfer.LINEAR, primaries)


def ramp(low=1e-3, high=64.0, count=48 * 64):
    """Greys, evenly spaced in stops."""
    return np.geomspace(low, high, count).reshape(48, -1, 1).repeat(3, 2)


def shown(image, name="reinhard", parameters=None, *, steady=None, number=0, **options):
    """Display-linear light of 16-bit codes."""
    made = tonemap(image, TonemapOptions(name, parameters or {}, bits=16, **options), steady=steady, number=number)
    return decode(made.pixels / 65535, Transfer.SRGB)


class TestWhite:
    def test_who_has_one(self):
        assert set(WITH_WHITE) == {
            "aces", "agx", "bt2390", "bt2446a", "clip", "drago03", "gamma", "hable", "mulaw", "reinhard",
        }  # fmt: skip

    @pytest.mark.parametrize("name", WITH_WHITE)
    @pytest.mark.parametrize(("white", "ev", "auto"), [(2.0, 0, None), (4.5, 0, False), (3.0, 1, None), (3.0, 0, True)])
    def test_is_the_same_light_for_all(self, name, white, ev, auto):
        """White from that luminance on, counted after the exposure, and not below it."""
        light = ramp()
        y = light[..., 0] * 2.0**ev
        if auto:
            y = y * 0.18 / np.sqrt(1e-3 * 64)  # the log-average of the ramp
        out = shown(hdr(light), name, white=white, ev=ev, auto_exposure=auto)[..., 0]
        assert out[y >= 2**white * 1.02].min() > 0.999
        assert out[y <= 2**white / 2].max() < 0.998

    @pytest.mark.parametrize("name", WITH_WHITE)
    def test_auto_is_the_brightest_but_a_thousandth(self, name):
        light = ramp()
        light[0, 0] = 1e5  # a hot pixel
        out = shown(hdr(light), name, white="auto")[..., 0]
        assert out[-1, -1] > 0.999
        assert out[light[..., 0] < 32].max() < 0.998
        # of the scene as it is: an exposure that the user asks for is not undone
        assert shown(hdr(light), name, white="auto", ev=1.5).mean() > out.mean() * 1.05

    @pytest.mark.parametrize("name", sorted(set(OPERATORS) - set(WITH_WHITE)))
    def test_others_say_that_it_changes_nothing(self, name):
        image = hdr(smooth_scene(20, 30))
        plain, asked = tonemap(image, TonemapOptions(name)), tonemap(image, TonemapOptions(name, white=2.0))
        np.testing.assert_array_equal(plain.pixels, asked.pixels)
        assert asked.metadata.notes == (f"{name} finds its own white; --white changes nothing",)

    def test_said_twice_is_refused(self):
        with pytest.raises(UsageError, match=r"-p peak says what is white"):
            check_tonemap(TonemapOptions("mulaw", {"peak": "3"}, white=1.0))
        with pytest.raises(UsageError, match="dodging"):
            tonemap(hdr(ramp()), TonemapOptions("reinhard", {"local": "true"}, white=1.0))

    def test_black_pictures_have_none(self):
        for name in WITH_WHITE:
            assert not tonemap(hdr(np.zeros((4, 5, 3))), TonemapOptions(name, white="auto")).pixels.any()


class TestAutoExposure:
    SCENE_REFERRED = ("aces", "agx", "bt2390", "bt2446a", "clip", "gamma", "hable", "khronos", "reinhard")

    def test_who_takes_one(self):
        assert tuple(name for name in OPERATORS if takes_exposure(name)) == self.SCENE_REFERRED

    @pytest.mark.parametrize("name", SCENE_REFERRED)
    def test_off_takes_light_as_it_is_and_on_brings_it_to_middle_grey(self, name):
        light = ramp() * 37
        average = float(np.exp(np.log(light).mean()))
        off = shown(hdr(light * (0.18 / average)), name, auto_exposure=False)
        np.testing.assert_allclose(shown(hdr(light), name, auto_exposure=True), off, atol=2e-3)
        assert np.abs(shown(hdr(light), name, auto_exposure=False) - off).max() > 0.05
        kept = shown(hdr(light), name, {"exposure": "keep"})
        np.testing.assert_array_equal(shown(hdr(light), name, auto_exposure=False), kept)

    @pytest.mark.parametrize("name", SCENE_REFERRED)
    def test_borders_and_the_sun_do_not_count(self, name):
        light = smooth_scene(80, 90)
        boxed = np.pad(light, ((24, 24), (0, 0), (0, 0)))
        sunny = light.copy()
        sunny[3:5, 4:6] = 1e6
        keep = slice(10, None)
        plain = shown(hdr(light), name, auto_exposure=True)
        np.testing.assert_allclose(shown(hdr(boxed), name, auto_exposure=True)[24:-24], plain, atol=1e-4)
        np.testing.assert_allclose(shown(hdr(sunny), name, auto_exposure=True)[keep], plain[keep], atol=0.02)

    def test_exposure_counts_on_top_of_it(self):
        out = [shown(hdr(ramp() * 99), "clip", auto_exposure=True, ev=ev)[20, 20, 0] for ev in (0, 1)]
        assert out[1] == pytest.approx(2 * out[0], rel=1e-3)

    def test_what_finds_its_own_is_left_alone_or_says_so(self):
        image = hdr(smooth_scene(20, 30))
        off = tonemap(image, TonemapOptions("drago03", auto_exposure=False))
        np.testing.assert_array_equal(off.pixels, tonemap(image, TonemapOptions("drago03")).pixels)
        assert off.metadata.notes == ("drago03 finds its own exposure; --no-auto-exposure changes nothing",)
        with pytest.raises(UsageError, match="--auto-exposure"):
            check_tonemap(TonemapOptions("clip", {"exposure": "keep"}, auto_exposure=True))


class TestSaturation:
    @settings(deadline=None, max_examples=60)
    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0.05, 0.9), st.floats(0, 4))
    def test_luminance_and_hue_stay(self, hue, chroma, value, saturation):
        """On a line through grey of equal luminance, whether it ends inside of the gamut or is drawn back to its edge."""
        before = np.array(colorsys.hsv_to_rgb(hue, chroma, value), np.float32)[None, None]
        after = conversion._saturated(before.copy(), saturation, Primaries.BT709)
        y = luminance(before)
        assert after.min() >= 0
        assert after.max() <= 1
        assert luminance(after) == pytest.approx(y, abs=2e-6)
        away, moved = (before - y[..., None]).ravel(), (after - y[..., None]).ravel()
        assert np.abs(np.cross(away, moved)).max() < 1e-5
        assert away @ moved >= -1e-6
        assert np.linalg.norm(moved) <= saturation * np.linalg.norm(away) + 1e-5

    @pytest.mark.parametrize("primaries", ["srgb", "p3"])
    def test_none_is_grey_and_one_is_nothing(self, primaries):
        image = hdr(smooth_scene(30, 40))
        plain = shown(image, saturation=1, primaries=primaries)
        grey = shown(image, saturation=0, primaries=primaries)
        assert np.ptp(grey, axis=2).max() == 0
        assert grey[..., 0] == pytest.approx(luminance(plain, conversion.DISPLAYS[primaries]), abs=1e-4)
        more = shown(image, saturation=1.5, primaries=primaries)
        assert np.ptp(more, axis=2).mean() > 1.05 * np.ptp(plain, axis=2).mean()


class TestDither:
    def sky(self):
        """A gradient of three codes over 600 pixels."""
        codes = np.linspace(200, 203, 600)
        return decode(codes / 255, Transfer.SRGB)[None, :, None].repeat(64, 0).repeat(3, 2)

    def options(self, **more):
        return TonemapOptions("clip", {"exposure": "keep"}, **more)

    def test_means_follow_the_gradient_and_without_it_there_are_bands(self):
        light = self.sky()
        exact = encode(light, Transfer.SRGB)[0, :, 0] * 255
        for dither, least, most in ((True, 0.0, 0.1), (False, 0.3, 0.5)):
            codes = tonemap(hdr(light), self.options(dither=dither)).pixels[..., 0].astype(float)
            means = codes.mean(axis=0).reshape(-1, 20).mean(axis=1)  # of 64 x 20 pixels
            apart = np.abs(means - exact.reshape(-1, 20).mean(axis=1)).max()
            assert least <= apart <= most

    def test_is_the_default_of_8_bits_and_no_matter_to_16(self):
        light = self.sky()
        plain = tonemap(hdr(light), self.options()).pixels
        np.testing.assert_array_equal(plain, tonemap(hdr(light), self.options(dither=True)).pixels)
        assert (plain != tonemap(hdr(light), self.options(dither=False)).pixels).any()
        sixteen = [tonemap(hdr(light), self.options(bits=16, dither=dither)).pixels for dither in (True, False)]
        np.testing.assert_array_equal(*sixteen)

    def test_strips_equal_the_whole_and_runs_each_other(self, monkeypatch):
        image = hdr(smooth_scene(70, 80))
        whole = tonemap(image).pixels
        np.testing.assert_array_equal(whole, tonemap(image).pixels)
        monkeypatch.setattr(conversion.tonemapping, "STRIP_PIXELS", 300)
        np.testing.assert_array_equal(whole, tonemap(image).pixels)

    def test_codes_stay_codes(self):
        codes = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        np.testing.assert_array_equal(tonemap(Image(codes, Transfer.SRGB), self.options()).pixels, codes)


class TestPrimaries:
    def test_of_the_result(self):
        made = tonemap(hdr(smooth_scene(4, 5)), TonemapOptions(primaries="p3"))
        assert (made.primaries, made.transfer) == (Primaries.DISPLAY_P3, Transfer.SRGB)
        assert made.metadata.notes == ()
        wide = tonemap(hdr(smooth_scene(4, 5), Primaries.BT2020), TonemapOptions(primaries="p3"))
        assert wide.metadata.notes == ("Rec.2020 shown in Display P3; colours beyond that are drawn in",)
        kept = tonemap(hdr(smooth_scene(4, 5), Primaries.DISPLAY_P3), TonemapOptions(primaries="p3"))
        assert kept.metadata.notes == ()

    @pytest.mark.parametrize("name", OPERATORS)
    def test_greys_have_the_same_codes(self, name):
        light = ramp(1e-3, 64, 48 * 60)
        srgb, p3 = (tonemap(hdr(light), TonemapOptions(name, primaries=p)).pixels.astype(int) for p in ("srgb", "p3"))
        apart = np.abs(srgb - p3)
        # rounding alone, where a value is as close to one code as to the next
        assert apart.max() <= 1
        assert (apart > 0).mean() < 1e-3

    @pytest.mark.parametrize("name", OF_LUMINANCE)
    def test_colours_of_srgb_are_the_same_light(self, name):
        light = 0.5 * smooth_scene(40, 50) + 0.5 * smooth_scene(40, 50).mean(axis=2, keepdims=True)
        srgb = shown(hdr(light), name, OF_LUMINANCE[name])
        p3 = shown(hdr(light), name, OF_LUMINANCE[name], primaries="p3")
        inside = (srgb.max(axis=2) < 0.99) & (p3.max(axis=2) < 0.99)  # neither was drawn into its gamut
        assert inside.mean() > 0.5
        there, here = srgb[inside] @ rgb_to_xyz(Primaries.BT709).T, p3[inside] @ rgb_to_xyz(Primaries.DISPLAY_P3).T
        np.testing.assert_allclose(here, there, atol=5e-4)
        assert np.abs(srgb - p3)[inside].max() > 0.02

    @pytest.mark.parametrize("name", OPERATORS)
    @pytest.mark.parametrize("channel", [0, 1])  # blue is the same in both
    def test_colours_beyond_srgb_keep_more_of_themselves(self, name, channel):
        light = ramp(0.02, 2.0, 48 * 40)
        pure = np.zeros(3)
        pure[channel] = 1.0
        light[10:40] *= pure
        image = hdr(light, Primaries.DISPLAY_P3)
        chroma = []
        for option, primaries in conversion.DISPLAYS.items():
            xyz = shown(image, name, primaries=option)[15:35].mean(axis=(0, 1)) @ rgb_to_xyz(primaries).T
            white = rgb_to_xyz(primaries).sum(axis=1)
            chroma.append(float(np.hypot(*(xyz / xyz.sum() - white / white.sum())[:2])))
        assert chroma[1] > 1.02 * chroma[0]

    def test_light_of_p3_is_not_cut(self):
        light = np.array([[[0.9, 0.01, 0.02], [0.2, 0.8, 0.1]]])
        codes = tonemap(hdr(light, Primaries.DISPLAY_P3), TonemapOptions("clip", {"exposure": "keep"}, bits=16, primaries="p3"))
        np.testing.assert_allclose(decode(codes.pixels / 65535, Transfer.SRGB), light, atol=1e-4)
        cut = np.maximum(light @ conversion_matrix(Primaries.DISPLAY_P3, Primaries.BT709).T, 0)
        assert (cut == 0).any()


@pytest.mark.parametrize(
    "option",
    [
        {"white": 40.0},
        {"white": float("nan")},
        {"white": "bright"},
        {"saturation": -0.1},
        {"saturation": float("nan")},
        {"primaries": "rec2020"},
    ],
)
def test_options_out_of_range_are_refused(option):
    with pytest.raises(UsageError, match=f"--{next(iter(option))}"):
        TonemapOptions(**option)


class TestSequences:
    """A still room, a third of it flickering by two stops from frame to frame; then a cut."""

    def frames(self, count=24):
        light = smooth_scene(96, 96)
        light[:, :64] = np.clip(light[:, :64], 0.05, 4)  # still
        frames = []
        for index in range(count):
            frame = light.copy()
            frame[:, 64:] = 8.0 * 2.0 ** (1 if index % 2 else -1)
            frames.append(hdr(frame))
        return frames

    @staticmethod
    def flicker(pictures):
        """Mean change of the still part from frame to frame, in stops of what is shown."""
        means = np.array([np.log2(picture[:, :60] + 1e-3).mean() for picture in pictures])
        return float(np.abs(np.diff(means)).mean())

    @pytest.mark.parametrize("name", sorted(set(OPERATORS) - {"fusion"}))  # which blends each frame by itself
    def test_what_is_still_stops_flickering(self, name):
        frames = self.frames()
        plain = self.flicker([shown(frame, name) for frame in frames])
        steady = Steady()
        calm = self.flicker([shown(frame, name, steady=steady, number=i) for i, frame in enumerate(frames)])
        assert calm <= plain / 7

    def test_a_third_of_a_stop_becomes_a_fortieth(self):
        frames = self.frames()
        steady = Steady()
        plain = self.flicker([shown(frame) for frame in frames])
        calm = self.flicker([shown(frame, steady=steady, number=i) for i, frame in enumerate(frames)])
        assert plain > 0.2
        assert calm < plain / 8

    @pytest.mark.parametrize("name", ["reinhard", "clip", "drago03", "mulaw", "reinhard05", "durand02", "fattal02", "fusion"])
    def test_a_cut_is_followed_at_once(self, name):
        frames = self.frames(6)
        night = hdr(smooth_scene(96, 96, 5) * np.float32(0.02))
        steady = Steady()
        for i, frame in enumerate(frames):
            shown(frame, name, steady=steady, number=i)
        np.testing.assert_allclose(shown(night, name, steady=steady, number=6), shown(night, name), atol=2e-4)

    def test_automatic_exposure_and_white_are_smooth_too(self):
        for options in ({"auto_exposure": True}, {"white": "auto"}, {"white": "auto", "auto_exposure": True}):
            frames = self.frames(12)
            steady = Steady()
            plain = self.flicker([shown(frame, "gamma", **options) for frame in frames])
            calm = [shown(frame, "gamma", **options, steady=steady, number=i) for i, frame in enumerate(frames)]
            assert self.flicker(calm) < plain / 4

    def test_where_there_is_nothing_to_smooth_the_first_frame_says_so(self):
        for options in (TonemapOptions("fusion"), TonemapOptions("clip", {"exposure": "keep"})):
            steady = Steady()
            notes = [tonemap(f, options, steady=steady, number=i).metadata.notes for i, f in enumerate(self.frames(3))]
            assert notes == [(f"{options.operator} has nothing to smooth from frame to frame",), (), ()]
        assert tonemap(self.frames(1)[0], steady=Steady()).metadata.notes == ()

    def test_exponential_in_logarithms(self):
        steady = Steady(frames=4.0)
        assert steady.begin(10, 1.0)
        assert steady("x", 0.0) == 0.0
        assert not steady.begin(11, 1.5)
        assert steady("x", 1.0) == pytest.approx(1 - np.exp(-1 / 4))
        assert steady("x", 5.0) == pytest.approx(1 - np.exp(-1 / 4))  # once a frame
        assert not steady.begin(14, 1.5)  # three frames later, as if the two missing had been like this one
        assert steady("x", 1.0) == pytest.approx(1 - np.exp(-4 / 4))

    def test_cuts_are_jumps_between_neighbours_and_black_frames_none(self):
        steady = Steady()
        averages = [1.0, 1.9, 3.6, 0.0, 3.6, 1.7, 0.0, 3.5]
        assert [steady.begin(i, average) for i, average in enumerate(averages)] == [
            True, False, False, False, False, True, False, True,
        ]  # fmt: skip
