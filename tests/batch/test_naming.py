from __future__ import annotations

from pathlib import Path

import pytest

from hdrcli.batch.naming import Item, check_template, items
from hdrcli.batch.sources import Source
from hdrcli.errors import UsageError

OUT = "out"


def test_names() -> None:
    made = items([Source("in/a.b.jpg", "x/a.b.jpg"), Source("in/raw", "raw")], OUT, ".exr")
    assert made == [Item("in/a.b.jpg", ("x/a.b.exr",)), Item("in/raw", ("raw.exr",))]


def test_templates() -> None:
    (made,) = items([Source("a.jpg", "x/a.jpg")], OUT, ".exr", template="{type}/{stem}_{model}.{ext}", model="my/net")
    assert made.outputs == ("x/jpg/a_my_net.exr",)
    (made,) = items([Source("a.jpg", "a.jpg")], OUT, ".exr", template="{name}.{ext}", preview=".preview.png")
    assert made.outputs == ("a.jpg.exr", "a.jpg.preview.png")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{stem}", "does not end in"),
        ("{stem}.exr", "does not end in"),
        ("x.{ext}", "one name"),
        ("{stm}.{ext}", "no field {stm}"),
        ("{stem:>8}.{ext}", "no format"),
        ("{stem!r}.{ext}", "no format"),
        ("{stem.__class__}.{ext}", "no field"),
        ("{0}.{ext}", "no field"),
        ("../{stem}.{ext}", "leads out"),
        ("a/../../{stem}.{ext}", "leads out"),
        ("/tmp/{stem}.{ext}", "leads out"),
        ("{stem\0}.{ext}", "no field"),
        ("a\0{stem}.{ext}", "leads out"),
        ("{stem", "expected '}'"),
    ],
)
def test_templates_that_make_no_names(template: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_template(template)
    assert words in str(caught.value)


def test_one_stem_with_two_extensions() -> None:
    sources = [Source("in/a.jpg", "a.jpg"), Source("in/a.png", "a.png"), Source("in/b.jpg", "b.jpg")]
    with pytest.raises(UsageError, match=r"a\.exr: would come from both in/a\.jpg and in/a\.png.*\{name\}"):
        items(sources, OUT, ".exr")
    assert len(items(sources, OUT, ".exr", template="{name}.{ext}")) == 3


def test_clashes_can_be_left_out() -> None:
    sources = [Source("in/a.jpg", "a.jpg"), Source("in/a.png", "a.png"), Source("in/a.gif", "a.gif")]
    heard: list[UsageError] = []
    assert [item.source for item in items(sources, OUT, ".exr", clash=heard.append)] == ["in/a.jpg"]
    assert len(heard) == 1
    assert "1 more such" in str(heard[0])


def test_a_preview_in_the_way() -> None:
    sources = [Source("a.jpg", "a.jpg"), Source("a.preview.jpg", "a.preview.jpg")]
    assert len(items(sources, OUT, ".png")) == 2
    with pytest.raises(UsageError, match=r"a\.preview\.png: would come from both"):
        items(sources, OUT, ".png", preview=".preview.png")


def test_sources_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    source = Source(str(tmp_path / "a.tif"), "a.tif")
    for folder in (tmp_path, tmp_path / "link"):
        with pytest.raises(UsageError, match="is one of the sources, it would be lost"):
            items([source], str(folder), ".tif")
    assert items([source], str(tmp_path / "out"), ".tif")
