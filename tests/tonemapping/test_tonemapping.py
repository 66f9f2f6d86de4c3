"""Classical tone-mapping operators: the contract of all, the formula of each, golden pictures."""

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import smooth_scene

import hdrcli
from hdrcli import conversion, registry
from hdrcli.color import Primaries, Transfer, conversion_matrix, decode, encode, luminance
from hdrcli.conversion import TonemapOptions, tonemap
from hdrcli.errors import UsageError
from hdrcli.image import Image, Metadata
from hdrcli.tonemapping import Scene, mulaw, reinhard

OPERATORS = registry.names("hdrcli.tonemapping")
GOLDEN = Path(__file__).parent.parent / "golden"


def grey(values):
    return np.array(values, np.float32)[None, :, None] * np.ones(3, np.float32)


def shown(module, light, **parameters):
    """A picture through an operator, prepared for it."""
    return module.apply(light, module.prepare(Scene.whole(light), module.Parameters(**parameters)), 0)


def hdr(pixels, **kwargs):
    return Image(np.asarray(pixels, np.float32), Transfer.LINEAR, **kwargs)


@pytest.mark.parametrize("name", OPERATORS)
class TestEveryOperator:
    def test_says_what_it_is(self, name):
        module = registry.load("hdrcli.tonemapping", name)
        assert module.SUMMARY
        assert "\n" not in module.SUMMARY
        assert dataclasses.is_dataclass(module.Parameters)

    def test_gives_display_light_within_0_and_1(self, name):
        module = registry.load("hdrcli.tonemapping", name)
        light = smooth_scene(32, 40) * np.array([4, 1, 0.1], np.float32)
        out = shown(module, light)
        assert (out.dtype, out.shape) == (np.float32, light.shape)
        assert out.min() >= 0
        assert out.max() <= 1 + 1e-6

    def test_more_light_is_never_shown_darker(self, name):
        module = registry.load("hdrcli.tonemapping", name)
        light = grey(np.geomspace(1e-4, 60, 200))
        out = shown(module, light)[0, :, 0]
        assert out[-1] > 0.5
        assert out[0] < 0.2
        if not module.LOCAL:  # they give up some of the large contrast, on purpose
            assert (np.diff(out) >= -1e-6).all()
            assert out[0] < 0.05

    def test_strips_equal_the_whole(self, name):
        module = registry.load("hdrcli.tonemapping", name)
        light = smooth_scene(70, 61) * np.array([4, 1, 0.1], np.float32)
        state = module.prepare(Scene.whole(light), module.Parameters())
        whole = module.apply(light, state, 0)
        for rows in (1, 7, 32):
            strips = [module.apply(light[i : i + rows], state, i) for i in range(0, 70, rows)]
            if module.LOCAL:
                np.testing.assert_allclose(np.concatenate(strips), whole, atol=1e-5)
            else:
                np.testing.assert_array_equal(np.concatenate(strips), whole)

    def test_golden_picture(self, name):
        """HDRCLI_GOLDEN=write makes them anew; look at them before committing."""
        path = GOLDEN / f"tonemap_{name}.png"
        codes = tonemap(hdr(smooth_scene(64, 64)), TonemapOptions(name)).pixels
        if os.environ.get("HDRCLI_GOLDEN") == "write":
            cv2.imwrite(str(path), codes[..., ::-1])
        golden = cv2.imread(str(path))[..., ::-1]
        assert np.abs(codes.astype(int) - golden).max() <= 1

    @pytest.mark.parametrize("ev", [-32, 0, 32])
    def test_odd_values_do_not_break_it(self, name, ev):
        """Readers turn infinity into the largest float: it is shown as the brightest, not as black."""
        light = grey([0.5, 65504.0, 3.4e38, np.inf, 0.0, -1.0, np.nan])
        codes = tonemap(hdr(light), TonemapOptions(name, ev=ev, dither=False)).pixels[0, :, 0]
        assert codes[3] == codes[2] >= codes[1] >= codes[0]
        assert codes[3] > 0
        assert not codes[4:].any()


def test_reinhard_is_eq_4_of_the_paper():
    light = np.geomspace(0.01, 5, 30).astype(np.float32)
    average = np.exp(np.mean(np.log(light.astype(np.float64))))
    scaled = 0.18 / average * light
    for white in (2.0, 0.0):
        out = shown(reinhard, grey(light), normalise="max", white=white)[0, :, 0]
        expected = np.minimum(scaled * (1 + scaled / (white or scaled[-1]) ** 2) / (1 + scaled), 1)
        np.testing.assert_allclose(out, expected, rtol=1e-4)


def test_reinhard_compresses_luminance_and_keeps_hue():
    light = np.array([[[0.9, 0.3, 0.1]]], np.float32)
    out = shown(reinhard, light, exposure="keep")
    np.testing.assert_allclose(out / luminance(out), light / luminance(light), rtol=1e-5)


def test_reinhard_knows_two_exposures():
    with pytest.raises(UsageError, match="auto or keep"):
        reinhard.Parameters(exposure="bright")


def test_mulaw_shows_t_as_the_code():
    light = np.array([0.0, 0.1, 1.0, 64.0, 100.0], np.float32)
    for parameters, peak in (({"peak": 64}, 64), ({"normalise": "max"}, 100)):
        out = shown(mulaw, grey(light), mu=5000, **parameters)[0, :, 0]
        expected = np.minimum(np.log1p(5000 * light / peak) / np.log1p(5000), 1)
        np.testing.assert_allclose(encode(out, Transfer.SRGB), expected, atol=1e-5)


class TestTonemap:
    def test_gives_srgb_codes_of_rec709(self):
        image = tonemap(hdr(smooth_scene(8, 9), primaries=Primaries.BT2020))
        assert (image.pixels.dtype, image.transfer, image.primaries) == (np.uint8, Transfer.SRGB, Primaries.BT709)
        assert tonemap(hdr(smooth_scene(8, 9)), TonemapOptions(bits=16)).pixels.dtype == np.uint16

    def test_primaries_are_converted_before_the_curve(self):
        light = smooth_scene(8, 9)
        matrix = conversion_matrix(Primaries.DISPLAY_P3, Primaries.BT709).T
        light = light + np.maximum(0.01 - (light @ matrix).min(axis=2), 0)[..., None]  # none beyond sRGB: those are drawn in
        converted = light @ matrix
        assert converted.min() > 0
        codes = tonemap(hdr(light, primaries=Primaries.DISPLAY_P3)).pixels.astype(int)
        assert np.abs(codes - tonemap(hdr(converted)).pixels).max() <= 1
        assert np.abs(codes - tonemap(hdr(light)).pixels).max() > 5

    def test_ev_is_exposure_before_the_curve(self):
        light = smooth_scene(16, 16)
        keep = {"exposure": "keep"}
        brighter = tonemap(hdr(light), TonemapOptions("reinhard", keep, ev=1.0)).pixels
        np.testing.assert_array_equal(brighter, tonemap(hdr(light * 2), TonemapOptions("reinhard", keep)).pixels)

    def test_parameters_reach_the_operator(self):
        light = grey([1.0])
        code = tonemap(hdr(light), TonemapOptions("mulaw", {"mu": "100", "peak": "4"})).pixels[0, 0, 0]
        assert code == round(255 * np.log1p(25) / np.log1p(100))

    def test_exif_and_alpha_go_along(self):
        metadata = Metadata(exif=b"x", alpha=np.ones((1, 1), np.float32))
        kept = hdrcli.tonemap(hdr(grey([1.0]), metadata=metadata)).metadata
        assert kept.exif == b"x"
        assert kept.alpha is not None

    def test_a_photo_is_taken_as_light_and_said_to_be_one(self):
        codes = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        keep = TonemapOptions("clip", {"exposure": "keep"})
        image = tonemap(Image(codes, Transfer.SRGB), keep)
        np.testing.assert_array_equal(image.pixels, codes)
        assert image.metadata.notes == ("is LDR already; tone-mapped as if there were nothing above its white",)
        assert not tonemap(hdr(smooth_scene(3, 4))).metadata.notes
        floats = Image((codes / 255).astype(np.float32), Transfer.SRGB)
        np.testing.assert_array_equal(tonemap(floats, keep).pixels, codes)

    @pytest.mark.parametrize(("transfer", "code"), [(Transfer.PQ, 0.5806), (Transfer.HLG, 0.75)])
    def test_reference_white_of_hdr_encodings_is_white(self, transfer, code):
        """203 cd/m2 are PQ 0.58; and 75 % of HLG: ITU-R BT.2408."""
        codes = np.full((2, 2, 3), round(code * 65535), np.uint16)
        image = tonemap(Image(codes, transfer), TonemapOptions("clip", {"exposure": "keep"}, bits=16, ev=-1))
        assert decode(image.pixels / 65535, Transfer.SRGB)[0, 0, 0] == pytest.approx(0.5, rel=3e-3)
        assert not image.metadata.notes

    @pytest.mark.parametrize("option", [{"ev": 33.0}, {"ev": float("nan")}, {"bits": 12}])
    def test_options_out_of_range_are_refused(self, option):
        with pytest.raises(UsageError, match="--"):
            TonemapOptions(**option)

    @pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
    def test_any_size(self, size):
        assert tonemap(hdr(np.ones((*size, 3)))).pixels.shape == (*size, 3)

    def test_large_images_go_through_in_strips_with_one_state(self, monkeypatch):
        seen = []
        prepare = reinhard.prepare
        monkeypatch.setattr(reinhard, "prepare", lambda scene, p: seen.append(scene.sample.shape) or prepare(scene, p))
        light = np.random.default_rng(0).uniform(0, 2, (3000, 400, 3)).astype(np.float32)
        codes = conversion.tonemap(hdr(light), TonemapOptions("reinhard", dither=False)).pixels
        assert len(seen) == 1
        assert 1 << 17 <= seen[0][0] * seen[0][1] <= 1 << 20
        exact = encode(shown(reinhard, light).astype(np.float64), Transfer.SRGB) * 255
        assert np.abs(codes - exact).max() < 0.53  # half a code is rounding, the rest the table of codes


def test_half_floats_are_taken_as_they_are():
    light = smooth_scene(8, 8).astype(np.float16)
    keep = TonemapOptions("reinhard", {"exposure": "keep"})
    np.testing.assert_array_equal(
        tonemap(Image(light, Transfer.LINEAR), keep).pixels, tonemap(hdr(light.astype(np.float32)), keep).pixels
    )
    assert decode(np.float32(1), Transfer.SRGB) == 1


def test_black_borders_do_not_brighten_the_rest():
    """Letterboxes and cut-outs are no part of the scene's log-average."""
    light = np.random.default_rng(0).uniform(0.05, 2.0, (40, 60, 3)).astype(np.float32)
    boxed = np.concatenate([np.zeros_like(light), light])
    np.testing.assert_array_equal(shown(reinhard, boxed)[40:], shown(reinhard, light))
    assert not shown(reinhard, np.zeros_like(light)).any()
