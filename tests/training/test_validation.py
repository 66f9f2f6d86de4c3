"""Scores while training."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from fakes import FakeGenerator, smooth_scene
from tiny_training import objective, short_loop

from hdrcli import formats
from hdrcli.camera import Camera, srgb_response
from hdrcli.color import Transfer, decoding_table
from hdrcli.errors import DataError
from hdrcli.image import Image
from hdrcli.inference import torch_backend
from hdrcli.training import checkpoint, loop, validation
from hdrcli.training.cache import Scene


def shot(scene, exposure=1.0):
    """A photo without noise and JPEG."""
    return Camera(srgb_response(), exposure).shoot(scene, np.random.default_rng(0))


@pytest.fixture
def pairs(tmp_path):
    """Two pairs whose HDR files have a scale of their own, an LDR file without partner, and a pair of two sizes."""
    for name in ("ldr", "hdr"):
        (tmp_path / name).mkdir()
    for number, name in enumerate(("a", "b", "odd")):
        scene = smooth_scene(96, 128, number)
        codes = shot(scene)
        if name == "odd":
            codes = codes[:50]
        cv2.imwrite(str(tmp_path / "ldr" / f"{name}.png"), codes[..., ::-1])
        formats.write(Image(scene * np.float32(37), Transfer.LINEAR), tmp_path / "hdr" / f"{name}.exr")
    cv2.imwrite(str(tmp_path / "ldr" / "alone.png"), shot(smooth_scene(40, 40))[..., ::-1])
    return tmp_path


def test_pairs_are_found_by_name_and_brought_to_one_scale(pairs):
    lines = []
    found = validation.find(pairs, lines.append)
    assert [p.name for p in found.pairs] == ["a", "b"]
    assert found.note.startswith("2 pairs of")
    assert any("1 files have no partner" in line for line in lines)
    assert any("odd: 128 x 50 and 128 x 96 pixels" in line for line in lines)
    for number, pair in enumerate(found.pairs):
        np.testing.assert_allclose(pair.truth, np.minimum(smooth_scene(96, 128, number), 256), rtol=0.02, atol=2e-3)


def test_the_truth_scores_best_and_linear_as_calculated(pairs):
    found = validation.find(pairs)
    for pair in found.pairs:
        perfect = validation.score(pair.truth, pair)
        assert perfect["clipped_log2_rmse"] == pytest.approx(0, abs=1e-5)
        again = validation.score(pair.truth * np.float32(5), pair)  # exposure is brought into line
        assert again["clipped_log2_rmse"] == pytest.approx(0, abs=1e-3)
    linear = [decoding_table(Transfer.SRGB, 256)[p.codes] for p in found.pairs]
    expected = []
    for light, pair in zip(linear, found.pairs):
        clipped = pair.codes >= 0.97 * 255
        error = np.log2(light[clipped] + 2.0**-10) - np.log2(pair.truth[clipped] + 2.0**-10)
        expected.append(np.sqrt(np.mean(error**2)))
    assert found.linear["clipped_log2_rmse"] == pytest.approx(np.mean(expected), rel=0.02)


def test_hdr_scenes_are_photographed_the_same_way_each_time(hdr_folder):
    first, again = validation.find(hdr_folder), validation.find(hdr_folder)
    assert "2 virtual photos of 1 scenes" in first.note
    for a, b in zip(first.pairs, again.pairs, strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
        assert a.codes.shape == (256, 256, 3)
        assert 0.01 <= (a.codes.max(axis=2) >= 0.97 * 255).mean() <= 0.2


def test_no_more_than_32_photos_are_taken():
    scenes = [Scene(str(i), smooth_scene(32, 64, i), True) for i in range(40)]
    assert 16 <= len(validation.photographs(scenes)) <= 32


def test_a_generator_that_knows_lamps_beats_linear(pairs):
    found = validation.find(pairs)
    bright = validation.scores(FakeGenerator(lambda ldr, clip: np.where(clip > 0, 4.0, ldr**2.2)), found)
    assert bright["clipped_log2_rmse"] < found.linear["clipped_log2_rmse"]
    assert {"all_clipped_log2_rmse", "unclipped_log2_rmse", "pu21_psnr_rgb"} <= set(bright)


def test_nothing_to_score_is_an_error(tmp_path):
    (tmp_path / "ldr").mkdir()
    (tmp_path / "hdr").mkdir()
    with pytest.raises(DataError):
        validation.find(tmp_path)


def test_a_run_is_scored_while_it_trains_and_not_changed_by_it(tmp_path, hdr_folder):
    import torch

    scenes = (Scene("a", smooth_scene(64, 128), True),)
    found = validation.find(hdr_folder)
    lines = []
    config = short_loop(3, report_minutes=0.0)
    scored = loop.train(objective(), scenes, config, tmp_path / "a", validation=found, report=lines.append)
    plain = loop.train(objective(), scenes, config, tmp_path / "b")
    for name, value in plain["networks"].items():
        assert torch.equal(value, scored["networks"][name])
    log = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = [e for e in log if e["event"] == "scores"]
    assert [e["step"] for e in scores] == [1, 2, 3]
    assert scores[0]["scores"]["clipped_log2_rmse"] > 0
    assert scores[0]["linear"] == found.linear
    assert lines[0].startswith("val at step 1: clipped log2-RMSE ")


def test_the_generators_that_scored_best_are_kept(tmp_path, hdr_folder, monkeypatch):
    """Of scores 0.9, 0.5, 0.7, 0.6 those of step 2, as they were then; a resumed run knows what there was to beat."""
    import torch

    scenes = (Scene("a", smooth_scene(64, 128), True),)
    found = validation.find(hdr_folder)
    values = iter([0.9, 0.5, 0.7, 0.6, 0.55, 0.55])
    monkeypatch.setattr(loop, "scores", lambda generator, chosen: {"clipped_log2_rmse": next(values)})
    run = tmp_path / "run"
    loop.train(objective(), scenes, short_loop(3, report_minutes=0.0), run, validation=found)
    best = checkpoint.load_run(run / loop.BEST)
    assert (best["step"], best["score"]) == (2, 0.5)
    last = checkpoint.load_run(run)["ema"]
    assert any(not torch.equal(value, last[name]) for name, value in best["ema"].items())
    assert torch_backend.load(run / loop.BEST, "cpu").spec.inputs == ("ldr", "clip")
    loop.train(objective(), scenes, short_loop(4, report_minutes=0.0), run, validation=found, resume=True)
    assert checkpoint.load_run(run / loop.BEST)["step"] == 2


def test_scores_on_other_photos_are_not_compared(tmp_path, hdr_folder, monkeypatch):
    """Without --val in between what there is to beat is kept; with another one the best starts anew, which is said."""
    scenes = (Scene("a", smooth_scene(64, 128), True),)
    found = validation.find(hdr_folder)
    other = replace(found, pairs=found.pairs[:1])
    again = replace(found, pairs=tuple(replace(pair) for pair in found.pairs), note="moved")
    assert found.digest == again.digest != other.digest
    values = iter([0.5, 0.6, 0.9, 0.8])
    monkeypatch.setattr(loop, "scores", lambda generator, chosen: {"clipped_log2_rmse": next(values)})
    lines = []

    def train(steps, chosen):
        lines.clear()
        config = short_loop(steps, log_steps=100)
        return loop.train(objective(), scenes, config, tmp_path, validation=chosen, resume=True, report=lines.append)

    assert train(1, found)["best"] == 0.5
    assert train(2, None)["best"] == 0.5
    assert train(3, again)["best"] == 0.5
    assert checkpoint.load_run(tmp_path / loop.BEST)["step"] == 1
    assert not any("--val" in line for line in lines)
    assert train(4, other)["best"] == 0.9
    assert "--val is another than before: its scores are not compared, and best starts anew" in lines
    best = checkpoint.load_run(tmp_path / loop.BEST)
    assert (best["step"], best["score"], best["score_on"]) == (4, 0.9, other.digest)
    assert train(5, other)["best"] == 0.8
    assert not any("--val" in line for line in lines)
    record = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert record["validation"] == {"note": found.note, "digest": found.digest}
    assert [run.get("validation", {}).get("note") for run in record["resumed"]] == [None, "moved", other.note, other.note]


def test_the_best_is_in_pieces_where_checkpoints_are(tmp_path, hdr_folder):
    scenes = (Scene("a", smooth_scene(64, 128), True),)
    loop.train(objective(), scenes, short_loop(1, shard_mib=1 / 128), tmp_path, validation=validation.find(hdr_folder))
    sizes = [p.stat().st_size for p in (tmp_path / loop.BEST).glob("*.pt")]
    assert len(sizes) > 1
    assert max(sizes) <= 2**20 / 128
    assert torch_backend.load(tmp_path / loop.BEST, "cpu").spec.inputs == ("ldr", "clip")
