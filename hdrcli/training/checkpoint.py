"""Checkpoints: the training state, written whole or not at all, read without running code from it.

One file, ``checkpoint.pt``; or, where files may not be large, pieces of a stated size (``checkpoint-000-of-003-1a2b3c4d.pt``,
the last part of the name from their content) and ``checkpoint.json``, which names them with their SHA-256. A manifest is
replaced only when all its pieces are on the disk, and the older ones go only after that.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hdrcli.errors import ModelError, TrainingError
from hdrcli.inference.torch_backend import CHECKPOINT, GENERATORS, MANIFEST, joined

_PIECES = "checkpoint-*-of-*-*.pt"
_TEMPORARY = ".checkpoint-"
_MIB = 1 << 20


def save(state: dict[str, Any], folder: Path, shard_mib: float | None = None) -> None:
    """Write the checkpoint in the folder; an older one is replaced only when the new one is on the disk.

    With ``shard_mib`` in pieces of at most so many MiB. Raises TrainingError if it can't be written (disk full, no rights).
    """
    try:
        if shard_mib is None:
            _save_whole(state, folder)
        else:
            _save_pieces(state, folder, max(1, round(shard_mib * _MIB)))
    except (OSError, RuntimeError) as error:
        fault = f"checkpoint can't be written: {getattr(error, 'strerror', None) or error}"
        remedy = "check free space and rights" + ("; the older checkpoint is intact" if exists(folder) else "")
        raise TrainingError(fault, where=folder / CHECKPOINT, remedy=remedy) from error


_KEPT = (
    *("description", "generator", "generators", "ema", "step", "elapsed", "seed", "history"),
    *("scenes", "photos", "pairs", "device", "torch"),
)


def save_generators(state: dict[str, Any], folder: Path, shard_mib: float | None = None) -> Path | None:
    """What of a state conversions and exports need, where the whole does not fit on the disk; None if this doesn't either.

    In a folder of its own, as a run's: what goes on training in this one neither reads nor removes it. Returns that folder.
    """
    target = folder / GENERATORS
    try:
        target.mkdir(exist_ok=True)
        save({key: state[key] for key in _KEPT if key in state} | {"networks": {}}, target, shard_mib)
    except (OSError, TrainingError):
        with suppress(OSError):
            target.rmdir()
        return None
    return target


def forget_generators(folder: Path, step: int) -> None:
    """Remove what :func:`save_generators` made, if it is no further than a checkpoint of this step, which holds it all."""
    target = folder / GENERATORS
    if not exists(target):
        return
    try:
        if load_run(target)["step"] > step:
            return
    except ModelError:  # not for us to judge
        return
    with suppress(OSError):
        for path in (target / MANIFEST, target / CHECKPOINT, *target.glob(_PIECES)):
            path.unlink(missing_ok=True)
        target.rmdir()


class _Witness(io.RawIOBase):
    """Writes elsewhere, and remembers the error of which torch makes a RuntimeError that gives no reason."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            return int(self._file.write(data))
        except OSError as error:
            self.error = self.error or error
            raise


def _write(state: dict[str, Any], file: Any) -> None:
    """Raises OSError or RuntimeError."""
    witness = _Witness(file)
    try:
        torch.save(state, witness)  # type: ignore[arg-type]
    except RuntimeError as error:
        raise (witness.error or error) from error
    if isinstance(file, io.BufferedWriter):
        _to_disk(file)


def _temporary(folder: Path) -> io.BufferedWriter:
    """A new file without a name that counts. Not tempfile's: those are for the user alone, whatever the umask says."""
    while True:
        try:
            return (folder / f"{_TEMPORARY}{os.urandom(6).hex()}").open("xb")
        except FileExistsError:
            continue


def _save_whole(state: dict[str, Any], folder: Path) -> None:
    temporary: Path | None = None
    try:
        with _temporary(folder) as file:
            temporary = Path(file.name)
            _write(state, file)
        temporary.replace(folder / CHECKPOINT)
        temporary = None
        (folder / MANIFEST).unlink(missing_ok=True)
        _sweep(folder, keep=set())
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


class _Pieces(io.RawIOBase):
    """A file to write into that goes on in a new one whenever ``size`` bytes are full."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.paths: list[Path] = []
        self.digests: list[str] = []
        self.lengths: list[int] = []
        self._file: BinaryIO | None = None
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            file = self._open()
            part = view[done : done + self.size - self.lengths[-1]]
            file.write(part)
            self._hash.update(part)
            self.lengths[-1] += len(part)
            done += len(part)
            if self.lengths[-1] == self.size:
                self.end_piece()
        return done

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = _temporary(self.folder)
            self.paths.append(Path(self._file.name))
            self.lengths.append(0)
            self._hash = hashlib.sha256()
        return self._file

    def end_piece(self) -> None:
        """Close the piece that is being written, if any."""
        if self._file is not None:
            _to_disk(self._file)
            self._file.close()
            self._file = None
            self.digests.append(self._hash.hexdigest())

    def drop(self) -> None:
        """Close and remove all that has no name yet."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        for path in self.paths:
            path.unlink(missing_ok=True)


def _save_pieces(state: dict[str, Any], folder: Path, size: int) -> None:
    pieces = _Pieces(folder, size)
    try:
        _write(state, pieces)
        pieces.end_piece()
        count = len(pieces.paths)
        names = [f"checkpoint-{i:03}-of-{count:03}-{digest[:8]}.pt" for i, digest in enumerate(pieces.digests)]
        for path, name in zip(pieces.paths, names, strict=True):
            path.replace(folder / name)
        entries = [
            {"file": name, "bytes": length, "sha256": digest}
            for name, length, digest in zip(names, pieces.lengths, pieces.digests, strict=True)
        ]
        manifest = {"format": 1, "step": state.get("step"), "pieces": entries}
        with _temporary(folder) as file:
            pieces.paths.append(Path(file.name))
            file.write((json.dumps(manifest, indent=1) + "\n").encode())
            _to_disk(file)
        pieces.paths[-1].replace(folder / MANIFEST)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        _sweep(folder, keep=set(names))
    finally:
        pieces.drop()


def _sweep(folder: Path, keep: set[str]) -> None:
    """Pieces that no manifest names any more, and what a killed process had not finished."""
    for path in (*folder.glob(_PIECES), *folder.glob(f"{_TEMPORARY}*")):
        if path.name not in keep:
            with suppress(OSError):
                path.unlink()


def exists(folder: Path) -> bool:
    """Does the folder hold a checkpoint, whole or in pieces?"""
    return (folder / CHECKPOINT).is_file() or (folder / MANIFEST).is_file()


def load_run(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run's folder, whole or in pieces: see :func:`load`."""
    return load(folder / (CHECKPOINT if (folder / CHECKPOINT).is_file() else MANIFEST))


def load(path: Path) -> dict[str, Any]:
    """A checkpoint file, or a manifest of pieces, on the CPU, with weights_only=True.

    Raises ModelError if it is damaged or not one of ours.
    """
    source: Path | io.BytesIO = joined(path) if path.suffix == ".json" else path
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files: zip, pickle, runtime errors
        raise ModelError("is no readable checkpoint", where=path, remedy="delete it, or name another run") from error
    if not isinstance(state, dict) or not {"description", "networks", "ema", "step"} <= set(state):
        raise ModelError("is not a checkpoint of hdrcli", where=path, remedy="name a run folder that hdrcli train made")
    return state
