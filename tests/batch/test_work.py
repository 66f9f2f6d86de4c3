"""One file in this process, without workers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from photos import batch, photo, recipe, tree

import hdrcli
from hdrcli import formats
from hdrcli.batch.manifest import DONE, FAILED, Manifest
from hdrcli.batch.planning import Task
from hdrcli.batch.recipe import Recipe
from hdrcli.batch.running import prepared
from hdrcli.batch.staging import FOLDER, commit, make_folder, staging
from hdrcli.batch.work import BYTES_PER_PIXEL, CURRENT, Outcome, Setup, perform
from hdrcli.color import Transfer
from hdrcli.conversion import TonemapOptions, expand, tonemap
from hdrcli.errors import OutputExists, UnwritableOutput
from hdrcli.image import Image


class Bench:
    """A source folder, an output folder, and a way to do one file."""

    def __init__(self, root: Path) -> None:
        self.source, self.out, self.asked = root / "in", root / "out", [0]
        self.source.mkdir()
        self.out.mkdir()
        self.manifest = Manifest(self.out / "hdrcli-batch.jsonl")

    def task(self, name: str, made: Recipe | None = None, **rules: bool) -> Task:
        (task,) = prepared(batch([self.source / name], self.out, made, **rules)).tasks
        return task

    def do(self, task: Task, made: Recipe | None = None) -> Outcome:
        with staging(self.out, self.manifest) as stage:
            setup = Setup(str(self.out), str(stage), str(self.manifest.path), made or recipe())
            outcome = perform(task, setup, self.manifest, self.asked.append)
            assert {p.name for p in stage.iterdir()} == {"alive"}
        assert not (self.out / FOLDER).exists()
        return outcome

    def __call__(self, name: str, made: Recipe | None = None, **rules: bool) -> Outcome:
        return self.do(self.task(name, made, **rules), made)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_photo(bench: Bench) -> None:
    source = photo(bench.source / "a.png")
    outcome = bench("a.png")
    assert (outcome.what, outcome.source, outcome.output) == (DONE, str(source), "a.exr")
    image = hdrcli.read(bench.out / "a.exr")
    assert np.array_equal(image.pixels, expand(hdrcli.read(source), recipe().expand).image.pixels)
    (entry,) = bench.manifest.entries().values()
    found = (bench.out / "a.exr").stat()
    assert entry.files == {"a.exr": ((found.st_size, found.st_mtime_ns),)}
    assert (entry.recipe, entry.input, entry.sha256) == (recipe().digest, str(source), outcome.record["input_sha256"])
    assert (outcome.record["done"], outcome.record["model"], outcome.record["width"]) == ("expand", "linear", 24)
    assert bench.asked == [0, BYTES_PER_PIXEL * 24 * 16]
    assert tree(bench.out) == {"a.exr", "hdrcli-batch.jsonl"}


def test_light(bench: Bench) -> None:
    light = np.random.default_rng(0).random((8, 12, 3), np.float32) * 4
    hdrcli.write(Image(light, Transfer.LINEAR), bench.source / "a.exr")
    made = recipe(".png", tonemap=TonemapOptions(operator="agx"), resize="6")
    assert bench("a.exr", made).what == DONE
    result = hdrcli.read(bench.out / "a.png")
    assert (result.width, result.height) == (6, 4)
    whole = recipe(".png", tonemap=TonemapOptions(operator="agx"))
    assert bench("a.exr", whole).what == DONE  # another recipe replaces what is its own
    expected = tonemap(hdrcli.read(bench.source / "a.exr"), whole.tonemap).pixels
    assert np.array_equal(hdrcli.read(bench.out / "a.png").pixels, expected)


def test_each_file_decides_where_the_format_holds_both(bench: Bench) -> None:
    photo(bench.source / "a.png")
    hdrcli.write(Image(np.ones((4, 4, 3), np.float32), Transfer.LINEAR), bench.source / "b.exr")
    made = recipe(".tif", tonemap=TonemapOptions(operator="agx"))
    assert bench("a.png", made).record["done"] == "expand"
    assert bench("b.exr", made).record["done"] == "tonemap"
    assert hdrcli.read(bench.out / "a.tif").is_hdr
    assert not hdrcli.read(bench.out / "b.tif").is_hdr


def test_a_preview_beside_it(bench: Bench) -> None:
    photo(bench.source / "a.png")
    made = recipe(preview=True, strip="all")
    (item,) = batch([bench.source / "a.png"], bench.out, made).items
    task = Task(item.source, ("a.exr", "a.preview.png"), (None, None), (False, False))
    assert bench.do(task, made).what == DONE
    assert tree(bench.out) == {"a.exr", "a.preview.png", "hdrcli-batch.jsonl"}
    (entry,) = bench.manifest.entries().values()
    assert set(entry.files) == {"a.exr", "a.preview.png"}


def test_wrong_kinds(bench: Bench) -> None:
    photo(bench.source / "a.png")
    hdrcli.write(Image(np.ones((4, 4, 3), np.float32), Transfer.LINEAR), bench.source / "b.exr")
    assert "a.png: is LDR already" in bench("a.png", recipe(".jpg")).record["error"]
    assert "b.exr: is HDR already" in bench("b.exr").record["error"]
    assert tree(bench.out) == {"hdrcli-batch.jsonl"}


def test_bad_sources(bench: Bench) -> None:
    whole = photo(bench.source / "whole.jpg").read_bytes()
    faults = {
        "gone.png": (None, "no such file"),
        "empty.png": (b"", "is empty"),
        "text.png": (b"To whom it may concern", "not an image"),
        "half.jpg": (whole[: len(whole) // 2], "ends early"),
        "heic.png": (b"\0\0\0\x18ftypheic", "HEIC"),
    }
    for name, (content, words) in faults.items():
        if content is not None:
            (bench.source / name).write_bytes(content)
        outcome = bench(name)
        assert (outcome.what, outcome.stop, outcome.trace) == (FAILED, False, None)
        assert words in outcome.record["error"], outcome.record
        assert str(bench.source / name) in outcome.record["error"]
    (bench.source / "round.png").symlink_to("round.png")
    assert "round.png" in bench("round.png").record["error"]
    assert {entry.outcome for entry in bench.manifest.entries().values()} == {FAILED}
    assert tree(bench.out) == {"hdrcli-batch.jsonl"}


def test_a_bug_is_one_files_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(bench.source / "a.png")

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(hdrcli.conversion, "expand", broken)
    outcome = bench("a.png")
    assert outcome.record["error"].endswith("a.png: internal error: ZeroDivisionError: by zero (report it)")
    assert outcome.trace is not None
    assert "in broken" in outcome.trace


def test_lack_of_memory_is_one_files_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(bench.source / "a.png")
    monkeypatch.setattr(hdrcli.conversion, "expand", lambda *_: (_ for _ in ()).throw(MemoryError()))
    assert "a.png: not enough memory" in bench("a.png").record["error"]


def test_somebody_elses_file_stays(bench: Bench) -> None:
    photo(bench.source / "a.png")
    (bench.out / "a.exr").write_bytes(b"precious")
    assert "a.exr: exists already (use --overwrite" in bench("a.png").record["error"]
    assert (bench.out / "a.exr").read_bytes() == b"precious"
    assert bench("a.png", overwrite=True).what == DONE


def test_what_was_edited_since_stays(bench: Bench) -> None:
    photo(bench.source / "a.png")
    bench("a.png")
    (bench.out / "a.exr").write_bytes(b"painted over")
    photo(bench.source / "a.png", 1)
    assert "exists already" in bench("a.png").record["error"]
    assert (bench.out / "a.exr").read_bytes() == b"painted over"


def test_what_appears_meanwhile_stays(bench: Bench) -> None:
    photo(bench.source / "a.png")
    task = bench.task("a.png")
    (bench.out / "a.exr").write_bytes(b"precious")
    outcome = bench.do(task)
    assert (outcome.what, (bench.out / "a.exr").read_bytes()) == (FAILED, b"precious")


def test_what_another_run_has_made_meanwhile_is_left_to_it(bench: Bench) -> None:
    photo(bench.source / "a.png")
    task = bench.task("a.png")
    assert bench.do(task).what == DONE
    before = (bench.out / "a.exr").stat().st_mtime_ns
    assert bench.do(task).what == CURRENT
    assert (bench.out / "a.exr").stat().st_mtime_ns == before


def test_a_new_source_replaces_its_output(bench: Bench) -> None:
    photo(bench.source / "a.png")
    bench("a.png")
    (bench.out / "a.exr").chmod(0o640)
    photo(bench.source / "a.png", 1)
    assert bench("a.png").what == DONE
    expected = expand(hdrcli.read(bench.source / "a.png"), recipe().expand).image.pixels
    assert np.array_equal(hdrcli.read(bench.out / "a.exr").pixels, expected)
    assert (bench.out / "a.exr").stat().st_mode & 0o777 == 0o640


def test_a_touched_source_is_compared_by_content(bench: Bench) -> None:
    source = photo(bench.source / "a.png")
    bench("a.png")
    made = (bench.out / "a.exr").stat().st_mtime_ns
    os.utime(source, (1, 1))
    assert bench("a.png").what == CURRENT
    assert (bench.out / "a.exr").stat().st_mtime_ns == made
    assert prepared(batch([source], bench.out)).current == 1  # and the new date is on record


def test_a_source_that_is_still_being_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo(bench.source / "a.png")
    read = formats.read

    def slow(path: str | Path) -> Image:
        image = read(path)
        source.write_bytes(source.read_bytes() + b"more")
        return image

    monkeypatch.setattr(formats, "read", slow)
    assert "was written to while it was read" in bench("a.png").record["error"]


def test_killed_between_line_and_rename(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(bench.source / "a.png")
    bench("a.png")
    photo(bench.source / "a.png", 1)

    class Killed(BaseException):
        pass

    def kill(*arguments: object, **more: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("hdrcli.batch.work.commit", kill)
        with pytest.raises(Killed):
            bench("a.png")
    assert bench("a.png").what == DONE
    expected = expand(hdrcli.read(bench.source / "a.png"), recipe().expand).image.pixels
    assert np.array_equal(hdrcli.read(bench.out / "a.exr").pixels, expected)


def test_folders_that_vanish(bench: Bench, tmp_path: Path) -> None:
    photo(bench.source / "a.png")
    task = bench.task("a.png")
    with staging(bench.out, bench.manifest) as stage:
        setup = Setup(str(tmp_path / "gone"), str(stage), str(bench.manifest.path), recipe())
        outcome = perform(task, setup, bench.manifest, bench.asked.append)
    assert (outcome.what, outcome.stop) == (FAILED, True)
    assert "the output folder has vanished" in outcome.record["error"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG])
def test_full_disks_end_the_run(bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    from hdrcli.formats import exr

    def full(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    photo(bench.source / "a.png")
    monkeypatch.setattr(exr, "write", full)
    outcome = bench("a.png")
    assert outcome.what == FAILED
    assert f"a.exr: can't be written: {os.strerror(number)}" in outcome.record["error"]
    assert outcome.stop == (number != errno.EFBIG)  # a limit on single files may let smaller ones pass
    assert bool(bench.manifest.entries()) == (number == errno.EFBIG)


def test_a_missing_model_ends_the_run(bench: Bench) -> None:
    from hdrcli.conversion import ExpandOptions

    photo(bench.source / "a.png")
    task = bench.task("a.png")
    made = recipe()
    object.__setattr__(made, "expand", ExpandOptions(model="nowhere"))
    object.__setattr__(made, "digest", "r")
    outcome = bench.do(task, made)
    assert (outcome.what, outcome.stop) == (FAILED, True)


# -- staging -----------------------------------------------------------------------------------------------------------------


def test_folders_of_killed_runs_are_removed(bench: Bench) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from hdrcli.batch.manifest import Manifest
from hdrcli.batch.staging import staging
out = Path(sys.argv[1])
with staging(out, Manifest(out / "hdrcli-batch.jsonl")) as stage:
    (stage / "half.exr").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with staging(bench.out, bench.manifest) as mine:
        subprocess.run([sys.executable, "-c", script, str(bench.out)], check=False)
        assert len(list((bench.out / FOLDER).iterdir())) == 2
        (bench.out / FOLDER / "empty").mkdir()
        other = Manifest(bench.out / "other.jsonl")
        with staging(bench.out, other) as second:
            assert {p.name for p in (bench.out / FOLDER).iterdir()} == {mine.name, second.name}
        assert mine.is_dir()
    assert not (bench.out / FOLDER).exists()


def test_commit(tmp_path: Path) -> None:
    def staged(content: bytes) -> Path:
        path = tmp_path / "staged"
        path.write_bytes(content)
        return path

    commit(staged(b"1"), str(tmp_path / "a"), replace=False)
    with pytest.raises(OutputExists, match="has appeared meanwhile"):
        commit(staged(b"2"), str(tmp_path / "a"), replace=False)
    assert (tmp_path / "a").read_bytes() == b"1"
    (tmp_path / "link").symlink_to("a")
    commit(staged(b"3"), str(tmp_path / "link"), replace=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"3"
    with pytest.raises(UnwritableOutput, match="can't be written"):
        commit(staged(b"4"), str(tmp_path / "gone" / "a"), replace=False)


def test_commit_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "staged").write_bytes(b"1")
    commit(tmp_path / "staged", str(tmp_path / "a"), replace=False)
    (tmp_path / "staged").write_bytes(b"2")
    with pytest.raises(OutputExists):
        commit(tmp_path / "staged", str(tmp_path / "a"), replace=False)
    assert (tmp_path / "a").read_bytes() == b"1"


def test_other_disks_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "staged").write_bytes(b"1")
    with pytest.raises(UnwritableOutput, match="must be on its disk"):
        commit(tmp_path / "staged", str(tmp_path / "a"), replace=False)


def test_folders_are_made_below_the_output_folder_only(tmp_path: Path) -> None:
    make_folder(tmp_path, str(tmp_path / "a" / "b" / "c.exr"))
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(UnwritableOutput, match="has vanished"):
        make_folder(tmp_path / "gone", str(tmp_path / "gone" / "c.exr"))
    assert not (tmp_path / "gone").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableOutput):
        make_folder(tmp_path, str(tmp_path / "file" / "c.exr"))
