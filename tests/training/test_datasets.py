"""Views and batches: every one follows from seed and number, whoever makes it."""

from itertools import islice

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from torch.utils.data import DataLoader

from hdrcli.camera import View
from hdrcli.color import luminance
from hdrcli.errors import DataError
from hdrcli.training.cache import Photo
from hdrcli.training.datasets import (
    FAULT,
    BatchStream,
    Frame,
    Position,
    Scene,
    _framed_crop,
    checked_fault,
    collate,
    enlarged_note,
    random_crop,
    random_view,
    saturated,
)


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

    @pytest.mark.parametrize("size", [16, 200])
    @pytest.mark.parametrize("panorama", [True, False])
    def test_crops_of_photos_are_codes_of_the_photo(self, size, panorama):
        codes = np.random.default_rng(0).integers(40, 90, (60, 120, 3), np.uint8)
        rng = np.random.default_rng(1)
        for _ in range(5):
            crop = random_crop(Photo("a", codes, panorama), size, rng)
            assert (crop.shape, crop.dtype) == ((size, size, 3), np.uint8)
            assert crop.flags.c_contiguous
            assert (crop >= 40).all()
            assert (crop < 90).all()

    def test_a_crop_is_a_part_of_the_photo_as_it_is(self):
        """Neither colours nor exposure change: an LDR picture is what it is. A ramp tells where the crop was."""
        x = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
        codes = np.stack([x, x.T, np.full_like(x, 7)], -1)
        for seed in range(5):
            crop = random_crop(Photo("a", codes), 100, np.random.default_rng(seed)).astype(int)
            assert (crop[..., 2] == 7).all()
            steps = np.abs(np.diff(crop[50, :, 0]))
            assert 1.1 < steps.mean() < 2.1  # 120..200 pixels to 100
            assert (np.ptp(crop[..., 0], axis=0) <= 1).all()

    def test_photos_smaller_than_the_crop_are_counted(self):
        codes = np.zeros((30, 40, 3), np.uint8)
        pictures = [Photo("a", codes), Photo("b", codes, panorama=True), Photo("c", np.zeros((64, 64, 3), np.uint8))]
        assert enlarged_note("ldr", pictures, 48) == "1 of 3 LDR images are smaller than 48 pixels: enlarged"
        assert enlarged_note("ldr", pictures, 30) is None


class TestFrames:
    """What is known of a whole picture is cut as the view was."""

    @pytest.mark.parametrize("panorama", [True, False])
    def test_a_picture_cut_by_a_views_frame_is_the_view(self, panorama):
        codes = np.uint8(np.clip(90 * np.sqrt(smooth_scene(120, 240)), 0, 255))
        photo = Photo("a", codes, panorama)
        mirrored = set()
        for seed in range(6):
            view, frame = _framed_crop(photo, 64, np.random.default_rng(seed))
            np.testing.assert_array_equal(view, random_crop(photo, 64, np.random.default_rng(seed)))
            difference = np.abs(frame.cut(codes.astype(np.float32), 64) - view)
            assert difference.mean() < (0.51 if panorama else 1.0)  # codes are whole numbers; areas are means, not points
            assert difference.max() < (1 if panorama else 25)
            mirrored.add(frame.mirrored)
        assert mirrored == {True, False}

    def test_at_another_resolution_it_is_the_same_part(self):
        ramp = np.stack([np.tile(np.linspace(0, 1, 200, dtype=np.float32), (100, 1))] * 3, -1)
        frame = Frame(None, (0.1, 0.3, 0.5, 0.25))
        large, small = frame.cut(ramp, 32), frame.cut(np.ascontiguousarray(ramp[::2, ::2]), 32)
        np.testing.assert_allclose(large, small, atol=0.01)
        np.testing.assert_allclose(large[0, [0, -1], 0], [0.3, 0.55], atol=0.01)

    @pytest.mark.parametrize("frame", [Frame(View(359.5, -55, 3.25, 35), mirrored=True), Frame(None, (0.25, 0, 0.5, 0.75))])
    def test_a_sample_carries_it(self, frame):
        packed = frame.packed(70_001)
        assert (packed.shape, packed.dtype) == ((1, 1, 7), np.float32)
        number, back = Frame.unpacked(packed.ravel().tolist())
        assert (number, back.mirrored, back.view) == (70_001, frame.mirrored, frame.view)
        assert back.view is not None or back.crop == frame.crop

    def test_samples_are_told_what_they_show(self):
        told = []

        def note(views, rng):
            told.append([Frame.unpacked(views[f"{domain}_frame"].ravel().tolist())[0] for domain in ("ldr", "hdr")])
            return [{"x": np.zeros((1, 1, 1))}]

        pictures = {
            "ldr": tuple(Photo(str(i), np.full((8, 8, 3), i, np.uint8)) for i in range(3)),
            "hdr": tuple(Scene(str(i), np.full((8, 8, 3), 2.0**i, np.float32), False) for i in range(2)),
        }
        BatchStream(pictures, 8, note, seed=1, views_per_batch=6).batch(0)
        ldr, hdr = zip(*told)
        assert sorted(ldr[:3]) == sorted(ldr[3:]) == [0, 1, 2]
        assert sorted(hdr[:2]) == sorted(hdr[2:4]) == [0, 1]


class TestStream:
    scenes = (TestViews.panorama, TestViews.photo)

    def stream(self, start=0, seed=1, rank=0, world=1, views=2):
        def numbered(chosen, rng):
            return [{"x": chosen["hdr"][:1, :1], "n": np.full((1, 1, 1), rng.random())} for _ in range(2)]

        position = Position(start, rank, world)
        return BatchStream({"hdr": self.scenes}, 16, numbered, seed=seed, views_per_batch=views, position=position)

    def numbers(self, count=4, workers=0, **changes):
        loader = DataLoader(self.stream(**changes), batch_size=None, num_workers=workers)
        return [batch["n"].flatten().tolist() for batch in islice(loader, count)]

    @pytest.mark.parametrize("workers", [0, 1, 2])
    def test_a_resumed_stream_goes_on_where_it_was(self, workers):
        assert self.numbers(2, workers, start=2) == self.numbers(4)[2:]

    def test_any_number_of_workers_makes_the_same_batches(self):
        assert self.numbers(5, 2) == self.numbers(5)

    def test_processes_share_the_batches_out(self):
        whole = self.numbers(6)
        assert self.numbers(3, rank=0, world=2) == whole[0::2]
        assert self.numbers(3, rank=1, world=2) == whole[1::2]

    def test_two_processes_see_what_one_with_twice_the_batch_sees(self):
        large = self.numbers(2, views=4)
        small = self.numbers(4)
        assert [small[0] + small[1], small[2] + small[3]] == large

    def test_another_seed_gives_other_views(self):
        assert self.numbers(1) != self.numbers(1, seed=2)

    def test_an_epoch_of_two_domains_shows_every_picture_of_each(self):
        photos = tuple(Photo(str(i), np.full((8, 8, 3), i, np.uint8)) for i in range(7))
        scenes = tuple(Scene(str(i), np.full((8, 8, 3), 2.0**i, np.float32), False) for i in range(3))
        seen = []

        def note(views, rng):
            seen.append((int(views["ldr"][0, 0, 0]), round(float(np.log2(views["hdr"][0, 0, 0])))))
            return [{"x": np.zeros((1, 1, 1))}]

        stream = BatchStream({"ldr": photos, "hdr": scenes}, 8, note, seed=1, views_per_batch=7)
        for number in range(6):
            stream.batch(number)
        ldr, hdr = ([pair[i] for pair in seen] for i in (0, 1))
        assert all(sorted(ldr[k : k + 7]) == list(range(7)) for k in range(0, 42, 7))
        assert all(sorted(hdr[k : k + 3]) == list(range(3)) for k in range(0, 42, 3))
        assert ldr[:7] != ldr[7:14]
        assert len(set(seen)) > 15  # no picture has a partner

    def test_faults_come_out_of_workers_as_they_are(self):
        def bad(views, rng):
            raise DataError("is gone", where="a.exr")

        stream = BatchStream({"hdr": self.scenes}, 16, bad, seed=1, views_per_batch=1)
        (batch,) = list(DataLoader(stream, batch_size=None, num_workers=1))
        assert set(batch) == {FAULT}
        with pytest.raises(DataError, match=r"a\.exr: is gone"):
            checked_fault(batch)

    def test_batches_are_nchw_float32(self):
        batch = collate([{"x": np.zeros((4, 6, 3)), "w": np.ones((4, 6, 1), np.float32)}] * 2)
        assert batch["x"].shape == (2, 3, 4, 6)
        assert batch["w"].shape == (2, 1, 4, 6)
        assert all(v.dtype == torch.float32 for v in batch.values())
