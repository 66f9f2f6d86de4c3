from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.batch.manifest import DONE, FAILED, Manifest, stamp
from hdrcli.errors import UnreadableInput, UnwritableOutput


def record(output: str = "a.exr", outcome: str = DONE, **changed: object) -> dict[str, object]:
    files = {"files": {output: [10, 1]}} if outcome == DONE else {"error": "oh"}
    source = {"input": "/in/a.jpg", "input_size": 5, "input_mtime_ns": 7, "input_sha256": "ab"}
    return {"output": output, "outcome": outcome, "recipe": "r", **source, **files, **changed}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "m.jsonl")


def test_what_it_says_last_counts(manifest: Manifest) -> None:
    manifest.append(record())
    manifest.append(record("b.exr"))
    manifest.append(record(files={"a.exr": [20, 2]}))
    manifest.append(record(outcome=FAILED, input_sha256=None, input_size=None))
    entries = manifest.entries()
    assert set(entries) == {"a.exr", "b.exr"}
    assert (entries["a.exr"].outcome, entries["a.exr"].sha256, entries["a.exr"].stamp) == (FAILED, None, None)
    assert entries["a.exr"].files == {"a.exr": ((20, 2), (10, 1))}
    assert (entries["b.exr"].outcome, entries["b.exr"].stamp, entries["b.exr"].recipe) == (DONE, (5, 7), "r")


@pytest.mark.parametrize("rest", [b'{"output": "b.e', b"\0\0\0\0", b"\xff\xfe", b"[1]\n", b'{"output": 1}\n'])
def test_a_line_that_was_cut_off(manifest: Manifest, rest: bytes) -> None:
    manifest.append(record())
    with manifest.path.open("ab") as file:
        file.write(rest)
    assert set(manifest.entries()) == {"a.exr"}
    manifest.append(record("c.exr"))
    assert set(manifest.entries()) == {"a.exr", "c.exr"}
    assert manifest.path.read_bytes().endswith(b"}\n")


def test_another_file(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("dear diary\n", encoding="utf-8")
    with pytest.raises(UnreadableInput, match="is no manifest"):
        Manifest(tmp_path / "m.jsonl").entries()


def test_places_that_can_hold_none(tmp_path: Path) -> None:
    for path in (tmp_path / "no" / "m.jsonl", tmp_path, Path("a\0b")):
        with pytest.raises(UnwritableOutput, match="can't be written"):
            Manifest(path)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name))
def test_any_name_passes_through(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    name = os.fsdecode(raw)
    manifest = Manifest(tmp_path_factory.mktemp("m") / "m.jsonl")
    manifest.append(record(name, input=name))
    ((output, entry),) = manifest.entries().items()
    manifest.close()
    assert (os.fsencode(output), os.fsencode(entry.input)) == (raw, raw)


def test_a_full_disk_takes_a_line_whole_or_not_at_all(tmp_path: Path) -> None:
    script = """
import resource, sys
from pathlib import Path
from hdrcli.batch.manifest import Manifest
from hdrcli.errors import UnwritableOutput
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
manifest = Manifest(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    for i in range(100):
        manifest.append({"output": f"{i}.exr", "outcome": "failed", "input": "x", "recipe": "r"})
except UnwritableOutput as error:
    print(len(manifest.entries()), error)
"""
    path = tmp_path / "m.jsonl"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["output"] for line in lines] == [f"{i}.exr" for i in range(len(lines))]
    assert done.stdout.startswith(f"{len(lines)} {path}: can't be written: ")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def _hold(path: str, name: str, pipe: object) -> None:
    with Manifest(Path(path)).claimed(name) as mine:
        pipe.send(mine)  # type: ignore[attr-defined]
        signal.pause()


def test_claims_hold_between_processes_and_end_with_them(manifest: Manifest) -> None:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(str(manifest.path), "a.exr", theirs), daemon=True)
    process.start()
    assert mine.recv() is True
    with manifest.claimed("a.exr") as had:
        assert not had
    with manifest.claimed("b.exr") as had:
        assert had
    manifest.append(record())  # the one lock does not wait for the other
    process.kill()
    process.join()
    with manifest.claimed("a.exr") as had:
        assert had


def _append(path: str, first: int, count: int) -> None:
    manifest = Manifest(Path(path))
    for number in range(first, first + count):
        manifest.append(record(f"{number}.exr", note="x" * (number % 700)))


def test_lines_of_many_processes_do_not_mix(manifest: Manifest) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append, args=(str(manifest.path), 300 * i, 300)) for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(manifest.entries()) == {f"{n}.exr" for n in range(900)}
    assert manifest.path.read_bytes().count(b"\n") == 900


def test_stamps(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert stamp(str(tmp_path / "a")) == (3, (tmp_path / "a").stat().st_mtime_ns)
    assert stamp(str(tmp_path / "b")) is None
    assert stamp("a\0b") is None
