"""Public sets as their documentation says they lie; none of them was at hand, so the files here are made up."""

import numpy as np
import pytest
from paired_data import photo_of, save_light, save_photo, scene

from hdrcli import formats
from hdrcli.color import Primaries, Transfer, converted, encode
from hdrcli.errors import DataError, UsageError
from hdrcli.image import Image
from hdrcli.training.cache import load_pairs
from hdrcli.training.layouts import LAYOUTS, UNTRIED, find

FILES = {
    "hdr-real": ["HDR-Real/LDR_in/00001.jpg", "HDR-Real/HDR_gt/00001.hdr"],
    "hdr-eye": ["LDR_in/07.png", "HDR_gt/07.hdr"],
    "hdrtv1k": ["training_set/train_sdr/001.png", "training_set/train_hdr/001.png", "test_sdr/001.png", "test_hdr/001.png"],
    "ntire2021": ["Train/0012_medium.png", "Train/0012_gt.png", "Train/0012_alignratio.npy"],
    "kalantari17": ["001/a1.tif", "001/a2.tif", "001/a3.tif", "001/exposure.txt", "001/HDRImg.hdr"],
    "ldr-hdr-pair": ["LDR_exposure_0/LDR_001.jpg", "LDR_exposure_1/LDR_001.jpg", "HDR/HDR_001.hdr"],
}
PAIRS = {
    "hdr-real": {("00001.jpg", "00001.hdr")},
    "hdr-eye": {("07.png", "07.hdr")},
    "hdrtv1k": {("train_sdr/001.png", "train_hdr/001.png"), ("test_sdr/001.png", "test_hdr/001.png")},
    "ntire2021": {("0012_medium.png", "0012_gt.png")},
    "kalantari17": {("a2.tif", "HDRImg.hdr")},
    "ldr-hdr-pair": {("LDR_exposure_0/LDR_001.jpg", "HDR_001.hdr"), ("LDR_exposure_1/LDR_001.jpg", "HDR_001.hdr")},
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_partners_are_found_by_their_paths(tmp_path, name):
    for file in [*FILES[name], "readme.txt", "alone/x.jpg"]:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = find(name, tmp_path)
    whole = [(p.ldr.path.as_posix(), p.hdr.path.as_posix()) for p in found.files]
    assert len(whole) == len(PAIRS[name])
    for ldr, hdr in PAIRS[name]:
        assert any(a.endswith(ldr) and b.endswith(hdr) for a, b in whole)
    assert UNTRIED in found.note


def test_every_set_says_where_its_layout_comes_from():
    assert set(FILES) == {name for name, layout in LAYOUTS.items() if layout.ldr}
    for layout in LAYOUTS.values():
        assert layout.documented
        assert bool(layout.ldr) == bool(layout.hdr) == (not layout.remedy)


@pytest.mark.parametrize("name", ["hdr-synth", "drtmo", "gta-hdr"])
def test_sets_without_readable_pairs_say_what_to_do(tmp_path, name):
    with pytest.raises(UsageError, match=r"has no pairs to read: .*--pairs"):
        find(name, tmp_path)


def test_bad_roots_and_names(tmp_path):
    with pytest.raises(UsageError, match=r"no layout 'hdrreal'.*hdr-real"):
        find("hdrreal", tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        find("hdr-real", tmp_path / "nowhere")
    (tmp_path / "LDR_in").mkdir()
    (tmp_path / "LDR_in" / "1.jpg").touch()
    with pytest.raises(DataError, match=r"1 LDR and 0 HDR files are named as in hdr-real.*LDR_in"):
        find("hdr-real", tmp_path)


def test_files_without_partner_are_listed(tmp_path):
    for file in ("LDR_in/1.jpg", "LDR_in/2.jpg", "HDR_gt/1.hdr", "HDR_gt/3.hdr"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert [line.split("/")[-1] for line in find("hdr-real", tmp_path).left_out] == [
        "3.hdr: has no LDR partner",
        "2.jpg: has no HDR partner",
    ]


class TestEncodings:
    """What 16-bit files without a word on their encoding hold comes out as the light that went in."""

    light = scene(0)

    def check(self, found):
        (pair,) = load_pairs(found.files)
        for least, most in ((0.05, 0.9), (1.2, 2.5)):
            where = (self.light > least) & (self.light < most)
            error = np.abs(np.log2(pair.pixels()[where] / self.light[where]))
            # Radiance .hdr has one exponent for three channels, which beside a lamp leaves the others few bits
            assert np.quantile(error, 0.98) < 0.05

    def png16(self, path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        codes = np.rint(np.clip(values, 0, 1) * 65535).astype(np.uint16)
        formats.write(Image(codes, Transfer.SRGB), path, formats.WriteOptions(depth="16"))

    def test_pq(self, tmp_path):
        save_photo(tmp_path / "train_sdr" / "1.png", photo_of(self.light))
        absolute = converted(self.light * np.float32(100 / 10000), Primaries.BT709, Primaries.BT2020)
        self.png16(tmp_path / "train_hdr" / "1.png", encode(np.maximum(absolute, 0), Transfer.PQ))
        self.check(find("hdrtv1k", tmp_path))

    def test_power_of_2_24(self, tmp_path):
        save_photo(tmp_path / "0001_medium.png", photo_of(self.light))
        self.png16(tmp_path / "0001_gt.png", np.minimum(self.light / 8, 1) ** (1 / 2.24))
        self.check(find("ntire2021", tmp_path))

    def test_photos_of_power_2_2(self, tmp_path):
        for name, exposure in (("a", 0.25), ("b", 1.0), ("c", 4.0)):
            self.png16(tmp_path / "1" / f"{name}.png", np.minimum(self.light * exposure, 1) ** (1 / 2.2))
            (tmp_path / "1" / f"{name}.png").rename(tmp_path / "1" / f"{name}.tif")
        save_light(tmp_path / "1" / "HDRImg.hdr", 3 * self.light)
        self.check(find("kalantari17", tmp_path))
