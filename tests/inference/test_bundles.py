"""Bundles: found by name in a fixed order, checked before they run."""

import os
import shutil
import tomllib

import pytest

from hdrcli.errors import MissingModel, ModelError
from hdrcli.inference import bundles


@pytest.fixture
def bundle_folder(exported_bundle, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(exported_bundle, tmp_path / "mine")


@pytest.fixture(autouse=True)
def _no_models_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(bundles.ENVIRONMENT, raising=False)


def edit_card(folder, old, new):
    card = folder / bundles.CARD
    text = card.read_text(encoding="utf-8")
    assert old in text
    card.write_text(text.replace(old, new), encoding="utf-8")


class TestFinding:
    def test_the_bundle_that_comes_along_is_found_by_name(self):
        assert bundles.find("default") == bundles.packaged_folder() / "default"

    def test_named_folders_come_first_then_the_users_then_ours(self, monkeypatch, tmp_path, bundle_folder):
        first, second = tmp_path / "a", tmp_path / "b"
        monkeypatch.setenv(bundles.ENVIRONMENT, os.pathsep.join(map(str, (first, second))))
        folders = bundles.search_folders()
        assert folders[:2] == (first, second)
        assert folders[2].is_relative_to(tmp_path / "data")
        assert folders[3:] == (bundles.packaged_folder(),)
        for folder in reversed(folders[:3]):
            shutil.copytree(bundle_folder, folder / "default")
            assert bundles.find("default") == folder / "default"
            assert [p.name for p in bundles.installed()].count("default") == 1

    def test_a_path_is_taken_as_it_is(self, bundle_folder):
        assert bundles.find(str(bundle_folder)) == bundle_folder

    @pytest.mark.parametrize("name", ["nothing", "../default", "/nowhere/x", "", "."])
    def test_what_is_not_there_is_missing(self, name):
        with pytest.raises(MissingModel, match="default"):
            bundles.find(name)


class TestReading:
    def test_the_card_says_what_the_generator_takes_and_gives(self, exported_bundle):
        bundle = bundles.read(exported_bundle)
        spec = bundle.spec()
        assert (bundle.name, spec.name, spec.version) == ("exported", "exported", bundle.version)
        assert spec.inputs == ("ldr", "clip")
        assert (spec.working_size, spec.multiple, spec.peak) == (64, 32, 256.0)
        assert spec.network["width"] == 4

    @pytest.mark.parametrize("text", ["", "format = 1", "format = 1\n[files]\n", "no toml at all [", "\x00\xff"])
    def test_a_damaged_card_is_refused(self, bundle_folder, text):
        (bundle_folder / bundles.CARD).write_bytes(text.encode("latin-1"))
        with pytest.raises(ModelError, match=r"model\.toml"):
            bundles.read(bundle_folder)

    def test_a_card_of_another_format_is_refused(self, bundle_folder):
        edit_card(bundle_folder, "format = 1", "format = 2")
        with pytest.raises(ModelError, match="format 2"):
            bundles.read(bundle_folder)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"ldr",', '"depth",'),
            ("peak = 256.0", "peak = -1"),
            ("working_size = 64", "working_size = 0"),
            ("working_size = 64", "working_size = 100000"),
            ("multiple = 32", 'multiple = "many"'),
            ('"g_y.onnx" = "', '"../g_y.onnx" = "'),
        ],
    )
    def test_values_that_make_no_sense_are_refused(self, bundle_folder, old, new):
        edit_card(bundle_folder, old, new)
        with pytest.raises(ModelError):
            bundles.read(bundle_folder)

    def test_a_role_it_lacks_is_named(self, exported_bundle):
        with pytest.raises(MissingModel, match="g_x"):
            bundles.read(exported_bundle).file("g_x")


class TestVerifying:
    def test_a_whole_bundle_passes(self, exported_bundle):
        bundles.verify(bundles.read(exported_bundle))

    def test_one_changed_bit_is_noticed(self, bundle_folder):
        weights = bundle_folder / "g_y.onnx"
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        with pytest.raises(ModelError, match=r"g_y\.onnx.*SHA-256"):
            bundles.verify(bundles.read(bundle_folder))

    def test_a_missing_file_is_noticed(self, bundle_folder):
        (bundle_folder / "g_y.onnx").unlink()
        with pytest.raises(ModelError, match=r"g_y\.onnx"):
            bundles.verify(bundles.read(bundle_folder))


def test_our_own_bundle_is_whole_and_says_where_it_comes_from():
    bundle = bundles.read(bundles.find("default"))
    bundles.verify(bundle)
    card = tomllib.loads((bundle.folder / bundles.CARD).read_text(encoding="utf-8"))
    assert {"version", "architecture", "parameters"} <= set(card["model"])
    assert {"inputs", "peak", "working_size", "multiple"} <= set(card["domain"])
    assert {"recipe", "seed", "options"} <= set(card["training"])
    assert card["data"]["licences"]
    assert all(entry["licence"] and entry["names"] for entry in card["data"]["licences"])
