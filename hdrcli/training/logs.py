"""What a run leaves behind beside its weights: run.json, log.jsonl, TensorBoard curves and sheets."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hdrcli import formats
from hdrcli.errors import TrainingError, UnwritableOutput

RUN_FILE = "run.json"
LOG_FILE = "log.jsonl"
SHEETS = "sheets"
_PACKAGES = ("hdrcli", "torch", "lightning", "numpy", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Of Python and the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # another build of OpenCV, a source tree that is not installed
            continue
    return found


def write_record(folder: Path, record: Mapping[str, Any], resumed_at: int | None = None) -> None:
    """``run.json``: the resolved configuration, versions and data of a run. Raises TrainingError if it can't be written.

    With the step at which a run is resumed, what is there stays, and how it goes on is added to its list ``resumed``.
    """
    record = {**record, "versions": versions()}
    if resumed_at is not None:
        old = _read_record(folder)
        again = {"step": resumed_at, **{key: value for key, value in record.items() if key in _MAY_CHANGE or key not in old}}
        record = {**(old or record), "resumed": [*old.get("resumed", ()), again]}
    text = json.dumps(record, indent=2, default=str)
    try:
        with formats.whole_file(folder / RUN_FILE, overwrite=True) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except UnwritableOutput as error:
        raise TrainingError(error.what, where=folder / RUN_FILE, remedy="check free space and rights") from error


# of a record, when a run is resumed; the rest is checked
_MAY_CHANGE = ("sources", "split", "validation", "cache", "loop", "versions")


def _read_record(folder: Path) -> dict[str, Any]:
    """Empty if there is none, or none that can be read."""
    try:
        record = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _unwritable(path: Path, error: OSError) -> TrainingError:
    return TrainingError(f"can't be written: {error.strerror or error}", where=path, remedy="check free space and rights")


class _Records:
    """A file that grows by whole records: of one that the disk does not take nothing stays, and later ones can be read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def write(self, record: bytes) -> None:
        """Raises OSError."""
        end = self._file.seek(0, os.SEEK_END)
        left = memoryview(record)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):
                self._file.truncate(end)
            raise

    def close(self) -> None:
        self._file.close()


class Journal:
    """Curves for TensorBoard and the same as JSON lines, appended when a run is resumed. ``active`` False: writes nothing.

    What a full disk does not take is left out, which ``report`` is told once; training goes on. Raises TrainingError if the
    files can't be made at the start.
    """

    def __init__(self, folder: Path, *, active: bool = True, report: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self._report = folder, report
        self._lines: _Records | None = None
        self._curves: _Records | None = None
        self._told = False
        if not active:
            return
        try:
            self._lines = _Records(folder / LOG_FILE)
            # not torch's SummaryWriter: its thread dies of a full disk, and the next flush waits for it for ever
            self._curves = _Records(folder / f"events.out.tfevents.{time.time():.0f}.hdrcli.{os.getpid()}")
        except OSError as error:
            self.close()
            raise _unwritable(folder / LOG_FILE, error) from error
        self._summary(0, file_version="brain.Event:2")

    def event(self, what: str, step: int, **values: Any) -> None:
        """A JSON line; numbers that are not finite become null."""
        lines = self._lines
        if lines is not None:
            record = {"event": what, "step": step, "time": round(time.time(), 3), **values}
            text = json.dumps(_finite(record), allow_nan=False) + "\n"
            self._written(LOG_FILE, lambda: lines.write(text.encode()))

    def curves(self, step: int, values: Mapping[str, float], group: str = "") -> None:
        """Scalars for TensorBoard."""
        if self._curves is not None and values:
            from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
            from torch.utils.tensorboard import summary

            scalar: Any = summary.scalar
            made = (scalar(f"{group}/{name}" if group else name, value) for name, value in values.items())
            self._summary(step, summary=Summary(value=[entry for part in made for entry in part.value]))

    def sheet(self, step: int, image: NDArray[Any]) -> None:
        """A contact sheet ``(H, W, 3) uint8``, for TensorBoard and as ``sheets/step-N.png``."""
        if self._curves is not None:
            import cv2
            from torch.utils.tensorboard import summary

            self._summary(step, summary=summary.image("sheet", image, dataformats="HWC"))  # type: ignore[no-untyped-call]
            done, data = cv2.imencode(".png", image[..., ::-1])
            name = f"{SHEETS}/step-{step:07}.png"
            if done:
                self._written(name, lambda: self._whole(self.folder / name, data.tobytes()))

    def _summary(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
        from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

        event = Event(wall_time=time.time(), step=step, **content)
        self._written("events.out.tfevents", lambda: RecordWriter(self._curves).write(event.SerializeToString()))

    @staticmethod
    def _whole(path: Path, data: bytes) -> None:
        path.parent.mkdir(exist_ok=True)
        try:
            path.write_bytes(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def _written(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            if not self._told:
                self._told = True
                fault = f"{name} can't be written: {error.strerror or error}"
                self._report(f"{fault}; training goes on, logs and sheets have gaps")

    def close(self) -> None:
        """Ends both."""
        for records in (self._lines, self._curves):
            if records is not None:
                records.close()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
