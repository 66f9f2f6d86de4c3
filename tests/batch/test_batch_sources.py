from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.batch.sources import Source, find, listed, read_list
from hdrcli.errors import MissingInput, UnreadableInput, UsageError

TAKES = frozenset({".jpg", ".png"})


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "a/2.PNG", "a/notes.txt", "a/.hidden.jpg", "a/b/3.jpg", "a/b/.thumbs/4.jpg", "c/1.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def places(*arguments: str, **options: object) -> dict[str, str]:
    return {found.path: found.place for found in find(arguments, takes=TAKES, **options)}  # type: ignore[arg-type]


def test_folders() -> None:
    assert places("a") == {"a/1.jpg": "1.jpg", "a/2.PNG": "2.PNG"}
    assert places("a", recursive=True) == {"a/1.jpg": "1.jpg", "a/2.PNG": "2.PNG", "a/b/3.jpg": "b/3.jpg"}
    assert places("a/", "c", recursive=True)["c/1.jpg"] == "1.jpg"


def test_files_are_taken_as_they_are_named() -> None:
    assert places("a/notes.txt", "nowhere/x.jpg") == {"a/notes.txt": "notes.txt", "nowhere/x.jpg": "x.jpg"}


def test_globs() -> None:
    assert places("*/1.jpg") == {"a/1.jpg": "a/1.jpg", "c/1.jpg": "c/1.jpg"}
    assert places("a/**/*.jpg") == {"a/1.jpg": "1.jpg", "a/b/3.jpg": "b/3.jpg"}
    assert places("[ac]") == {"a/1.jpg": "a/1.jpg", "a/2.PNG": "a/2.PNG", "c/1.jpg": "c/1.jpg"}
    with pytest.raises(MissingInput, match="no file matches"):
        places("*.gif")


def test_a_file_with_the_very_name_of_a_glob() -> None:
    Path("[ac]").write_bytes(b"x")
    assert places("[ac]") == {"[ac]": "[ac]"}


def test_base() -> None:
    assert places("a/b", "c/1.jpg", base="a") == {"a/b/3.jpg": "b/3.jpg", "c/1.jpg": "1.jpg"}
    assert places("a/1.jpg", "c/1.jpg", base=".") == {"a/1.jpg": "a/1.jpg", "c/1.jpg": "c/1.jpg"}


def test_none_comes_twice() -> None:
    assert list(places("a", "a/1.jpg", "./a/../a/1.jpg", "*/1.jpg")) == ["a/1.jpg", "a/2.PNG", "c/1.jpg"]


def test_outputs_among_the_sources_are_passed_over() -> None:
    assert places("a", recursive=True, skip="a/b") == {"a/1.jpg": "1.jpg", "a/2.PNG": "2.PNG"}
    assert places("a/**/*.jpg", skip="a/b") == {"a/1.jpg": "1.jpg"}


def test_circles_of_links_are_not_walked() -> None:
    Path("a/loop").symlink_to("../a", target_is_directory=True)
    Path("a/round.jpg").symlink_to("round.jpg")
    Path("a/gone.jpg").symlink_to("nowhere.jpg")
    Path("a/real.jpg").symlink_to("../c/1.jpg")
    assert set(places("a", recursive=True).values()) == {"1.jpg", "2.PNG", "b/3.jpg", "gone.jpg", "real.jpg", "round.jpg"}


def test_pipes_in_folders_are_passed_over() -> None:
    os.mkfifo("a/pipe.jpg")
    assert "a/pipe.jpg" not in places("a")


def test_nothing_to_convert() -> None:
    Path("empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: no picture.*--recursive"):
        places("empty")
    assert places("empty", "*.gif", empty=True) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list all")
def test_a_folder_that_may_not_be_listed() -> None:
    Path("c").chmod(0)
    try:
        with pytest.raises(UnreadableInput, match=r"c: can't be listed"):
            places("c")
    finally:
        Path("c").chmod(0o700)


def test_lists() -> None:
    names = ["a/1.jpg", "./a/1.jpg", "/elsewhere/1.jpg", "../x.jpg", "gone.jpg"]
    assert [s.place for s in listed(names)] == ["a/1.jpg", "1.jpg", "x.jpg", "gone.jpg"]
    assert list(listed(["a/b/3.jpg"], base="a")) == [Source("a/b/3.jpg", "b/3.jpg")]


def test_lines_and_nulls() -> None:
    assert list(read_list(io.BytesIO(b"a b.jpg\r\n\n\xff.jpg\nlast"), zeros=False)) == ["a b.jpg", "\udcff.jpg", "last"]
    assert list(read_list(io.BytesIO(b"a\nb.jpg\0\0c.jpg\0"), zeros=True)) == ["a\nb.jpg", "c.jpg"]
    with pytest.raises(UsageError, match="-print0"):
        list(read_list(io.BytesIO(b"a.jpg\0b.jpg\0"), zeros=False))


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name)))
def test_any_name_passes_through_a_list(names: list[bytes]) -> None:
    stream = io.BytesIO(b"".join(name + b"\0" for name in names))
    assert [os.fsencode(name) for name in read_list(stream, zeros=True)] == names
