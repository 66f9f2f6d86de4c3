"""From trained networks to a bundle (ONNX files, parity checks, model card) and to safetensors."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdrcli import formats
from hdrcli.errors import MissingExtra, MissingModel, ModelError, OutputExists, UnwritableOutput, UsageError
from hdrcli.inference import torch_backend
from hdrcli.inference.generator import KNOWN_INPUTS

PARITY = 1e-4  # largest difference between ONNX Runtime and torch that an export may have, in T or codes
OPSET = 18


@dataclass(frozen=True, eq=False)
class Export:
    """A generator as it shall go into a bundle.

    ``network``: takes nothing but its inputs (see :func:`hdrcli.inference.torch_backend.runnable`). ``file``: "g_y.onnx" (LDR
    to HDR) or "g_x.onnx" (the way back); another stem for what is no generator, whose weights alone are written. ``inputs``:
    names of its ``(N, 3, H, W)`` inputs, in order. Sides of the input are multiples of ``multiple``, about ``working_size``^2
    pixels in all. ``peak``: radiance in LDR whites that T = 1 stands for.
    ``maps``: options of the guide ``exposure`` that works inside; None if the network has no gates.
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
    maps: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        network: nn.Module,
        *,
        architecture: str,
        file: str,
        inputs: tuple[str, ...],
        working_size: int,
        maps: Mapping[str, Any] | None = None,
    ) -> Export:
        """The export of a bare network, wrapped as need be; form and size are those of its own ``config``."""
        config: Any = network.config
        wrapped = torch_backend.runnable(network, maps)
        multiple, peak = config.multiple, config.peak
        return cls(wrapped, architecture, asdict(config), file, inputs, working_size, multiple, peak, maps=maps)

    @property
    def role(self) -> str:
        """ "g_y" or "g_x"."""
        return Path(self.file).stem

    def weights(self) -> dict[str, Tensor]:
        """Of the bare network, by name."""
        bare: nn.Module = getattr(self.network, "inner", self.network)
        return bare.state_dict()

    def description(self) -> dict[str, Any]:
        """What the torch backend needs beside the weights, plain values."""
        maps = {} if self.maps is None else {"maps": dict(self.maps)}
        return maps | {
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


def export_onnx(export: Export, path: Path, *, half: bool = False) -> float:
    """Write the network as ONNX with dynamic batch, height and width; check it against torch; return the largest difference.

    Weights are stored in the one file. ``half``: they are rounded to float16, in the network too, and stored so: a file of half
    the size, which computes in float32 all the same. Raises MissingExtra without onnx, ModelError if parity fails.
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
    if half:
        _round(network)
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
            output_names=["t" if export.role == "g_y" else "codes"],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
            # it takes an addend below 1e-8 for 0, and so makes NaN of quotients that the maps guard
            optimize=export.maps is None,
        )
    assert program is not None
    program.save(str(path), external_data=False)
    _strip(path)
    if half:
        _store_halves(path)
    worst = max(
        _difference(export, network, path, shape) for shape in ((1, side, side), (3, export.multiple, 3 * export.multiple))
    )
    if not worst <= PARITY:
        path.unlink()
        raise ModelError(
            f"ONNX and torch differ by {worst:.2g}, more than {PARITY:g}", where=path, remedy="report this as a bug"
        )
    return worst


_FEW = 1024  # values; smaller tensors are kept as they are


@torch.no_grad()
def _round(network: nn.Module) -> None:
    """Weights to the nearest float16, in place. Raises ModelError for one that float16 does not hold."""
    for name, value in network.state_dict(keep_vars=True).items():
        if value.is_floating_point() and value.numel() >= _FEW:
            if value.detach().abs().max() > torch.finfo(torch.float16).max:
                raise ModelError(f"{name} holds values beyond float16", remedy="export it without --half")
            value.copy_(value.half().float())


def _store_halves(path: Path) -> None:
    """Large float32 constants of a graph as float16, with a cast where they are used (a runtime folds it when it loads)."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    casts = []
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.size >= _FEW:
            name = constant.name
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)
    onnx.save(model, path)


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
    return float((torch.from_numpy(result) - expected).abs().nan_to_num(nan=float("inf")).max())


def write_bundle(run: Path, target: Path, *, overwrite: bool = False, half: bool = False) -> Path:
    """Export a run's averaged generators as a bundle: ``target/{model.toml, g_y.onnx, g_x.onnx}``, those that the run trains.

    Returns ``target``. ``half``: see :func:`export_onnx`. The folder appears only when it is whole. Raises OutputExists,
    MissingModel for a folder without a run, ModelError if the export does not agree with torch.
    """
    state = _state(run)
    if target.exists() and not overwrite:
        raise OutputExists("exists already", where=target, remedy="use --overwrite to replace it")
    if target.exists() and not (target / "model.toml").is_file() and not (target.is_dir() and not any(target.iterdir())):
        raise OutputExists("is there and no bundle; it would be lost", where=target, remedy="name another folder")
    exports = tuple(export for export in _restore(state, run) if export.role in KNOWN_INPUTS)
    if not exports:
        remedy = "use its weights: the .safetensors file in its folder"
        raise MissingModel("trained no generator to make a bundle of", where=run, remedy=remedy)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".bundle-", dir=target.parent))
    except OSError as error:
        raise UnwritableOutput(
            f"can't be written: {error.strerror}", where=target, remedy="check rights and free space"
        ) from error
    try:
        parity = {export.file: export_onnx(export, temporary / export.file, half=half) for export in exports}
        files = {name: hashlib.sha256((temporary / name).read_bytes()).hexdigest() for name in parity}
        card = model_card(state, exports, files, parity)
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


def add_way_back(run: Path, bundle: Path, *, overwrite: bool = False, half: bool = False) -> Path:
    """Put a run's G_X into a bundle that is there: ``g_x.onnx`` and its table on the card. Returns ``bundle``.

    Raises MissingModel for a run without one, OutputExists if the bundle has one already, ModelError for a folder that is no
    bundle or an export that does not agree with torch, UnwritableOutput.
    """
    from hdrcli.inference import bundles

    card = dict(bundles.read(bundle).card)
    state = _state(run)
    export = next((e for e in _restore(state, run) if e.role == "g_x"), None)
    if export is None:
        raise MissingModel("trains no G_X", where=run, remedy="name a run of llm-hdr or toning")
    if export.file in card["files"] and not overwrite:
        raise OutputExists(f"has {export.file} already", where=bundle, remedy="use --overwrite to replace it")
    with formats.whole_file(bundle / export.file, overwrite=True) as temporary:
        parity = export_onnx(export, temporary, half=half)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    history = state.get("history", [])
    card["g_x"] = _about(export, parity) | {"training": _training(state, history), "data": _data(state, history)}
    card["files"] = {**card["files"], export.file: digest}
    card["model"] = {**card["model"], "direction": _direction({Path(name).stem for name in card["files"]})}
    _write(bundle / bundles.CARD, _toml(card, "exporting a bundle").encode())
    return bundle


def write_weights(run: Path) -> Path:
    """Write a run's averaged weights as ``run/g_y.safetensors``, which the torch backend reads. Returns the first path.

    Those of a G_X go to ``run/g_x.safetensors``. An older file is replaced only when the new one is on the disk. Raises
    MissingExtra without safetensors, MissingModel for a folder without a run, ModelError for weights that don't fit,
    UnwritableOutput.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise MissingExtra(error.name or "safetensors", "train", purpose="writing safetensors") from None
    written: list[Path] = []
    for export in _restore(_state(run), run):
        weights = {name: value.contiguous() for name, value in export.weights().items()}
        content = save(weights, {torch_backend.METADATA_KEY: json.dumps(export.description())})
        _write(run / torch_backend.weights_name(export.role), content)
        written.append(run / torch_backend.weights_name(export.role))
    return written[0]


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
    """The checkpoint of a run, or the generators that were saved instead. Raises MissingModel if there is neither."""
    from hdrcli.inference.torch_backend import GENERATORS
    from hdrcli.training import checkpoint

    if not checkpoint.exists(run) and checkpoint.exists(run / GENERATORS):
        run /= GENERATORS
    if not checkpoint.exists(run):
        raise MissingModel("holds no training run", where=run, remedy="name a folder that hdrcli train --out made")
    return {**checkpoint.load_run(run), "recipe_name": _recipe_name(run)}


def _recipe_name(run: Path) -> str | None:
    """What the run's record says its recipe is called; that of generators in a folder of their own is beside it."""
    from hdrcli.inference.torch_backend import GENERATORS
    from hdrcli.training.logs import RUN_FILE
    from hdrcli.training.loop import BEST

    folders = (run, run.parent) if run.name in (BEST, GENERATORS) else (run,)
    for folder in folders:
        try:
            name = json.loads((folder / RUN_FILE).read_text(encoding="utf-8")).get("recipe")
        except (OSError, ValueError, AttributeError):  # trained without a record, or it was damaged: the objective is known
            continue
        return name if isinstance(name, str) else None
    return None


def _restore(state: Mapping[str, Any], run: Path) -> tuple[Export, ...]:
    """The objective's exports with the averaged weights of a checkpoint, G_Y first where there is one."""
    from hdrcli import registry

    descriptions = torch_backend.described(state)
    exports = []
    for file, told in descriptions.items():
        prefix = f"{Path(file).stem}."
        weights = {k.removeprefix(prefix): v for k, v in state["ema"].items() if k.startswith(prefix)}
        module = registry.load("hdrcli.networks", told["architecture"])
        try:
            network = module.build(module.Config(**told["network"]))
            network.load_state_dict(weights)
        except (RuntimeError, TypeError, UsageError) as error:  # TypeError, UsageError: options of another version
            fault = f"the checkpoint's weights don't fit recipe {state['description']['recipe']!r}"
            raise ModelError(fault, where=run, remedy="export it with the version of hdrcli that trained it") from error
        maps = told.get("maps")
        exports.append(
            Export(
                network=torch_backend.runnable(network, maps),
                architecture=told["architecture"],
                network_config=told["network"],
                file=file,
                inputs=tuple(told["inputs"]),
                working_size=told["working_size"],
                multiple=told["multiple"],
                peak=told["peak"],
                version=told["version"],
                maps=maps,
            )
        )
    return tuple(sorted(exports, key=lambda export: export.role != "g_y"))


_INPUTS = {
    "ldr": "ldr: sRGB codes in [0, 1]",
    "clip": "clip: sqrt of the share of each cell that clipped, per channel",
    "t": "t: T(y / peak) in [0, 1], y scene-linear Rec.709 at a photo's exposure, 1.0 = LDR white",
}
_OUTPUTS = {
    "g_y": "T(y / peak) = log(1 + 5000 y / peak) / log(5001); y scene-linear Rec.709, 1.0 = LDR white",
    "g_x": "sRGB codes of Rec.709 primaries in [0, 1]",
}


def model_card(
    state: Mapping[str, Any], exports: tuple[Export, ...], files: Mapping[str, str], parity: Mapping[str, float]
) -> str:
    """The text of model.toml: what the networks are, what they take and give, what they were trained on and how.

    ``exports``: G_Y first, if there is one: [model], [network] and [domain] are about it, [g_x] about the way back.
    """
    from hdrcli import __version__

    model: dict[str, Any] = {"version": exports[0].version}
    card: dict[str, Any] = {"format": 1, "model": model}
    for export in exports:
        if export.role == "g_y":
            model |= {"architecture": export.architecture, "parameters": _parameters(export)}
            card |= {"network": _plain(export.network_config), "domain": _domain(export, parity[export.file])}
        else:
            card[export.role] = _about(export, parity[export.file])
    model |= {"direction": _direction({export.role for export in exports})}
    model |= {"made_with": f"hdrcli {__version__}, torch {state['torch']}"}
    history = state.get("history", [])
    card["training"] = _training(state, history)
    card["data"] = _data(state, history)
    card["files"] = dict(files)
    return _toml(card, "exporting a bundle")


def _direction(roles: set[str]) -> str:
    ways = {"g_y": "LDR to HDR (G_Y)", "g_x": "HDR to LDR (G_X)"}
    return " and ".join(way for role, way in ways.items() if role in roles)


def _about(export: Export, parity: float) -> dict[str, Any]:
    about = {"architecture": export.architecture, "parameters": _parameters(export)}
    return {**about, **_domain(export, parity), "network": _plain(export.network_config)}


def _training(state: Mapping[str, Any], history: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "recipe": state.get("recipe_name") or state["description"]["recipe"],
        "objective": state["description"]["recipe"],
        "seed": state["seed"],
        "steps": state["step"],
        "minutes": round(state["elapsed"] / 60, 1),
        "device": state["device"],
        "options": _plain(state["description"]["options"]),
        # which scenes: see [data], the union of all runs
        "started_from": [_plain(dict(r) | {key: len(r[key]) for key in ("scenes", "photos") if key in r}) for r in history],
    }


def _parameters(export: Export) -> int:
    return sum(p.numel() for p in export.network.parameters())


def _domain(export: Export, parity: float) -> dict[str, Any]:
    maps = {} if export.maps is None else {"maps": "exposure, inside the network"}
    return {
        "inputs": list(export.inputs),
        "input": "; ".join(_INPUTS[name] for name in export.inputs),
        "output": _OUTPUTS[export.role],
        "peak": export.peak,
        "working_size": export.working_size,
        "multiple": export.multiple,
        **maps,
        "parity": float(f"{parity:.2g}"),
    }


def _data(state: Mapping[str, Any], history: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What all runs that led here were trained on."""
    scenes = _union(state, history, "scenes")
    photos = _union(state, history, "photos")
    pairs = int(state.get("pairs", 0))
    virtual = "HDR scenes seen through the virtual camera (hdrcli/camera.py)"
    seen = "HDR scenes and unpaired LDR photos" if photos else virtual
    if pairs:
        real = "pairs of LDR photos and HDR pictures"
        seen = real if pairs == len(state.get("scenes", ())) and not history else f"{real}; {virtual}"
    data: dict[str, Any] = {"domain": seen, "scenes": len(scenes)}
    if photos:
        data["photos"] = len(photos)
    if pairs:
        data["pairs"] = pairs
    if not all("scenes" in run for run in history):
        data["not_recorded"] = "scenes of a run this one started from"
    licences: dict[str, list[str]] = {}
    for name, licence in [*scenes, *(entry for entry in photos if entry not in scenes)]:
        licences.setdefault(licence, []).append(name)
    return data | {"licences": [{"licence": licence, "names": names} for licence, names in licences.items()]}


def _union(state: Mapping[str, Any], history: list[Mapping[str, Any]], kind: str) -> list[tuple[str, str]]:
    """Names and licences, this run's first and as they are, earlier runs' after them without repetition."""
    found = [(name, licence) for name, licence in state.get(kind, [])]
    return found + list(dict.fromkeys((n, li) for run in history for n, li in run.get(kind, []) if (n, li) not in found))


def _plain(value: Any) -> Any:
    """TOML has no null: leave such entries out."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, tuple | list) else value
