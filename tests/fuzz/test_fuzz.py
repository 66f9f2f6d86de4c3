"""Spoiled files: every reader, and the program as a whole, bears them without a crash, a hang, noise or leftovers."""

from __future__ import annotations

import sys
from pathlib import Path

import hunt as hunting
import pytest
from corpus import all_formats, corpus
from hunt import hunt
from mutations import mutated

from hdrcli import formats

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc, limits of memory")

FEW, MANY = 60, 10_000  # files a reader
COMMANDS = (72, 1000)  # every format through every command three times, and often


@pytest.mark.parametrize("format", all_formats())
def test_samples_are_small_and_of_their_format(format: str) -> None:
    assert len(corpus(format)) >= 3
    for name, data in corpus(format).items():
        assert formats.module_for_name(format).matches(data[: formats.HEAD_BYTES]), name
        assert len(data) <= 1 << 15, name


@pytest.mark.parametrize("format", all_formats())
def test_mutations_are_the_same_each_time(format: str) -> None:
    files = [mutated(format, corpus(format), number) for number in range(50)]
    assert files == [mutated(format, dict(reversed(corpus(format).items())), number) for number in range(50)]
    assert len(set(files)) > 40


def test_a_few(tmp_path: Path) -> None:
    assert hunt("readers", 0, FEW * len(all_formats()), tmp_path) == []


def test_a_few_through_commands(tmp_path: Path) -> None:
    assert hunt("command", 0, COMMANDS[0], tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("format", all_formats())
def test_many(format: str, tmp_path: Path) -> None:
    assert hunt(format, 0, MANY, tmp_path) == []


@pytest.mark.slow
def test_many_through_commands(tmp_path: Path) -> None:
    assert hunt("command", *COMMANDS, tmp_path) == []


BAD_READER = """
import ctypes, os, sys, time
sys.path.insert(0, {here!r})
import numpy as np
import worker
from hdrcli.color import Transfer
from hdrcli.errors import UnreadableInput
from hdrcli.formats import png
from hdrcli.image import Image, Metadata

def linear(value, **metadata):
    return Image(np.full((2, 2, 3), value, np.float32), Transfer.LINEAR, metadata=Metadata(**metadata))

def fail(error):
    raise error

WAYS = [
    lambda path: linear(1.0),
    lambda path: fail(UnreadableInput("is damaged", where=path)),
    lambda path: os.write(1, b"chatter") and linear(1.0),
    lambda path: os.write(2, b"libnoise") and linear(1.0),
    lambda path: fail(UnreadableInput("is damaged")),
    lambda path: fail(UnreadableInput("is damaged: \\x1b[31m", where=path)),
    lambda path: fail(KeyError("odd")),
    lambda path: linear(np.inf),
    lambda path: linear(1.0, alpha=np.full((2, 2), 2, np.float32)),
    lambda path: linear(1.0, notes=("two\\nlines",)),
    lambda path: np.empty(2 << 30, np.uint8),
    lambda path: ctypes.string_at(0),
    lambda path: time.sleep(60),
    lambda path: linear(1.0),
]
calls = iter(range(int(sys.argv[2]), 99))
png.read = lambda path: WAYS[next(calls)](path)
worker.SECONDS = 1.0
worker.warm_up = lambda names: []
sys.exit(worker.main())
"""
FOUND = {
    2: "said to the terminal: 'chatter'",
    3: "said to the terminal: 'libnoise'",
    4: "not one line that names the file",
    6: "KeyError: 'odd'",
    7: "pixels are not finite",
    8: "alpha is not",
    9: "a note is not one line",
    10: "MemoryError",
    11: "the process ended with -11",
    12: "the process ended with 1: Timeout",
}


def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "bad_reader.py"
    script.write_text(BAD_READER.replace("{here!r}", repr(str(Path(__file__).parent))), encoding="utf-8")
    monkeypatch.setattr(hunting, "WORKER", script)
    lines = hunt("png", 0, 14, tmp_path)
    found = {int(line.split()[3].rstrip(":")): line.partition(": ")[2] for line in lines}
    assert set(found) == set(FOUND), lines
    for number, words in FOUND.items():
        assert words in found[number]
        assert (tmp_path / f"png-{number}.bin").read_bytes() == mutated("png", corpus("png"), number)
