"""Encodings that metrics and protocols share, against values of the standards' formulas and of the papers' code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from reference_scenes import PROTOCOL_PAIRS, protocol_pair, reference_values

from hdrcli.errors import Unavailable
from hdrcli.metrics._encodings import (
    BT709_TO_BT2020,
    ictcp,
    light,
    luminance709,
    mu_law,
    percentile,
    pq_decode,
    pq_encode,
    pq_short_decode,
    pq_short_encode,
    reference_peak,
    refmax_mu_law,
    tanh_mu_law,
)
from hdrcli.metrics.pu2 import pu2_encode
from hdrcli.metrics.pu21 import pu21_encode

CHECKS = reference_values("protocols")["checks"]
PIXEL = CHECKS["pair12_pixel_row20_col30"]
ENCODINGS = {
    "pu21_banding_glare_L_V": pu21_encode,
    "pu2_L_V": pu2_encode,
    "pq_L_V": pq_encode,
    "pq_short_constants_L_V": pq_short_encode,
    "mu_x_T": mu_law,
}
NITS = st.floats(1e-4, 1e4)


@pytest.mark.parametrize("name", ENCODINGS)
def test_known_values(name):
    for value, code in CHECKS[name]:
        assert float(ENCODINGS[name](np.array(value))) == pytest.approx(code, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings_take_integers_and_give_float64(name):
    assert ENCODINGS[name](np.array([[1, 1]])).dtype == np.float64
    assert ENCODINGS[name](np.ones((2, 3), np.float16)).shape == (2, 3)


@pytest.mark.parametrize(("nits", "expected"), CHECKS["ictcp_bt2020_nits_I_Ct_Cp"])
def test_ictcp_of_known_colours(nits, expected):
    np.testing.assert_allclose(ictcp(np.array(nits)), expected, atol=1e-13)


def test_grey_has_no_colour_in_ictcp():
    grey = np.geomspace(0.01, 10000, 50)[:, None] * np.ones(3)
    np.testing.assert_allclose(ictcp(grey)[:, 1:], 0, atol=1e-14)
    np.testing.assert_allclose(ictcp(grey)[:, 0], pq_encode(grey[:, 0]), atol=1e-14)


def test_a_pixel_through_all_stages():
    reference, test = (picture[20, 30] for picture in protocol_pair("12_rgb_wide"))
    np.testing.assert_allclose(reference, PIXEL["ref_rgb"], rtol=1e-13)
    np.testing.assert_allclose(pq_encode(BT709_TO_BT2020 @ reference), PIXEL["ref_pq2020"], rtol=1e-13)
    np.testing.assert_allclose(pq_encode(BT709_TO_BT2020 @ test), PIXEL["test_pq2020"], rtol=1e-13)
    ntire = tanh_mu_law(protocol_pair("12_rgb_wide")[0])
    np.testing.assert_allclose(ntire(reference), PIXEL["ntire_mu_tanh_ref"], rtol=1e-13)
    assert float(luminance709(reference)) == pytest.approx(PIXEL["crf_Y_u_v_ref"][0], rel=1e-13)
    assert float(pq_short_encode(luminance709(reference))) == pytest.approx(PIXEL["crf_short_pq_of_Y"], rel=1e-13)


@given(NITS)
def test_pq_round_trip(nits):
    assert float(pq_decode(pq_encode(np.array(nits)))) == pytest.approx(nits, rel=1e-10)
    assert float(pq_short_decode(pq_short_encode(np.array(nits)))) == pytest.approx(nits, rel=1e-10)


@given(NITS, NITS)
def test_encodings_rise(a, b):
    low, high = sorted((a, b))
    for encode in ENCODINGS.values():
        assert encode(np.array(low)) <= encode(np.array(high))


def test_both_kinds_of_pq_differ():
    assert float(pq_encode(np.array(100.0))) == pytest.approx(0.508078, abs=5e-7)
    assert float(pq_short_encode(np.array(100.0))) == pytest.approx(0.508004, abs=5e-7)


def test_short_pq_ends_at_its_pole():
    codes = pq_short_decode(np.array([0.0, 1e-8, 1.0, 1.99, 2.0, 50.0]))
    assert (codes[:2] == 0).all()
    assert codes[2] == pytest.approx(1e4, rel=1e-9)
    assert 1e8 < codes[3] < np.inf
    assert (codes[4:] == np.inf).all()


def test_black_and_what_is_darker():
    np.testing.assert_array_equal(pq_encode(np.array([-1.0, 0.0])), pq_encode(np.zeros(2)))
    np.testing.assert_array_equal(light(np.array([-1, 2], np.float32)), [0, 2])


def test_luminance_of_white_and_the_weights():
    assert float(luminance709(np.ones(3))) == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(luminance709(np.eye(3)), [0.212656, 0.715158, 0.072186])
    assert luminance709(np.ones((4, 5, 3), np.float32)).shape == (4, 5)


def test_white_stays_white_in_bt2020():
    np.testing.assert_allclose(BT709_TO_BT2020.sum(axis=1), 1, atol=1e-12)


@given(
    arrays.arrays(st.sampled_from([np.float32, np.float64]), st.integers(1, 40), elements=st.floats(-1000, 1000, width=32)),
    st.floats(0, 100),
)
def test_percentiles_are_those_of_numpy(samples, q):
    assert percentile(samples, q) == pytest.approx(np.percentile(samples.astype(np.float64), q), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_percentiles_of_the_reference_pairs(name):
    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]
    for picture, values in zip((reference, test), (expected["expandnet"]["percentiles_0.1_99.9"][k] for k in ("ref", "test"))):
        assert [percentile(picture, q) for q in (0.1, 99.9)] == pytest.approx(values, rel=1e-12)
    assert percentile(light(reference), 99) == pytest.approx(expected["ntire21"]["p99_ref"], rel=1e-12)


def test_percentiles_leave_the_picture_alone():
    samples = np.array([3.0, 1.0, 2.0])
    assert percentile(samples, 50) == 2
    np.testing.assert_array_equal(samples, [3, 1, 2])


def test_scaling_by_the_reference():
    reference = np.array([0.0, 2.0, 4.0])
    np.testing.assert_allclose(refmax_mu_law(reference)(np.array([-1.0, 2.0, 9.0])), [0, mu_law(np.array(0.5)), 1])
    np.testing.assert_allclose(tanh_mu_law(reference)(np.array([-1.0, 1e9])), [0, 1])
    assert reference_peak(reference) == 4


@pytest.mark.parametrize("scaling", [refmax_mu_law, tanh_mu_law, reference_peak])
def test_black_gives_no_scale(scaling):
    with pytest.raises(Unavailable, match="scale by"):
        scaling(np.zeros((4, 4, 3)))
