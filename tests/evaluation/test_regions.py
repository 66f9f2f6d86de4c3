from __future__ import annotations

import numpy as np
import pytest
from scenes import light, photo

from hdrcli.color import Transfer, decode
from hdrcli.evaluation import regions
from hdrcli.evaluation.protocols import Missing
from hdrcli.metrics.pu21 import pu21_encode


def test_parts_by_codes() -> None:
    codes = np.array(
        [[[0, 0, 0], [25, 25, 25], [26, 0, 0], [100, 100, 100], [247, 0, 0], [0, 248, 0], [255, 255, 255]]], np.uint8
    )
    masks = regions.from_codes(codes)
    shadow, clipped = codes.max(2) / 255 < 0.1, codes.max(2) / 255 >= 0.97
    np.testing.assert_array_equal(masks["shadow"], shadow)
    np.testing.assert_array_equal(masks["clipped"], clipped)
    assert masks["shadow"].tolist() == [[True, True, False, False, False, False, False]]
    assert masks["clipped"].tolist() == [[False, False, False, False, False, True, True]]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_pixel_is_in_one_part(kind: type) -> None:
    largest = np.iinfo(kind).max
    codes = np.random.default_rng(0).integers(0, largest, (40, 50, 3), kind, endpoint=True)
    for masks in (regions.from_codes(codes), regions.from_reference(codes / largest, 0.9)):
        assert set(masks) == {"clipped", "mid", "shadow"}
        np.testing.assert_array_equal(sum(m.astype(int) for m in masks.values()), 1)


def test_photo_and_reference_agree() -> None:
    """What a photo of sRGB clips and loses in the dark is what its scene says, but for codes that are rounded."""
    scene = light(0, (64, 400)) * 100
    by_codes, by_light = regions.from_codes(photo(scene / 100)), regions.from_reference(scene, 100)
    assert pytest.approx(0.01, abs=1e-4) == regions.SHADOW_LIGHT == decode(np.array(0.1), Transfer.SRGB)
    for name in ("clipped", "mid", "shadow"):
        assert by_codes[name].mean() == pytest.approx(by_light[name].mean(), abs=0.02)
        assert by_codes[name].any()


def test_scores_of_a_part_by_hand() -> None:
    reference = light(0).astype(np.float64) * 100
    test = reference * 2 ** np.random.default_rng(1).normal(0, 0.3, reference.shape)
    mask = regions.from_reference(reference, 100)["clipped"]
    found = regions.scores(test, reference, mask)
    a, b = test[mask], reference[mask]
    stops = np.log2(a / 100 + 2.0**-10) - np.log2(b / 100 + 2.0**-10)
    assert found["log2_rmse"] == pytest.approx(np.sqrt(np.mean(stops**2)), rel=1e-9)
    error = np.mean((pu21_encode(a) - pu21_encode(b)) ** 2)
    assert found["pu21_psnr_rgb"] == pytest.approx(10 * np.log10(256**2 / error), rel=1e-9)


def test_parts_of_few_pixels_have_no_scores() -> None:
    reference = light(0)
    mask = np.zeros(reference.shape[:2], bool)
    assert regions.scores(reference, reference, mask)["log2_rmse"] == Missing("no pixel of this kind")
    mask[0, :15] = True
    assert regions.scores(reference, reference, mask)["pu21_psnr_rgb"] == Missing("15 pixels of this kind, fewer than 16")
    mask[0, :16] = True
    assert regions.scores(reference, reference, mask)["log2_rmse"] == 0
