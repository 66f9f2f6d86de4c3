"""Recipes: what is trained, with which options, on which schedule. TOML files, those in ``hdrcli/recipes`` by name.

::

    summary = "one line"
    objective = "paired"        # a module of hdrcli.training.objectives
    [options]                   # of the objective; groups as tables or dotted keys
    [loop]                      # fields of Loop below

Imports nothing heavy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hdrcli.errors import UsageError
from hdrcli.training.schedule import CONSTANT_SHARE, SCHEDULES

FOLDER = Path(__file__).resolve().parent.parent / "recipes"


@dataclass(frozen=True)
class Loop:
    """What a recipe says about the loop.

    ``schedule``: "cosine", or "constant-linear" with ``constant_share`` of the run constant. ``warmup_steps``: linear from 0.
    ``ema``: decay of the averaged weights. ``clip_gradient``: largest norm of each phase's gradient; 0: not clipped.
    ``epochs``, ``minutes``: the end where the command line gives none; 0: none.
    """

    schedule: str = "cosine"
    constant_share: float = CONSTANT_SHARE
    warmup_steps: int = 200
    ema: float = 0.999
    clip_gradient: float = 1.0
    epochs: float = 0.0
    minutes: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A recipe as read. ``options``: texts by name, as on the command line."""

    name: str
    summary: str
    objective: str
    options: Mapping[str, str] = field(default_factory=dict)
    loop: Loop = field(default_factory=Loop)


def names() -> tuple[str, ...]:
    """Names of the recipes that come along, sorted."""
    return tuple(sorted(p.stem for p in FOLDER.glob("*.toml")))


def load(name: str) -> Recipe:
    """A recipe by name or, if it ends in .toml, from a file. Raises UsageError."""
    if name.lower().endswith(".toml"):
        return _read(Path(name))
    if name not in names():
        close = get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(names())}, or name a .toml file"
        raise UsageError(f"no recipe of the name {name!r}", remedy=hint)
    return _read(FOLDER / f"{name}.toml")


def _read(path: Path) -> Recipe:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        fault = f"can't be read: {error.strerror or error}"
        raise UsageError(fault, where=path, remedy="check the name and its rights") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"is no TOML: {error}", where=path, remedy="correct it") from None
    unknown = set(content) - {"summary", "objective", "options", "loop"}
    if unknown or not isinstance(content.get("objective"), str):
        fault = f"has unknown keys: {', '.join(sorted(unknown))}" if unknown else "names no objective"
        raise UsageError(fault, where=path, remedy="a recipe has summary, objective, [options] and [loop]")
    tables = {name: content.get(name, {}) for name in ("options", "loop")}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"{name} is no table", where=path, remedy=f"write [{name}]")
    options = _flat(tables["options"], path)
    return Recipe(path.stem, str(content.get("summary", "")), content["objective"], options, _loop(tables["loop"], path))


def _flat(table: Mapping[str, Any], path: Path, prefix: str = "") -> dict[str, str]:
    """Nested tables to ``group.key`` texts."""
    out: dict[str, str] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out |= _flat(value, path, f"{name}.")
        elif isinstance(value, list):
            out[name] = ",".join(_text(v, path, name) for v in value)
        else:
            out[name] = _text(value, path, name)
    return out


def _text(value: Any, path: Path, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | str):
        return str(value)
    raise UsageError(f"{name} is of a kind no option has", where=path, remedy="use numbers, texts, true or false")


def _loop(table: Mapping[str, Any], path: Path) -> Loop:
    defaults = {f.name: getattr(Loop(), f.name) for f in fields(Loop)}
    for key, value in table.items():
        if key not in defaults:
            remedy = f"there are: {', '.join(defaults)}"
            raise UsageError(f"[loop] has no {key!r}", where=path, remedy=remedy)
        kind = type(defaults[key])
        right = (
            isinstance(value, int | float) and not isinstance(value, bool) if kind in (int, float) else isinstance(value, str)
        )
        if not right or (kind is int and int(value) != value):
            raise UsageError(f"[loop] {key} is no {kind.__name__}", where=path, remedy=f"the default is {defaults[key]}")
        defaults[key] = kind(value)
    loop = Loop(**defaults)
    for name, value, good, remedy in (
        ("schedule", loop.schedule, loop.schedule in SCHEDULES, f"there are: {', '.join(SCHEDULES)}"),
        ("constant_share", loop.constant_share, 0 <= loop.constant_share <= 1, "use 0 to 1"),
        ("ema", loop.ema, 0 <= loop.ema < 1, "use 0 to less than 1"),
        ("warmup_steps", loop.warmup_steps, loop.warmup_steps >= 0, "use 0 or more"),
        ("clip_gradient", loop.clip_gradient, loop.clip_gradient >= 0, "use 0 or more"),
        ("epochs", loop.epochs, loop.epochs >= 0, "use 0 or more"),
        ("minutes", loop.minutes, loop.minutes >= 0, "use 0 or more"),
    ):
        if not good:
            raise UsageError(f"[loop] {name} can't be {value}", where=path, remedy=remedy)
    return loop
