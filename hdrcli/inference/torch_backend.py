"""Generators in PyTorch: from a run folder, a .safetensors or a .pt read with weights_only. Imported only when asked for."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrcli import registry
from hdrcli.errors import MissingExtra, MissingModel, MissingRequirement, ModelError, UsageError
from hdrcli.inference.bundles import CARD
from hdrcli.inference.generator import Floats, GeneratorSpec, checked, device_kind

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "g_y.safetensors"
CHECKPOINT = "checkpoint.pt"
GENERATORS = "generators"  # folder in a run, of what could be saved when a last checkpoint could not
MANIFEST = "checkpoint.json"  # of a checkpoint in pieces: their names, lengths and SHA-256
METADATA_KEY = "hdrcli"


def weights_name(role: str) -> str:
    """The file in a run folder that holds a generator's weights: "g_y.safetensors"."""
    return f"{role}.safetensors"


# what reading a file raises that is not ours, beside SafetensorError
_FOREIGN = (RuntimeError, LookupError, TypeError, ValueError, ArithmeticError, AttributeError, EOFError, OSError)


class TorchGenerator:
    """A generator in PyTorch."""

    def __init__(self, spec: GeneratorSpec, network: nn.Module, device: str) -> None:
        import torch

        self.spec = spec
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        name = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "CPU"
        self.ran_on = f"PyTorch {torch.__version__}, {name}"

    def __call__(self, inputs: Mapping[str, Floats]) -> Floats:
        """See :class:`hdrcli.inference.generator.Generator`."""
        import torch

        with torch.inference_mode():
            tensors = [torch.from_numpy(inputs[name]).to(self._device) for name in self.spec.inputs]
            t = self._network(*tensors).float().cpu().numpy()
        return checked(t, inputs, self.spec)


def runnable(network: nn.Module, maps: Mapping[str, Any] | None) -> nn.Module:
    """A network as conversions call it: with its inputs alone.

    ``maps``: options of the guide ``exposure``, which then works inside; None for a network without gates. What takes neither
    maps nor embeddings comes back as it is.
    """
    if maps is None and not getattr(network.config, "embedding", False):
        return network
    from hdrcli.networks.feedback_unet import SelfContained
    from hdrcli.perception import exposure

    if maps is None:
        return SelfContained(network, None)  # type: ignore[arg-type]
    guide = exposure.build(exposure.Config(**maps))
    return SelfContained(network, lambda image: guide.maps(image).stacked())  # type: ignore[arg-type]


def is_weights(path: Path, role: str = "g_y") -> bool:
    """Is there something at this path that :func:`load` may read: a weights file by its extension, or a folder with one?"""
    try:
        file = _weights_file(path, role)
        known = file.name == MANIFEST or file.suffix.lower() in (".pt", ".pth", ".safetensors", ".onnx")
        return file.is_file() and known
    except OSError:  # a name too long, a folder that may not be searched
        return False


def _weights_file(path: Path, role: str) -> Path:
    """The file that stands for a path: the path itself, or what a run or bundle folder holds."""
    saved = path / GENERATORS  # of a run whose checkpoint the disk did not take
    files = (path / CHECKPOINT, path / MANIFEST, path / weights_name(role), saved / CHECKPOINT, saved / MANIFEST)
    return next((p for p in files if p.is_file()), path)


def load(path: Path, device: str = "auto", role: str = "g_y") -> TorchGenerator:
    """A generator from a run folder, bundle folder with ``g_y.safetensors``, ``.safetensors``, ``.pt`` or ``checkpoint.json``.

    A run's checkpoint may be whole or in pieces; the last of these files names them.
    ``role``: "g_y", or "g_x" for the way back. Raises MissingExtra without torch, MissingModel, ModelError for files that are
    damaged or foreign, MissingRequirement without CUDA where it is asked for, UsageError for the number of a card that is not
    there.
    """
    try:
        import torch
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train", purpose="the torch backend") from None

    if not is_weights(path, role):
        if (path / CARD).is_file():
            remedy = f"name a run folder, or the {WEIGHTS} that hdrcli train writes there; or use --backend onnx"
            raise MissingModel("the bundle holds ONNX only, nothing for the torch backend", where=path, remedy=remedy)
        raise MissingModel(
            "holds no weights for the torch backend", where=path, remedy="name a run folder, .safetensors or .pt"
        )
    source = _weights_file(path, role)
    try:
        whole = source.suffix != ".safetensors"
        description, weights = _read_checkpoint(source, role) if whole else _read_safetensors(source)
        spec, network = _build(description, source, role)
        network.load_state_dict(weights)
        network = runnable(network, description.get("maps"))
    except UsageError as error:  # the file says it here, not the command line
        fault = f"describes a generator that this version can't build: {error.what}"
        raise ModelError(fault, where=source, remedy="use a matching version of hdrcli") from error
    except (SafetensorError, *_FOREIGN) as error:
        raise ModelError(
            "holds no generator of hdrcli", where=source, remedy="name a file that hdrcli train or export made"
        ) from error
    except Exception as error:
        if type(error).__name__ != "UnpicklingError":  # what weights_only refuses; pickle's class, without importing pickle
            raise
        raise ModelError("holds more than weights; refused", where=source, remedy="use .safetensors") from error
    return TorchGenerator(spec, network, _device(device, torch.cuda.device_count()))


def _device(device: str, cards: int) -> str:
    kind, number = device_kind(device)
    if kind == "cuda" and cards == 0:
        remedy = "use --device cpu, or install a torch with CUDA and NVIDIA's driver"
        raise MissingRequirement("torch sees no CUDA device", where=f"--device {device}", remedy=remedy)
    if kind == "cuda" and number >= cards:
        fault = f"torch sees {cards} CUDA device(s), numbered from 0"
        raise UsageError(fault, where=f"--device {device}", remedy=f"use --device cuda:{cards - 1}")
    return f"cuda:{number}" if kind != "cpu" and cards else "cpu"


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        description = json.loads((file.metadata() or {})[METADATA_KEY])
        return description, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)


def _read_checkpoint(path: Path, role: str) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch

    source: Path | io.BytesIO = joined(path) if path.name == MANIFEST else path
    state = torch.load(source, map_location="cpu", weights_only=True)
    descriptions = described(state)
    if f"{role}.onnx" not in descriptions:
        ways = {"g_x": ("G_X, the way from HDR to LDR", "llm-hdr"), "g_y": ("G_Y, the way from LDR to HDR", "paired")}
        way, recipe = ways[role]
        raise MissingModel(f"the run trained no {way}", where=path, remedy=f"name a run of {recipe}")
    prefix = f"{role}."
    averaged = {key.removeprefix(prefix): value for key, value in state["ema"].items() if key.startswith(prefix)}
    return descriptions[f"{role}.onnx"], averaged


def described(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its generators, by the names of their files."""
    several = dict(state.get("generators", {}))
    if "g_y.onnx" in several or not several:  # checkpoints from before there was a G_X describe G_Y alone
        several["g_y.onnx"] = state["generator"]
    return several


def joined(manifest: Path) -> io.BytesIO:
    """The pieces of a checkpoint that a manifest names, one after the other, each checked.

    Raises ModelError for a manifest that is none, and for pieces that are missing or not the ones it names.
    """
    content = io.BytesIO()
    try:
        listed = json.loads(manifest.read_text(encoding="utf-8"))
        entries = [(str(e["file"]), int(e["bytes"]), str(e["sha256"])) for e in listed["pieces"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError("is no manifest of a checkpoint", where=manifest, remedy="delete it, or name another run") from error
    for name, length, digest in entries:
        piece = manifest.parent / Path(name).name
        try:
            data = piece.read_bytes()
        except OSError as error:
            remedy = "copy all pieces of the checkpoint"
            raise ModelError(f"can't be read: {error.strerror}", where=piece, remedy=remedy) from error
        if len(data) != length or hashlib.sha256(data).hexdigest() != digest:
            raise ModelError("is not the piece that the manifest names", where=piece, remedy="copy it again")
        content.write(data)
    content.seek(0)
    return content


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _build(description: dict[str, Any], path: Path, role: str) -> tuple[GeneratorSpec, nn.Module]:
    module = registry.load("hdrcli.networks", str(description["architecture"]))
    known = {f.name for f in fields(module.Config)}
    options = dict(description["network"])
    if not set(options) <= known:
        raise ModelError(
            f"has unknown options: {', '.join(sorted(set(options) - known))}",
            where=path,
            remedy="use a matching version of hdrcli",
        )
    spec = GeneratorSpec(
        name=path.parent.name if path.stem in ("checkpoint", "g_y", "g_x") else path.stem,
        version=str(description["version"]),
        inputs=tuple(description["inputs"]),
        working_size=int(description["working_size"]),
        multiple=int(description["multiple"]),
        peak=float(description["peak"]),
        origin=path,
        architecture=str(description["architecture"]),
        network=options,
        digest=_digest(path),
        role=role,
    )
    return spec, module.build(module.Config(**options))
