"""expand() on Images: what it promises to the caller, and the books it keeps."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeGenerator, smooth_scene
from hypothesis import given, settings
from hypothesis import strategies as st

import hdrcli
from hdrcli import conversion
from hdrcli.color import Primaries, Transfer, conversion_matrix, decode, decoding_table, encode
from hdrcli.conversion import ExpandOptions, TonemapOptions, expand, load_generator, tonemap
from hdrcli.errors import MismatchError, MissingModel, UsageError
from hdrcli.image import Image, Metadata
from hdrcli.inference import seam
from hdrcli.inference.generator import GeneratorSpec, from_t
from hdrcli.inference.panorama import Sun


def photo(height=40, width=50, dtype=np.uint8, **kwargs):
    """Codes over the whole range, the left third of all channels clipped."""
    top = np.iinfo(dtype).max
    codes = np.random.default_rng(0).integers(0, top, (height, width, 3), dtype=dtype, endpoint=True)
    codes[:, : width // 3] = top
    return Image(codes, kwargs.pop("transfer", Transfer.SRGB), **kwargs)


@pytest.fixture
def fake(monkeypatch):
    """The model "fake" says 16 LDR whites everywhere."""
    generator = FakeGenerator(16.0)
    monkeypatch.setattr(conversion, "load_generator", lambda *arguments: generator)
    return generator


class TestPromise1:
    """Measured pixels stay measured, through the public door, with the generator that comes along."""

    @settings(deadline=None, max_examples=12)
    @given(
        dtype=st.sampled_from([np.uint8, np.uint16]),
        half=st.booleans(),
        options=st.sampled_from([{}, {"peak_stops": 1.0}, {"strength": 0.5}, {"ev": -2.0}, {"ev": 1.25, "peak_stops": 6.0}]),
        size=st.sampled_from([(1, 1), (33, 70), (3, 90)]),
    )
    def test_below_094_a_channel_is_the_linearised_code(self, dtype, half, options, size):
        image = photo(*size, dtype=dtype)
        out = expand(image, ExpandOptions(half=half, **options)).image.pixels
        v = image.pixels / float(np.iinfo(dtype).max)
        expected = decode(v, Transfer.SRGB) * 2.0 ** options.get("ev", 0.0)
        measured = v < 0.94
        np.testing.assert_allclose(out[measured], expected[measured], rtol=1e-3 if half else 1e-6, atol=6e-8 if half else 0)

    def test_what_was_lost_comes_back(self):
        assert expand(photo()).peak_stops > 0

    def test_same_numbers_twice(self):
        first = expand(photo()).image.pixels.tobytes()
        assert expand(photo()).image.pixels.tobytes() == first

    @pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
    def test_any_size(self, size):
        assert np.isfinite(expand(photo(*size), ExpandOptions(half=True)).image.pixels).all()


class TestResult:
    def test_is_scene_linear_with_1_as_ldr_white(self, fake):
        result = expand(photo())
        assert result.image.transfer is Transfer.LINEAR
        assert result.image.pixels.dtype == np.float32
        assert result.image.white_luminance == 203.0
        assert result.peak_stops == pytest.approx(np.log2(result.image.pixels.max()), abs=1e-6)
        assert (np.log2(result.image.pixels[:, :12]) > 3).all()

    def test_keeps_the_photos_primaries(self, fake):
        image = photo(primaries=Primaries.DISPLAY_P3)
        result = expand(image).image
        assert result.primaries is Primaries.DISPLAY_P3
        measured = image.pixels < 239
        np.testing.assert_array_equal(result.pixels[measured], decoding_table(Transfer.SRGB, 256)[image.pixels][measured])

    def test_ev_scales_pixels_but_not_the_stated_peak(self, fake):
        plain, brighter = expand(photo()), expand(photo(), ExpandOptions(ev=2.0))
        np.testing.assert_allclose(brighter.image.pixels, 4 * plain.image.pixels, rtol=1e-6)
        assert brighter.peak_stops == pytest.approx(plain.peak_stops)
        assert brighter.image.metadata.header["hdrcli:scale"] == "4 = LDR white"

    def test_white_nits_are_recorded_not_applied(self, fake):
        a, b = expand(photo()), expand(photo(), ExpandOptions(white_nits=100.0))
        assert b.image.white_luminance == 100.0
        np.testing.assert_array_equal(a.image.pixels, b.image.pixels)

    def test_half_is_rounded_float(self, fake):
        full, half = (expand(photo(), ExpandOptions(half=h)).image.pixels for h in (False, True))
        assert half.dtype == np.float16
        np.testing.assert_allclose(half, full, rtol=5e-4, atol=6e-8)

    def test_clipped_shares_count_stored_codes_per_channel(self, fake):
        codes = np.zeros((10, 10, 3), np.uint8)
        codes[0, :, 0], codes[:2, :, 1], codes[2, :, 2] = 248, 255, 247  # 0.97 * 255 = 247.35
        image = Image(codes, Transfer.SRGB, Primaries.DISPLAY_P3)
        assert expand(image).clipped == pytest.approx((0.1, 0.2, 0.0))

    def test_confidence_is_1_where_it_was_reconstructed(self, fake):
        result = expand(photo())
        assert result.confidence.shape == (40, 50)
        assert (result.confidence[:, :16] == 1).all()
        assert (result.confidence[result.source.pixels.max(axis=2) < 239] == 0).all()

    def test_exif_alpha_and_notes_go_along_the_profile_does_not(self, fake):
        metadata = Metadata(exif=b"e", icc=b"i", alpha=np.ones((40, 50), np.float32), notes=("n",))
        kept = expand(photo(metadata=metadata)).image.metadata
        assert (kept.exif, kept.icc, kept.notes) == (b"e", None, ("n",))
        assert kept.alpha is not None

    def test_what_was_run_is_on_record(self, fake):
        header = expand(photo(), ExpandOptions(ev=1.0, strength=0.5, whole=True)).image.metadata.header
        assert header["software"] == f"hdrcli {hdrcli.__version__}"
        assert header["hdrcli:model"] == "fake 1"
        assert header["hdrcli:reconstruct"] == "all"
        assert header["hdrcli:strength"] == "0.5"
        assert header["hdrcli:exposure"] == "+1 EV"
        assert re.fullmatch(r"0\.\d{4} 0\.\d{4} 0\.\d{4}", header["hdrcli:clipped"])


class TestOtherPrimaries:
    """Generators speak Rec.709; the photo and the result keep their own primaries."""

    def test_the_generator_is_shown_rec709(self, monkeypatch):
        shown = []

        class Watching(FakeGenerator):
            def __call__(self, inputs):
                shown.append(inputs["ldr"].copy())
                return super().__call__(inputs)

        monkeypatch.setattr(conversion, "load_generator", lambda *arguments: Watching(16.0))
        codes = np.full((64, 64, 3), (180, 90, 60), np.uint8)
        expand(Image(codes, Transfer.SRGB, Primaries.DISPLAY_P3))
        light = decode(codes[0, 0] / 255, Transfer.SRGB) @ conversion_matrix(Primaries.DISPLAY_P3, Primaries.BT709).T
        np.testing.assert_allclose(shown[0][0, :, 0, 0], np.clip(encode(light, Transfer.SRGB), 0, 1), atol=2e-3)

    def test_its_answer_is_converted_back(self, monkeypatch):
        answer = np.array([8.0, 16.0, 4.0], np.float32)[:, None, None]
        generator = FakeGenerator(lambda ldr, clip: answer * np.ones_like(ldr))
        monkeypatch.setattr(conversion, "load_generator", lambda *arguments: generator)
        codes = np.full((64, 64, 3), 255, np.uint8)
        codes[:8, :8] = (90, 60, 30)  # no grey photo: that would stay grey
        white = Image(codes, Transfer.SRGB, Primaries.DISPLAY_P3)
        expected = conversion_matrix(Primaries.BT709, Primaries.DISPLAY_P3) @ answer[:, 0, 0]
        np.testing.assert_allclose(expand(white).image.pixels[50, 50], expected, rtol=5e-3)


class TestExposureBeyondHalf:
    def test_highlights_that_end_at_65504_are_noted(self, fake):
        assert any("65504" in note for note in expand(photo(), ExpandOptions(ev=16, half=True)).image.metadata.notes)
        assert expand(photo(), ExpandOptions(ev=16)).image.metadata.notes == ()

    def test_shadows_that_vanish_are_noted(self, fake):
        assert any("shadows" in note for note in expand(photo(), ExpandOptions(ev=-16, half=True)).image.metadata.notes)
        assert expand(photo(), ExpandOptions(ev=-4, half=True)).image.metadata.notes == ()


class TestConfidence:
    def test_is_0_at_strength_0(self, fake):
        assert expand(photo(), ExpandOptions(strength=0)).confidence.max() == 0

    @pytest.mark.parametrize("options", [{"model": "akyuz07"}, {"whole": True}])
    def test_is_refused_where_measured_pixels_change(self, fake, options):
        with pytest.raises(UsageError, match="confidence"):
            _ = expand(photo(), ExpandOptions(**options)).confidence


class TestClassicalOperators:
    @pytest.mark.parametrize("options", [{"whole": True}, {"device": "cuda:9"}, {"backend": "torch"}])
    def test_refuse_options_of_generators(self, options):
        with pytest.raises(UsageError, match="classical"):
            expand(photo(), ExpandOptions(model="akyuz07", **options))

    def test_strength_0_is_the_linear_input_and_parameters_are_on_record(self):
        result = expand(photo(), ExpandOptions(model="landis02", strength=0))
        np.testing.assert_array_equal(result.image.pixels, expand(photo(), ExpandOptions(model="linear")).image.pixels)
        assert "threshold=0.5" in result.image.metadata.header["hdrcli:model"]

    def test_linear_is_the_decoding_table(self):
        image = photo()
        result = expand(image, ExpandOptions(model="linear"))
        np.testing.assert_array_equal(result.image.pixels, decoding_table(Transfer.SRGB, 256)[image.pixels])
        assert (result.model, result.ran_on) == ("linear", "NumPy")
        assert result.peak_stops == pytest.approx(0)

    @pytest.mark.parametrize("model", ["akyuz07", "landis02"])
    def test_peak_stops_limit_them_too(self, model):
        assert expand(photo(), ExpandOptions(model=model)).peak_stops > 1.5
        assert expand(photo(), ExpandOptions(model=model, peak_stops=1.0)).peak_stops <= 1.0 + 1e-6

    def test_half_stays_finite(self):
        pixels = expand(photo(), ExpandOptions(model="landis02", ev=32.0, half=True)).image.pixels
        assert np.isfinite(pixels).all()


class TestFaults:
    def test_hdr_is_refused_and_the_way_back_named(self):
        with pytest.raises(MismatchError, match="tonemap"):
            expand(Image(np.ones((2, 2, 3), np.float32), Transfer.LINEAR))

    @pytest.mark.parametrize("transfer", [Transfer.PQ, Transfer.HLG])
    def test_pq_and_hlg_are_no_photos(self, transfer):
        with pytest.raises(MismatchError, match="HDR already"):
            expand(photo(transfer=transfer), ExpandOptions(model="linear"))

    def test_float_codes_are_refused(self):
        with pytest.raises(MismatchError, match="float"):
            expand(Image(np.ones((2, 2, 3), np.float32), Transfer.SRGB))

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("strength", -0.1),
            ("strength", 1.1),
            ("strength", float("nan")),
            ("ev", 40.0),
            ("ev", float("inf")),
            ("white_nits", 0.0),
            ("white_nits", 20000.0),
            ("peak_stops", -1.0),
            ("peak_stops", 21.0),
        ],
    )
    def test_values_out_of_range_name_their_option(self, option, value):
        with pytest.raises(UsageError) as caught:
            ExpandOptions(**{option: value})
        assert caught.value.where == f"--{option.replace('_', '-')}"

    def test_unknown_models_and_backends(self):
        with pytest.raises(MissingModel, match="nothing"):
            load_generator("nothing")
        with pytest.raises(UsageError, match="auto, onnx, torch"):
            load_generator("default", "tensorflow")


class TestLoading:
    def test_a_generator_is_loaded_once(self, exported_bundle):
        assert load_generator(str(exported_bundle), "onnx", "cpu") is load_generator(str(exported_bundle), "onnx", "cpu")

    def test_it_is_loaded_anew_when_its_files_change_or_others_have_its_name(self, exported_bundle, tmp_path, monkeypatch):
        for name in ("here", "there"):
            shutil.copytree(exported_bundle, tmp_path / name / "mine")
        monkeypatch.chdir(tmp_path / "here")
        first = load_generator("mine", "onnx", "cpu")
        assert load_generator("mine", "onnx", "cpu") is first
        os.utime("mine/g_y.onnx", (1, 1))
        second = load_generator("mine", "onnx", "cpu")
        assert second is not first
        monkeypatch.chdir(tmp_path / "there")
        assert load_generator("mine", "onnx", "cpu") not in (first, second)

    def test_a_run_is_run_by_torch_and_a_bundle_by_onnx_runtime(self, trained_run, exported_bundle):
        runs = {str(p): expand(photo(), ExpandOptions(model=str(p), device="cpu")) for p in (trained_run, exported_bundle)}
        ran_on = [r.ran_on.split()[0] for r in runs.values()]
        assert ran_on == ["PyTorch", "ONNX"]
        first, second = (r.image.pixels for r in runs.values())
        np.testing.assert_allclose(np.log2(first + 1e-3), np.log2(second + 1e-3), atol=5e-3)


class TestAlpha:
    def test_colours_that_a_photo_hides_are_no_light(self, fake):
        alpha = np.full((40, 50), 0.5, np.float32)
        alpha[:, :10] = 0
        result = expand(photo(metadata=Metadata(alpha=alpha))).image
        assert not result.pixels[:, :10].any()
        np.testing.assert_array_equal(result.pixels[:, 10:], expand(photo()).image.pixels[:, 10:])
        np.testing.assert_array_equal(result.metadata.alpha, alpha)

    def test_the_peak_is_that_of_what_is_seen(self, fake):
        everything_lost_is_hidden = np.ones((40, 50), np.float32)
        everything_lost_is_hidden[photo().pixels.max(axis=2) >= 239] = 0
        result = expand(photo(metadata=Metadata(alpha=everything_lost_is_hidden)))
        assert result.peak_stops == pytest.approx(np.log2(result.image.pixels.max()), abs=1e-6)
        assert result.peak_stops < 0


class TestPrimaries:
    @pytest.mark.parametrize("name", ["srgb", "p3", "rec2020", "acescg"])
    @pytest.mark.parametrize("half", [False, True])
    def test_the_result_is_in_the_primaries_asked_for(self, fake, name, half):
        image = photo(primaries=Primaries.ADOBE_RGB)
        kept = expand(image, ExpandOptions(half=half))
        result = expand(image, ExpandOptions(half=half, primaries=name))
        target = conversion.PRIMARIES[name]
        assert result.image.primaries is target
        matrix = conversion_matrix(Primaries.ADOBE_RGB, target)
        expected = kept.image.pixels.astype(np.float64) @ matrix.T
        np.testing.assert_allclose(result.image.pixels, expected, rtol=2e-3 if half else 1e-5, atol=1e-2 if half else 1e-5)
        assert result.peak_stops == pytest.approx(np.log2(result.image.pixels.max()), abs=1e-3)

    @pytest.mark.parametrize("name", ["srgb", "acescg"])
    @pytest.mark.parametrize("model", ["linear", "default"])
    def test_halves_are_rounded_once(self, name, model):
        image = photo(primaries=Primaries.DISPLAY_P3)
        target = conversion.PRIMARIES[name]
        out = expand(image, ExpandOptions(model=model, half=True, primaries=name)).image.pixels
        measured = (image.pixels < 239).all(axis=2)
        v = decode(image.pixels[measured] / 255, Transfer.SRGB)
        exact = v @ conversion_matrix(Primaries.DISPLAY_P3, target).T
        exact[np.abs(exact) < 1e-6 * v.max(axis=1, keepdims=True)] = 0
        ulp = np.spacing(np.abs(exact).astype(np.float16)).astype(np.float64)
        assert (np.abs(out[measured].astype(np.float64) - exact) <= 0.52 * ulp + 1e-6 * v.max(axis=1, keepdims=True)).all()

    def test_grey_stays_grey(self, fake):
        codes = np.repeat(photo().pixels[..., :1], 3, axis=2)
        for half in (False, True):
            out = expand(Image(codes, Transfer.SRGB), ExpandOptions(primaries="acescg", half=half)).image.pixels
            np.testing.assert_array_equal(out[..., 0], out[..., 1])
            np.testing.assert_array_equal(out[..., 2], out[..., 1])

    def test_rounding_makes_no_negative_colours(self, fake):
        out = expand(photo(), ExpandOptions(primaries="rec2020")).image.pixels  # wider: nothing can be outside
        assert out.min() >= 0

    def test_saturated_colours_become_negative_in_smaller_primaries(self, fake):
        codes = np.zeros((8, 8, 3), np.uint8)
        codes[..., 1] = 200
        out = expand(Image(codes, Transfer.SRGB, Primaries.BT2020), ExpandOptions(primaries="srgb", half=True)).image.pixels
        assert (out[..., 0] < 0).all()
        assert np.isfinite(out).all()

    def test_unknown_ones_are_refused(self):
        with pytest.raises(UsageError, match="no primaries"):
            ExpandOptions(primaries="cmyk")


class TestStoredCodes:
    """Pixels that a profile has converted: light comes from them, what clipped from the codes in the file."""

    def test_clipped_is_what_clipped_in_the_file(self, fake):
        stored = photo().pixels
        pixels = (stored.astype(np.uint16) * 240).astype(np.uint16)  # nothing reaches 0.94 after the conversion
        result = expand(Image(pixels, Transfer.SRGB, stored=stored))
        assert result.clipped == expand(photo()).clipped
        np.testing.assert_array_equal(result.confidence, expand(photo()).confidence)
        measured = stored < 239
        light = decode(pixels / 65535, Transfer.SRGB)
        np.testing.assert_allclose(result.image.pixels[measured], light[measured], rtol=1e-6)
        assert (np.log2(result.image.pixels[stored == 255]) > 3).all()


class TestLinearCodes:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_a_photo_with_a_linear_profile_is_a_photo(self, fake, dtype):
        image = photo(dtype=dtype, transfer=Transfer.LINEAR)
        out = expand(image).image.pixels
        v = image.pixels / np.iinfo(dtype).max
        np.testing.assert_allclose(out[v < 0.94], v[v < 0.94], rtol=1e-6)
        assert (out[v == 1] > 8).all()


def panorama(width=512):
    """A 360 x 180 degree scene: smooth around, one colour at each pole, a lamp across the seam."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0 : width // 2, 0:width]
    around = np.cos(2 * np.pi * (x[..., None] + 0.5) / width * np.array([1, 2, 3]) + np.array([0, 1, 2]))
    codes = 110 + 90 * around * np.sin(np.pi * (y[..., None] + 0.5) / (width // 2)) ** 2
    codes += rng.normal(0, 1, codes.shape)
    codes = np.clip(codes, 0, 230)
    codes[width // 8 : width // 5, : width // 16] = codes[width // 8 : width // 5, -width // 20 :] = 255
    return np.rint(codes).astype(np.uint8)


class TestPanorama:
    def test_is_found_by_its_poles_and_its_seam(self):
        codes = panorama()
        assert seam.looks_like_panorama(Image(codes, Transfer.SRGB))
        assert not seam.looks_like_panorama(Image(codes[:-2], Transfer.SRGB))
        assert not seam.looks_like_panorama(Image(np.ascontiguousarray(codes[64:192, 100:356]), Transfer.SRGB))
        assert not seam.looks_like_panorama(Image(np.full((64, 128, 3), 90, np.uint8), Transfer.SRGB))
        framed = np.full_like(codes, 255)  # a product on white
        framed[64:192, 128:384] = codes[:128, :256]
        assert not seam.looks_like_panorama(Image(framed, Transfer.SRGB))

    def test_the_seam_does_not_show(self):
        result = expand(Image(panorama(), Transfer.SRGB))
        assert any("looks like" in note for note in result.image.metadata.notes)
        stops = np.log2(result.image.pixels[66:100] + 2.0**-10)
        step = np.abs(stops[:, 0] - stops[:, -1]).mean()
        inside = np.abs(np.diff(stops[:, :24], axis=1)).mean()
        assert step < 2 * inside + 0.01
        flat = expand(Image(panorama(), Transfer.SRGB), ExpandOptions(projection="flat"))
        assert flat.image.metadata.notes == ()
        stops = np.log2(flat.image.pixels[66:100] + 2.0**-10)
        assert np.abs(stops[:, 0] - stops[:, -1]).mean() > step

    @pytest.mark.parametrize(
        ("operator", "parameters"),
        [
            ("learned", {}),
            ("durand02", {}),
            ("fattal02", {}),
            ("fusion", {}),
            ("mantiuk06", {}),
            ("reinhard", {"local": "true"}),
        ],
    )
    def test_tone_mapping_leaves_no_seam_either(self, operator, parameters):
        """The scene turned by half a circle gives the picture turned as much: what was the border is in the middle there."""
        x, y = (np.arange(256) + 0.5) / 256, (np.arange(128)[:, None] + 0.5) / 128
        stops = (np.cos(2 * np.pi * x) + 5 * ((x < 0.1) | (x > 0.97))) * np.sin(np.pi * y) ** 2  # a lamp about the border
        light = np.repeat(np.exp2(stops)[..., None], 3, 2).astype(np.float32)

        def step(projection):
            options = TonemapOptions(operator, parameters, projection=projection, dither=False, bits=16)
            shown = [tonemap(Image(np.roll(light, turn, 1), Transfer.LINEAR), options).pixels / 65535 for turn in (0, 128)]
            here, there = (p[:, 0] - p[:, -1] for p in (shown[0], np.roll(shown[1], -128, 1)))
            return np.abs(here - there).mean()

        assert step("equirect") < 0.1 * step("flat")

    def test_operators_of_single_pixels_need_not_know(self):
        light = np.exp2(panorama(128).astype(np.float32) / 25 - 6)
        shown = [tonemap(Image(light, Transfer.LINEAR), TonemapOptions("reinhard", projection=p)) for p in ("auto", "flat")]
        np.testing.assert_array_equal(shown[0].pixels, shown[1].pixels)
        assert shown[0].metadata.notes == ()

    def test_what_is_no_panorama_is_said_of_scenes_too(self):
        with pytest.raises(MismatchError, match="2:1"):
            tonemap(Image(np.ones((32, 32, 3), np.float32), Transfer.LINEAR), TonemapOptions("fusion", projection="equirect"))

    def test_looks_alone_give_no_sun_and_no_name(self, monkeypatch):
        monkeypatch.setattr(conversion, "find_sun", lambda *arguments: pytest.fail("looked for"))
        result = expand(Image(panorama(), Transfer.SRGB))
        assert not result.image.metadata.panorama
        assert "hdrcli:projection" not in result.image.metadata.header

    def test_other_forms_are_no_panoramas_whoever_says_so(self, fake):
        with pytest.raises(MismatchError, match="2:1"):
            expand(photo(), ExpandOptions(projection="equirect"))
        result = expand(photo(metadata=Metadata(panorama=True)))
        assert not result.image.metadata.panorama
        assert any("not 2:1" in note for note in result.image.metadata.notes)

    def test_unknown_projection_is_refused(self):
        for options in (ExpandOptions, TonemapOptions):
            with pytest.raises(UsageError, match="no projection"):
                options(projection="fisheye")

    @pytest.mark.parametrize(
        ("options", "raised"),
        [
            ({}, True),
            ({"ev": 2.0, "half": True, "primaries": "acescg"}, True),
            ({"sun": False}, False),
            ({"projection": "flat"}, False),
            ({"peak_stops": 3.0}, False),
            ({"strength": 0.5}, False),
            ({"model": "linear"}, False),
        ],
    )
    def test_a_sun_is_raised_beyond_the_usual_peak_unless_told_otherwise(self, monkeypatch, options, raised):
        found = Sun(
            elevation=20.0, azimuth=-170.0, solid_angle=0.02, irradiance=40.0, colour=(1.0, 1.0, 1.0), why="a test says so"
        )
        monkeypatch.setattr(conversion, "find_sun", lambda codes, light, white: found)
        said = Metadata(panorama=True)
        result = expand(Image(panorama(), Transfer.SRGB, metadata=said), ExpandOptions(**options))
        assert (result.sun is found) is raised
        assert (result.peak_stops > 8) is raised
        sun = result.image.metadata.header.get("hdrcli:sun")
        flat = options.get("projection") == "flat"
        assert sun == (None if flat else "a test says so" if raised else "not looked for")


class TestLearnedToneMapping:
    """``-t learned``: the generator G_X of a bundle, here one that halves the light it is shown."""

    class Halving:
        ran_on = "test"
        spec = GeneratorSpec("fake", "1", ("t",), 32, 8, 256.0, Path("fake"), role="g_x")

        def __call__(self, inputs):
            light = from_t(inputs["t"], self.spec.peak)
            return encode(np.clip(light / 2, 0, 1), Transfer.SRGB).astype(np.float32)

    @pytest.fixture
    def asked(self, monkeypatch):
        calls = []
        monkeypatch.setattr(conversion, "load_generator", lambda *arguments: calls.append(arguments) or self.Halving())
        return calls

    def scene(self):
        return Image(smooth_scene(300, 200), Transfer.LINEAR)

    def test_the_picture_comes_from_g_x_in_strips_and_exposure_counts(self, asked):
        means = []
        for ev in (-1.0, 0.0, 1.0):
            result = tonemap(self.scene(), TonemapOptions("learned", ev=ev, bits=16, model="m", backend="onnx", device="cpu"))
            assert (result.transfer, result.pixels.dtype) == (Transfer.SRGB, np.uint16)
            means.append(decode(result.pixels / 65535, Transfer.SRGB)[20:280].mean())
        assert asked == [("m", "onnx", "cpu", "g_x")] * 3
        assert 1.3 < means[1] / means[0] < 2.2
        assert 1.2 < means[2] / means[1] < 2.2

    def test_no_parameters_and_no_g_x_are_named(self, exported_bundle):
        with pytest.raises(UsageError, match="no parameters"):
            tonemap(self.scene(), TonemapOptions("learned", {"key": "1"}))
        with pytest.raises(MissingModel, match="g_x"):
            tonemap(self.scene(), TonemapOptions("learned", model=str(exported_bundle)))
