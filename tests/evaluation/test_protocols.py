"""Every protocol on five pairs against values from public implementations; identity, bad input, what is not scored."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
from reference_pairs import CHECKS, EXPECTED, NAMES, assert_scores, pair, pictures, scene, tolerance

from hdrcli import __version__, registry
from hdrcli.errors import MismatchError, Unavailable, UsageError
from hdrcli.evaluation.protocols import Missing, Pair, _scores, expandnet, fhdr, hdrtv, mu, ntire21, raw, sihdr, singlehdr
from hdrcli.evaluation.protocols._lines import line, number
from hdrcli.evaluation.protocols._scores import compute_scores, known_scores, value
from hdrcli.metrics import Score, Viewing
from hdrcli.metrics._encodings import BT709_TO_BT2020, mu_law, pq_encode
from hdrcli.metrics.pu21 import pu21_psnr_lum

PACKAGE = "hdrcli.evaluation.protocols"
ALL = registry.names(PACKAGE)
PU21 = ("pu21_psnr_rgb", "pu21_psnr_lum", "pu21_ssim_lum_matlab")
# every option that changes what is computed, without HDR-VDP-2.2 where it can be left out
QUICK = {
    "expandnet": expandnet.Options(hdrvdp=False),
    "expandnet scene": expandnet.Options(variant="scene", hdrvdp=False),
    "fhdr": fhdr.Options(),
    "fhdr unscaled": fhdr.Options(unscaled=True),
    "hdrtv": hdrtv.Options(),
    "mu": mu.Options(),
    "mu ownmax": mu.Options(scale="ownmax"),
    "ntire21": ntire21.Options(),
    "raw": raw.Options(),
    "sihdr": sihdr.Options(),
    "sihdr max": sihdr.Options(align="max"),
    "sihdr normalised": sihdr.Options(normalised=True),
}


def module(name):
    return registry.load(PACKAGE, name.split()[0])


def run(name, given, options=None):
    return module(name).run(given, options or QUICK.get(name) or module(name).Options())


def float32(name):
    test, reference = pictures(name)
    return pair(name, test=test.astype("f4"), reference=reference.astype("f4"))


def chosen(expected, *names):
    return {name: expected[name] for name in names}


def flat(level, shape=(24, 30, 3)):
    return np.full(shape, float(level))


class TestAgainstReferenceValues:
    @pytest.mark.parametrize("kind", ["float64", "float32"])
    @pytest.mark.parametrize("name", NAMES)
    class TestOnPair:
        def given(self, name, kind):
            return pair(name) if kind == "float64" else float32(name)

        @pytest.mark.parametrize("variant", ["display", "scene"])
        def test_expandnet(self, name, kind, variant):
            expected = EXPECTED[name]["expandnet"][variant]
            outcome = expandnet.run(self.given(name, kind), expandnet.Options(variant=variant, hdrvdp=False))
            scores = (*PU21, "pu2_psnr_lum", "pu2_ssim_lum_wang")
            assert_scores(outcome.scores, chosen(expected, *scores), kind)
            for fact in ("aligned_test_mean", "aligned_ref_mean"):
                assert outcome.facts[fact] == pytest.approx(expected[fact], rel=1e-10 if kind == "float64" else 1e-5)

        def test_ntire21(self, name, kind):
            expected = EXPECTED[name]["ntire21"]
            outcome = ntire21.run(self.given(name, kind), ntire21.Options())
            assert list(outcome.scores) == ["mu_psnr", "psnr_stored", "psnr_linear", "mu_psnr_no_tanh_refmax"]
            assert_scores(outcome.scores, chosen(expected, *outcome.scores), kind)
            assert outcome.facts["p99_ref"] == pytest.approx(expected["p99_ref"], rel=1e-10 if kind == "float64" else 1e-6)

        def test_hdrtv(self, name, kind):
            expected = EXPECTED[name]["hdrtv"]
            for variant in ("wang", "uniform7_L2", "uniform7_L1"):
                outcome = hdrtv.run(self.given(name, kind), hdrtv.Options(ssim=variant))
                assert_scores(outcome.scores, chosen(expected, "psnr", "delta_e_itp", f"ssim_{variant}"), kind)
                assert outcome.facts["delta_e_itp_max"] == pytest.approx(
                    expected["delta_e_itp_max"], rel=1e-9 if kind == "float64" else 0.01
                )

        def test_hdrtv_without_quantisation(self, name, kind):
            outcome = hdrtv.run(self.given(name, kind), hdrtv.Options(quantise=False))
            expected = chosen(EXPECTED[name]["hdrtv"], "psnr_unquantised", "delta_e_itp_unquantised")
            assert_scores(outcome.scores, expected, kind)

        def test_sihdr_and_raw(self, name, kind):
            expected = EXPECTED[name]["sihdr"]
            given = self.given(name, kind)
            assert_scores(raw.run(given, raw.Options()).scores, chosen(expected, *PU21), kind)
            corrected = sihdr.run(given, sihdr.Options())
            assert_scores(corrected.scores, {score: expected[f"crf_{score}"] for score in PU21}, kind)
            np.testing.assert_allclose(corrected.facts["crf_mean_rgb"], expected["crf_mean_rgb"], rtol=1e-5)
            normalised = sihdr.run(given, sihdr.Options(normalised=True))
            assert_scores(normalised.scores, {"pu21_psnr_rgb": expected["normalised"]["crf_pu21_psnr_rgb"]}, kind)

        @pytest.mark.parametrize("ssim", ["uniform7_L2", "uniform7_L1"])
        def test_fhdr(self, name, kind, ssim):
            outcome = fhdr.run(self.given(name, kind), fhdr.Options(ssim=ssim))
            expected = chosen(EXPECTED[name]["fhdr"], "psnr_mu", f"ssim_linear_{ssim}")
            assert list(outcome.scores) == list(expected)
            assert_scores(outcome.scores, expected, kind)

        @pytest.mark.parametrize("scale", ["refmax", "ownmax"])
        def test_mu(self, name, kind, scale):
            outcome = mu.run(self.given(name, kind), mu.Options(scale=scale))
            assert list(outcome.scores) == ["psnr_mu", "ssim_mu_wang", "ssim_mu_uniform7_L1"]
            assert_scores(outcome.scores, EXPECTED[name]["mu"][scale], kind)

    @pytest.mark.parametrize("name", NAMES)
    def test_expandnet_with_hazen_percentiles(self, name):
        outcome = expandnet.run(pair(name), expandnet.Options(percentiles="hazen", hdrvdp=False))
        wanted = EXPECTED[name]["expandnet"]["display_pu21_psnr_lum_if_hazen_percentiles"]
        # the reference value was taken without clamping at 0, which changes the luminance of pair 11's darkest pixels
        levels = (outcome.facts[f"{which}_percentiles"] for which in ("test", "reference"))
        mapped = [(p - low) * 998 / (high - low) + 1 for p, (low, high) in zip(pictures(name), levels, strict=True)]
        assert pu21_psnr_lum(*mapped) == pytest.approx(wanted, abs=1e-6)
        assert outcome.scores["pu21_psnr_lum"] == pytest.approx(wanted, abs=1e-4 if name == "11" else 1e-6)

    @pytest.mark.parametrize("white_nits", [1.0, 100.0])
    def test_fhdr_unscaled_scores_the_files_own_values(self, white_nits):
        test, reference = (white_nits * p for p in pictures("11"))
        outcome = fhdr.run(Pair(test, reference, white_nits), fhdr.Options(unscaled=True))
        expected = EXPECTED["11"]["fhdr"]
        assert_scores(outcome.scores, chosen(expected, "psnr_mu_unscaled", "ssim_linear_uniform7_L2_unscaled"))
        assert len(outcome.scores) == 2

    def test_codes_of_one_pixel(self):
        stages = CHECKS["pair12_pixel_row20_col30"]
        test, reference = (p[20, 30] for p in pictures("12"))
        np.testing.assert_allclose(pq_encode(reference @ BT709_TO_BT2020.T), stages["ref_pq2020"], rtol=1e-12)
        np.testing.assert_allclose(pq_encode(test @ BT709_TO_BT2020.T), stages["test_pq2020"], rtol=1e-12)
        n = EXPECTED["12"]["ntire21"]["p99_ref"]
        np.testing.assert_allclose(mu_law(np.tanh(reference / n)), stages["ntire_mu_tanh_ref"], rtol=1e-12)


SMALL = ("11", "12")
LARGE = tuple(name for name in NAMES if name not in SMALL)


class TestHdrVdp:
    def check(self, name, precision):
        kind = "float64" if precision == "float64" else "float32"
        for variant in ("display", "scene"):
            outcome = expandnet.run(pair(name), expandnet.Options(variant=variant, precision=precision))
            assert_scores(outcome.scores, chosen(EXPECTED[name]["expandnet"][variant], "hdrvdp22_Q"), kind)
        outcome = singlehdr.run(pair(name), singlehdr.Options(precision=precision))
        assert_scores(outcome.scores, chosen(EXPECTED[name]["singlehdr"], "hdrvdp22_Q"), kind)

    @pytest.mark.parametrize("name", SMALL)
    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_q_of_small_pairs(self, name, precision):
        self.check(name, precision)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", LARGE)
    @pytest.mark.parametrize("precision", ["float64", "float32"])
    def test_q_of_large_pairs(self, name, precision):
        self.check(name, precision)

    @pytest.mark.parametrize("protocol", ["expandnet", "singlehdr"])
    def test_a_picture_is_itself(self, protocol):
        _, reference = pictures("12")
        outcome = module(protocol).run(pair("12", test=reference.copy()), module(protocol).Options())
        assert outcome.scores["hdrvdp22_Q"] == pytest.approx(100, abs=1e-6)

    def test_pixels_per_degree_reach_the_metric(self):
        near, far = (singlehdr.run(pair("12", viewing=Viewing(ppd=p)), singlehdr.Options()) for p in (30.0, 60.0))
        assert abs(near.scores["hdrvdp22_Q"] - far.scores["hdrvdp22_Q"]) > 0.1
        assert (near.protocol.replace("30 ppd", "60 ppd"), near.facts["ppd"]) == (far.protocol, 30)

    @pytest.mark.parametrize("protocol", ["expandnet", "singlehdr"])
    def test_small_pictures_say_why(self, protocol):
        given = Pair(scene(16, 40, 1), scene(16, 40, 2), 1.0)
        scores = module(protocol).run(given, module(protocol).Options()).scores
        assert "40 x 16 pixels" in scores["hdrvdp22_Q"].why
        assert protocol == "singlehdr" or isinstance(scores["pu21_psnr_rgb"], float)

    def test_left_out_on_request(self):
        outcome = expandnet.run(pair("12"), expandnet.Options(hdrvdp=False))
        assert outcome.scores["hdrvdp22_Q"] == Missing("left out on request")
        assert "without HDR-VDP-2.2" in outcome.protocol


class TestSingleHdr:
    """But for HDR-VDP-2.2 itself."""

    @pytest.fixture(autouse=True)
    def no_hdrvdp(self, monkeypatch):
        monkeypatch.setattr(singlehdr, "hdrvdp22_q", lambda test, reference, viewing, precision: float(test.mean()))

    @pytest.mark.parametrize("name", NAMES)
    def test_the_normalisation_of_the_reference_values(self, name):
        expected = dict(EXPECTED[name]["singlehdr"])
        outcome = singlehdr.run(pair(name), singlehdr.Options())
        expected.pop("hdrvdp22_Q")
        assert {k: outcome.facts[k] for k in expected} == pytest.approx(expected, rel=1e-10)
        assert "note" not in outcome.facts

    @pytest.mark.parametrize(("pixels", "k"), [(500, 2), (499, 1), (833, 2), (834, 3), (167, 1)])
    def test_k_rounds_halves_up(self, pixels, k):
        rng = np.random.default_rng(1)
        test, reference = rng.random((2, 1, pixels, 3))
        outcome = singlehdr.run(Pair(test, reference, 1.0), singlehdr.Options())
        assert outcome.facts["k"] == k == math.floor(3 * pixels / 1000 + 0.5)
        assert "note" not in outcome.facts

    def test_a_picture_too_small_for_the_original_is_flagged(self):
        test, reference = np.random.default_rng(1).random((2, 10, 16, 3))
        outcome = singlehdr.run(Pair(test, reference, 1.0), singlehdr.Options())
        assert outcome.facts["k"] == 1
        assert "fewer than 500 samples" in outcome.facts["note"]

    @pytest.mark.parametrize("which", ["test", "reference"])
    def test_a_picture_constant_but_for_its_ends_is_refused(self, which):
        constant = flat(3, (40, 50, 3))
        constant[0, 0, 0], constant[0, 0, 1] = 1, 9
        given = replace(Pair(scene(40, 50, 1), scene(40, 50, 2), 1.0), **{which: constant})
        outcome = singlehdr.run(given, singlehdr.Options())
        assert which in outcome.scores["hdrvdp22_Q"].why
        assert "constant" in outcome.scores["hdrvdp22_Q"].why


class TestEveryProtocol:
    def test_the_ones_of_the_field_are_there(self):
        assert ALL == ("expandnet", "fhdr", "hdrtv", "mu", "ntire21", "raw", "sihdr", "singlehdr")

    @pytest.mark.parametrize("name", ALL)
    def test_has_what_the_package_promises(self, name):
        assert len(module(name).SUMMARY) <= 128
        assert module(name).SOURCE
        assert module(name).Options() == registry.build(module(name).Options, {})
        for field in fields(module(name).Options):
            assert field.name in module(name).Options.__doc__

    @pytest.mark.parametrize("name", QUICK)
    def test_inputs_stay_as_they_are(self, name):
        test, reference = (p.copy() for p in pictures("12"))
        run(name, pair("12", test=test, reference=reference))
        np.testing.assert_array_equal(test, pictures("12")[0])
        np.testing.assert_array_equal(reference, pictures("12")[1])

    @pytest.mark.parametrize("name", QUICK)
    def test_a_picture_is_itself(self, name):
        _, reference = pictures("12")
        # 12 has samples outside of PU21's range; files in [0, 1] for what takes them as they are
        given = pair("12", test=reference.copy(), white_nits=float(reference.max()))
        outcome = run(name, given)
        for score, found in outcome.scores.items():
            if "vdp" in score:
                assert isinstance(found, Missing)
            elif "sihdr" in name and "psnr" in score and "max" not in name:
                # exact to rounding, but for luminance of pixels that have a channel below 0.005, which the correction lifts
                assert found > (100 if "lum" in score else 250)
            else:
                ideal = math.inf if "psnr" in score else 0 if "delta_e" in score else 1
                assert found == pytest.approx(ideal, abs=1e-7 if name == "sihdr" else 1e-12), score

    @pytest.mark.parametrize("name", QUICK)
    def test_the_line_is_the_same_for_every_pair_and_tells_variants_apart(self, name):
        one, other = (run(name, pair(p)) for p in ("11", "12"))
        assert one.protocol == other.protocol
        assert one.protocol.startswith(f"hdrcli {__version__} {name.split()[0]}")
        others = {run(n, pair("12")).protocol for n in QUICK if n != name}
        assert one.protocol not in others
        assert len(others) == len(QUICK) - 1

    @pytest.mark.parametrize("name", QUICK)
    def test_facts_can_be_written(self, name):
        facts = run(name, pair("12")).facts
        assert json.loads(json.dumps(dict(facts))) == facts
        assert facts["white_nits"] == 1

    @pytest.mark.parametrize("name", QUICK)
    def test_pictures_for_maps_are_linear_and_of_the_pair_s_shape(self, name):
        outcome = run(name, float32("12"))
        for picture in (outcome.test, outcome.reference):
            assert (picture.shape, picture.dtype) == ((48, 64, 3), np.float32)

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("which", ["test", "reference"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_samples_that_are_not_finite_are_refused(self, name, which, bad):
        picture = pictures("12")[0].copy()
        picture[3, 4, 1] = bad
        with pytest.raises(Unavailable, match=f"the {which} has 1 samples that are not finite"):
            run(name, pair("12", **{which: picture}))

    @pytest.mark.parametrize("name", ALL)
    def test_unlike_sizes_are_refused(self, name):
        with pytest.raises(MismatchError, match="64 x 47 and 64 x 48"):
            run(name, pair("12", test=pictures("12")[0][:47]))

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize(
        "picture", [np.zeros((5, 5)), np.zeros((5, 5, 4)), np.zeros((0, 5, 3)), np.zeros((5, 5, 3), np.uint8)]
    )
    def test_what_is_no_hdr_picture_is_refused(self, name, picture):
        with pytest.raises(MismatchError, match="test: "):
            run(name, Pair(picture, np.ones((5, 5, 3)), 1.0))

    @pytest.mark.parametrize("name", [*QUICK, "singlehdr"])
    @pytest.mark.parametrize("test", [flat(0), flat(-1), flat(50)])
    @pytest.mark.parametrize("reference", [flat(0), flat(50)])
    def test_black_and_constant_pictures_get_numbers_or_reasons(self, name, test, reference, monkeypatch):
        monkeypatch.setattr(singlehdr, "hdrvdp22_q", lambda *arguments: 1.0)
        scores = run(name, Pair(test, reference, 100.0)).scores
        assert scores
        for found in scores.values():
            assert found.why if isinstance(found, Missing) else not math.isnan(found)

    @pytest.mark.parametrize("name", [*QUICK, "singlehdr"])
    def test_pictures_smaller_than_a_window_keep_their_other_scores(self, name, monkeypatch):
        monkeypatch.setattr(singlehdr, "hdrvdp22_q", lambda *arguments: 1.0)
        given = Pair(scene(5, 6, 1), scene(5, 6, 2), float(scene(5, 6, 2).max()))
        for score, found in run(name, given).scores.items():
            if "hdrvdp" in score:
                continue
            assert isinstance(found, Missing) == ("ssim" in score), (score, found)


class TestRawAndSihdr:
    def test_without_alignment_sihdr_is_raw(self):
        assert sihdr.run(pair("08"), sihdr.Options(align="none")).scores == raw.run(pair("08"), raw.Options()).scores

    def test_the_corrected_picture_is_handed_on(self):
        outcome = sihdr.run(pair("12"), sihdr.Options())
        expected = CHECKS["pair12_pixel_row20_col30"]["crf_corrected_test_rgb"]
        np.testing.assert_allclose(outcome.test[20, 30], expected, rtol=1e-9)
        assert outcome.reference is pictures("12")[1]

    @pytest.mark.parametrize("align", ["max", "percentile", "exposure", "crf"])
    def test_alignments_undo_a_gain(self, align):
        _, reference = pictures("07")
        outcome = sihdr.run(pair("07", test=3 * reference), sihdr.Options(align=align))
        assert outcome.scores["pu21_psnr_rgb"] > (40 if align == "crf" else 200)
        assert outcome.facts["align"] == align

    def test_the_peak_scales_both_pictures(self):
        test, reference = pictures("11")
        outcome = raw.run(pair("11"), raw.Options(peak_nits=4000.0))
        scale = 4000 / reference.max()
        assert outcome.reference.max() == pytest.approx(4000)
        assert outcome.facts["scale"] == pytest.approx(scale)
        same = raw.run(Pair(scale * test, scale * reference, 1.0), raw.Options())
        assert outcome.scores == pytest.approx(dict(same.scores))
        assert "reference's maximum at 4000 cd/m2" in outcome.protocol

    def test_a_black_reference_has_no_peak(self):
        outcome = raw.run(Pair(flat(1), flat(0), 1.0), raw.Options(peak_nits=4000.0))
        assert "black" in outcome.scores["pu21_psnr_rgb"].why

    @pytest.mark.parametrize(
        ("options", "says"),
        [(sihdr.Options(align="max", normalised=True), "normalised"), (sihdr.Options(peak_nits=-1.0), "no luminance")],
    )
    def test_options_that_make_no_sense_are_refused(self, options, says):
        with pytest.raises(UsageError, match=says):
            sihdr.run(pair("12"), options)

    def test_other_metrics_are_taken_of_the_aligned_pictures(self):
        given = pair("12", metrics=("delta_e_itp", "pu21_psnr_lum", "pu2_psnr_lum"))
        outcome = sihdr.run(given, sihdr.Options())
        assert list(outcome.scores) == [*PU21, "delta_e_itp", "pu2_psnr_lum"]
        expected = known_scores()["delta_e_itp"].compute(outcome.test, outcome.reference, Viewing())
        assert outcome.scores["delta_e_itp"] == expected
        assert outcome.scores["delta_e_itp"] != raw.run(given, raw.Options()).scores["delta_e_itp"]

    def test_metrics_that_there_are_not_are_refused_by_name(self):
        with pytest.raises(UsageError, match=r"'pu21_psnr_rbg' \(did you mean pu21_psnr_rgb\?\)"):
            raw.run(pair("12", metrics=("pu21_psnr_rbg",)), raw.Options())

    def test_a_test_that_can_t_be_corrected_has_reasons_for_every_score(self):
        given = Pair(flat(5), scene(24, 30, 1), 100.0, metrics=("delta_e_itp",))
        outcome = sihdr.run(given, sihdr.Options())
        assert list(outcome.scores) == [*PU21, "delta_e_itp"]
        assert {"fewer than four distinct values" in v.why for v in outcome.scores.values()} == {True}
        assert "fewer than four" in outcome.facts["unavailable"]
        assert outcome.test is given.test
        assert isinstance(raw.run(given, raw.Options()).scores["delta_e_itp"], float)

    def test_the_lines_to_cite(self):
        end = "clamp 0.005..10000, PU21 banding_glare, PSNR peak 256, SSIM matlab L 256, 30 ppd"
        assert raw.run(pair("12"), raw.Options()).protocol == f"hdrcli {__version__} raw: not aligned, {end}"
        assert sihdr.run(pair("12"), sihdr.Options()).protocol == (
            f"hdrcli {__version__} sihdr: CRF-corrected (cubic luminance in PQ, 8-term chromaticity, ridge 0.01), {end}"
        )


class TestExpandnetOptions:
    def test_the_reference_may_stay(self):
        outcome = expandnet.run(pair("12"), expandnet.Options(mapped="test", hdrvdp=False))
        assert outcome.reference is pictures("12")[1]
        both = expandnet.run(pair("12"), expandnet.Options(hdrvdp=False))
        np.testing.assert_array_equal(outcome.test, both.test)

    def test_percentiles_of_luminance(self):
        test, _ = pictures("07")
        outcome = expandnet.run(pair("07"), expandnet.Options(samples="luminance", hdrvdp=False))
        y = test @ [0.212656, 0.715158, 0.072186]
        np.testing.assert_allclose(outcome.facts["test_percentiles"], np.percentile(y, (0.1, 99.9)), rtol=1e-12)

    @pytest.mark.parametrize("change", [{"mapped": "test"}, {"samples": "luminance"}, {"percentiles": "hazen"}])
    def test_the_line_tells(self, change):
        usual, other = (expandnet.run(pair("12"), replace(QUICK["expandnet"], **c)).protocol for c in ({}, change))
        assert usual != other

    def test_constant_pictures_say_so_in_every_column(self):
        outcome = expandnet.run(Pair(flat(4), scene(24, 30, 1), 1.0), QUICK["expandnet"])
        assert len(outcome.scores) == 6
        assert {"constant image" in v.why for v in outcome.scores.values()} == {True}


class TestValues:
    def test_unavailable_becomes_its_reason(self):
        def refuse():
            raise Unavailable("no such luck", remedy="try again")

        assert value(refuse) == Missing("no such luck (try again)")

    def test_other_errors_pass(self):
        with pytest.raises(ZeroDivisionError):
            value(lambda: 1 / 0)

    def test_nan_is_no_number(self):
        assert "NaN" in value(lambda: math.nan).why
        assert value(lambda: math.inf) == math.inf

    def test_scores_are_found_in_every_metric(self):
        found = known_scores()
        assert {*PU21, "pu2_psnr_lum", "pu2_ssim_lum_wang", "delta_e_itp"} <= set(found)
        assert all(isinstance(score, Score) and score.name == name for name, score in found.items())

    def test_a_score_s_reason_and_viewing_go_through(self, monkeypatch):
        seen = []

        def compute(test, reference, viewing):
            seen.append(viewing)
            raise Unavailable("needs a package")

        score = Score("mine", "Mine", "", "higher", "nowhere", compute)
        monkeypatch.setattr(_scores, "known_scores", lambda: {"mine": score})
        viewing = Viewing(ppd=17.0)
        assert compute_scores(("mine", "mine"), *pictures("12"), viewing) == {"mine": Missing("needs a package")}
        assert seen == [viewing]

    def test_two_scores_of_one_name_are_a_fault(self, monkeypatch):
        monkeypatch.setattr(registry, "names", lambda package: ("psnr", "ssim"))
        score = Score("mine", "Mine", "", "higher", "nowhere", lambda *arguments: 0.0)
        monkeypatch.setattr(registry, "load", lambda package, name: type("Module", (), {"SCORES": (score,)}))
        with pytest.raises(ValueError, match="mine"):
            known_scores.__wrapped__()

    def test_lines_leave_out_what_is_empty(self):
        assert line("x", "a", "", "b") == f"hdrcli {__version__} x: a, b"
        assert [number(x) for x in (30.0, 46.7, 0.005, 4000)] == ["30", "46.7", "0.005", "4000"]

    def test_tolerances_are_the_specification_s(self):
        assert (tolerance("pu21_psnr_rgb"), tolerance("ssim_wang"), tolerance("hdrvdp22_Q")) == (1e-6, 1e-8, 1e-6)
