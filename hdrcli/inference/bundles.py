"""Bundles: folders with exported weights and a model card (model.toml). Finding, reading and checking them.

Searched in this order: the folders in ``HDRCLI_MODELS`` (separated like PATH), the user's data folder, what came with hdrcli.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdrcli.errors import MissingModel, ModelError
from hdrcli.inference.generator import GeneratorSpec

CARD = "model.toml"
CARD_FORMAT = 1
ENVIRONMENT = "HDRCLI_MODELS"


@dataclass(frozen=True)
class Bundle:
    """A bundle: its folder and what its card says."""

    folder: Path
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def version(self) -> str:
        """The card's version."""
        return str(self.card["model"]["version"])

    def file(self, role: str) -> Path:
        """The weights file of a role ("g_y", "g_x"). Raises MissingModel if the bundle has none."""
        name = f"{role}.onnx"
        if name not in self.card["files"]:
            have = ", ".join(self.card["files"])
            raise MissingModel(f"has no {role}", where=self.folder, remedy=f"it has: {have}")
        return self.folder / name

    def spec(self) -> GeneratorSpec:
        """What its G_Y takes and gives."""
        domain = self.card["domain"]
        return GeneratorSpec(
            name=self.name,
            version=self.version,
            inputs=tuple(domain["inputs"]),
            working_size=int(domain["working_size"]),
            multiple=int(domain["multiple"]),
            peak=float(domain["peak"]),
            origin=self.folder,
            architecture=str(self.card["model"]["architecture"]),
            network=self.card.get("network", {}),
        )


def packaged_folder() -> Path:
    """Where the bundles that come with hdrcli lie: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent / "models"


def search_folders() -> tuple[Path, ...]:
    """Folders that hold bundles, first one wins."""
    from platformdirs import user_data_path

    named = [Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    return (*named, user_data_path("hdrcli", appauthor=False) / "models", packaged_folder())


def installed() -> Iterator[Path]:
    """Folders of all bundles that can be found by name, shadowed ones left out."""
    seen: set[str] = set()
    for folder in search_folders():
        for card in sorted(folder.glob(f"*/{CARD}")):
            if card.parent.name not in seen:
                seen.add(card.parent.name)
                yield card.parent


def find(name_or_path: str) -> Path:
    """The folder of a bundle by name or path. Raises MissingModel."""
    path = Path(name_or_path)
    if (path / CARD).is_file():
        return path
    if path.name == name_or_path:
        for folder in search_folders():
            if (folder / name_or_path / CARD).is_file():
                return folder / name_or_path
    there = ", ".join(p.name for p in installed()) or "none"
    raise MissingModel(f"no model {name_or_path!r}", remedy=f"bundles found: {there}; see hdrcli models list")


def read(folder: Path) -> Bundle:
    """A bundle by its folder, card checked for form. Raises ModelError for a card that is damaged or of another kind."""
    path = folder / CARD
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"the card can't be read: {error}", where=path, remedy="install the bundle again") from None
    if card.get("format") != CARD_FORMAT:
        fault = f"is of card format {card.get('format')!r}, this version reads {CARD_FORMAT}"
        raise ModelError(fault, where=path, remedy="use a matching version of hdrcli")
    try:
        bundle = Bundle(folder, card)
        files, _ = card["files"], bundle.spec()
        if not files or not all(isinstance(v, str) and Path(k).name == k for k, v in files.items()):
            raise ValueError("table [files] must give a SHA-256 for each file")
    except (KeyError, TypeError, ValueError) as error:
        fault = f"the card lacks or garbles {error}"
        raise ModelError(fault, where=path, remedy="install the bundle again") from None
    return bundle


def verify(bundle: Bundle) -> None:
    """Compare every file with its SHA-256 on the card. Raises ModelError for one that is missing or differs."""
    for name in bundle.card["files"]:
        verified_bytes(bundle, name)


def verified_bytes(bundle: Bundle, name: str) -> bytes:
    """The content of one of the bundle's files, checked against the card's SHA-256, so what was checked is what is run."""
    path = bundle.folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"can't be read: {error.strerror}", where=path, remedy="install the bundle again") from None
    if hashlib.sha256(content).hexdigest() != bundle.card["files"][name]:
        raise ModelError(
            "differs from its model card (SHA-256)", where=path, remedy="install the bundle again, or fix its card"
        )
    return content
