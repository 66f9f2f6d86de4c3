"""Names to modules: what stands in a folder is what there is.

A module's file stem is its name on the command line. Listing names imports nothing; a module is imported when it is
asked for. So an operator, a metric or a network is added by adding one file.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hdrcli.errors import UsageError

_KINDS = {
    "objectives": "recipe",
    "tonemapping": "tone-mapping operator",
    "expansion": "expansion operator",
    "formats": "format",
    "metrics": "metric",
    "protocols": "protocol",
    "networks": "network",
    "perception": "guide",
    "losses": "loss",
    "engines": "engine",
}


def names(package: str) -> tuple[str, ...]:
    """Names of the modules in a package, sorted: ``names("hdrcli.tonemapping")``. Names with a leading ``_`` are private."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"no such package: {package}")
    stems = {p.stem for folder in spec.submodule_search_locations for p in Path(folder).glob("*.py")}
    return tuple(sorted(s for s in stems if not s.startswith("_")))


def load(package: str, name: str, besides: tuple[str, ...] = ()) -> ModuleType:
    """The module of that name. Raises UsageError, with the names there are, for any other.

    ``besides``: names that the user may say as well, which are no modules: they are told with the others.
    """
    found = names(package)
    if name not in found:
        known = (*found, *besides)
        kind = _KINDS.get(package.rpartition(".")[2], "module")
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        raise UsageError(f"no {kind} of the name {name!r}", remedy=hint)
    return importlib.import_module(f"{package}.{name}")


def build(cls: type[Any], options: dict[str, str]) -> Any:
    """A dataclass from ``key=value`` texts, each converted to the type of the field's default. ``Literal``: only its values.

    ``group.key`` reaches into a field that is a dataclass itself.

    Raises UsageError for a name the dataclass lacks or a text that does not convert.
    """
    value = cls()
    for key, text in options.items():
        value = _set(value, key, text, where=key)
    return value


def _set(group: Any, key: str, text: str, *, where: str) -> Any:
    name, dot, rest = key.partition(".")
    known = [f.name for f in fields(group)]
    if name not in known:
        raise UsageError(f"no parameter of the name {name!r}", where=where, remedy=f"there are: {', '.join(known) or 'none'}")
    default = getattr(group, name)
    if dot and not is_dataclass(default):
        raise UsageError(f"{name} is no group of parameters", where=where, remedy=f"write {name}=...")
    if not dot and is_dataclass(default):
        inside = ", ".join(f"{name}.{f.name}" for f in fields(default))
        raise UsageError(f"{name} is a group of parameters", where=where, remedy=f"name one of {inside}")
    value = _set(default, rest, text, where=where) if dot else _convert(text, default, where=where)
    kind = get_type_hints(type(group))[name]
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise UsageError(f"no {name} {text!r}", where=where, remedy=f"there are: {', '.join(map(str, get_args(kind)))}")
    return replace(group, **{name: value})


def _convert(text: str, default: Any, *, where: str) -> Any:
    if isinstance(default, bool):
        if text.lower() in ("true", "yes", "1", "on"):
            return True
        if text.lower() in ("false", "no", "0", "off"):
            return False
        raise UsageError(f"{text!r} is neither true nor false", where=where, remedy="say true or false")
    if isinstance(default, tuple):
        parts = text.split(",")
        if len(parts) != len(default):
            raise UsageError(f"{text!r} is not {len(default)} values", where=where, remedy="separate them by commas")
        return tuple(_convert(part.strip(), item, where=where) for part, item in zip(parts, default, strict=True))
    try:
        value = type(default)(text)
    except (ValueError, TypeError):
        raise UsageError(f"{text!r} is no {type(default).__name__}", where=where, remedy=f"the default is {default}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{text!r} is no finite number", where=where, remedy=f"the default is {default}")
    return value
