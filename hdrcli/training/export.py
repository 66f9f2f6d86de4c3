"""From trained networks to a bundle: ONNX file, parity check, model card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdrcli.errors import MissingExtra, ModelError

PARITY = 1e-4  # largest difference between ONNX Runtime and torch that an export may have, in T
OPSET = 18


@dataclass(frozen=True, eq=False)
class Export:
    """A generator as it shall go into a bundle.

    ``inputs``: names of its ``(N, 3, H, W)`` inputs, in order. Sides of the input are multiples of ``multiple``, about
    ``working_size``^2 pixels in all. ``peak``: radiance in LDR whites that output 1 stands for.
    """

    network: nn.Module
    architecture: str
    network_config: Mapping[str, Any]
    file: str
    inputs: tuple[str, ...]
    working_size: int
    multiple: int
    peak: float
    version: str = "1"

    def description(self) -> dict[str, Any]:
        """What the torch backend needs beside the weights, plain values."""
        return {
            "architecture": self.architecture,
            "network": dict(self.network_config),
            "inputs": list(self.inputs),
            "working_size": self.working_size,
            "multiple": self.multiple,
            "peak": self.peak,
            "version": self.version,
        }


def example_inputs(export: Export, batch: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Random inputs in [0, 1] of the export's form."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(batch, 3, height, width, generator=generator) for _ in export.inputs)


def export_onnx(export: Export, path: Path) -> float:
    """Write the network as ONNX with dynamic batch, height and width; check it against torch; return the largest difference.

    Weights are stored in the one file. Raises MissingExtra without onnx, ModelError if parity fails.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "onnx", "train", purpose="exporting a bundle") from None
    import warnings

    network = export.network.cpu().float().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    side = export.multiple * 8
    names = {0: torch.export.Dim("batch", min=1, max=256)}
    steps = {2: torch.export.Dim("h", min=1, max=256), 3: torch.export.Dim("w", min=1, max=256)}
    sides = {axis: export.multiple * dim for axis, dim in steps.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            network,
            example_inputs(export, 2, side, side + export.multiple),
            dynamo=True,
            dynamic_shapes=tuple({**names, **sides} for _ in export.inputs),
            input_names=list(export.inputs),
            output_names=["t"],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    worst = max(_difference(export, network, path, shape) for shape in ((1, side, side), (3, export.multiple, 3 * export.multiple)))
    if not worst <= PARITY:
        path.unlink()
        raise ModelError(f"ONNX and torch differ by {worst:.2g} in T, more than {PARITY:g}", where=path, remedy="report this as a bug")
    return worst


def _difference(export: Export, network: nn.Module, path: Path, shape: tuple[int, int, int]) -> float:
    import onnxruntime

    inputs = example_inputs(export, *shape, seed=1)
    with torch.no_grad():
        expected = network(*inputs)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in zip(export.inputs, inputs, strict=True)}
    (result,) = session.run(None, feed)
    return float((torch.from_numpy(result) - expected).abs().max())
