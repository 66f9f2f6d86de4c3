"""The pictures that reference values belong to are those that the values were computed on."""

import pytest
from reference_scenes import PROTOCOL_PAIRS, TMQI_PAIRS, protocol_pair, reference_values, tmqi_pair


@pytest.mark.parametrize("name", PROTOCOL_PAIRS)
def test_protocol_pairs(name):
    reference, test = protocol_pair(name)
    expected = reference_values("protocols")["pairs"][name]
    assert reference.sum() == pytest.approx(expected["ref_sum"], rel=1e-12)
    assert test.sum() == pytest.approx(expected["test_sum"], rel=1e-12)


@pytest.mark.parametrize("name", TMQI_PAIRS)
def test_tmqi_pairs(name):
    hdr, ldr = tmqi_pair(name)
    expected = reference_values("tmqi")["pairs"][name]
    assert hdr.shape == ldr.shape == tuple(expected["shape"])
    assert hdr.sum() == pytest.approx(expected["hdr_sum"], rel=1e-12)
    assert ldr.sum() == expected["ldr_sum"]
