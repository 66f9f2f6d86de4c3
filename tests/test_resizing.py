"""Other sizes: OpenCV's area averages, scikit-image's block means and closed forms are the witnesses."""

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import block_reduce

from hdrcli import parallel, resizing
from hdrcli.color import Primaries, Transfer, decode, encode
from hdrcli.errors import UsageError
from hdrcli.formats import _values
from hdrcli.image import Image, Metadata
from hdrcli.resizing import parse_size, resized


def hdr(pixels, **kwargs):
    return Image(np.asarray(pixels, np.float32), Transfer.LINEAR, **kwargs)


def scene(height, width, seed=0):
    return np.exp(np.random.default_rng(seed).normal(0, 2, (height, width, 3))).astype(np.float32)


class TestParseSize:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("1920", (1920, 1280)),
            ("1920x1080", (1620, 1080)),
            ("1920X5000", (1920, 1280)),
            (" 1920 × 1080 ", (1620, 1080)),
            ("6000", (6000, 4000)),
            ("9000", (6000, 4000)),
            ("9000x9000", (6000, 4000)),
            ("50%", (3000, 2000)),
            ("12.5%", (750, 500)),
            ("100%", (6000, 4000)),
            ("150%", (9000, 6000)),
            ("1", (1, 1)),
            ("0.001%", (1, 1)),
        ],
    )
    def test_says_width_and_height(self, text, size):
        assert parse_size(text, 6000, 4000) == size

    def test_longer_side_of_a_tall_picture(self):
        assert parse_size("1920", 4000, 6000) == (1280, 1920)

    def test_a_line_stays_a_line(self):
        assert parse_size("100", 5000, 1) == (100, 1)
        assert parse_size("100x100", 1, 5000) == (1, 100)

    @pytest.mark.parametrize(
        "text",
        ["", "x", "0", "0x5", "5x0", "-5", "1920x", "x1080", "0%", "-5%", "50 percent", "1e3", "nan", "inf%", "5x5x5", "٥"],
    )
    def test_anything_else_is_refused(self, text):
        with pytest.raises(UsageError) as caught:
            parse_size(text, 600, 400)
        assert caught.value.where == "--resize"
        assert "1920x1080" in caught.value.remedy

    def test_too_large_is_refused(self):
        assert resizing.MAX_PIXELS == _values.MAX_PIXELS
        with pytest.raises(UsageError, match="400 megapixels"):
            parse_size("1000%", 6000, 4000)

    @given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 9000))
    def test_fits_and_keeps_the_aspect(self, width, height, w, h):
        for text, box in ((f"{w}", (w, w)), (f"{w}x{h}", (w, h))):
            new = parse_size(text, width, height)
            assert all(1 <= side <= most for side, most in zip(new, box))
            assert all(side <= before for side, before in zip(new, (width, height)))
            scale = min(1, box[0] / width, box[1] / height)
            assert all(abs(side - before * scale) <= 1 for side, before in zip(new, (width, height)))


class TestShrinking:
    @pytest.mark.parametrize("size", [(37, 23), (50, 40), (99, 79), (13, 80), (100, 7), (1, 1), (33, 80)])
    def test_is_opencvs_area_average(self, size):
        light = scene(80, 100)
        expected = cv2.resize(light, size, interpolation=cv2.INTER_AREA)
        # OpenCV leaves out shares of a pixel below a thousandth
        np.testing.assert_allclose(resized(hdr(light), *size).pixels, expected.reshape(size[1], size[0], 3), rtol=3e-3)

    def test_is_the_mean_of_blocks(self):
        light = scene(90, 120)
        expected = block_reduce(light.astype(np.float64), (6, 5, 1), np.mean)
        np.testing.assert_allclose(resized(hdr(light), 24, 15).pixels, expected, rtol=1e-6)

    @given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
    @settings(deadline=None, max_examples=100)
    def test_keeps_the_mean_and_the_range(self, height, width, h, w, seed):
        light = scene(height, width, seed)
        small = resized(hdr(light), min(w, width), min(h, height)).pixels
        np.testing.assert_allclose(small.astype(np.float64).mean((0, 1)), light.astype(np.float64).mean((0, 1)), rtol=1e-5)
        assert small.min() >= light.min() * (1 - 1e-6)
        assert small.max() <= light.max() * (1 + 1e-6)

    def test_averages_light_not_codes(self):
        codes = np.zeros((4, 4, 3), np.uint8)
        codes[::2] = 255
        small = resized(Image(codes, Transfer.SRGB), 2, 2)
        assert (small.pixels == round(255 * encode(np.float64(0.5), Transfer.SRGB))).all()
        assert small.pixels.dtype == np.uint8
        assert (
            resized(Image(codes.astype(np.uint16) * 257, Transfer.SRGB), 2, 2).pixels
            == round(65535 * encode(np.float64(0.5), Transfer.SRGB))
        ).all()


class TestGrowing:
    @pytest.mark.parametrize("size", [(200, 160), (123, 99), (100, 81), (301, 80), (500, 400)])
    def test_is_opencvs_linear_interpolation(self, size):
        light = scene(80, 100)
        expected = cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(resized(hdr(light), *size).pixels, expected, rtol=1e-3, atol=1e-5)

    def test_swings_beyond_no_lamp(self):
        light = np.full((9, 9, 3), 0.01, np.float32)
        light[4, 4] = 1e4
        large = resized(hdr(light), 90, 90).pixels
        assert large.min() == np.float32(0.01)
        assert large.max() <= 1e4

    def test_one_side_may_shrink(self):
        light = scene(40, 60)
        assert resized(hdr(light), 90, 20).pixels.shape == (20, 90, 3)


class TestKinds:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint8, np.uint16])
    @pytest.mark.parametrize("size", [(7, 5), (40, 50), (3, 60)])
    def test_a_flat_picture_stays_flat(self, dtype, size):
        kinds = (
            [Transfer.LINEAR, Transfer.SRGB, Transfer.PQ, Transfer.HLG] if np.dtype(dtype).kind == "u" else [Transfer.LINEAR]
        )
        for transfer in kinds:
            pixels = np.full((20, 30, 3), [100, 200, 50]).astype(dtype)
            out = resized(Image(pixels, transfer), *size)
            assert out.pixels.dtype == dtype
            np.testing.assert_allclose(out.pixels.astype(float), np.broadcast_to([100, 200, 50], out.pixels.shape), rtol=1e-6)

    def test_everything_else_stays(self):
        metadata = Metadata(exif=b"e", icc=b"i", header={"a": "b"}, notes=("n",), panorama=True)
        codes = np.zeros((8, 8, 3), np.uint16)
        image = Image(codes, Transfer.SRGB, Primaries.DISPLAY_P3, 203.0, metadata, stored=codes.astype(np.uint8))
        out = resized(image, 4, 4)
        assert (out.transfer, out.primaries, out.white_luminance) == (image.transfer, image.primaries, image.white_luminance)
        assert (out.metadata.exif, out.metadata.icc, dict(out.metadata.header)) == (b"e", b"i", {"a": "b"})
        assert (out.metadata.notes, out.metadata.panorama, out.stored) == (("n",), True, None)

    def test_its_own_size_is_itself(self):
        image = hdr(scene(5, 6))
        assert resized(image, 6, 5) is image

    def test_no_size_is_refused(self):
        with pytest.raises(UsageError):
            resized(hdr(scene(5, 6)), 0, 5)

    def test_negative_light_of_wide_colours_is_kept(self):
        light = np.full((4, 4, 3), [-0.25, 1, 0.5], np.float32)
        np.testing.assert_allclose(resized(hdr(light), 2, 2).pixels[0, 0], [-0.25, 1, 0.5])

    def test_colours_count_by_alpha(self):
        light = np.zeros((2, 2, 3), np.float32)
        light[0, 0], light[0, 1], light[1] = (1, 0, 0), (0, 1, 0), (9, 9, 9)
        alpha = np.array([[1, 0.5], [0, 0]], np.float32)
        out = resized(hdr(light, metadata=Metadata(alpha=alpha)), 1, 1)
        np.testing.assert_allclose(out.pixels[0, 0], [2 / 3, 1 / 3, 0], rtol=1e-6)
        assert out.metadata.alpha == pytest.approx(0.375)
        nothing = resized(hdr(light, metadata=Metadata(alpha=np.zeros((2, 2), np.float32))), 1, 1)
        assert not nothing.pixels.any()

    def test_opaque_alpha_changes_nothing(self):
        light = scene(20, 30)
        opaque = hdr(light, metadata=Metadata(alpha=np.ones((20, 30), np.float32)))
        np.testing.assert_allclose(resized(opaque, 7, 6).pixels, resized(hdr(light), 7, 6).pixels, rtol=1e-6)
        assert resized(opaque, 7, 6).metadata.alpha.max() <= 1

    @pytest.mark.parametrize("size", [(10, 10), (50, 50), (1, 1)])
    def test_odd_values_stay_where_they_are(self, size):
        light = np.ones((20, 20, 3), np.float32)
        light[4, 4], light[10, 16] = np.nan, (np.inf, -np.inf, 3.4e38)
        out = resized(hdr(light), *size).pixels
        assert np.isfinite(out).all()
        touched = np.abs(out - 1).max(axis=2) > 1e-6
        assert touched.sum() <= 2 * max(1, 3 * size[0] // 20) ** 2
        with np.errstate(over="ignore"):
            halves = light.astype(np.float16)
        half = resized(Image(halves, Transfer.LINEAR), *size).pixels
        assert half.dtype == np.float16
        assert np.isfinite(half).all()


class TestStrips:
    @pytest.mark.parametrize("size", [(50, 33), (7, 64), (90, 300), (1, 1)])
    def test_equal_the_whole(self, monkeypatch, size):
        light = scene(128, 60)
        alpha = np.random.default_rng(0).random((128, 60), np.float32)
        image = hdr(light, metadata=Metadata(alpha=alpha))
        whole = resized(image, *size)
        monkeypatch.setattr(resizing, "_STRIP_PIXELS", 70)
        strips = resized(image, *size)
        np.testing.assert_array_equal(strips.pixels, whole.pixels)
        np.testing.assert_array_equal(strips.metadata.alpha, whole.metadata.alpha)

    @pytest.mark.parametrize("size", [(1000, 1000), (2, 2)])
    def test_memory_is_bounded(self, size):
        image = Image(np.zeros((3000, 4000, 3), np.uint8), Transfer.SRGB)
        resized(image, 9, 9)  # imports and tables
        tracemalloc.start()
        out = resized(image, *size)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak - out.pixels.nbytes < 20e6 * parallel.threads()


def test_same_light_as_the_decoded_picture():
    codes = np.random.default_rng(0).integers(0, 65536, (40, 40, 3), dtype=np.uint16)
    for transfer in (Transfer.PQ, Transfer.SRGB):
        light = block_reduce(decode(codes / 65535, transfer), (4, 4, 1), np.mean)
        expected = encode(light, transfer) * 65535
        assert np.abs(resized(Image(codes, transfer), 10, 10).pixels - expected).max() < 1  # single precision
