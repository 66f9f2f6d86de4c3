"""The journal on a disk that is full: whole records or none, told once, and what comes later can be read."""

import errno
import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from hdrcli.errors import TrainingError
from hdrcli.training.logs import LOG_FILE, Journal, _Records, write_record


class Disk:
    """Files that take only so many bytes more, as a full disk does: a part of the last write, then an error."""

    def __init__(self, monkeypatch):
        self.free = None
        disk, real = self, _Records.__init__

        class Limited:
            def __init__(self, file):
                self.file = file

            def write(self, data):
                if disk.free == 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                done = self.file.write(data if disk.free is None else data[: disk.free])
                disk.free = None if disk.free is None else disk.free - done
                return done

            def __getattr__(self, name):
                return getattr(self.file, name)

        def opened(records, path):
            real(records, path)
            records._file = Limited(records._file)

        monkeypatch.setattr(_Records, "__init__", opened)


def test_what_does_not_fit_leaves_no_part_behind(tmp_path, monkeypatch):
    disk, lines = Disk(monkeypatch), []
    journal = Journal(tmp_path, report=lines.append)
    journal.event("first", 1)
    journal.curves(1, {"loss": 0.5, "other": 1.5})
    for free in (10, 10, 0):
        disk.free = free
        journal.event("lost", 2)
        disk.free = free
        journal.curves(2, {"loss": 0.4})
    disk.free = None
    journal.event("last", 3)
    journal.curves(3, {"loss": 0.3})
    journal.close()
    records = [json.loads(line) for line in (tmp_path / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    assert [r["event"] for r in records] == ["first", "last"]
    (file,) = tmp_path.glob("events.out.tfevents.*")
    assert [e.step for e in EventFileLoader(str(file)).Load() if e.summary.value] == [1, 3]
    (line,) = lines
    assert "No space left on device; training goes on" in line


def test_half_a_sheet_is_none(tmp_path, monkeypatch):
    from pathlib import Path

    journal = Journal(tmp_path, report=lambda line: None)
    write = Path.write_bytes

    def full(path, data):
        write(path, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    journal.sheet(1, np.zeros((4, 4, 3), np.uint8))
    monkeypatch.undo()
    assert list((tmp_path / "sheets").iterdir()) == []
    journal.sheet(2, np.zeros((4, 4, 3), np.uint8))
    journal.close()
    assert [p.name for p in (tmp_path / "sheets").iterdir()] == ["step-0000002.png"]


def test_a_folder_that_takes_nothing_is_an_error_at_the_start(tmp_path):
    (tmp_path / LOG_FILE).mkdir()
    with pytest.raises(TrainingError, match=rf"{LOG_FILE}: can't be written"):
        Journal(tmp_path)
    (tmp_path / "run.json").mkdir()
    with pytest.raises(TrainingError, match=r"run\.json: is a directory"):
        write_record(tmp_path, {})


@pytest.mark.parametrize("older", [False, True])
def test_of_a_record_that_does_not_fit_no_part_stays(tmp_path, monkeypatch, older):
    from pathlib import Path

    if older:
        write_record(tmp_path, {"loop": 1})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write = Path.write_text

    def full(path, text, **options):
        write(path, text[:5], **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(TrainingError, match=r"run\.json: can't be written: No space left on device \(check free space"):
        write_record(tmp_path, {"loop": 2}, 1 if older else None)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_inactive_it_writes_nothing(tmp_path):
    journal = Journal(tmp_path, active=False)
    journal.event("x", 1)
    journal.curves(1, {"loss": 1.0})
    journal.sheet(1, np.zeros((4, 4, 3), np.uint8))
    journal.close()
    assert list(tmp_path.iterdir()) == []
