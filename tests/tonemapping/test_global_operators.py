"""Global operators against independent implementations: OpenCV, OpenColorIO, pfstools, published formulas written out."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest
from fakes import smooth_scene

from hdrcli import formats, registry
from hdrcli.color import Primaries, Transfer, conversion_matrix, decode, encode, luminance
from hdrcli.conversion import TonemapOptions, tonemap
from hdrcli.errors import UsageError
from hdrcli.image import Image
from hdrcli.tonemapping import Scene, aces, agx, bt2390, bt2446a, clip, drago03, gamma, hable, khronos, reinhard, reinhard05

GLOBAL = ("aces", "agx", "bt2390", "bt2446a", "clip", "drago03", "gamma", "hable", "khronos", "mulaw", "reinhard", "reinhard05")


def shown(module, picture, **parameters):
    """A picture through an operator, prepared for it."""
    return module.apply(picture, module.prepare(Scene.whole(picture), module.Parameters(**parameters)), 0)


def grey(values):
    return np.array(values, np.float32)[None, :, None] * np.ones(3, np.float32)


def codes_apart(a, b):
    """Largest and mean difference of two pictures of display light, in 8-bit sRGB codes."""
    apart = np.abs(encode(np.clip(a, 0, 1), Transfer.SRGB) - encode(np.clip(b, 0, 1), Transfer.SRGB)) * 255
    return apart.max(), apart.mean()


@pytest.mark.parametrize("name", GLOBAL)
class TestEveryGlobalOperator:
    def module(self, name):
        return registry.load("hdrcli.tonemapping", name)

    def test_one_pixel_does_not_change_the_rest(self, name):
        light = smooth_scene(200, 200)
        codes = tonemap(Image(light, Transfer.LINEAR), TonemapOptions(name)).pixels.astype(int)
        hot = light.copy()
        hot[7, 9] = 1e7
        apart = np.abs(tonemap(Image(hot, Transfer.LINEAR), TonemapOptions(name)).pixels - codes)
        apart[7, 9] = 0
        assert apart.max() <= 1

    def test_black_borders_change_nothing(self, name):
        light = smooth_scene(60, 80)
        boxed = np.pad(light, ((30, 30), (0, 0), (0, 0)))
        np.testing.assert_array_equal(shown(self.module(name), boxed)[30:90], shown(self.module(name), light))

    def test_black_stays_black_and_one_lamp_is_shown(self, name):
        light = np.zeros((20, 30, 3), np.float32)
        assert shown(self.module(name), light).max() < 1e-5
        light[3, 4] = 5.0
        out = shown(self.module(name), light)
        assert out[3, 4].min() > 0.01
        assert np.count_nonzero(out > 1e-5) == 3

    def test_grey_stays_grey(self, name):
        out = shown(self.module(name), grey(np.geomspace(1e-3, 100, 500)))
        assert np.ptp(out, axis=2).max() < 1e-5

    def test_exposure_of_the_scene_does_not_matter(self, name):
        """All find it on their own; PQ and broadcast curves as well, since exposure comes before them."""
        light = smooth_scene(64, 64)
        dark, bright = shown(self.module(name), light), shown(self.module(name), light * np.float32(64))
        assert codes_apart(dark, bright)[0] < 0.1


class TestAgainstOpenCV:
    """The same input, normalised as OpenCV does: from 0 to 1, in a range of 1e4, which it can't leave."""

    @pytest.fixture(params=["grey", "tinted"])
    def scene(self, request):
        light = np.geomspace(2e-4, 1, 80 * 60).reshape(80, 60, 1) * np.ones(3)
        if request.param == "tinted":  # below 0.5: OpenCV would divide by a channel above 1
            tint = np.random.default_rng(0).uniform(0.9, 1.1, light.shape)
            light *= np.where(light < 0.5, tint, 1)
        light[0, 0] = (0, 3e-4, 3e-4)  # a luminance of 0 makes OpenCV's results NaN
        return request.param, light.astype(np.float32)

    def test_drago(self, scene):
        kind, light = scene
        theirs = cv2.createTonemapDrago(1.0, 1.0, 0.85).process(light.copy())
        worst, mean = codes_apart(shown(drago03, light, normalise="max"), theirs)
        # its luminance has other weights: 0.299, 0.587, 0.114
        assert (worst, mean) < ((0.2, 0.01) if kind == "grey" else (5, 0.5))

    @pytest.mark.parametrize(
        ("intensity", "light", "chromatic"), [(0, 1, 0), (0, 0.5, 0), (1, 0.5, 0.5), (-1, 0.2, 1), (0, 0, 0)]
    )
    def test_reinhard_devlin(self, scene, intensity, light, chromatic):
        kind, picture = scene
        theirs = cv2.createTonemapReinhard(1.0, float(intensity), float(light), float(chromatic)).process(picture.copy())
        ours = shown(reinhard05, picture, normalise="max", intensity=intensity, light=light, chromatic=chromatic)
        worst, mean = codes_apart(ours, decode(theirs, Transfer.SRGB))
        assert (worst, mean) < ((1.5, 0.01) if kind == "grey" else (4, 0.5))


@pytest.mark.skipif(shutil.which("pfstmo_drago03") is None, reason="pfstools are not installed")
class TestAgainstPfstools:
    """What leaves the gamut is clipped there and drawn towards grey here, so that only what stays inside is compared."""

    @pytest.fixture
    def through(self, tmp_path):
        light = np.maximum(smooth_scene(120, 160), 1e-4)
        formats.write(Image(light, Transfer.LINEAR), tmp_path / "in.pfm")

        def run(command):
            pipe = f"pfsin in.pfm | {command} | pfsoutpfm out.pfm"
            subprocess.run(pipe, shell=True, check=True, cwd=tmp_path, capture_output=True)
            return formats.read(tmp_path / "out.pfm").pixels

        return light, run

    @pytest.mark.parametrize(
        ("command", "module", "parameters"),
        [
            ("pfstmo_reinhard02", reinhard, {}),
            ("pfstmo_reinhard02 --key 0.4", reinhard, {"key": 0.4}),
            ("pfstmo_drago03", drago03, {}),
            ("pfstmo_drago03 --bias 0.7", drago03, {"bias": 0.7}),
            ("pfstmo_reinhard05", reinhard05, {"light": 0.75, "chromatic": 0.5}),
            ("pfstmo_reinhard05 -b 2 -c 0 -l 1", reinhard05, {"intensity": 2}),
        ],
    )
    def test_agreement(self, through, command, module, parameters):
        light, run = through
        theirs, ours = run(command), shown(module, light, normalise="max", **parameters)
        inside = theirs.max(axis=2) < 1
        assert inside.mean() > 0.8
        worst, mean = codes_apart(theirs[inside], ours[inside])
        assert worst < 2
        assert mean < 0.5


class TestFormulas:
    def test_clip_keeps_hue_or_clips_channels(self):
        light = np.array([[[0.25, 0.5, 0.125], [2.0, 0.5, 0.25], [9.0, 9.0, 9.0]]], np.float32)
        channels = shown(clip, light, exposure="keep", channels=True)
        np.testing.assert_array_equal(channels, np.minimum(light, 1))
        hue = shown(clip, light, exposure="keep")
        np.testing.assert_array_equal(hue[0, [0, 2]], channels[0, [0, 2]])
        assert hue[0, 1, 0] == 1
        assert hue[0, 1, 1] > 0.5
        assert luminance(hue)[0, 1] == pytest.approx(luminance(light)[0, 1], rel=1e-5)
        parts = hue[0, 1] - luminance(hue)[0, 1], light[0, 1] - luminance(light)[0, 1]
        assert parts[0][1] / parts[0][0] == pytest.approx(parts[1][1] / parts[1][0], rel=1e-4)

    def test_gamma_is_a_power_of_codes(self):
        light = np.array([0.01, 0.2, 0.7, 3.0])
        out = shown(gamma, grey(light), exposure="keep", gamma=2.6)[0, :, 0]
        np.testing.assert_allclose(encode(out, Transfer.SRGB), np.minimum(light, 1) ** (1 / 2.6), atol=1e-5)

    def test_hable_is_the_published_formula(self):
        def f(x):
            return (x * (0.15 * x + 0.05) + 0.2 * 0.02) / (x * (0.15 * x + 0.5) + 0.2 * 0.3) - 0.02 / 0.3

        light = np.geomspace(1e-4, 20, 300)
        out = shown(hable, grey(light), exposure="keep")[0, :, 1]
        np.testing.assert_allclose(out, np.minimum(f(2 * light) / f(11.2), 1), atol=2e-6)

    def test_agx_is_the_curve_that_others_fitted(self):
        """Wrensch's polynomial, to its own error, and his rounded matrix."""
        x = np.linspace(0, 1, 500)
        polynomial = [15.5, -40.14, 31.96, -6.868, 0.4298, 0.1191, -0.00232]
        assert np.abs(agx.sigmoid(x) - np.polyval(polynomial, x)).max() < 0.006
        np.testing.assert_allclose(agx.sigmoid(np.array([0, 10 / 16.5, 1])), [0, 0.5, 1], atol=1e-9)
        red = [0.842479062253094, 0.0784335999999992, 0.0792237451477643]
        np.testing.assert_allclose(agx.inset()[0], red, atol=2e-4)

    def test_agx_shows_middle_grey_as_half(self):
        out = shown(agx, grey([0.18]), exposure="keep")
        np.testing.assert_allclose(out, 0.5**2.2, rtol=1e-4)
        punchy = shown(agx, grey([0.18]), exposure="keep", power=1.35, saturation=1.4)
        np.testing.assert_allclose(punchy, 0.5 ** (1.35 * 2.2), rtol=1e-4)

    def test_khronos_is_the_published_formula(self):
        def neutral(color):
            start, desaturation = 0.8 - 0.04, 0.15
            x = min(color)
            color = np.array(color) - (x - 6.25 * x * x if x < 0.08 else 0.04)
            peak = max(color)
            if peak < start:
                return color
            d = 1 - start
            new = 1 - d * d / (peak + d - start)
            g = 1 - 1 / (desaturation * (peak - new) + 1)
            return color * new / peak * (1 - g) + new * g

        light = np.random.default_rng(0).uniform(0, 1, (1, 300, 3)) ** 3 * np.geomspace(0.05, 30, 300)[None, :, None]
        out = shown(khronos, light.astype(np.float32), exposure="keep")[0]
        np.testing.assert_allclose(out, [neutral(c) for c in light[0]], atol=3e-5)

    def test_bt2390_leaves_mid_tones_and_ends_at_white(self):
        parameters = bt2390.Parameters()
        nits = np.geomspace(0.01, 4000, 2000)
        out = bt2390.eetf(nits, parameters, 4000.0)

        def pq(x):
            return encode(np.asarray(x) / 10000, Transfer.PQ)

        most = pq(203) / pq(4000)
        knee = decode(np.float64((1.5 * most - 0.5) * pq(4000)), Transfer.PQ) * 10000
        np.testing.assert_allclose(out[nits < knee], nits[nits < knee], rtol=1e-6)
        assert out[-1] == pytest.approx(203)
        slope = np.diff(pq(out)) / np.diff(pq(nits))
        assert (np.diff(slope) < 1e-6).all()  # concave: one smooth shoulder
        assert slope[-1] < 0.01
        # by hand, half way between knee and peak: t = 0.5 in the Hermite polynomial
        half = decode(np.float64((knee_pq := (1.5 * most - 0.5)) * pq(4000) + 0.5 * (1 - knee_pq) * pq(4000)), Transfer.PQ)
        expected = (0.5 * knee_pq + 0.125 * (1 - knee_pq) + 0.5 * most) * pq(4000)
        assert pq(bt2390.eetf(np.array([half * 10000]), parameters, 4000.0))[0] == pytest.approx(expected, rel=1e-6)

    def test_bt2390_raises_black_to_the_displays(self):
        parameters = bt2390.Parameters(display_black=0.1)
        assert bt2390.eetf(np.array([0.0]), parameters, 1000.0)[0] == pytest.approx(0.1, rel=1e-3)
        assert shown(bt2390, grey([1e-9, 0.2]), exposure="keep", display_black=0.1, peak=1000)[0, 0, 0] < 1e-6

    def test_bt2390_on_the_largest_channel_keeps_ratios(self):
        light = np.array([[[40.0, 4.0, 1.0], [0.02, 0.01, 0.04]]], np.float32)
        out = shown(bt2390, light, exposure="keep", of="max", peak=8120)
        np.testing.assert_allclose(out / out.max(axis=2, keepdims=True), light / light.max(axis=2, keepdims=True), rtol=1e-5)

    def test_bt2446a_is_table_2_of_the_report(self):
        assert bt2446a.luma_curve(1.0, 1000, 100) == pytest.approx(1)
        assert bt2446a.luma_curve(0.0, 1000, 100) == 0
        y = np.linspace(0, 1, 100_000)
        step = np.diff(bt2446a.luma_curve(y, 1000, 100))
        assert step.min() > 0
        assert step.max() < 1e-3  # the report's rounded numbers leave a step of 0.0008 at the knee

        def rgb(r, g, b):  # BT.2020 light, 1 = 1000 cd/m2, to codes
            r, g, b = (v ** (1 / 2.4) for v in (r, g, b))
            y = 0.2627 * r + 0.678 * g + 0.0593 * b
            p = np.log(1 + (13.2598 - 1) * y) / np.log(13.2598)
            c = 1.077 * p if p <= 0.7399 else -1.151 * p * p + 2.7811 * p - 0.6302 if p < 0.9909 else 0.5 * p + 0.5
            ys = (5.6970**c - 1) / (5.6970 - 1)
            cb, cr = (ys / (1.1 * y) * (v - y) / k for v, k in ((b, 1.8814), (r, 1.4746)))
            yt = ys - max(0.1 * cr, 0)
            return [yt + 1.4746 * cr, yt - 0.16455 * cb - 0.57135 * cr, yt + 1.8814 * cb]

        wide = np.array([[0.02, 0.03, 0.04], [0.3, 0.2, 0.15], [0.001, 0.001, 0.001], [0.5, 0.6, 0.55]])
        light = (wide @ conversion_matrix(Primaries.BT2020, Primaries.BT709).T * 1000 / 203).astype(np.float32)[None]
        out = shown(bt2446a, light, exposure="keep")[0]
        shown_light = np.array([rgb(*w) for w in wide]) ** 2.4 @ conversion_matrix(Primaries.BT2020, Primaries.BT709).T
        np.testing.assert_allclose(encode(out, Transfer.SRGB), shown_light ** (1 / 2.4), atol=2e-3)


class TestAces:
    # 0.18 * 2^-6 .. 2^7 through "ACES-OUTPUT - ACES2065-1_to_CIE-XYZ-D65 - SDR-VIDEO_1.0" of OpenColorIO 2.6.0, Y in sRGB codes
    STOPS = np.arange(-6, 8)
    REFERENCE = (0.1, 1.2, 4.0, 12.6, 28.6, 53.3, 90.8, 140.3, 190.0, 221.2, 238.3, 248.1, 253.4, 255.0)

    def codes(self, fit):
        return encode(shown(aces, grey(0.18 * 2.0**self.STOPS), exposure="keep", fit=fit)[0, :, 1], Transfer.SRGB) * 255

    def test_greys_are_close_to_the_academys(self):
        apart = {fit: np.abs(self.codes(fit) - self.REFERENCE).max() for fit in ("hill", "narkowicz")}
        assert apart["hill"] < 1.6
        assert apart["narkowicz"] < 14.1  # at middle grey: his curve is brighter

    def test_reference_is_opencolorios(self):
        ocio = pytest.importorskip("PyOpenColorIO", reason="opencolorio is not installed")
        style = "ACES-OUTPUT - ACES2065-1_to_CIE-XYZ-D65 - SDR-VIDEO_1.0"
        processor = ocio.Config.CreateRaw().getProcessor(ocio.BuiltinTransform(style)).getDefaultCPUProcessor()
        light = np.repeat(0.18 * 2.0 ** self.STOPS[:, None], 3, axis=1)
        light = (light @ conversion_matrix(Primaries.BT709, Primaries.ACES2065).T).astype(np.float32)
        processor.applyRGB(light)
        codes = encode(np.clip(light[:, 1], 0, 1), Transfer.SRGB) * 255
        np.testing.assert_allclose(codes, self.REFERENCE, atol=0.06)

    def test_matrices_are_the_published_ones(self):
        there, back = aces.matrices()
        np.testing.assert_allclose(there[0], [0.59719, 0.35458, 0.04823], atol=2e-5)
        np.testing.assert_allclose(back[0], [1.60475, -0.53108, -0.07367], atol=2e-5)


@pytest.mark.parametrize("name", GLOBAL)
def test_parameters_out_of_range_are_named(name):
    cls = registry.load("hdrcli.tonemapping", name).Parameters
    for field, default in vars(cls()).items():
        if isinstance(default, bool):
            continue
        bad = "other" if isinstance(default, str) else -1e30
        with pytest.raises(UsageError, match=f"-p {field}: "):
            cls(**{field: bad})
        if isinstance(default, float):
            with pytest.raises(UsageError, match=f"-p {field}: "):
                cls(**{field: float("nan")})
