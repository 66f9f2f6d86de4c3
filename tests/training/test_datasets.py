"""Training data: which files are read, what scenes become, and that every view follows from seed and number."""

from itertools import islice

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from torch.utils.data import DataLoader

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, conversion_matrix, luminance
from hdrcli.errors import DataError
from hdrcli.image import Image
from hdrcli.training.datasets import (
    SampleStream,
    Scene,
    SceneFile,
    collate,
    find_scenes,
    load_scenes,
    random_view,
    saturated,
)


def save(path, pixels, **kwargs):
    formats.write(Image(np.asarray(pixels, np.float32), Transfer.LINEAR, **kwargs), path)
    return path


class TestFinding:
    def test_only_the_train_split_of_a_manifest_is_read(self, hdr_folder):
        scenes = find_scenes([hdr_folder])
        assert [f.path.stem for f in scenes.files] == ["pano", "photo"]
        assert [f.panorama for f in scenes.files] == [True, False]
        assert {f.licence for f in scenes.files} == {"CC0-1.0"}
        assert "2 of 3 files" in scenes.note
        assert "split train" in scenes.note

    @pytest.mark.parametrize(("split", "names"), [("val", ["held_out"]), ("all", ["pano", "photo", "held_out"])])
    def test_split_changes_it(self, hdr_folder, split, names):
        assert [f.path.stem for f in find_scenes([hdr_folder], split).files] == names

    @pytest.mark.parametrize(("kind", "panorama"), [("equirect", True), ("photo", False), ("", None)])
    def test_the_manifests_kind_is_trusted_when_there_is_one(self, tmp_path, kind, panorama):
        save(tmp_path / "wide.exr", np.ones((8, 16, 3)))
        (tmp_path / "manifest.csv").write_text(f"file,split,kind,licence\nwide.exr,train,{kind},\n", encoding="utf-8")
        files = find_scenes([tmp_path]).files
        assert files == (SceneFile(tmp_path / "wide.exr", panorama),)
        assert load_scenes(files)[0].panorama == (kind != "photo")

    def test_a_split_that_is_not_there_is_named_with_those_that_are(self, hdr_folder):
        with pytest.raises(DataError, match=r"'test'.*train, val"):
            find_scenes([hdr_folder], "test")

    def test_folders_without_manifest_are_read_whole_and_deep(self, tmp_path):
        (tmp_path / "deep").mkdir()
        for name in ("b.exr", "deep/a.hdr", "c.EXR", "d.png", "e.txt"):
            (tmp_path / name).touch()
        scenes = find_scenes([tmp_path])
        assert {f.path.name for f in scenes.files} == {"b.exr", "a.hdr", "c.EXR"}
        assert "no manifest.csv" in scenes.note

    def test_lists_hold_paths_beside_them(self, tmp_path):
        (tmp_path / "list.txt").write_text("# mine\n\na.exr\nsub/b.hdr\n", encoding="utf-8")
        files = find_scenes([tmp_path / "list.txt"]).files
        assert [f.path for f in files] == [tmp_path / "a.exr", tmp_path / "sub" / "b.hdr"]

    def test_sources_add_up(self, hdr_folder):
        scenes = find_scenes([hdr_folder, hdr_folder / "held_out.exr"])
        assert len(scenes.files) == 3

    def test_what_is_not_there_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="nowhere"):
            find_scenes([tmp_path / "nowhere"])
        with pytest.raises(DataError, match="no HDR files"):
            find_scenes([tmp_path])

    def test_a_manifest_without_the_columns_is_an_error(self, tmp_path):
        (tmp_path / "manifest.csv").write_text("name,kind\na,b\n", encoding="utf-8")
        with pytest.raises(DataError, match="columns"):
            find_scenes([tmp_path])


class TestLoading:
    def test_the_median_luminance_becomes_018(self, hdr_folder):
        for scene in load_scenes(find_scenes([hdr_folder]).files):
            assert np.median(luminance(scene.radiance)) == pytest.approx(0.18, rel=1e-3)
            assert scene.radiance.dtype == np.float32
            assert scene.licence == "CC0-1.0"

    def test_two_to_one_is_a_panorama(self, tmp_path):
        wide, square = save(tmp_path / "wide.exr", np.ones((8, 16, 3))), save(tmp_path / "square.exr", np.ones((8, 8, 3)))
        assert [s.panorama for s in load_scenes([SceneFile(wide), SceneFile(square)])] == [True, False]

    def test_other_primaries_become_rec709(self, tmp_path):
        pixels = smooth_scene(8, 8)
        path = save(tmp_path / "wide.exr", pixels, primaries=Primaries.BT2020)
        expected = np.maximum(pixels @ conversion_matrix(Primaries.BT2020, Primaries.BT709).T, 0)
        radiance = load_scenes([SceneFile(path)])[0].radiance
        ratio = np.median(luminance(radiance)) / np.median(luminance(expected))
        np.testing.assert_allclose(radiance, expected * ratio, rtol=5e-3, atol=5e-3)

    def test_files_that_can_not_be_used_are_reported_and_left_out(self, tmp_path):
        good = [save(tmp_path / f"good{i}.exr", np.ones((8, 8, 3))) for i in range(3)]
        black = save(tmp_path / "black.exr", np.zeros((8, 8, 3)))
        (tmp_path / "broken.exr").write_bytes(b"v/1\x01 broken")
        lines = []
        scenes = load_scenes([SceneFile(p) for p in (*good, black, tmp_path / "broken.exr")], lines.append)
        assert len(scenes) == 3
        assert len(lines) == 2
        assert "black.exr" in lines[0]
        assert "broken.exr" in lines[1]

    def test_more_than_half_unusable_is_an_error(self, tmp_path):
        good = save(tmp_path / "good.exr", np.ones((8, 8, 3)))
        with pytest.raises(DataError, match="1 of 3"):
            load_scenes([SceneFile(p) for p in (good, tmp_path / "a.exr", tmp_path / "b.exr")])


class TestViews:
    panorama = Scene("p", smooth_scene(64, 128), True)
    photo = Scene("f", smooth_scene(60, 90, 1), False)

    @pytest.mark.parametrize("scene", [panorama, photo], ids=["panorama", "photo"])
    def test_are_square_finite_and_not_negative(self, scene):
        rng = np.random.default_rng(0)
        for _ in range(20):
            view = random_view(scene, 48, rng)
            assert (view.shape, view.dtype) == ((48, 48, 3), np.float32)
            assert np.isfinite(view).all()
            assert (view >= 0).all()

    def test_same_state_same_view(self):
        views = [random_view(self.panorama, 32, np.random.default_rng(3)) for _ in range(2)]
        assert views[0].tobytes() == views[1].tobytes()

    def test_saturation_keeps_luminance_where_nothing_is_cut(self):
        view = smooth_scene(20, 20)
        np.testing.assert_allclose(saturated(view, 1.0), view, rtol=1e-5)
        np.testing.assert_allclose(luminance(saturated(view, 0.5)), luminance(view), rtol=1e-4)
        assert np.ptp(saturated(view, 0.0), axis=-1).max() < 1e-4 * view.max()
        assert (saturated(view, 3.0) >= 0).all()


class TestStream:
    scenes = (TestViews.panorama, TestViews.photo)

    def stream(self, start=0, seed=1):
        return SampleStream(self.scenes, 16, lambda view, rng: [{"x": view}], seed=seed, start=start)

    def test_a_resumed_stream_goes_on_with_the_same_views(self):
        whole = [s["x"] for s in islice(self.stream(), 6)]
        later = [s["x"] for s in islice(self.stream(start=4), 2)]
        for a, b in zip(whole[4:], later):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("workers", [0, 1])
    def test_batches_of_whole_views_go_on_where_they_were(self, workers):
        def numbered(view, rng):
            return [{"x": np.full((1, 1, 1), rng.random())} for _ in range(2)]

        def batches(start, count):
            stream = SampleStream(self.scenes, 16, numbered, seed=1, start=start)
            loader = DataLoader(stream, batch_size=4, collate_fn=collate, num_workers=workers)
            return [batch["x"].flatten().tolist() for batch in islice(loader, count)]

        assert batches(2 * 2, 2) == batches(0, 4)[2:]

    def test_another_seed_gives_other_views(self):
        a, b = (next(iter(self.stream(seed=s)))["x"] for s in (1, 2))
        assert not np.array_equal(a, b)

    def test_workers_share_the_views_out(self):
        def numbered(view, rng):
            return [{"x": np.full((1, 1, 1), rng.random())}]

        def numbers(workers):
            stream = SampleStream(self.scenes, 16, numbered, seed=1)
            loader = DataLoader(stream, batch_size=1, collate_fn=collate, num_workers=workers)
            return [float(batch["x"]) for batch in islice(loader, 4)]

        assert numbers(2) == numbers(0)

    def test_batches_are_nchw_float32(self):
        batch = collate([{"x": np.zeros((4, 6, 3)), "w": np.ones((4, 6, 1), np.float32)}] * 2)
        assert batch["x"].shape == (2, 3, 4, 6)
        assert batch["w"].shape == (2, 1, 4, 6)
        assert all(v.dtype == torch.float32 for v in batch.values())
