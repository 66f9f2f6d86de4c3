"""The score tool: its definitions, on photos small enough to reckon by hand."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import smooth_scene

from hdrcli.camera import Camera, srgb_response
from hdrcli.color import Transfer, decoding_table, encode
from hdrcli.image import Image
from hdrcli.training.datasets import Scene


def load():
    """The script as a module; it lies outside any package."""
    spec = importlib.util.spec_from_file_location("score", Path(__file__).parent / "score.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


score = load()


def photo(truth):
    codes = np.rint(np.clip(encode(truth, Transfer.SRGB), 0, 1) * 255).astype(np.uint8)
    return score.Photo("scene", Camera(srgb_response()), codes, truth)


def linear(taken):
    return decoding_table(Transfer.SRGB, 256)[taken.codes]


@pytest.fixture
def flat():
    """Grey 0.3, the upper quarter eight times as bright as white."""
    truth = np.full((40, 40, 3), 0.3, np.float32)
    truth[:10] = 8.0
    return photo(truth)


def test_the_truth_scores_best_whatever_its_exposure(flat):
    for factor in (1.0, 0.1):
        values = score.measure(flat.truth * np.float32(factor), flat)
        assert values["clipped_log2_rmse"] < 1e-4
        assert values["unclipped_log2_rmse"] < 1e-4
        assert values["pu21_psnr_rgb"] > 80


def test_errors_are_in_stops_by_region(flat):
    values = score.measure(linear(flat), flat)
    assert values["clipped_log2_rmse"] == pytest.approx(3, abs=0.01)
    assert values["unclipped_log2_rmse"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(("code", "region"), [(248, "clipped_log2_rmse"), (229, "unclipped_log2_rmse"), (240, None)])
def test_clipped_is_from_097_unclipped_below_090(flat, code, region):
    """247.35 and 229.5 of 255; what lies between counts to neither."""
    codes = np.full((40, 40, 3), 100, np.uint8)
    codes[:5] = code
    truth = decoding_table(Transfer.SRGB, 256)[codes]
    prediction = truth.copy()
    prediction[:5] *= 4
    values = score.measure(prediction, score.Photo("s", flat.camera, codes, truth))
    assert [name for name, v in values.items() if v > 0.1 and name.endswith("rmse")] == ([region] if region else [])


def test_regions_under_50_samples_are_skipped_and_counted(flat):
    dark = photo(np.full((40, 40, 3), 0.3, np.float32))
    values = score.measure(linear(dark), dark)
    assert math.isnan(values["clipped_log2_rmse"])
    row = score.summarise([score.measure(linear(dark), dark), score.measure(linear(flat), flat)], ["a", "b"])
    assert row["n"]["clipped_log2_rmse"] == 1
    assert row["n"]["unclipped_log2_rmse"] == 2


def test_a_constant_gain_goes_through_the_blend_of_promise_1(flat):
    out = score.constant_gain(5.0)(Image(flat.codes, Transfer.SRGB))
    np.testing.assert_allclose(out[:10], 5.0)
    np.testing.assert_array_equal(out[10:], decoding_table(Transfer.SRGB, 256)[flat.codes[10:]])


def test_intervals_come_from_scenes_not_from_photos():
    values = [dict.fromkeys(score.METRICS, v) for v in (1.0, 1.0, 3.0, 3.0)]
    row = score.summarise(values, ["a", "a", "b", "b"])
    assert row["pu21_psnr_rgb"] == 2.0
    assert row["ci"]["pu21_psnr_rgb"] == [1.0, 3.0]


def test_photos_depend_on_scene_and_number_alone(monkeypatch):
    monkeypatch.setattr(score, "SIZE", 48)
    scenes = tuple(Scene(name, smooth_scene(64, 128, seed), True) for seed, name in enumerate("ab"))
    both = list(score.photos(scenes, views=2))
    alone = list(score.photos(scenes[1:], views=2))
    assert [p.codes.tobytes() for p in both[2:]] == [p.codes.tobytes() for p in alone]
    for taken in both:
        assert 0.01 <= (taken.codes.max(axis=2) >= 0.97 * 255).mean() <= 0.20
        assert taken.truth.max() <= 256
