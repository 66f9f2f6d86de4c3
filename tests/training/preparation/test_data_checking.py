"""What hdrcli data check says of files and pairs."""

import numpy as np
import OpenEXR
import pytest
from paired_data import SCALE, photo_of, save_light, save_photo, scene, write_pair

from hdrcli import formats
from hdrcli.color import Transfer, luminance
from hdrcli.image import Image
from hdrcli.training.pairs import PairFile
from hdrcli.training.preparation.checking import check_file, check_pair, counted, duplicates, spread
from hdrcli.training.sources import SceneFile


def light_facts(path, light):
    return check_file(SceneFile(save_light(path, light)), "hdr")


def pair_facts(root, **options):
    ldr, hdr = write_pair(root, "one", 0, **options)
    return check_pair(PairFile(SceneFile(ldr), SceneFile(hdr)))


class TestFiles:
    def test_hdr_is_measured(self, tmp_path):
        light = scene(0)
        facts = light_facts(tmp_path / "a.exr", light)
        assert (facts.width, facts.height, facts.depth, facts.faults) == (96, 72, "float", ())
        y = luminance(light)
        assert facts.median == pytest.approx(np.median(y), rel=2e-3)
        assert facts.brightest == light.max()
        assert facts.stops == pytest.approx(np.log2(np.percentile(y, 99.9) / np.percentile(y, 0.1)), abs=0.05)
        assert len(facts.digest) == 64

    def test_photos_are_measured(self, tmp_path):
        codes = photo_of(scene(0))
        facts = check_file(SceneFile(save_photo(tmp_path / "a.png", codes)), "ldr")
        assert (facts.depth, facts.faults) == ("8 bit", ())
        assert facts.clipped == pytest.approx((codes >= 0.97 * 255).any(axis=2).mean())
        assert facts.median == pytest.approx(np.median(codes[..., 1]) / 255, abs=1 / 255)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda light: light * 5000 / light.max(), "its brightest value, 5000, is above 2^12"),
            (lambda light: np.minimum(light, np.median(light) * 3), "holds no light above white"),
            (lambda light: np.where(np.arange(72)[:, None, None] < 40, 0, light), "is black, at least half of it"),
            (lambda light: np.full_like(light, 0.5), "is of one colour throughout"),
            (lambda light: light - np.float32(0.1), "of its pixels have negative values"),
        ],
    )
    def test_what_training_would_stumble_over_is_named(self, tmp_path, change, words):
        facts = light_facts(tmp_path / "a.exr", change(scene(0)).astype(np.float32))
        assert any(words in fault for fault in facts.faults), facts.faults

    def test_values_that_are_not_finite_are_told(self, tmp_path):
        pixels = scene(0)
        pixels[:2], pixels[2, 0, 0] = np.nan, np.inf
        channels = {name: OpenEXR.Channel(np.ascontiguousarray(pixels[..., n])) for n, name in enumerate("RGB")}
        with OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, channels) as file:
            file.write(str(tmp_path / "a.exr"))
        faults = check_file(SceneFile(tmp_path / "a.exr"), "hdr").faults
        assert any("576 NaN values" in fault for fault in faults), faults
        assert any("1 infinite value" in fault for fault in faults), faults

    @pytest.mark.parametrize(("domain", "words"), [("hdr", "display-encoded (SRGB), not HDR"), ("ldr", "is HDR")])
    def test_files_of_the_other_domain(self, tmp_path, domain, words):
        made = save_photo if domain == "hdr" else save_light
        path = made(tmp_path / ("a.png" if domain == "hdr" else "a.exr"), photo_of(scene(0)) if domain == "hdr" else scene(0))
        facts = check_file(SceneFile(path), domain)
        assert len(facts.faults) == 1
        assert words in facts.faults[0]

    @pytest.mark.parametrize("content", [b"", b"\x76\x2f\x31\x01 no more", None])
    def test_files_that_can_not_be_read(self, tmp_path, content):
        path = tmp_path / "a.exr"
        if content is not None:
            path.write_bytes(content)
        facts = check_file(SceneFile(path), "hdr")
        assert len(facts.faults) == 1
        assert facts.width is None

    def test_photos_of_one_colour(self, tmp_path):
        facts = check_file(SceneFile(save_photo(tmp_path / "a.png", np.full((9, 9, 3), 7, np.uint8))), "ldr")
        assert facts.faults == ("is of one colour throughout",)


class TestPairs:
    def test_a_pair_that_fits(self, tmp_path):
        facts = pair_facts(tmp_path)
        assert facts.faults == facts.ldr.faults == facts.hdr.faults == ()
        assert facts.likeness > 0.95
        assert facts.stops_above == pytest.approx(np.log2(SCALE), abs=0.03)

    @pytest.mark.parametrize(
        ("turn", "words"),
        [
            (lambda light: light[::-1], "fit if the HDR is upside down (hdrcli data align"),
            (lambda light: light[::2, ::2], "have 96 x 72 and 48 x 36 pixels (hdrcli data align"),
            (lambda light: SCALE * scene(4), "show different things"),
            (lambda light: np.minimum(light, 0.9 * SCALE), "the photo clips, but the HDR holds no light above its white"),
        ],
    )
    def test_pairs_that_do_not(self, tmp_path, turn, words):
        facts = pair_facts(tmp_path, turn=turn)
        assert len(facts.faults) == 1
        assert words in facts.faults[0]

    def test_16_bit_photos_and_half_floats(self, tmp_path):
        codes = photo_of(scene(0)).astype(np.uint16) * 257
        formats.write(Image(codes, Transfer.SRGB), tmp_path / "a.png")
        formats.write(Image(scene(0).astype(np.float16), Transfer.LINEAR), tmp_path / "a.exr")
        facts = check_pair(PairFile(SceneFile(tmp_path / "a.png"), SceneFile(tmp_path / "a.exr")))
        assert (facts.ldr.depth, facts.hdr.depth, facts.faults) == ("16 bit", "half", ())
        assert facts.stops_above == pytest.approx(0, abs=0.03)

    def test_a_partner_that_can_not_be_read(self, tmp_path):
        ldr, hdr = write_pair(tmp_path, "one", 0)
        hdr.write_bytes(b"nothing")
        facts = check_pair(PairFile(SceneFile(ldr), SceneFile(hdr)))
        assert facts.likeness is None
        assert facts.ldr.faults == ()
        assert len(facts.hdr.faults) == 1


def test_duplicates_are_found_by_content(tmp_path):
    codes = photo_of(scene(0))
    paths = [save_photo(tmp_path / f"{n}.png", c) for n, c in (("a", codes), ("b", codes), ("c", codes[::-1]))]
    facts = [check_file(SceneFile(p), "ldr") for p in (*paths, paths[0])]
    assert duplicates(facts) == ((paths[0], paths[1]),)


def test_counts_and_spreads():
    assert counted(["a", "b", "a", None]) == "2 of a, 1 of b"
    assert counted([str(n) for n in range(7)]).endswith("and 2 more kinds")
    assert spread([3.0, None, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    assert spread([None]) is None
