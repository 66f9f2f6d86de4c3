"""Mertens, Kautz, Van Reeth 2007: blending against OpenCV's, and what virtual brackets are."""

import cv2
import numpy as np
import pytest
from local_operators import LocalOperator, codes, grey, landscape, shown

from hdrcli.color import Transfer, encode, luminance
from hdrcli.tonemapping import Scene, fusion


class TestAnyPicture(LocalOperator):
    module = fusion
    differs = (3.0, 18.0)
    border = 30.0
    halo = 0.3
    refused = {"spacing": 0.0, "white": 60.0, "contrast": -1.0, "colour": 11.0, "normalise": "", "detail": -1.0}  # noqa: RUF012


def brackets(light, stops=(-4, -2, 0, 2)):
    return [encode(np.minimum(light * np.float32(2.0**ev), 1), Transfer.SRGB) for ev in stops]


@pytest.mark.parametrize("exponents", [(1, 1, 0), (1, 1, 1), (0, 0, 1), (1, 0.5, 2)])
@pytest.mark.parametrize("shape", [(64, 97), (131, 160)])
def test_blends_as_opencv_does(exponents, shape):
    """OpenCV divides floats by 255 as if they were bytes."""
    stack = brackets(landscape(*shape))
    ours = fusion.blended(lambda i: stack[i], len(stack), *exponents, least=0.0)
    theirs = cv2.createMergeMertens(*exponents).process([codes * 255 for codes in stack])
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    floor = fusion.blended(lambda i: stack[i], len(stack), *exponents)
    assert np.abs(floor - theirs).mean() < 1 / 255


def test_the_operator_is_opencvs_fusion_of_its_brackets():
    light = landscape()
    factors = fusion.exposures(Scene.whole(light), fusion.Parameters())
    stack = [encode(np.minimum(light * np.float32(factor), 1), Transfer.SRGB) for factor in factors]
    theirs = np.clip(cv2.createMergeMertens(1, 1, 1).process([codes * 255 for codes in stack]), 0, 1)
    assert np.abs(codes(shown(fusion, light)) - 255 * theirs).mean() < 0.5


def test_brackets_reach_from_the_highlights_to_the_shadows():
    light = landscape()
    factors = np.log2(fusion.exposures(Scene.whole(light), fusion.Parameters(spacing=1.5, white=1.0, black=1.0)))
    low, high = np.percentile(luminance(light), (1, 99))
    assert np.exp2(factors[0]) * high == pytest.approx(0.5, rel=0.02)
    assert np.exp2(factors[-1]) * low == pytest.approx(0.18, rel=0.02)
    steps = np.diff(factors)
    np.testing.assert_allclose(steps, steps[0])
    assert 0.7 < steps[0] <= 1.5


def test_there_are_never_many_brackets():
    y = np.geomspace(1e-12, 1e12, 4096).reshape(64, 64)
    assert len(fusion.exposures(Scene.whole(grey(y)), fusion.Parameters(spacing=0.25))) == 9


def test_a_flat_picture_is_one_bracket():
    light = np.full((32, 32, 3), 5.0, np.float32)
    assert fusion.exposures(Scene.whole(light), fusion.Parameters()) == pytest.approx([0.3 / 5])
    np.testing.assert_allclose(shown(fusion, light), 0.3, rtol=1e-3)


def test_noise_alone_does_not_choose_a_bracket():
    """In a sky without texture rounding would decide between brackets."""
    rng = np.random.default_rng(0)
    light = grey(np.exp(rng.normal(0, 1e-6, (64, 64))))
    light[:, 32:] *= 40
    out = codes(shown(fusion, light))
    assert np.ptp(out[:, :8]) < 2
    assert np.ptp(out[:, -8:]) < 2
