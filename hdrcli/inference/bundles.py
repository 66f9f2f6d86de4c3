"""Bundles: folders with exported weights and a model card (model.toml). Finding, reading and checking them.

Searched in this order: the folders in ``HDRCLI_MODELS`` (separated like PATH), the user's data folder, what came with hdrcli.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdrcli.errors import MissingModel, ModelError
from hdrcli.inference.generator import GeneratorSpec

CARD = "model.toml"
CARD_FORMAT = 1
TABLES = ("model", "network", "domain", "g_x", "training", "data", "scores", "files")
ENVIRONMENT = "HDRCLI_MODELS"


@dataclass(frozen=True)
class Bundle:
    """A bundle: its folder and what its card says."""

    folder: Path
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The folder's name, also where it is given as "."."""
        return self.folder.name if self.folder.name not in ("", "..") else self.folder.resolve().name

    @property
    def version(self) -> str:
        """The card's version."""
        return str(_entry(self.card, "model.version", str, int, float))

    def file(self, role: str) -> Path:
        """The weights file of a role ("g_y", "g_x"). Raises MissingModel if the bundle has none."""
        name = f"{role}.onnx"
        if name not in self.card["files"]:
            have = ", ".join(self.card["files"])
            verb = {"g_x": "tone-maps", "g_y": "expands"}[role]
            way = f"; name a bundle that {verb} with --model"
            raise MissingModel(f"has no {role}", where=self.folder, remedy=f"it has: {have}{way}")
        return self.folder / name

    @property
    def roles(self) -> tuple[str, ...]:
        """The generators it has: "g_y" (LDR to HDR), "g_x" (the way back)."""
        return tuple(role for role in ("g_y", "g_x") if f"{role}.onnx" in self.card["files"])

    def spec(self, role: str = "g_y") -> GeneratorSpec:
        """What one of its generators takes and gives. Raises ValueError, naming the place, where the card garbles it."""
        # [model], [network] and [domain] are those of G_Y; G_X has a table of its own
        about, domain = ("model", "domain") if role == "g_y" else (role, role)
        inputs = _entry(self.card, f"{domain}.inputs", list)
        if not all(isinstance(name, str) and name.isprintable() for name in inputs):
            raise ValueError(f"{domain}.inputs")
        network = self.card.get("network", {}) if role == "g_y" else self.card[role].get("network", {})
        if not isinstance(network, Mapping):
            raise ValueError(f"{role}.network")
        return GeneratorSpec(
            name=self.name,
            version=self.version,
            inputs=tuple(inputs),
            working_size=_entry(self.card, f"{domain}.working_size", int),
            multiple=_entry(self.card, f"{domain}.multiple", int),
            peak=float(_entry(self.card, f"{domain}.peak", int, float)),
            origin=self.folder,
            architecture=_entry(self.card, f"{about}.architecture", str),
            network=network,
            digest=self.card["files"].get(f"{role}.onnx", "")[:16],
            role=role,
        )


def _entry(card: Mapping[str, Any], place: str, *kinds: type) -> Any:
    """A card's entry by "table.key". Raises ValueError, naming the place, for one that is missing or of another kind."""
    table, _, key = place.partition(".")
    value = card.get(table, {}).get(key)
    if not isinstance(value, kinds) or isinstance(value, bool) or (isinstance(value, str) and not value.isprintable()):
        raise ValueError(place)
    return value


def packaged_folder() -> Path:
    """Where the bundles that come with hdrcli lie: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "bundled"
    return inside if inside.is_dir() else package.parent / "models"


def user_folder() -> Path:
    """Where the user's own bundles lie."""
    from platformdirs import user_data_path

    return user_data_path("hdrcli", appauthor=False) / "models"


def search_folders() -> tuple[Path, ...]:
    """Folders that hold bundles, first one wins."""
    named = [Path(p) for p in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if p]
    return (*named, user_folder(), packaged_folder())


def installed() -> Iterator[Path]:
    """Folders of all bundles that can be found by name, shadowed ones left out."""
    seen: set[str] = set()
    for folder in search_folders():
        for card in sorted(folder.glob(f"*/{CARD}")):
            if card.parent.name not in seen:
                seen.add(card.parent.name)
                yield card.parent


def find(name_or_path: str) -> Path:
    """The folder of a bundle by name or path.

    What holds no separator is a name first, whatever the current folder holds, and a path only if no bundle is named so.
    Raises MissingModel, ModelError for an ONNX file without a card.
    """
    path = Path(name_or_path)
    if path.name == name_or_path and name_or_path not in ("", ".."):
        for folder in search_folders():
            if _is_file(folder / name_or_path / CARD):
                return folder / name_or_path
    if name_or_path and _is_file(path / CARD):
        return path
    if path.suffix.lower() == ".onnx" and _is_file(path):
        if path.name == "g_y.onnx" and _is_file(path.parent / CARD):
            return path.parent
        raise ModelError(
            "is a network alone, nothing says what it takes and gives", where=path, remedy="name the folder of its bundle"
        )
    there = ", ".join(p.name for p in installed()) or "none"
    raise MissingModel(f"no model {name_or_path!r}", remedy=f"bundles found: {there}; see hdrcli models list")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long, a folder that may not be searched: nothing that we could read
        return False


def read(folder: Path) -> Bundle:
    """A bundle by its folder, card checked for form. Raises ModelError for a card that is damaged or of another kind."""
    path = folder / CARD
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"the card can't be read: {error}", where=path, remedy="install the bundle again") from None
    if card.get("format") != CARD_FORMAT:
        fault = f"is of card format {card.get('format')!r}, this version reads {CARD_FORMAT}"
        raise ModelError(fault, where=path, remedy="use a matching version of hdrcli")
    try:
        _check_form(card)
        bundle = Bundle(folder, card)
        bundle.version  # noqa: B018
        for role in bundle.roles or ("g_y",):
            bundle.spec(role)
    except (ValueError, OverflowError) as error:
        fault = f"the card lacks or garbles {error}"
        raise ModelError(fault, where=path, remedy="install the bundle again") from None
    return bundle


def _check_form(card: Mapping[str, Any]) -> None:
    for name in TABLES:
        if not isinstance(card.get(name, {}), Mapping):
            raise ValueError(f"table [{name}]")
    files = card.get("files")
    # names that are files in the bundle's folder on every system
    if not files or not all(
        re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name) and isinstance(sha, str) and re.fullmatch("[0-9a-f]{64}", sha)
        for name, sha in files.items()
    ):
        raise ValueError("table [files], which must give a SHA-256 for each file")


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
