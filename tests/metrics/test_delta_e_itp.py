"""Delta E ITP against BT.2124 written out, and the values of HDRTVNet's code."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_scenes import PROTOCOL_PAIRS, protocol_pair, reference_values

from hdrcli.errors import MismatchError
from hdrcli.metrics import Viewing
from hdrcli.metrics._encodings import BT709_TO_BT2020, pq_encode
from hdrcli.metrics.delta_e_itp import SCORES, delta_e_itp, delta_e_itp_map, from_codes, from_codes_map


def codes_16_bit(nits_709):
    code = pq_encode(np.clip(nits_709 @ BT709_TO_BT2020.T, 0, 1e4))
    return np.round(code * 65535) / 65535


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_hdrtvnets_code_agrees(name):
    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]["hdrtv"]
    codes = codes_16_bit(test), codes_16_bit(reference)
    assert from_codes(*codes) == pytest.approx(expected["delta_e_itp"], abs=1e-8)
    assert from_codes_map(*codes).max() == pytest.approx(expected["delta_e_itp_max"], abs=1e-8)
    assert from_codes_map(*codes).mean() == pytest.approx(expected["delta_e_itp"], abs=1e-8)
    assert delta_e_itp(test, reference) == pytest.approx(expected["delta_e_itp_unquantised"], abs=1e-8)
    assert delta_e_itp_map(test, reference).mean() == pytest.approx(expected["delta_e_itp_unquantised"], abs=1e-8)


def test_a_pair_of_known_colours():
    """From ICtCp of two colours that reference values are known for."""
    (first, itp), (second, other) = reference_values("protocols")["checks"]["ictcp_bt2020_nits_I_Ct_Cp"][1::2]
    di, dt, dp = (a - b for a, b in zip(itp, other))
    expected = 720 * math.sqrt(di**2 + 0.25 * dt**2 + dp**2)
    codes = (pq_encode(np.array([[c]], np.float64)) for c in (first, second))
    assert from_codes(*codes) == pytest.approx(expected, abs=1e-8)


def test_greys_differ_by_their_pq_codes():
    test, reference = np.full((2, 3, 3), 150.0), np.full((2, 3, 3), 100.0)
    expected = 720 * float(pq_encode(np.array(150.0)) - pq_encode(np.array(100.0)))
    # BT.2087's rows sum to 1 in four digits, so grey stays grey
    assert delta_e_itp(test, reference) == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_it_is_a_distance(seed):
    rng = np.random.default_rng(seed)
    a, b, c = 10 ** rng.uniform(-3, 4, (3, 4, 5, 3))
    assert delta_e_itp(a, a) == 0
    assert delta_e_itp(a, b) == pytest.approx(delta_e_itp(b, a), abs=1e-12)
    assert (delta_e_itp_map(a, c) <= delta_e_itp_map(a, b) + delta_e_itp_map(b, c) + 1e-9).all()


def test_light_beyond_pq_is_clamped():
    beyond, end = np.full((2, 2, 3), 1e6), np.full((2, 2, 3), 1e4)
    assert delta_e_itp(beyond, end) == pytest.approx(0, abs=1e-9)
    assert delta_e_itp(-end, 0 * end) == 0


def test_strips_are_the_whole_and_float32_is_close():
    rng = np.random.default_rng(0)
    test, reference = rng.random((2, 400, 300, 3)) * 1000
    value = delta_e_itp(test, reference)
    assert value == pytest.approx(delta_e_itp_map(test, reference).mean(), abs=1e-9)
    assert delta_e_itp(test.astype(np.float32), reference.astype(np.float32)) == pytest.approx(value, abs=1e-3)


def test_other_shapes_are_named():
    for measure in (delta_e_itp, delta_e_itp_map, from_codes, from_codes_map):
        with pytest.raises(MismatchError, match="differ"):
            measure(np.ones((4, 4, 3)), np.ones((4, 1, 3)))


def test_score():
    reference, test = protocol_pair("12_rgb_wide")
    (score,) = SCORES
    assert (score.name, score.better) == ("delta_e_itp", "lower")
    assert score.compute(test, reference, Viewing()) == delta_e_itp(test, reference)
