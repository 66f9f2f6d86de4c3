"""Checkpoints: whole or not there, and no code in them."""

import errno
import hashlib
import json
import os

import numpy as np
import pytest
import torch

from hdrcli.errors import ModelError, TrainingError
from hdrcli.inference import torch_backend
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


class Limited:
    """A file on a disk that takes so many bytes more."""

    def __init__(self, file, free):
        self.file, self.free = file, free

    def write(self, data):
        self.free -= len(data)
        if self.free < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)


@pytest.mark.parametrize("free", [0, 300, 2000])
def test_the_reason_is_the_systems_not_torchs(tmp_path, free):
    """Torch says "unexpected pos 704 vs 598" where the disk is full."""
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="No space left on device"):
        checkpoint._write(STATE | {"more": torch.zeros(1000)}, Limited(file, free))


def test_an_older_checkpoint_is_told_of_where_there_is_one(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError) as error:
        checkpoint.save(STATE, tmp_path)
    assert error.value.remedy == "check free space and rights"
    monkeypatch.undo()
    checkpoint.save(STATE, tmp_path)
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainingError, match="the older checkpoint is intact"):
        checkpoint.save(STATE, tmp_path)


def test_what_a_killed_process_left_goes_with_the_next_save(tmp_path):
    (tmp_path / ".checkpoint-abc").write_bytes(b"half")
    checkpoint.save(STATE, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]


@pytest.mark.parametrize("shard_mib", [None, 1 / 128])
def test_generators_alone_can_be_used_and_exported(trained_run, tmp_path, shard_mib):
    from hdrcli.training.export import write_weights

    state = checkpoint.load_run(trained_run)
    kept = checkpoint.save_generators(state, tmp_path, shard_mib)
    assert kept == tmp_path / torch_backend.GENERATORS
    sizes = [p.stat().st_size for p in kept.iterdir()]
    assert sum(sizes) < (trained_run / checkpoint.CHECKPOINT).stat().st_size / 2
    if shard_mib is None:
        assert [p.name for p in kept.iterdir()] == [checkpoint.CHECKPOINT]
    else:
        assert max(p.stat().st_size for p in kept.glob("*.pt")) <= shard_mib * 2**20
    given = {name: np.full((1, 3, 32, 32), 0.5, np.float32) for name in ("ldr", "clip")}
    whole = torch_backend.load(trained_run, "cpu")(given)
    for folder in (kept, tmp_path):  # by their folder's name, or the run's
        np.testing.assert_array_equal(torch_backend.load(folder, "cpu")(given), whole)
    write_weights(tmp_path)
    np.testing.assert_array_equal(torch_backend.load(tmp_path / "g_y.safetensors", "cpu")(given), whole)
    checkpoint.save(STATE, tmp_path)
    write_weights(kept)
    np.testing.assert_array_equal(torch_backend.load(kept / "g_y.safetensors", "cpu")(given), whole)


def test_they_are_forgotten_when_a_checkpoint_is_as_far(tmp_path):
    kept = checkpoint.save_generators(STATE, tmp_path, 1e-4)
    checkpoint.forget_generators(tmp_path, 6)
    assert checkpoint.load_run(kept)["step"] == 7
    checkpoint.forget_generators(tmp_path, 7)
    assert list(tmp_path.iterdir()) == []
    checkpoint.forget_generators(tmp_path, 7)
    kept = checkpoint.save_generators(STATE, tmp_path)
    (kept / checkpoint.CHECKPOINT).write_bytes(b"half")  # somebody may still want to look at it
    (kept / "bundle").mkdir()
    checkpoint.forget_generators(tmp_path, 7)
    assert {p.name for p in kept.iterdir()} == {checkpoint.CHECKPOINT, "bundle"}


@pytest.mark.skipif(os.name == "nt", reason="no such rights")
@pytest.mark.parametrize("shard_mib", [None, 1e-4])
@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o007, 0o660)])
def test_who_may_read_them_is_for_the_umask_to_say(tmp_path, shard_mib, mask, rights):
    before = os.umask(mask)
    try:
        checkpoint.save(STATE, tmp_path, shard_mib)
    finally:
        os.umask(before)
    found = [p.stat().st_mode & 0o777 for p in tmp_path.iterdir()]
    assert found == [rights] * (1 if shard_mib is None else len(found))
    assert len(found) == 1 or shard_mib


def test_generators_that_do_not_fit_either_leave_nothing(tmp_path, monkeypatch):
    def full(state, file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    assert checkpoint.save_generators(STATE, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


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


class TestPieces:
    state = STATE | {"networks": {"w": torch.arange(30000.0)}}

    def save(self, folder, step=7):
        checkpoint.save(self.state | {"step": step}, folder, 0.03)
        return json.loads((folder / checkpoint.MANIFEST).read_text(encoding="utf-8"))

    def test_are_no_larger_than_told_and_make_the_whole(self, tmp_path):
        manifest = self.save(tmp_path)
        assert len(manifest["pieces"]) == 4
        for i, piece in enumerate(manifest["pieces"]):
            path = tmp_path / piece["file"]
            assert path.name.startswith(f"checkpoint-{i:03}-of-004-")
            assert path.stat().st_size == piece["bytes"] <= 0.03 * 2**20
            assert hashlib.sha256(path.read_bytes()).hexdigest() == piece["sha256"]
        assert {p.name for p in tmp_path.iterdir()} == {p["file"] for p in manifest["pieces"]} | {checkpoint.MANIFEST}
        assert torch.equal(checkpoint.load_run(tmp_path)["networks"]["w"], torch.arange(30000.0))
        assert checkpoint.exists(tmp_path)

    def test_older_pieces_go_when_the_new_ones_are_there(self, tmp_path):
        self.save(tmp_path)
        names = {p["file"] for p in self.save(tmp_path, 8)["pieces"]}
        assert {p.name for p in tmp_path.iterdir()} == names | {checkpoint.MANIFEST}
        assert checkpoint.load_run(tmp_path)["step"] == 8

    def test_either_form_takes_the_place_of_the_other(self, tmp_path):
        checkpoint.save(self.state, tmp_path)
        self.save(tmp_path, 8)
        assert not (tmp_path / checkpoint.CHECKPOINT).exists()
        assert checkpoint.load_run(tmp_path)["step"] == 8
        checkpoint.save(self.state | {"step": 9}, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == [checkpoint.CHECKPOINT]
        assert checkpoint.load_run(tmp_path)["step"] == 9

    @pytest.mark.parametrize("after", range(4))
    def test_a_disk_that_is_full_at_any_piece_leaves_the_older_ones(self, tmp_path, monkeypatch, after):
        before = self.save(tmp_path)
        there = {p.name for p in tmp_path.iterdir()}
        calls = []

        def full(descriptor):
            calls.append(descriptor)
            if len(calls) > after:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(TrainingError, match="free space"):
            self.save(tmp_path, 8)
        assert {p.name for p in tmp_path.iterdir()} == there
        assert json.loads((tmp_path / checkpoint.MANIFEST).read_text(encoding="utf-8")) == before
        assert checkpoint.load_run(tmp_path)["step"] == 7

    def test_a_missing_or_changed_piece_is_named(self, tmp_path):
        piece = tmp_path / self.save(tmp_path)["pieces"][1]["file"]
        content = piece.read_bytes()
        piece.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelError, match=r"checkpoint-001-of-004.*not the piece"):
            checkpoint.load_run(tmp_path)
        piece.unlink()
        with pytest.raises(ModelError, match=r"checkpoint-001-of-004.*can't be read"):
            checkpoint.load_run(tmp_path)

    @pytest.mark.parametrize("text", ["", "{}", '{"pieces": [{"file": 1}]}', "[]"])
    def test_a_manifest_that_is_none_is_refused(self, tmp_path, text):
        (tmp_path / checkpoint.MANIFEST).write_text(text, encoding="utf-8")
        with pytest.raises(ModelError, match="manifest"):
            checkpoint.load_run(tmp_path)

    def test_a_manifest_names_nothing_outside_of_its_folder(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "secret").write_bytes(b"1")
        entry = {"file": "../secret", "bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}
        (tmp_path / "run" / checkpoint.MANIFEST).write_text(json.dumps({"pieces": [entry]}), encoding="utf-8")
        with pytest.raises(ModelError, match="secret: can't be read"):
            checkpoint.load_run(tmp_path / "run")


class TestGeneratorsInPieces:
    """The torch backend takes a run's checkpoint in pieces as it takes a whole one."""

    @pytest.fixture
    def run(self, trained_run, tmp_path):
        checkpoint.save(checkpoint.load_run(trained_run), tmp_path / "run", 0.02)
        assert len(list((tmp_path / "run").glob("checkpoint-*.pt"))) > 2
        return tmp_path / "run"

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path):
        (tmp_path / "run").mkdir()

    @pytest.mark.parametrize("named", [".", checkpoint.MANIFEST])
    def test_they_give_what_the_whole_gives(self, run, trained_run, named):
        rng = np.random.default_rng(0)
        given = {name: rng.random((1, 3, 64, 32), dtype=np.float32) for name in ("ldr", "clip")}
        assert torch_backend.is_weights(run / named)
        pieces, whole = torch_backend.load(run / named, "cpu"), torch_backend.load(trained_run, "cpu")
        np.testing.assert_array_equal(pieces(given), whole(given))
        assert pieces.spec.name == "run"
        manifest = (run / checkpoint.MANIFEST).read_bytes()
        assert pieces.spec.digest == hashlib.sha256(manifest).hexdigest()[:16]

    def test_a_piece_that_is_missing_or_another_is_named(self, run):
        piece = sorted(run.glob("checkpoint-*.pt"))[1]
        content = piece.read_bytes()
        piece.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        with pytest.raises(ModelError, match=rf"{piece.name}: is not the piece"):
            torch_backend.load(run, "cpu")
        piece.unlink()
        with pytest.raises(ModelError, match=rf"{piece.name}: can't be read"):
            torch_backend.load(run, "cpu")

    def test_another_json_is_no_checkpoint(self, tmp_path):
        (tmp_path / "weights.json").write_text("{}", encoding="utf-8")
        assert not torch_backend.is_weights(tmp_path / "weights.json")
