"""Names to modules: what stands in a folder is what there is.

A module's file stem is its name on the command line. Listing names imports nothing; a module is imported when it is
asked for. So an operator, a metric or a network is added by adding one file.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from hdrcli.errors import UsageError


def names(package: str) -> tuple[str, ...]:
    """Names of the modules in a package, sorted: ``names("hdrcli.tonemapping")``. Names with a leading ``_`` are private."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"no such package: {package}")
    stems = {p.stem for folder in spec.submodule_search_locations for p in Path(folder).glob("*.py")}
    return tuple(sorted(s for s in stems if not s.startswith("_")))


def load(package: str, name: str) -> ModuleType:
    """The module of that name. Raises UsageError, with the names there are, for any other."""
    known = names(package)
    if name not in known:
        kind = package.rpartition(".")[2]
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        raise UsageError(f"no {kind} of the name {name!r}", remedy=hint)
    return importlib.import_module(f"{package}.{name}")


def build(cls: type[Any], options: dict[str, str]) -> Any:
    """A dataclass from ``key=value`` texts, each converted to the type of the field's default.

    Raises UsageError for a name the dataclass lacks or a text that does not convert.
    """
    known = {f.name: f.default for f in fields(cls)}
    values: dict[str, Any] = {}
    for key, text in options.items():
        if key not in known:
            raise UsageError(f"{cls.__name__} has no parameter {key!r}", remedy=f"there are: {', '.join(known) or 'none'}")
        values[key] = _convert(text, known[key], where=key)
    return cls(**values)


def _convert(text: str, default: Any, *, where: str) -> Any:
    if isinstance(default, bool):
        if text.lower() in ("true", "yes", "1", "on"):
            return True
        if text.lower() in ("false", "no", "0", "off"):
            return False
        raise UsageError(f"{text!r} is neither true nor false", where=where)
    try:
        return type(default)(text)
    except ValueError:
        raise UsageError(f"{text!r} is no {type(default).__name__}", where=where) from None
