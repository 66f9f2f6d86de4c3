"""Bundles: found by name in a fixed order, checked before they run."""

import hashlib
import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

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

    def test_a_name_is_not_what_the_current_folder_calls_so(self, bundle_folder, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        ours = bundles.packaged_folder() / "default"
        Path("default").write_text("notes")
        assert bundles.find("default") == ours
        Path("default").unlink()
        bundle_folder.rename("default")
        assert bundles.find("default") == ours
        assert bundles.find("./default") == Path("default")
        assert bundles.find("default/") == Path("default")
        Path("default").rename("another")
        assert bundles.find("another") == Path("another")

    def test_the_folder_that_we_are_in_has_its_own_name(self, bundle_folder, monkeypatch):
        monkeypatch.chdir(bundle_folder)
        for name in (".", "g_y.onnx"):
            assert bundles.read(bundles.find(name)).name == "mine"

    def test_an_onnx_file_stands_for_its_bundle_and_nothing_else_does(self, bundle_folder):
        assert bundles.find(str(bundle_folder / "g_y.onnx")) == bundle_folder
        other = bundle_folder / "other.onnx"
        other.write_bytes(b"")
        with pytest.raises(ModelError, match=r"other\.onnx.*name the folder of its bundle"):
            bundles.find(str(other))
        (bundle_folder / bundles.CARD).unlink()
        with pytest.raises(ModelError, match="name the folder of its bundle"):
            bundles.find(str(bundle_folder / "g_y.onnx"))

    @pytest.mark.parametrize("name", ["nothing", "../default", "/nowhere/x", "", ".", "..", "n" * 300, "x/" + "n" * 300])
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
            ("working_size = 64", "working_size = inf"),
            ("working_size = 64", "working_size = true"),
            ("peak = 256.0", "peak = nan"),
            ("peak = 256.0", "peak = 1" + 400 * "0"),
            ('"ldr",', '["ldr"],'),
            ('"ldr",', r'"ldr\u001b[31m",'),
            ('"g_y.onnx" = "', '"../g_y.onnx" = "'),
            ('"g_y.onnx" = "', '"" = "'),
            ('"g_y.onnx" = "', '".." = "'),
            ('"g_y.onnx" = "', r'"\u0000" = "'),
            ('"g_y.onnx" = "', '"g_y.onnx" = "../'),
        ],
    )
    def test_values_that_make_no_sense_are_refused(self, bundle_folder, old, new):
        edit_card(bundle_folder, old, new)
        with pytest.raises(ModelError):
            bundles.read(bundle_folder)

    @pytest.mark.parametrize("table", bundles.TABLES)
    @pytest.mark.parametrize("value", [["g_y.onnx"], "text", 1, [{"a": 1}]])
    def test_what_should_be_a_table_and_is_none_is_refused(self, bundle_folder, table, value):
        card = bundle_folder / bundles.CARD
        card.write_text(tomli_w.dumps({**tomllib.loads(card.read_text(encoding="utf-8")), table: value}), encoding="utf-8")
        with pytest.raises(ModelError, match=f"model.toml.*{table}"):
            bundles.read(bundle_folder)

    def test_a_card_nested_without_end_is_refused(self, bundle_folder):
        (bundle_folder / bundles.CARD).write_text("a = " + 100000 * "[", encoding="utf-8")
        with pytest.raises(ModelError, match="can't be read"):
            bundles.read(bundle_folder)

    def test_the_digest_is_that_of_the_weights(self, exported_bundle):
        expected = hashlib.sha256((exported_bundle / "g_y.onnx").read_bytes()).hexdigest()
        assert bundles.read(exported_bundle).spec().digest == expected[:16]

    def test_a_role_it_lacks_is_named(self, exported_bundle):
        with pytest.raises(MissingModel, match="g_x"):
            bundles.read(exported_bundle).file("g_x")


PLACES = [
    *((table,) for table in ("format", *bundles.TABLES, "more")),
    *(("model", key) for key in ("version", "architecture", "parameters", "more")),
    *(("domain", key) for key in ("inputs", "working_size", "multiple", "peak")),
    *(("files", name) for name in ("g_y.onnx", "g_x.onnx", "../x", "")),
    *(("training", key) for key in ("recipe", "options")),
    ("network", "width"),
    ("data", "licences"),
    ("scores", "protocol"),
]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SINGLE = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.datetimes(), st.dates(), st.times(), st.just("ldr")
)
TOML_VALUES = st.recursive(
    SINGLE.filter(lambda v: v is not None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(PLACES), value=TOML_VALUES, gone=st.booleans())
def test_a_card_with_anything_anywhere_is_used_or_refused(exported_bundle, tmp_path_factory, place, value, gone):
    from hdrcli.cli import models

    card = tomllib.loads((exported_bundle / bundles.CARD).read_text(encoding="utf-8"))
    table = card
    for key in place[:-1]:
        table = table.setdefault(key, {})
    if gone:
        table.pop(place[-1], None)
    else:
        table[place[-1]] = value
    folder = tmp_path_factory.getbasetemp() / "odd"
    folder.mkdir(exist_ok=True)
    (folder / bundles.CARD).write_text(tomli_w.dumps(card), encoding="utf-8")
    try:
        bundle = bundles.read(folder)
    except ModelError:
        return
    assert bundle.spec().version == bundle.version
    assert bundle.file("g_y").parent == folder
    assert models._facts(bundle)["bytes"] == 0
    assert models._lines(bundle.card, "")
    assert json.dumps(bundle.card, default=models._json_text)


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
