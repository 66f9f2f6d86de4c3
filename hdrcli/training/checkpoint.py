"""Checkpoints: the training state, written whole or not at all, read without running code from it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from hdrcli.errors import ModelError, TrainingError

CHECKPOINT = "checkpoint.pt"


def save(state: dict[str, Any], folder: Path) -> None:
    """Write ``checkpoint.pt`` in the folder; an older one is replaced only when the new one is on the disk.

    Raises TrainingError if it can't be written (disk full, no rights).
    """
    target = folder / CHECKPOINT
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=".checkpoint-", dir=folder)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        temporary = None
    except (OSError, RuntimeError) as error:  # torch says RuntimeError when the disk is full
        fault = f"checkpoint can't be written: {getattr(error, 'strerror', None) or error}"
        remedy = "check free space and rights; an older checkpoint is intact"
        raise TrainingError(fault, where=target, remedy=remedy) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """A checkpoint file, on the CPU, with weights_only=True. Raises ModelError if it is damaged or not one of ours."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files: zip, pickle, runtime errors
        raise ModelError("is no readable checkpoint", where=path, remedy="delete it, or name another run") from error
    if not isinstance(state, dict) or not {"description", "networks", "ema", "step"} <= set(state):
        raise ModelError("is not a checkpoint of hdrcli", where=path, remedy="name a run folder that hdrcli train made")
    return state
