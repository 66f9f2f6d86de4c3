from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scenes import light, photo, save_codes, save_light
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hdrcli.color import Primaries, Transfer, converted, decode
from hdrcli.errors import MismatchError
from hdrcli.evaluation import engine, tonemapped
from hdrcli.evaluation.pairs import Source, match
from hdrcli.evaluation.protocols import Missing
from hdrcli.evaluation.results import Evaluation, Settings
from hdrcli.image import Image
from hdrcli.metrics.tmqi import tmqi

BIG = (176, 180)


def run(prediction: Path, reference: Path) -> Evaluation:
    matching = match([Source("m", prediction)], reference, kind="ldr")
    return engine.evaluate(engine.Request(matching, Settings(task="tonemap")))


def noisy(codes: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(-9, 10, codes.shape)
    return np.clip(codes.astype(int) + noise, 0, 255).astype(np.uint8)


def test_ldr_against_ldr_is_skimage(tmp_path: Path) -> None:
    truth = photo(light(0))
    test = noisy(truth)
    found = run(save_codes(tmp_path / "a.png", test), save_codes(tmp_path / "b.png", truth))
    (row,) = found.scores
    assert row.protocol == "codes"
    assert row.scores["psnr_codes"] == pytest.approx(peak_signal_noise_ratio(truth, test, data_range=255), rel=1e-6)
    ssim = structural_similarity(
        truth, test, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert row.scores["ssim_codes_wang"] == pytest.approx(ssim, rel=1e-5)
    assert [p.name for p in found.protocols] == ["codes"]
    assert "PSNR peak 255" in found.protocols[0].line


def test_ldr_against_hdr_is_tmqi(tmp_path: Path) -> None:
    scene = light(0, BIG)
    codes = photo(scene / 4)
    found = run(save_codes(tmp_path / "a.png", codes), save_light(tmp_path / "b.exr", scene))
    (row,) = found.scores
    expected = tmqi(scene, codes.astype(np.float64))
    assert row.protocol == "tmqi"
    assert row.scores["tmqi"] == pytest.approx(expected.q, rel=1e-6)
    assert row.scores["tmqi_s"] == pytest.approx(expected.s, rel=1e-6)
    assert row.scores["tmqi_n"] == pytest.approx(expected.n, rel=1e-6)


def test_references_of_both_kinds(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_codes(tmp_path / f"mine/{name}.png", photo(light(0, BIG)))
    save_codes(tmp_path / "truth/a.png", photo(light(0, BIG)))
    save_light(tmp_path / "truth/b.exr", light(0, BIG))
    found = run(tmp_path / "mine", tmp_path / "truth")
    assert {(r.protocol, r.image) for r in found.scores} == {("codes", "a"), ("tmqi", "b")}
    (a,) = [a for a in found.aggregates if a.score == "psnr_codes"]
    assert (a.n, a.infinite, a.missing) == (0, 1, {"not scored by this protocol": 1})


def test_small_pictures_have_no_tmqi(tmp_path: Path) -> None:
    found = run(save_codes(tmp_path / "a.png", photo(light(0))), save_light(tmp_path / "b.exr", light(0)))
    assert found.entries[0].error == "smaller than 161 x 161"
    assert isinstance(found.scores[0].scores["tmqi"], Missing)


def test_hdr_predictions_are_refused(tmp_path: Path) -> None:
    found = run(save_light(tmp_path / "a.exr", light(0)), save_codes(tmp_path / "b.png", photo(light(0))))
    assert "a.exr: is HDR, LDR is expected here" in found.entries[0].error
    with pytest.raises(MismatchError, match="is HDR"):
        tonemapped.codes_of(Image(photo(light(0)), Transfer.PQ))


def test_codes_of_srgb_are_as_stored_and_others_converted() -> None:
    codes = photo(light(0))
    np.testing.assert_allclose(tonemapped.codes_of(Image(codes, Transfer.SRGB)), codes, rtol=1e-6)
    deep = np.random.default_rng(0).integers(0, 65536, (9, 9, 3), np.uint16)
    np.testing.assert_allclose(tonemapped.codes_of(Image(deep, Transfer.SRGB)), deep / 257, rtol=1e-6, atol=1e-5)
    wide = tonemapped.codes_of(Image(codes, Transfer.SRGB, Primaries.DISPLAY_P3))
    linear = converted(decode(codes / 255, Transfer.SRGB), Primaries.DISPLAY_P3, Primaries.BT709)
    inside = (linear > 0.001).all(2) & (linear < 1).all(2)
    assert inside.any()
    np.testing.assert_allclose(decode(wide[inside] / 255, Transfer.SRGB), linear[inside], rtol=1e-3)


def test_identical(tmp_path: Path) -> None:
    path = save_codes(tmp_path / "a.png", photo(light(0)))
    (row,) = run(path, path).scores
    assert (row.scores["psnr_codes"], row.scores["ssim_codes_wang"]) == (math.inf, pytest.approx(1))
