"""Pairs on their way into a batch: read, checked, at one exposure, cut alike; and runs that are resumed."""

import json

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from paired_data import SCALE, photo_of, save_light, save_photo, scene, write_pair, write_pairs
from tiny_training import CONFIG, objective, short_loop

from hdrcli.camera import CameraDistribution
from hdrcli.color import Transfer, decode
from hdrcli.errors import DataError, TrainingError, UsageError
from hdrcli.training import loop
from hdrcli.training.cache import Budget, Limits, Pair, Photo, Scene, Stored, load_pairs, load_scenes
from hdrcli.training.datasets import BatchStream, Frame
from hdrcli.training.objectives import _pairs
from hdrcli.training.pairs import PairFile, find_pairs
from hdrcli.training.plan import kept
from hdrcli.training.sources import SceneFile


def pairs_of(root, count=3):
    return find_pairs(*write_pairs(root, count)).files


def one(root, **options):
    ldr, hdr = write_pair(root, "one", 0, **options)
    return [PairFile(SceneFile(ldr), SceneFile(hdr))]


def refused(files):
    """What is said of a pair that can't be used."""
    lines = []
    with pytest.raises(DataError) as raised:
        load_pairs(files, report=lines.append)
    (line,) = lines
    return line, str(raised.value)


class TestLoading:
    def test_light_comes_at_the_exposure_of_the_photo(self, tmp_path):
        (pair,) = load_pairs(one(tmp_path))
        assert (pair.name, pair.panorama, pair.short_side) == ("one", False, 72)
        np.testing.assert_array_equal(pair.photo.pixels(), photo_of(scene(0)))
        np.testing.assert_allclose(pair.pixels(), scene(0), rtol=0.02)
        well = (pair.photo.pixels() > 40).all(axis=2) & (pair.photo.pixels() < 220).all(axis=2)
        linear = decode(pair.photo.pixels()[well] / 255, Transfer.SRGB)
        assert np.median(np.log2(pair.pixels()[well] / linear)) == pytest.approx(0, abs=0.01)

    def test_licences_and_digests_are_of_both(self, tmp_path):
        files = one(tmp_path)
        (pair,) = load_pairs(
            [PairFile(SceneFile(files[0].ldr.path, licence="CC0"), SceneFile(files[0].hdr.path, licence="MIT"))]
        )
        assert pair.licence == "CC0; MIT"
        assert pair.digest == pair.photo.digest + pair.scene.digest != ""

    @pytest.mark.parametrize(
        ("turn", "words"),
        [
            (lambda light: light[::-1, ::-1], "fit if the HDR is turned by 180 degrees"),
            (lambda light: light[:, ::-1], "fit if the HDR is mirrored"),
            (np.rot90, "fit if the HDR is turned by 90 degrees clockwise"),
        ],
    )
    def test_turned_partners_are_named_with_the_fix(self, tmp_path, turn, words):
        line, error = refused(one(tmp_path, turn=turn))
        assert line.startswith("left out: ")
        assert words in line
        assert "one.png and " in line
        assert "hdrcli data align" in line
        assert "only 0 of 1 pairs" in error

    def test_other_sizes_are_named_with_the_fix(self, tmp_path):
        line, _ = refused(one(tmp_path, turn=lambda light: light[::2, ::2]))
        assert "have 96 x 72 and 48 x 36 pixels (hdrcli data align" in line

    def test_a_photo_of_something_else_is_named(self, tmp_path):
        line, _ = refused(one(tmp_path, turn=lambda light: SCALE * scene(5)))
        assert "show different things (likeness 0." in line

    def test_a_photo_without_well_exposed_pixels_has_no_exposure(self, tmp_path):
        light = np.where(scene(0) > 0.2, np.float32(50), np.float32(1e-4))
        files = [
            PairFile(
                SceneFile(save_photo(tmp_path / "x.png", photo_of(light))),
                SceneFile(save_light(tmp_path / "x.exr", light + scene(0) / 1e3)),
            )
        ]
        line, _ = refused(files)
        assert "x.png: has no 50 well-exposed pixels" in line

    def test_bad_files_among_good_ones_are_left_out(self, tmp_path):
        ldr, hdr = write_pairs(tmp_path, 5)
        (ldr / "p0.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
        (hdr / "p1.exr").write_bytes(b"")
        lines = []
        found = load_pairs(find_pairs(ldr, hdr).files, report=lines.append)
        assert [p.name for p in found] == ["p2", "p3", "p4"]
        assert len(lines) == 2
        assert "p0.png" in lines[0]
        assert "p1.exr" in lines[1]

    def test_what_is_no_hdr_is_named(self, tmp_path):
        files = one(tmp_path)
        line, error = refused([PairFile(files[0].hdr, files[0].ldr)])
        assert "one.exr: is HDR (scene-linear floats)" in line
        assert "the LDR folder first" in error

    def test_wide_photos_are_no_panoramas_unless_said(self, tmp_path):
        files = one(tmp_path, size=(48, 96))
        assert not load_pairs(files)[0].panorama
        said = [PairFile(files[0].ldr, SceneFile(files[0].hdr.path, panorama=True))]
        assert load_pairs(said)[0].panorama

    def test_large_pictures_are_reduced_alike(self, tmp_path):
        (pair,) = load_pairs(one(tmp_path, size=(144, 192)), Limits.of_views(32))
        assert pair.pixels().shape == pair.photo.pixels().shape == (54, 72, 3)

    @pytest.mark.parametrize(("disk", "places"), [(1e9, (0, 1, 0)), (0, (0, 0, 1))])
    def test_what_memory_does_not_hold_is_the_same_from_disk_or_file(self, tmp_path, disk, places):
        files = one(tmp_path)
        expected = load_pairs(files)[0]
        (pair,) = load_pairs(files, budget=Budget(0, disk, tmp_path / "cache"))
        assert isinstance(pair.scene, Stored)
        assert kept({"hdr": [pair]}) == {"hdr": places}
        np.testing.assert_array_equal(pair.pixels(), expected.pixels())
        np.testing.assert_array_equal(pair.photo.pixels(), expected.photo.pixels())

    def test_a_cached_scene_is_not_that_of_its_pair(self, tmp_path):
        """One file, two exposures: as a scene, and as a photo's partner."""
        files, budget = one(tmp_path), Budget(0, 1e9, tmp_path / "cache")
        (pair,) = load_pairs(files, budget=budget)
        from hdrcli.training.cache import load

        (alone,) = load([files[0].hdr], "hdr", budget=budget)
        assert np.median(alone.pixels()) == pytest.approx(0.18, rel=0.3)
        np.testing.assert_allclose(pair.pixels() / alone.pixels(), pair.pixels()[0, 0, 0] / alone.pixels()[0, 0, 0], rtol=1e-4)


def pair_of(height=90, width=120, panorama=False):
    """Codes that are the light itself: 100 times it."""
    light = np.float32(0.02) * np.random.default_rng(0).integers(1, 100, (height, width, 3)).astype(np.float32)
    codes = np.rint(light * 100).astype(np.uint8)
    return Pair(Photo("p", codes, panorama), Scene("p", light, panorama))


class Seen:
    """Keeps what it is given."""

    def __init__(self):
        self.views = []

    def __call__(self, views, rng):
        self.views.append(dict(views))
        return [{"x": np.zeros((1, 1, 1), np.float32)}]


def views_of(pictures, size=30, count=12, seed=1):
    seen = Seen()
    stream = BatchStream({"hdr": pictures}, size, seen, seed=seed, views_per_batch=1)
    for number in range(count):
        stream.draw(number)
    return seen.views


class TestViews:
    @pytest.mark.parametrize("panorama", [False, True])
    def test_both_show_the_same_place(self, panorama):
        pair = pair_of(90, 180, panorama)
        views = views_of([pair])
        for view in views:
            assert (view["ldr"].dtype, view["hdr"].dtype) == (np.uint8, np.float32)
            assert view["ldr"].shape == view["hdr"].shape == (30, 30, 3)
            np.testing.assert_allclose(view["hdr"] * 100, view["ldr"], atol=1.01)
        mirrored = {Frame.unpacked(view["hdr_frame"].ravel())[1].mirrored for view in views}
        assert mirrored == {False, True}

    def test_the_frame_says_which_place(self):
        pair = pair_of()
        for view in views_of([pair]):
            number, frame = Frame.unpacked(view["hdr_frame"].ravel())
            again = frame.cut(pair.scene.pixels(), 30)
            assert number == 0
            assert np.corrcoef(again.ravel(), view["hdr"].ravel())[0, 1] > 0.6

    def test_colours_stay(self):
        light = np.full((50, 60, 3), (0.1, 0.4, 0.2), np.float32)
        (view,) = views_of([Pair(Photo("p", photo_of(light)), Scene("p", light, False))], count=1)
        np.testing.assert_allclose(view["hdr"][3, 3], light[0, 0], rtol=1e-6)

    def test_scenes_and_pairs_mix(self):
        views = views_of([pair_of(), Scene("s", scene(0), False), Scene("t", scene(1), False)], count=90)
        share = np.mean(["ldr" in view for view in views])
        assert 0.2 < share < 0.5

    def test_without_pairs_views_are_what_they_were(self):
        """Runs from before there were pairs go on bit for bit: values of the code as it was."""
        pictures = [Scene("s", smooth_scene(60, 90), False), Scene("p", smooth_scene(64, 128, 1), True)]
        views = views_of(pictures, count=6)
        assert set(views[0]) == {"hdr", "hdr_frame"}
        found = [float(view["hdr"][7, 3, 1]) for view in views]
        assert found == pytest.approx([1.0036559, 0.9744987, 1.4521861, 0.2194127, 0.5242748, 0.1813810], rel=1e-5)


class TestPhotoAndTruth:
    def test_given_pairs_are_passed_on(self):
        codes, light = _pairs.photo_and_truth({"ldr": photo_of(scene(0)), "hdr": scene(0)}, CameraDistribution(), None, 4.0)
        np.testing.assert_array_equal(codes, photo_of(scene(0)))
        np.testing.assert_array_equal(light, np.minimum(scene(0), 4))

    def test_scenes_are_photographed_and_brought_to_the_photos_exposure(self):
        for seed in range(5):
            view = scene(seed)
            codes, light = _pairs.photo_and_truth({"hdr": view}, CameraDistribution(), np.random.default_rng(seed), 256.0)
            again = _pairs.photo_and_truth({"hdr": view}, CameraDistribution(), np.random.default_rng(seed), 256.0)
            np.testing.assert_array_equal(codes, again[0])
            np.testing.assert_array_equal(light, again[1])
            assert (codes.dtype, light.dtype, light.shape) == (np.uint8, np.float32, codes.shape)
            assert light.max() <= 256
            well = (codes >= 13).all(axis=2) & (codes <= 229).all(axis=2)
            linear = decode(codes[well] / 255, Transfer.SRGB)
            assert np.median(np.log2(light[well].mean(1) / linear.mean(1))) == pytest.approx(0, abs=0.35)

    def test_a_window_is_the_same_part_of_both(self):
        light = scene(0, 60, 60)
        codes = photo_of(light)
        sides = set()
        for seed in range(20):
            part, its_light = _pairs.window(codes, light, 48, np.random.default_rng(seed))
            np.testing.assert_array_equal(photo_of(its_light), part)
            assert part.shape[0] == part.shape[1] >= 48
            sides.add(part.shape[0])
        assert len(sides) > 3

    def test_the_recipe_paired_takes_both(self):
        tiny = objective()
        view = scene(0, 64, 64)
        samples = tiny.samples({"ldr": photo_of(view), "hdr": view}, np.random.default_rng(0))
        assert len(samples) == CONFIG.photos_per_view
        assert all(s["stops"].shape == (64, 64, 3) and np.isfinite(s["stops"]).all() for s in samples)
        expected = _pairs.reduced(photo_of(view), np.minimum(view, 256), CONFIG.working_size)
        np.testing.assert_array_equal(samples[0]["stops"], expected["stops"])


def weights(folder):
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    return torch.cat([v.flatten().double() for v in state["networks"].values()]), state


class TestRuns:
    def test_a_resumed_run_goes_on_bit_for_bit_and_names_its_pairs(self, tmp_path):
        data = (*load_pairs(pairs_of(tmp_path)), *load_scenes([SceneFile(tmp_path / "hdr" / "p0.exr")]))
        for name, steps in (("whole", (6,)), ("parts", (3, 6))):
            for end in steps:
                config = short_loop(6) if end == 6 else short_loop(6, max_steps=6)
                run = objective()
                if end == 3:
                    stop_at(run, 3)
                    with pytest.raises(KeyboardInterrupt):
                        loop.train(run, data, config, tmp_path / name)
                else:
                    loop.train(run, data, config, tmp_path / name, resume=True)
        (whole, state), (parts, _) = (weights(tmp_path / name) for name in ("whole", "parts"))
        assert torch.equal(whole, parts)
        assert state["pairs"] == 3
        record = json.loads((tmp_path / "whole" / "run.json").read_text(encoding="utf-8"))
        assert record["data"]["pairs"] == [["p0", "p0"], ["p1", "p1"], ["p2", "p2"]]
        assert record["data"]["hdr"] == ["p0", "p1", "p2", "p0"]

    def test_another_photo_of_the_same_name_is_other_data(self, tmp_path):
        files = pairs_of(tmp_path, 2)
        loop.train(objective(), load_pairs(files), short_loop(1), tmp_path / "run")
        save_photo(files[0].ldr.path, photo_of(1.2 * scene(0)))
        with pytest.raises(TrainingError, match="other files of these scenes: p0"):
            loop.train(objective(), load_pairs(files), short_loop(2), tmp_path / "run", resume=True)

    @pytest.mark.parametrize("domains", [("ldr", "hdr"), ("hdr",)])
    def test_systems_that_do_not_learn_from_pairs_refuse_them(self, tmp_path, domains):
        (pair,) = load_pairs(one(tmp_path))
        other = objective()
        other.name, other.domains, other.takes_pairs = "other", domains, False
        data = {"ldr": [pair.photo], "hdr": [pair]}
        with pytest.raises(UsageError, match="--pairs: other does not learn from pairs"):
            loop.train(other, {d: data[d] for d in domains}, short_loop(1), tmp_path / "run")


def stop_at(run, step):
    """Ctrl-C after so many steps."""
    import signal

    before, count = run.loss, 0

    def loss(phase, batch, part):
        nonlocal count
        count += 1
        if count == step:
            signal.raise_signal(signal.SIGINT)
        return before(phase, batch, part)

    run.loss = loss
