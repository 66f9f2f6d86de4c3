"""The photo at working resolution: what training and inference both show to the network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer, decode, encode
from hdrcli.inference import working
from hdrcli.inference.working import area_mean, blend_table, blend_weight, clip_map, lost_share, working_codes, working_shape


def cells(size, count):
    """``(count, size)``: the share of each pixel in each cell, divided by the cell's size: exact box integration."""
    borders = np.linspace(0, size, count + 1)
    overlap = np.minimum(borders[1:, None], np.arange(1, size + 1)) - np.maximum(borders[:-1, None], np.arange(size))
    return np.maximum(overlap, 0) * count / size


def brute_force_mean(values, shape):
    rows, columns = cells(values.shape[0], shape[0]), cells(values.shape[1], shape[1])
    return np.einsum("hr,rcx,wc->hwx", rows, values.astype(np.float64), columns)


def photo(height, width, dtype=np.uint8, seed=0):
    """Codes with many near the clip point."""
    top = np.iinfo(dtype).max
    v = np.random.default_rng(seed).random((height, width, 3)) ** 0.3
    return np.rint(v * top).astype(dtype)


class TestBlend:
    def test_weight_is_smoothstep_from_094_to_099(self):
        v = np.array([0, 0.5, 0.94, 0.9525, 0.965, 0.9775, 0.99, 1.0])
        s = np.clip((v - 0.94) / 0.05, 0, 1)
        np.testing.assert_allclose(blend_weight(v), 3 * s**2 - 2 * s**3, atol=1e-12)

    @pytest.mark.parametrize("codes", [256, 65536])
    def test_table_is_the_weight_of_every_code(self, codes):
        table = blend_table(codes)
        np.testing.assert_allclose(table, blend_weight(np.arange(codes) / (codes - 1)), atol=1e-7)
        assert not table.flags.writeable
        assert table[int(0.94 * (codes - 1))] == 0
        assert table[int(0.94 * (codes - 1)) + 1] > 0


class TestWorkingShape:
    @settings(deadline=None, max_examples=100)
    @given(st.integers(1, 30000), st.integers(1, 30000), st.sampled_from([(64, 8), (256, 32), (384, 16)]))
    def test_multiples_of_bounded_area(self, height, width, form):
        size, multiple = form
        h, w = working_shape(height, width, size, multiple)
        assert h % multiple == w % multiple == 0
        assert multiple <= min(h, w) <= max(h, w) <= 2048
        assert h * w <= max((size + multiple) ** 2 * 1.5, multiple * 2048)

    def test_keeps_the_photos_form(self):
        assert working_shape(4000, 6000, 256, 32) == (224, 320)
        assert working_shape(6000, 4000, 256, 32) == (320, 224)
        assert working_shape(3000, 3000, 256, 32) == (256, 256)

    def test_small_photos_are_not_enlarged_beyond_the_next_multiple(self):
        assert working_shape(100, 100, 256, 32) == (96, 96)
        assert working_shape(1, 1, 256, 32) == (32, 32)


class TestAreaMean:
    @pytest.mark.parametrize(("size", "shape"), [((60, 90), (20, 30)), ((61, 95), (16, 24)), ((50, 50), (49, 50))])
    def test_is_exact_box_integration(self, size, shape):
        values = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
        np.testing.assert_allclose(area_mean(values, shape), brute_force_mean(values, shape), atol=2e-6)

    @pytest.mark.parametrize("size", [(4, 5), (1, 300), (300, 1), (1, 1)])
    def test_enlarges_what_is_too_small(self, size):
        values = np.full((*size, 3), 0.25, np.float32)
        out = area_mean(values, (32, 48))
        assert out.shape == (32, 48, 3)
        np.testing.assert_allclose(out, 0.25, rtol=1e-6)

    def test_no_pixel_is_left_out_where_only_one_side_shrinks(self):
        values = np.zeros((2, 4096, 3), np.float32)
        values[:, 1::8] = 1
        np.testing.assert_allclose(area_mean(values, (8, 512)), 1 / 8, atol=1e-6)


class TestLostShare:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_is_the_mean_blend_weight_of_each_cell(self, dtype):
        codes = photo(61, 95, dtype)
        weight = blend_weight(codes / float(np.iinfo(dtype).max))
        np.testing.assert_allclose(lost_share(codes, (16, 24)), brute_force_mean(weight, (16, 24)), atol=2e-6)

    @pytest.mark.parametrize("size", [(64, 96), (61, 95), (400, 40), (97, 33)])
    @pytest.mark.parametrize("strip_pixels", [1, 500, 3000])
    def test_strips_equal_the_whole(self, monkeypatch, size, strip_pixels):
        codes = photo(*size)
        whole = lost_share(codes, (16, 24))
        monkeypatch.setattr(working, "_STRIP_PIXELS", strip_pixels)
        np.testing.assert_allclose(lost_share(codes, (16, 24)), whole, atol=2e-6)

    @pytest.mark.parametrize("strip_pixels", [1, 1 << 30])
    def test_zero_where_nothing_was_lost(self, monkeypatch, strip_pixels):
        monkeypatch.setattr(working, "_STRIP_PIXELS", strip_pixels)
        codes = np.full((40, 60, 3), 239, np.uint8)  # 0.937
        codes[20:22, 30:32, 1] = 255
        share = lost_share(codes, (10, 15))
        assert np.count_nonzero(share) == 1
        assert share[5, 7, 1] == pytest.approx(4 / 16)

    @pytest.mark.parametrize("code", [239, 240, 241])
    def test_strips_skip_nothing_that_the_blend_begins_with(self, monkeypatch, code):
        monkeypatch.setattr(working, "_STRIP_PIXELS", 1)
        share = lost_share(np.full((40, 60, 3), code, np.uint8), (10, 15))
        np.testing.assert_allclose(share, blend_weight(np.array(code / 255)), atol=1e-6)

    def test_the_clip_map_lifts_small_lamps(self):
        share = np.array([0, 0.01, 0.25, 1], np.float32)
        np.testing.assert_allclose(clip_map(share), [0, 0.1, 0.5, 1])


class TestWorkingCodes:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_srgb_photos_give_the_mean_of_their_codes(self, dtype):
        codes = photo(64, 96, dtype)
        mean = brute_force_mean(codes / float(np.iinfo(dtype).max), (16, 24))
        np.testing.assert_allclose(working_codes(codes, Transfer.SRGB, (16, 24)), mean, atol=0.51 / np.iinfo(dtype).max)

    @pytest.mark.parametrize("transfer", [Transfer.GAMMA22, Transfer.GAMMA18, Transfer.HLG])
    def test_other_encodings_become_srgb(self, transfer):
        codes = np.full((8, 8, 3), 30000, np.uint16)
        expected = encode(decode(np.array(30000 / 65535), transfer), Transfer.SRGB)
        np.testing.assert_allclose(working_codes(codes, transfer, (8, 8)), expected, atol=1e-5)
