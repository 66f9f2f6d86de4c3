"""From trained networks to a bundle (ONNX file, parity check, model card) and to safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdrcli import formats
from hdrcli.errors import MissingExtra, MissingModel, ModelError, OutputExists, UnwritableOutput, UsageError

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
    import logging
    import warnings

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # tells of torchvision, which nothing here needs
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
    _strip(path)
    worst = max(
        _difference(export, network, path, shape) for shape in ((1, side, side), (3, export.multiple, 3 * export.multiple))
    )
    if not worst <= PARITY:
        path.unlink()
        raise ModelError(
            f"ONNX and torch differ by {worst:.2g} in T, more than {PARITY:g}", where=path, remedy="report this as a bug"
        )
    return worst


def _strip(path: Path) -> None:
    """Take out what the exporter noted about this machine: stack traces with its paths, in every node."""
    import onnx

    model = onnx.load(path)
    for part in (model, model.graph, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for graph in (model.graph, *model.functions):
        for item in (*graph.node, *graph.input, *graph.output, *graph.value_info):
            if hasattr(item, "metadata_props"):
                del item.metadata_props[:]
            if hasattr(item, "doc_string"):
                item.doc_string = ""
    for value in model.graph.initializer:
        del value.metadata_props[:]
        value.doc_string = ""
    onnx.save(model, path)


def _difference(export: Export, network: nn.Module, path: Path, shape: tuple[int, int, int]) -> float:
    from hdrcli.inference.onnx_backend import runtime

    inputs = example_inputs(export, *shape, seed=1)
    with torch.no_grad():
        expected = network(*inputs)
    session = runtime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {name: value.numpy() for name, value in zip(export.inputs, inputs, strict=True)}
    (result,) = session.run(None, feed)
    return float((torch.from_numpy(result) - expected).abs().max())


def write_bundle(run: Path, target: Path, *, overwrite: bool = False) -> Path:
    """Export a run's averaged generators as a bundle: ``target/{model.toml, g_y.onnx}``. Returns ``target``.

    The folder appears only when it is whole. Raises OutputExists, MissingModel for a folder without a run, ModelError if the
    export does not agree with torch.
    """
    state = _state(run)
    if target.exists() and not overwrite:
        raise OutputExists("exists already", where=target, remedy="use --overwrite to replace it")
    if target.exists() and not (target / "model.toml").is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise OutputExists("is there and no bundle; it would be lost", where=target, remedy="name another folder")
    export = _restore(state, run)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".bundle-", dir=target.parent))
    except OSError as error:
        raise UnwritableOutput(
            f"can't be written: {error.strerror}", where=target, remedy="check rights and free space"
        ) from error
    try:
        parity = export_onnx(export, temporary / export.file)
        files = {export.file: hashlib.sha256((temporary / export.file).read_bytes()).hexdigest()}
        card = model_card(state, export, files, parity)
        (temporary / "model.toml").write_text(card, encoding="utf-8")
        temporary.chmod(0o755)
        if target.exists():
            shutil.rmtree(target)
        temporary.replace(target)
    except OSError as error:
        raise UnwritableOutput(
            f"can't be written: {error.strerror}", where=target, remedy="check rights and free space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def write_weights(run: Path) -> Path:
    """Write a run's averaged weights as ``run/g_y.safetensors``, which the torch backend reads. Returns that path.

    An older file is replaced only when the new one is on the disk. Raises MissingExtra without safetensors, MissingModel for a
    folder without a run, ModelError for weights that don't fit, UnwritableOutput.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise MissingExtra(error.name or "safetensors", "train", purpose="writing safetensors") from None
    from hdrcli.inference.torch_backend import METADATA_KEY, WEIGHTS

    export = _restore(_state(run), run)
    weights = {name: value.contiguous() for name, value in export.network.state_dict().items()}
    _write(run / WEIGHTS, save(weights, {METADATA_KEY: json.dumps(export.description())}))
    return run / WEIGHTS


def add_scores(bundle: Path, scores: Mapping[str, float | str]) -> None:
    """Put a table ``[scores]`` (metric: value, and "protocol": a text) on a bundle's card, in place of an older one.

    Raises ModelError if there is no readable card, UnwritableOutput.
    """
    from hdrcli.inference import bundles

    plain = {name: value if isinstance(value, str) else float(value) for name, value in scores.items()}
    card = {**bundles.read(bundle).card, "scores": plain}
    _write(bundle / bundles.CARD, _toml(card, "writing scores").encode())


def _write(target: Path, content: bytes) -> None:
    """The whole file or the older one. Raises UnwritableOutput."""
    with formats.whole_file(target, overwrite=True) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _toml(card: Mapping[str, Any], purpose: str) -> str:
    try:
        import tomli_w
    except ImportError:
        raise MissingExtra("tomli-w", "train", purpose=purpose) from None
    return tomli_w.dumps(card)


def _state(run: Path) -> dict[str, Any]:
    """The checkpoint of a run. Raises MissingModel if there is none."""
    from hdrcli.training import checkpoint

    if not (run / checkpoint.CHECKPOINT).is_file():
        raise MissingModel("holds no training run", where=run, remedy="name a folder that hdrcli train --out made")
    return checkpoint.load(run / checkpoint.CHECKPOINT)


def _restore(state: Mapping[str, Any], run: Path) -> Export:
    """The objective's export with the averaged weights of a checkpoint."""
    from hdrcli import registry

    description, generator = state["description"], state["generator"]
    module = registry.load("hdrcli.networks", generator["architecture"])
    weights = {k.removeprefix("g_y."): v for k, v in state["ema"].items() if k.startswith("g_y.")}
    try:
        network = module.build(module.Config(**generator["network"]))
        network.load_state_dict(weights)
    except (RuntimeError, TypeError, UsageError) as error:  # TypeError, UsageError: options of another version
        fault = f"the checkpoint's weights don't fit recipe {description['recipe']!r}"
        raise ModelError(fault, where=run, remedy="export it with the version of hdrcli that trained it") from error
    return Export(
        network=network,
        architecture=generator["architecture"],
        network_config=generator["network"],
        file="g_y.onnx",
        inputs=tuple(generator["inputs"]),
        working_size=generator["working_size"],
        multiple=generator["multiple"],
        peak=generator["peak"],
        version=generator["version"],
    )


def model_card(state: Mapping[str, Any], export: Export, files: Mapping[str, str], parity: float) -> str:
    """The text of model.toml: what the network is, what it takes and gives, what it was trained on and how."""
    from hdrcli import __version__

    history = state.get("history", [])
    scenes = [(name, licence) for name, licence in state["scenes"]]
    scenes += dict.fromkeys((n, li) for run in history for n, li in run.get("scenes", []) if (n, li) not in scenes)
    licences: dict[str, list[str]] = {}
    for name, licence in scenes:
        licences.setdefault(licence, []).append(name)
    data: dict[str, Any] = {"domain": "HDR scenes seen through the virtual camera (hdrcli/camera.py)", "scenes": len(scenes)}
    if not all("scenes" in run for run in history):
        data["not_recorded"] = "scenes of a run this one started from"
    parameters = sum(p.numel() for p in export.network.parameters())
    card = {
        "format": 1,
        "model": {
            "version": export.version,
            "architecture": export.architecture,
            "parameters": parameters,
            "direction": "LDR to HDR (G_Y)",
            "made_with": f"hdrcli {__version__}, torch {state['torch']}",
        },
        "network": _plain(export.network_config),
        "domain": {
            "inputs": list(export.inputs),
            "input": "ldr: sRGB codes in [0, 1]; clip: sqrt of the share of each cell that clipped, per channel",
            "output": "T(y / peak) = log(1 + 5000 y / peak) / log(5001); y scene-linear Rec.709, 1.0 = LDR white",
            "peak": export.peak,
            "working_size": export.working_size,
            "multiple": export.multiple,
            "parity": float(f"{parity:.2g}"),
        },
        "training": {
            "recipe": state["description"]["recipe"],
            "seed": state["seed"],
            "steps": state["step"],
            "minutes": round(state["elapsed"] / 60, 1),
            "device": state["device"],
            "options": _plain(state["description"]["options"]),
            # which scenes: see [data], the union of all runs
            "started_from": [_plain(r | {"scenes": len(r["scenes"])} if "scenes" in r else r) for r in history],
        },
        "data": data | {"licences": [{"licence": licence, "names": names} for licence, names in licences.items()]},
        "files": dict(files),
    }
    return _toml(card, "exporting a bundle")


def _plain(value: Any) -> Any:
    """TOML has no null: leave such entries out."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
