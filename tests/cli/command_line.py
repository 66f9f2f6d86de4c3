"""What the tests of the commands share."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

CARD = """
format = 1
[model]
version = "7"
architecture = "feedback_unet"
[network]
width = 4
[domain]
inputs = ["ldr", "clip"]
peak = 256.0
working_size = 64
multiple = 8
[training]
recipe = "handmade"
made = 2026-01-02
[[data.licences]]
licence = "CC0-1.0"
names = ["one", "two"]
[files]
"g_y.onnx" = "{sha}"
"""


@dataclass(frozen=True)
class Ran:
    """How a call of the program ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


Cli = Callable[..., Ran]


def spawn(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Call the program as a process of its own."""
    command = [sys.executable, "-m", "hdrcli", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env={**os.environ, **environment}, timeout=60, check=False)


def codes(height: int = 48, width: int = 64) -> np.ndarray:
    """A photo (BGR) with texture, and a clipped patch."""
    rng = np.random.default_rng(3)
    picture = rng.integers(20, 200, (height, width, 3), np.uint8)
    picture[: height // 3, : width // 2] = 255
    return picture


def save(path: str | Path, picture: np.ndarray | None = None) -> Path:
    """A picture file of the type its name says."""
    path = Path(path)
    done, data = cv2.imencode(path.suffix, codes() if picture is None else picture)
    assert done
    path.write_bytes(data.tobytes())
    return path


def files() -> set[str]:
    """All there is below the working folder."""
    return {str(p) for p in Path().rglob("*") if not p.is_dir()}


def make_bundle(folder: Path) -> Path:
    """A bundle whose network says T = 0.2 + 0.3 ldr + 0.2 clip, whatever the size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: float) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, np.float32), name)

    shape = ["n", 3, "h", "w"]
    nodes = [
        helper.make_node("Mul", ["ldr", "a"], ["x"]),
        helper.make_node("Mul", ["clip", "b"], ["y"]),
        helper.make_node("Add", ["x", "y"], ["z"]),
        helper.make_node("Add", ["z", "c"], ["t"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("ldr", "clip")]
    outputs = [helper.make_tensor_value_info("t", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [constant("a", 0.3), constant("b", 0.2), constant("c", 0.2)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    folder.mkdir(parents=True)
    content = model.SerializeToString()
    (folder / "g_y.onnx").write_bytes(content)
    (folder / "model.toml").write_text(CARD.replace("{sha}", hashlib.sha256(content).hexdigest()), encoding="utf-8")
    return folder
