"""Training pictures: what they become, what is left out and why, and where they are kept."""

import os
from dataclasses import replace

import cv2
import numpy as np
import OpenEXR
import pytest
from fakes import smooth_scene

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, conversion_matrix, decode, encode, luminance
from hdrcli.errors import DataError
from hdrcli.image import Image
from hdrcli.training.cache import Budget, Limits, Photo, Scene, Stored, load, load_scenes
from hdrcli.training.sources import SceneFile, find_scenes


def save(path, pixels, transfer=Transfer.LINEAR, **kwargs):
    pixels = np.asarray(pixels)
    pixels = pixels.astype(np.float32) if pixels.dtype.kind == "f" else pixels
    formats.write(Image(pixels, transfer, **kwargs), path)
    return SceneFile(path)


def raw_exr(path, pixels):
    """As other programs write it: with NaN and infinity."""
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": np.asarray(pixels, np.float32)}).write(str(path))
    return SceneFile(path)


def all_around(height=64):
    """A panorama of even poles whose left and right border meet, some of it bright: ``(H, 2H, 3)``."""
    down = np.linspace(0, np.pi, height, dtype=np.float32)[:, None]
    around = np.linspace(0, 2 * np.pi, 2 * height, endpoint=False, dtype=np.float32)[None]
    wave = np.sin(down) * (np.sin(3 * around) + 0.5 * np.cos(7 * around + 4 * down)) + 0.4 * np.cos(down) * 2
    return np.repeat(0.3 * np.exp2(1.2 * wave)[..., None], 3, axis=2) * np.float32([1, 0.9, 0.8])


def half_of_it():
    return all_around(192)[64:128, 100:228]


def photo_codes(height=40, width=60, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class TestScenes:
    def test_the_median_luminance_becomes_018(self, hdr_folder):
        for scene in load_scenes(find_scenes([hdr_folder]).files):
            assert np.median(luminance(scene.radiance)) == pytest.approx(0.18, rel=1e-3)
            assert scene.radiance.dtype == np.float32
            assert scene.licence == "CC0-1.0"

    def test_a_panorama_is_what_looks_like_one_or_says_so(self, tmp_path):
        whole, part = all_around(), half_of_it()  # both 2:1
        files = [save(tmp_path / f"{name}.exr", light) for name, light in (("whole", whole), ("part", part))]
        files += [replace(files[0], panorama=False), replace(files[1], panorama=True)]  # their manifest
        assert [s.panorama for s in load_scenes(files)] == [True, False, False, True]

    def test_other_primaries_become_rec709(self, tmp_path):
        pixels = smooth_scene(8, 8)
        file = save(tmp_path / "wide.exr", pixels, primaries=Primaries.BT2020)
        expected = np.maximum(pixels @ conversion_matrix(Primaries.BT2020, Primaries.BT709).T, 0)
        radiance = load_scenes([file])[0].radiance
        ratio = np.median(luminance(radiance)) / np.median(luminance(expected))
        np.testing.assert_allclose(radiance, expected * ratio, rtol=5e-3, atol=5e-3)

    def test_infinity_is_very_bright_and_told(self, tmp_path):
        pixels = smooth_scene(40, 40)
        pixels[3, 4] = np.inf
        lines = []
        (scene,) = load_scenes([raw_exr(tmp_path / "sun.exr", pixels)], lines.append)
        assert np.isfinite(scene.radiance).all()
        assert scene.radiance[3, 4].min() == scene.radiance.max() > 1e4
        assert len(lines) == 1
        assert "sun.exr" in lines[0]
        assert "inf" in lines[0].lower()

    @pytest.mark.parametrize(
        ("value", "rows", "words"),
        [
            (np.nan, 12, "30 % of its values are NaN"),
            (np.nan, 40, "100 % of its values are NaN"),
            (np.inf, 30, "75 % of its values are infinite"),
        ],
    )
    def test_pictures_that_are_mostly_none_are_left_out(self, tmp_path, value, rows, words):
        """The reader has replaced these values before they are looked at here; its notes tell."""
        pixels, lines = smooth_scene(40, 40), []
        pixels[:rows] = value
        good = save(tmp_path / "good.exr", smooth_scene(8, 8))
        (scene,) = load_scenes([good, raw_exr(tmp_path / "odd.exr", pixels)], lines.append)
        assert scene.name == "good"
        assert [words in line and "odd.exr" in line for line in lines] == [True]

    def test_a_few_nan_are_black_and_told(self, tmp_path):
        pixels, lines = smooth_scene(40, 40), []
        pixels[3, :4] = np.nan
        (scene,) = load_scenes([raw_exr(tmp_path / "a.exr", pixels)], lines.append)
        assert not scene.radiance[3, :4].any()
        assert ["12 NaN values" in line for line in lines] == [True]

    def test_another_file_has_another_digest(self, tmp_path):
        first = load_scenes([save(tmp_path / "a.exr", smooth_scene(40, 40))])[0].digest
        assert load_scenes([save(tmp_path / "b.exr", smooth_scene(40, 40))])[0].digest == first
        (tmp_path / "a.exr").unlink()
        assert load_scenes([save(tmp_path / "a.exr", smooth_scene(40, 40, 1))])[0].digest != first

    def test_nothing_but_nan_is_left_out(self, tmp_path):
        good = save(tmp_path / "good.exr", smooth_scene(8, 8))
        lines = []
        files = [good, raw_exr(tmp_path / "nan.exr", np.full((40, 40, 3), np.nan))]
        assert len(load_scenes(files, lines.append)) == 1
        assert "nan.exr" in lines[-1]
        assert "left out" in lines[-1]


class TestPhotos:
    def test_twice_as_wide_as_high_is_not_enough_for_a_panorama(self, tmp_path):
        whole, part = ((encode(np.clip(x, 0, 1), Transfer.SRGB) * 255).astype(np.uint8) for x in (all_around(), half_of_it()))
        files = [save(tmp_path / f"{name}.png", codes, Transfer.SRGB) for name, codes in (("whole", whole), ("part", part))]
        marked = tmp_path / "marked.png"
        marked.write_bytes(files[1].path.read_bytes())
        pictures = load([*files, SceneFile(marked, panorama=True)], "ldr")
        assert [p.panorama for p in pictures] == [True, False, True]
        kept = load(files, "ldr", Limits(short_side=32, panorama_width=64))
        assert [p.pixels().shape for p in kept] == [(32, 64, 3), (32, 64, 3)]
        kept = load(files, "ldr", Limits(short_side=48, panorama_width=64))
        assert [p.pixels().shape for p in kept] == [(32, 64, 3), (48, 96, 3)]  # each by its own limit

    def test_8_bit_srgb_stays_as_it_is(self, tmp_path):
        codes = photo_codes()
        (photo,) = load([save(tmp_path / "a.png", codes, Transfer.SRGB)], "ldr")
        np.testing.assert_array_equal(photo.pixels(), codes)
        assert not photo.panorama

    def test_16_bits_are_rounded(self, tmp_path):
        codes = photo_codes().astype(np.uint16) * 257
        (photo,) = load([save(tmp_path / "a.png", codes, Transfer.SRGB)], "ldr")
        np.testing.assert_array_equal(photo.pixels(), photo_codes())

    def test_wide_colours_become_srgb(self, tmp_path):
        codes = photo_codes() // 2 + 64  # no colour outside of sRGB's
        grey = np.repeat(codes[..., :1], 3, axis=2)
        (photo,) = load([save(tmp_path / "a.png", codes, Transfer.SRGB, primaries=Primaries.DISPLAY_P3)], "ldr")
        light = decode(codes / 255, Transfer.SRGB) @ conversion_matrix(Primaries.DISPLAY_P3, Primaries.BT709).T
        expected = np.rint(np.clip(encode(np.clip(light, 0, 1), Transfer.SRGB), 0, 1) * 255)
        assert np.abs(photo.pixels() - expected).max() <= 1
        (photo,) = load([save(tmp_path / "g.png", grey, Transfer.SRGB, primaries=Primaries.DISPLAY_P3)], "ldr")
        np.testing.assert_array_equal(photo.pixels(), grey)

    def test_any_readable_format_is_taken(self, tmp_path):
        for suffix in (".jpg", ".png", ".bmp", ".webp", ".tif"):
            cv2.imwrite(str(tmp_path / f"a{suffix}"), photo_codes())
        photos = load([SceneFile(p) for p in sorted(tmp_path.iterdir())], "ldr")
        assert [p.pixels().shape for p in photos] == [(40, 60, 3)] * 5


class TestLeftOut:
    def files(self, folder):
        return [save(folder / f"good{i}.exr", smooth_scene(8, 8, i)) for i in range(4)]

    def test_each_with_a_line(self, tmp_path):
        good = self.files(tmp_path)
        bad = [save(tmp_path / "black.exr", np.zeros((8, 8, 3))), save(tmp_path / "flat.exr", np.ones((8, 8, 3)))]
        (tmp_path / "broken.exr").write_bytes(b"v/1\x01 broken")
        lines = []
        scenes = load_scenes([*good, *bad, SceneFile(tmp_path / "broken.exr")], lines.append)
        assert len(scenes) == 4
        assert [line.startswith("left out: ") for line in lines] == [True] * 3
        assert "black.exr: is black" in lines[0]
        assert "flat.exr: is of one colour" in lines[1]
        assert "broken.exr" in lines[2]

    def test_a_photo_of_one_colour(self, tmp_path):
        files = [save(tmp_path / f"{i}.png", photo_codes(seed=i), Transfer.SRGB) for i in range(2)]
        lines = []
        load(
            [*files, save(tmp_path / "flat.png", np.full((20, 20, 3), 90, np.uint8), Transfer.SRGB)], "ldr", report=lines.append
        )
        assert lines == [f"left out: {tmp_path / 'flat.png'}: is of one colour throughout"]

    def test_many_are_not_all_named(self, tmp_path):
        good = self.files(tmp_path) * 4
        lines = []
        load_scenes([*good, *(SceneFile(tmp_path / f"{i}.exr") for i in range(15))], lines.append)
        assert len(lines) == 11
        assert lines[-1] == "left out: 5 more"

    def test_more_than_half_unusable_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="1 of 3 HDR files"):
            load_scenes([self.files(tmp_path)[0], SceneFile(tmp_path / "a.exr"), SceneFile(tmp_path / "b.exr")])

    def test_ldr_given_as_hdr_is_recognised(self, tmp_path):
        for name in ("a", "b", "c"):
            cv2.imwrite(str(tmp_path / f"{name}.png"), photo_codes())
            (tmp_path / f"{name}.png").rename(tmp_path / f"{name}.hdr")
        with pytest.raises(DataError, match=r"--hdr: 3 of 3 files given as HDR are LDR \(give them to --ldr\)"):
            load([SceneFile(p) for p in sorted(tmp_path.iterdir())], "hdr")

    def test_an_8_bit_picture_in_an_hdr_file_is_recognised(self, tmp_path):
        codes = decode(photo_codes(80, 80) / 255, Transfer.SRGB)
        lines = []
        with pytest.raises(DataError, match="1 of 1 files given as HDR are LDR"):
            load([save(tmp_path / "a.exr", codes)], "hdr", report=lines.append)
        assert "different values" in lines[0]

    def test_hdr_given_as_ldr_is_recognised(self, tmp_path):
        files = [save(tmp_path / f"{i}.exr", smooth_scene(8, 8, i)) for i in range(2)]
        with pytest.raises(DataError, match=r"--ldr: 2 of 2 files given as LDR are HDR \(give them to --hdr\)"):
            load(files, "ldr")


class TestKeeping:
    limits = Limits(short_side=32, panorama_width=64)

    @pytest.fixture
    def files(self, tmp_path):
        return [save(tmp_path / f"{i}.png", photo_codes(48, 60, i), Transfer.SRGB) for i in range(4)]

    def test_large_pictures_are_reduced_to_the_working_size(self, tmp_path):
        scenes = [save(tmp_path / "photo.exr", smooth_scene(48, 60)), save(tmp_path / "pano.exr", smooth_scene(64, 128))]
        photo, panorama = load(scenes, "hdr", self.limits)
        assert photo.pixels().shape == (32, 40, 3)
        assert panorama.pixels().shape == (32, 64, 3)
        whole = load_scenes(scenes)[1].radiance
        expected = cv2.resize(whole, (64, 32), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(panorama.pixels(), expected, rtol=1e-5)

    def test_limits_leave_what_views_can_use(self):
        assert Limits.of_views(384) == Limits(640, 3950)

    def test_memory_first_then_disk_then_neither(self, tmp_path, files):
        one = 32 * 40 * 3
        budget = Budget(memory=one * 2, disk=one, folder=tmp_path / "cache")
        pictures = load(files, "ldr", self.limits, budget)
        assert [type(p) for p in pictures] == [Photo, Photo, Stored, Stored]
        assert [getattr(p, "cached", None) is not None for p in pictures] == [False, False, True, False]
        assert (budget.used_memory, budget.used_disk) == (2 * one, one)
        everything = load(files, "ldr", self.limits)
        for a, b in zip(pictures, everything):
            np.testing.assert_array_equal(a.pixels(), b.pixels())
            assert a.short_side == b.short_side == 32
        (cached,) = (tmp_path / "cache").iterdir()
        assert cached.stat().st_size < one + 200

    def test_a_cached_file_is_used_again_until_its_source_changes(self, tmp_path, files):
        def cached():
            (picture,) = load(files[:1], "ldr", self.limits, Budget(0, 1e9, tmp_path / "cache"))
            return picture.cached

        first = cached()
        before = first.stat().st_mtime_ns
        assert cached() == first
        assert first.stat().st_mtime_ns == before
        save(files[0].path.with_name("new.png"), photo_codes(48, 60, 9), Transfer.SRGB)
        files[0].path.with_name("new.png").replace(files[0].path)
        os.utime(files[0].path, (1, 1))
        assert cached() != first

    def test_a_cache_that_is_swept_away_is_done_without(self, tmp_path, files):
        (picture,) = load(files[:1], "ldr", self.limits, Budget(0, 1e9, tmp_path / "cache"))
        whole = np.array(picture.pixels())
        picture.cached.unlink()
        np.testing.assert_array_equal(picture.pixels(), whole)

    def test_a_full_disk_is_done_without(self, tmp_path, files, monkeypatch):
        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "save", full)
        (picture,) = load(files[:1], "ldr", self.limits, Budget(0, 1e9, tmp_path / "cache"))
        assert picture.cached is None
        assert picture.pixels().shape == (32, 40, 3)
        assert list((tmp_path / "cache").iterdir()) == []

    def test_hdr_goes_through_the_cache_unchanged(self, tmp_path):
        file = save(tmp_path / "a.exr", smooth_scene(48, 60))
        (stored,) = load([file], "hdr", self.limits, Budget(0, 1e9, tmp_path / "cache"))
        (scene,) = load([file], "hdr", self.limits)
        assert isinstance(scene, Scene)
        np.testing.assert_array_equal(stored.pixels(), scene.pixels())

    def test_the_budget_takes_no_more_than_half_of_the_free_disk(self, tmp_path):
        import shutil

        budget = Budget.gigabytes(2, 1e9, tmp_path / "not" / "there")
        assert budget.memory == 2e9
        assert budget.disk <= shutil.disk_usage(tmp_path).free * 0.6
