"""Checkpoints: whole or not there, and no code in them."""

import errno
import os

import pytest
import torch

from hdrcli.errors import ModelError, TrainingError
from hdrcli.training import checkpoint

STATE = {"description": {"recipe": "x"}, "networks": {}, "ema": {"g_y.w": torch.arange(3.0)}, "step": 7}


def test_what_was_saved_is_loaded(tmp_path):
    checkpoint.save(STATE, tmp_path)
    state = checkpoint.load(tmp_path / checkpoint.CHECKPOINT)
    assert state["step"] == 7
    assert torch.equal(state["ema"]["g_y.w"], torch.arange(3.0))
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


# RuntimeError is what torch's writer makes of a full disk
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("unexpected pos 704 vs 598")])
def test_a_failed_save_leaves_the_older_one_and_nothing_else(tmp_path, monkeypatch, fault):
    checkpoint.save(STATE, tmp_path)
    before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()

    def half_written(state, file):
        file.write(b"half")
        raise fault

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(TrainingError, match="free space"):
        checkpoint.save(STATE | {"step": 8}, tmp_path)
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


def test_an_interrupted_save_leaves_the_older_one_and_nothing_else(tmp_path, monkeypatch):
    checkpoint.save(STATE, tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(STATE | {"step": 8}, tmp_path)
    assert checkpoint.load(tmp_path / checkpoint.CHECKPOINT)["step"] == 7
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


def test_a_folder_that_is_gone_is_a_training_error(tmp_path):
    with pytest.raises(TrainingError, match="checkpoint"):
        checkpoint.save(STATE, tmp_path / "gone")


@pytest.mark.parametrize("content", [b"", b"\x80\x04 no pickle", b"PK\x03\x04 no zip"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.pt"):
        checkpoint.load(tmp_path / "a.pt")


def test_code_is_refused_and_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(STATE | {"networks": Trap()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError):
        checkpoint.load(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("state", [{"step": 1}, [1, 2]])
def test_other_peoples_checkpoints_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="not a checkpoint of hdrcli"):
        checkpoint.load(tmp_path / "other.pt")
