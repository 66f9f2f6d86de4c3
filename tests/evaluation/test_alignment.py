"""Alignments: the CRF correction against the toolbox's numbers, gains against closed forms, and what can't be aligned."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_pairs import CHECKS, EXPECTED, NAMES, pictures, scene

from hdrcli.camera import exposure_alignment
from hdrcli.errors import Unavailable
from hdrcli.evaluation.alignment import ALIGNMENTS, CITED, affine, crf, exposure, luminance_chromaticity, maximum, percentiles
from hdrcli.metrics._encodings import pq_short_encode


def noisy(seed, spread=0.5, shape=(24, 31, 3)):
    """A picture and a worse one, all samples positive."""
    rng = np.random.default_rng(seed)
    reference = np.exp(rng.normal(2, 2, shape))
    return reference * np.exp(rng.normal(0, spread, shape)), reference


class TestEveryAlignment:
    @pytest.mark.parametrize("name", ALIGNMENTS)
    def test_leaves_its_inputs_and_the_reference_alone(self, name):
        test, reference = (p.copy() for p in pictures("12"))
        kept = test.copy(), reference.copy()
        _, aligned_reference, _ = ALIGNMENTS[name](test, reference)
        np.testing.assert_array_equal(test, kept[0])
        np.testing.assert_array_equal(reference, kept[1])
        assert aligned_reference is reference

    @pytest.mark.parametrize("name", ALIGNMENTS)
    @pytest.mark.parametrize(
        ("kinds", "result"), [(("f4", "f4"), "f4"), (("f8", "f8"), "f8"), (("f4", "f8"), "f8"), (("f8", "f4"), "f8")]
    )
    def test_float32_stays_float32_and_is_close(self, name, kinds, result):
        test, reference = pictures("12")
        aligned, _, _ = ALIGNMENTS[name](test.astype(kinds[0]), reference.astype(kinds[1]))
        exact, _, _ = ALIGNMENTS[name](test, reference)
        assert name == "none" or aligned.dtype == result
        np.testing.assert_allclose(aligned, exact, rtol=2e-5, atol=1e-5)

    @pytest.mark.parametrize("name", ALIGNMENTS)
    def test_a_picture_is_aligned_with_itself(self, name):
        _, reference = pictures("07")
        aligned, _, _ = ALIGNMENTS[name](reference, reference)
        np.testing.assert_allclose(aligned, np.maximum(reference, 0.005) if name == "crf" else reference, rtol=1e-12)

    @pytest.mark.parametrize("name", ALIGNMENTS)
    def test_facts_are_plain_numbers_and_lists(self, name):
        _, _, facts = ALIGNMENTS[name](*pictures("12"))
        assert json.loads(json.dumps(facts)) == facts

    def test_each_has_its_words(self):
        assert list(CITED) == list(ALIGNMENTS) == ["none", "max", "percentile", "exposure", "crf"]

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(["max", "percentile", "exposure"]))
    def test_aligning_twice_is_aligning_once(self, seed, name):
        test, reference = noisy(seed)
        once, _, _ = ALIGNMENTS[name](test, reference)
        twice, _, _ = ALIGNMENTS[name](once, reference)
        np.testing.assert_allclose(twice, once, rtol=1e-11, atol=1e-11 * once.max())

    @settings(max_examples=25, deadline=None)
    @given(seed=st.integers(0, 2**32 - 1), gain=st.floats(1e-6, 1e6), name=st.sampled_from(["max", "percentile", "exposure"]))
    def test_the_test_s_scale_does_not_matter(self, seed, gain, name):
        test, reference = noisy(seed)
        one, _, _ = ALIGNMENTS[name](test, reference)
        other, _, _ = ALIGNMENTS[name](gain * test, reference)
        np.testing.assert_allclose(other, one, rtol=1e-11, atol=1e-11 * one.max())

    @pytest.mark.parametrize("name", ["max", "exposure"])
    def test_gains_beyond_float32_are_refused(self, name):
        test, reference = (p.astype("f4") for p in noisy(9))
        test[:20] = 1e-44 if name == "exposure" else 0
        test[20:] = 1e3 if name == "exposure" else -1e3
        test[0, 0] = 1e-44
        with pytest.raises(Unavailable, match="range of float32"):
            ALIGNMENTS[name](test, reference)


class TestCrf:
    @pytest.mark.parametrize("name", NAMES)
    def test_coefficients_and_means_of_the_toolbox(self, name):
        expected = EXPECTED[name]["sihdr"]
        _, _, facts = crf(*pictures(name))
        np.testing.assert_allclose(facts["crf_coef_l"], expected["crf_coef_l"], rtol=1e-6)
        np.testing.assert_allclose(facts["crf_coef_uv"], expected["crf_coef_uv"], atol=1e-9)
        np.testing.assert_allclose(facts["crf_mean_rgb"], expected["crf_mean_rgb"], rtol=1e-9)

    @pytest.mark.parametrize("name", NAMES)
    def test_normalised_coefficients_and_means_of_the_toolbox(self, name):
        expected = EXPECTED[name]["sihdr"]["normalised"]
        _, _, facts = crf(*pictures(name), normalised=True)
        np.testing.assert_allclose(facts["crf_coef_l"], expected["crf_coef_l"], rtol=1e-6)
        np.testing.assert_allclose(facts["crf_mean_rgb"], expected["crf_mean_rgb"], rtol=1e-8)

    def test_the_stages_of_one_pixel(self):
        stages = CHECKS["pair12_pixel_row20_col30"]
        test, reference = pictures("12")
        np.testing.assert_allclose(reference[20, 30], stages["ref_rgb"], rtol=1e-12)
        y, uv = luminance_chromaticity(reference[20, 30])
        np.testing.assert_allclose([*y, *uv[0]], stages["crf_Y_u_v_ref"], rtol=1e-12)
        assert pq_short_encode(y)[0] == pytest.approx(stages["crf_short_pq_of_Y"], rel=1e-12)
        corrected, _, _ = crf(test, reference)
        np.testing.assert_allclose(corrected[20, 30], stages["crf_corrected_test_rgb"], rtol=1e-9)

    def test_the_identity_is_found_to_eleven_digits(self):
        _, reference = pictures("11")
        corrected, _, facts = crf(reference, reference)
        np.testing.assert_allclose(facts["crf_coef_l"], [0, 0, 1, 0], atol=1e-11)
        identity = np.zeros((8, 2))
        identity[5, 0] = identity[6, 1] = 1
        np.testing.assert_allclose(facts["crf_coef_uv"], identity, atol=1e-11)
        np.testing.assert_allclose(corrected, np.maximum(reference, 0.005), rtol=1e-12)

    def test_luminance_solves_the_normal_equations(self):
        """The residual of the plain least squares is orthogonal to its four terms."""
        test, reference = pictures("08")
        _, _, facts = crf(test, reference)
        t, s = (pq_short_encode(luminance_chromaticity(p)[0]) for p in (test, reference))
        terms = np.column_stack([t**3, t**2, t, np.ones_like(t)])
        residual = s - terms @ facts["crf_coef_l"]
        np.testing.assert_allclose(terms.T @ residual / t.size, 0, atol=1e-13)

    def test_chromaticity_solves_the_ridge_equations(self):
        test, reference = pictures("11")
        _, _, facts = crf(test, reference)
        (u, v), target = luminance_chromaticity(test)[1].T, luminance_chromaticity(reference)[1]
        terms = np.column_stack([u**3, v**3, u**2, v**2, u * v, u, v, np.ones_like(u)])
        w, identity = np.array(facts["crf_coef_uv"]), np.zeros((8, 2))
        identity[5, 0] = identity[6, 1] = 1
        gradient = terms.T @ (target - terms @ w) - 0.01 * u.size / 8 * (w - identity)
        np.testing.assert_allclose(gradient / u.size, 0, atol=1e-13)

    def test_a_response_curve_is_undone(self):
        _, reference = pictures("07")
        peak = reference.max()
        worse = peak * (reference / peak) ** 0.7
        corrected, _, _ = crf(worse, reference)

        def stops(p):
            return np.sqrt(np.mean(np.log2(p / reference) ** 2))

        assert stops(corrected) < 0.1 * stops(worse)

    def test_strips_do_not_show(self, monkeypatch):
        from hdrcli.evaluation import alignment
        from hdrcli.metrics._pairs import strips

        test, reference = pictures("07")
        whole, _, _ = crf(test, reference)
        monkeypatch.setattr(alignment, "strips", lambda shape: strips(shape, 1000))
        assert len(alignment.strips(test.shape)) > 50
        parted, _, _ = crf(test, reference)
        np.testing.assert_allclose(parted, whole, rtol=1e-10, atol=1e-12)

    def test_codes_beyond_the_pole_become_the_largest_light(self):
        """A cubic fitted to a step overshoots: to 2.03 here, where PQ ends at 1.99."""
        order = np.arange(600).reshape(20, 30, 1) / 600
        test = np.repeat(10.0 ** (6 * order - 2), 3, axis=2)
        reference = np.repeat(np.where((order > 0.2) & (order < 0.8), 1e8, 0.01), 3, axis=2)
        corrected, _, facts = crf(test, reference)
        beyond = np.polyval(facts["crf_coef_l"], pq_short_encode(luminance_chromaticity(test)[0])) >= 1.99
        assert 10 < np.count_nonzero(beyond) < 300
        np.testing.assert_allclose(luminance_chromaticity(corrected)[0][beyond], 1e8, rtol=1e-9)

    @pytest.mark.parametrize(
        "test", [np.zeros((20, 30, 3)), np.full((20, 30, 3), 7.0), np.full((20, 30, 3), -1.0), np.full((20, 30, 3), 1e9)]
    )
    def test_constant_images_have_no_correction(self, test):
        with pytest.raises(Unavailable, match="fewer than four distinct values"):
            crf(test, scene(20, 30, 1))

    @pytest.mark.parametrize("count", [2, 3])
    def test_neither_have_few_values(self, count):
        test = np.repeat((1 + 10.0 * (np.arange(600) % count)).reshape(20, 30, 1), 3, axis=2)
        with pytest.raises(Unavailable, match="fewer than four distinct values"):
            crf(test, scene(20, 30, 1))

    def test_four_values_have_one(self):
        test = np.repeat((1 + 10.0 * (np.arange(600) % 4)).reshape(20, 30, 1), 3, axis=2)
        corrected, _, _ = crf(test, scene(20, 30, 1))
        assert np.isfinite(corrected).all()

    @pytest.mark.parametrize("size", [(1, 1, 3), (1, 3, 3)])
    def test_neither_have_a_few_pixels(self, size):
        with pytest.raises(Unavailable, match=r"too few pixels|fewer than four"):
            crf(*noisy(1, shape=size))

    @pytest.mark.parametrize("level", [0.0, 50.0])
    def test_a_constant_reference_is_refused(self, level):
        with pytest.raises(Unavailable, match="the reference has one luminance"):
            crf(scene(20, 30, 1), np.full((20, 30, 3), level))

    @pytest.mark.parametrize("black", ["test", "reference"])
    def test_a_black_median_can_t_be_normalised(self, black):
        test, reference = noisy(2)
        (test if black == "test" else reference)[:15] = 0
        with pytest.raises(Unavailable, match=f"the {black}'s median is not positive"):
            crf(test, reference, normalised=True)


class TestMaximum:
    def test_the_largest_samples_agree(self):
        test, reference = pictures("08")
        aligned, _, facts = maximum(test, reference)
        assert aligned.max() == pytest.approx(reference.max(), rel=1e-15)
        assert facts == {"gain": pytest.approx(reference.max() / test.max())}

    @pytest.mark.parametrize("black", ["test", "reference"])
    def test_a_black_picture_is_refused(self, black):
        test, reference = noisy(3)
        (test if black == "test" else reference)[:] = -0.5
        with pytest.raises(Unavailable, match=f"the {black} has no positive sample"):
            maximum(test, reference)


class TestPercentiles:
    @pytest.mark.parametrize("name", NAMES)
    def test_percentiles_and_mean_of_the_reference_values(self, name):
        expected = EXPECTED[name]["expandnet"]
        aligned, _, facts = percentiles(*pictures(name))
        np.testing.assert_allclose(facts["test_percentiles"], expected["percentiles_0.1_99.9"]["test"], rtol=1e-10)
        np.testing.assert_allclose(facts["reference_percentiles"], expected["percentiles_0.1_99.9"]["ref"], rtol=1e-10)
        assert aligned.mean() == pytest.approx(expected["scene"]["aligned_test_mean"], rel=1e-10)
        assert aligned.min() >= 0

    def test_numpy_agrees(self):
        test, reference = noisy(4)
        aligned, _, _ = percentiles(test, reference)
        np.testing.assert_allclose(np.percentile(aligned, (0.1, 99.9)), np.percentile(reference, (0.1, 99.9)), rtol=1e-9)

    @pytest.mark.parametrize("level", [0.0, 5.0])
    @pytest.mark.parametrize("which", [0, 1])
    def test_a_constant_picture_is_refused(self, level, which):
        pictures = list(noisy(5, shape=(9, 9, 3)))
        pictures[which][:] = level
        with pytest.raises(Unavailable, match="a constant image"):
            percentiles(*pictures)

    def test_levels_go_to_targets_and_nothing_is_clipped_above(self):
        x = np.array([-5.0, 1, 2, 3, 9])
        np.testing.assert_allclose(affine(x, (1, 3), (10, 20)), [0, 10, 15, 20, 50])


class TestExposure:
    @pytest.mark.parametrize("gain", [0.01, 1.0, 37.5])
    def test_a_gain_is_undone(self, gain):
        _, reference = pictures("08")
        aligned, _, facts = exposure(reference / gain, reference)
        assert facts["gain"] == pytest.approx(gain, rel=1e-12)
        np.testing.assert_allclose(aligned, reference, rtol=1e-12)

    def test_clipping_and_black_do_not_move_it(self):
        _, reference = pictures("07")
        test = np.minimum(reference, np.percentile(reference, 92)) / 3
        test[:20] = 0
        assert exposure(test, reference)[2]["gain"] == pytest.approx(3, rel=1e-9)

    def test_it_agrees_with_the_virtual_camera_s(self):
        """Where all pixels are well exposed both are the median log ratio of luminance; the choice alone differs."""
        test, reference = (p.astype(np.float32) for p in noisy(6, spread=0.05))
        codes = np.full(test.shape, 128, np.uint8)
        assert exposure(test, reference)[2]["gain"] == pytest.approx(exposure_alignment(test, reference, codes), rel=0.01)

    def test_the_number_of_pixels_is_told(self):
        test, reference = noisy(7)
        assert exposure(test, reference)[2]["pixels"] == pytest.approx(0.8 * 24 * 31, abs=2)

    @pytest.mark.parametrize("black", ["test", "reference"])
    def test_black_pictures_are_refused(self, black):
        test, reference = noisy(8)
        (test if black == "test" else reference)[:] = 0
        with pytest.raises(Unavailable, match=r"0 of 744 pixels .* too few"):
            exposure(test, reference)
