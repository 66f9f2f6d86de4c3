"""What is done to each file: options of both directions, and a digest that changes when the results would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrcli import formats
from hdrcli.conversion import LEARNED, ExpandOptions, TonemapOptions, check_confidence, is_operator
from hdrcli.errors import MismatchError, MissingModel, UsageError
from hdrcli.formats import WriteOptions
from hdrcli.resizing import parse_size

if TYPE_CHECKING:
    from hdrcli.image import Image

EXPAND, TONEMAP = "expand", "tonemap"
PREVIEW = ".preview.png"


@dataclass(frozen=True)
class Recipe:
    """What becomes of every file.

    ``extension``: of the outputs, such as ".exr"; it says whether photos are expanded or HDR files tone-mapped, or, where the
    format holds both, that each file decides. ``write_hdr``, ``write_ldr``: for the two directions. ``confidence`` and
    ``preview`` of expansions, as on the command line. ``strip``: None, "gps" or "all". ``resize``: of tone-mapped pictures:
    "1920", "1920x1080", "50%", see :func:`hdrcli.resizing.parse_size`.

    Raises UsageError for options that make no sense together. May be sent to other processes and machines.
    """

    extension: str
    expand: ExpandOptions = field(default_factory=ExpandOptions)
    tonemap: TonemapOptions = field(default_factory=TonemapOptions)
    write_hdr: WriteOptions = field(default_factory=WriteOptions)
    write_ldr: WriteOptions = field(default_factory=WriteOptions)
    confidence: bool = False
    preview: bool = False
    strip: str | None = None
    resize: str | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _portable(getattr(self, each.name)))
        if self.confidence and self.extension != ".exr":
            raise UsageError(f"{self.extension} has no layers", where="--confidence", remedy="say --to exr")
        if self.confidence:
            check_confidence(self.expand)
        directions = self.directions
        if self.resize is not None:
            parse_size(self.resize, 1, 1)
        for flag, value in (("--confidence", self.confidence), ("--preview", self.preview)):
            if value and EXPAND not in directions:
                raise UsageError(f"{self.extension} files are not expanded", where=flag, remedy="leave it out")

    @cached_property
    def directions(self) -> tuple[str, ...]:
        """Of EXPAND and TONEMAP, what may become of a file. Raises UsageError for an extension that is not written."""
        holds = formats.module_for_output(Path(f"x{self.extension}")).HOLDS
        return tuple(verb for kind, verb in (("hdr", EXPAND), ("ldr", TONEMAP)) if kind in holds)

    @cached_property
    def takes(self) -> frozenset[str]:
        """Extensions of files that may be sources, to be picked out of folders."""
        kinds = {{EXPAND: "ldr", TONEMAP: "hdr"}[verb] for verb in self.directions}
        modules = map(formats.module_for_name, formats.names())
        return frozenset(e for module in modules if kinds & set(module.HOLDS) for e in module.EXTENSIONS)

    def direction(self, image: Image) -> str:
        """EXPAND for a photo, TONEMAP for an HDR image. Raises MismatchError if the output can't hold the result."""
        from hdrcli.color import Transfer

        light = image.is_hdr or image.transfer in (Transfer.PQ, Transfer.HLG)
        verb = TONEMAP if light else EXPAND
        if verb not in self.directions:
            fault = f"is {'HDR' if light else 'LDR'} already, and {self.extension} holds no {'LDR' if light else 'HDR'}"
            raise MismatchError(fault, remedy="leave it out, or choose another --to")
        return verb

    @property
    def generators(self) -> tuple[tuple[str, str, str, str], ...]:
        """What :func:`hdrcli.conversion.load_generator` will be asked for, whatever the files: model, backend, device, role."""
        found = []
        if self.directions == (EXPAND,) and not is_operator(self.expand.model):
            found.append((self.expand.model, self.expand.backend, self.expand.device, "g_y"))
        if self.directions == (TONEMAP,) and self.tonemap.operator == LEARNED:
            found.append((self.tonemap.model, self.tonemap.backend, self.tonemap.device, "g_x"))
        return tuple(found)

    @cached_property
    def digest(self) -> str:
        """16 hex digits that stay while the same file would give the same pixels: options that differ from the usual, weights.

        Only what differs, so that an option added in a later version changes nothing for those who don't use it. Where files
        are written anew after an update of hdrcli is left to the user.
        """
        says: dict[str, Any] = {"extension": self.extension, "strip": self.strip, "confidence": self.confidence}
        says["preview"] = self.preview
        if EXPAND in self.directions:
            says["expand"] = [_unusual(self.expand, ExpandOptions()), _unusual(self.write_hdr, WriteOptions())]
            if not is_operator(self.expand.model):
                says["g_y"] = _weights(self.expand.model)
        if TONEMAP in self.directions:
            says["tonemap"] = [_unusual(self.tonemap, TonemapOptions()), _unusual(self.write_ldr, WriteOptions()), self.resize]
            if self.tonemap.operator == LEARNED:
                says["g_x"] = _weights(self.tonemap.model)
        return hashlib.sha256(json.dumps(says, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def model_name(self) -> str:
        """What ``{model}`` stands for: the model of expansions, the operator of tone mapping."""
        if EXPAND in self.directions or self.tonemap.operator == LEARNED:
            model = self.expand.model if EXPAND in self.directions else self.tonemap.model
            return Path(model).resolve().name if Path(model).name != model else model
        return self.tonemap.operator


def _portable(value: Any) -> Any:
    """Options that can be sent to another process: read-only views of dictionaries can't."""
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _portable(getattr(value, f.name)) for f in fields(value) if f.init})
    return value


def _unusual(options: Any, usual: Any) -> dict[str, Any]:
    """Fields that differ from those of ``usual``, where computing runs left out: it changes nothing but the last bit."""
    found = {}
    for each in fields(options):
        value, default = getattr(options, each.name), getattr(usual, each.name, MISSING)
        if value != default and each.name not in ("device", "backend"):
            found[each.name] = value
    return found


def _weights(model: str) -> str:
    """What the weights of a model are: the card's checksums, a file's own; a run folder's by size and time.

    Raises MissingModel or ModelError for what is no model.
    """
    from hdrcli.inference import bundles, torch_backend

    try:
        bundle = bundles.read(bundles.find(model))
    except MissingModel:
        path = Path(model)
        if not model or not torch_backend.is_weights(path):
            raise
        if path.is_file():
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        names = (torch_backend.CHECKPOINT, torch_backend.MANIFEST, *map(torch_backend.weights_name, ("g_y", "g_x")))
        stats = [(name, (path / name).stat()) for name in names if (path / name).is_file()]
        return " ".join(f"{name}:{found.st_size}:{found.st_mtime_ns}" for name, found in stats)
    return " ".join(f"{name}:{digest}" for name, digest in sorted(bundle.card["files"].items()))
