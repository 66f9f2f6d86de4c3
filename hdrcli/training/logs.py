"""What a run leaves behind beside its weights: run.json, log.jsonl, TensorBoard curves and sheets."""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

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


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """``run.json``: the resolved configuration, versions and data of a run."""
    text = json.dumps({**record, "versions": versions()}, indent=2, default=str)
    (folder / RUN_FILE).write_text(text + "\n", encoding="utf-8")


class Journal:
    """Curves for TensorBoard and the same as JSON lines, appended when a run is resumed. ``active`` False: writes nothing."""

    def __init__(self, folder: Path, *, active: bool = True) -> None:
        self.folder = folder
        self._writer: Any = None
        self._file: Any = None
        if active:
            from torch.utils.tensorboard import SummaryWriter

            self._file = (folder / LOG_FILE).open("a", encoding="utf-8")
            self._writer = SummaryWriter(folder)

    def event(self, what: str, step: int, **values: Any) -> None:
        """A JSON line; numbers that are not finite become null."""
        if self._file is not None:
            record = {"event": what, "step": step, "time": round(time.time(), 3), **values}
            self._file.write(json.dumps(_finite(record), allow_nan=False) + "\n")
            self._file.flush()

    def curves(self, step: int, values: Mapping[str, float], group: str = "") -> None:
        """Scalars for TensorBoard."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}" if group else name, value, step)
            self._writer.flush()

    def sheet(self, step: int, image: NDArray[Any]) -> None:
        """A contact sheet ``(H, W, 3) uint8``, for TensorBoard and as ``sheets/step-N.png``."""
        if self._writer is not None:
            import cv2

            self._writer.add_image("sheet", image, step, dataformats="HWC")
            self._writer.flush()
            done, data = cv2.imencode(".png", image[..., ::-1])
            if done:
                (self.folder / SHEETS).mkdir(exist_ok=True)
                (self.folder / SHEETS / f"step-{step:07}.png").write_bytes(data.tobytes())

    def close(self) -> None:
        """Ends both."""
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
