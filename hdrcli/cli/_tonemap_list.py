"""``hdrcli tonemap --list``: the operators, what they do, and their parameters in the words of their docstrings."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from dataclasses import fields
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hdrcli.cli.presentation import style

OPERATORS = "hdrcli.tonemapping"
_WIDEST = 100
_OFF_TERMINAL = 80


def show() -> None:
    """Print it on stdout, as wide as the terminal, 80 columns elsewhere."""
    from hdrcli import registry
    from hdrcli.conversion import LEARNED, takes_exposure

    width = min(shutil.get_terminal_size((_OFF_TERMINAL, 24)).columns, _WIDEST) if sys.stdout.isatty() else _OFF_TERMINAL
    for name in registry.names(OPERATORS):
        module = registry.load(OPERATORS, name)
        traits = ["local"] if module.LOCAL else []
        traits += ["--auto-exposure"] if takes_exposure(name) else []
        traits += ["--white"] if hasattr(module, "WHITE") else []
        _entry(name, module.SUMMARY, width)
        _indented(" ".join(_defaults(module)), width)
        for text in _paragraphs(module.Parameters):
            _indented(text, width)
        if traits:
            _indented(f"[{', '.join(traits)}]", width)
        print()
    _entry(LEARNED, "the generator G_X of --model", width)
    print()
    about = (
        "key=value: -p key=value; a|b: the choices, the first is the default; local: what a pixel becomes depends on its "
        "surroundings; --auto-exposure: takes scene light at a given exposure, so that --no-auto-exposure has an effect; "
        "--white: can be told what is white. Light and luminance are in LDR whites (1.0) unless another unit is given."
    )
    print(textwrap.fill(about, width))


def _entry(name: str, summary: str, width: int) -> None:
    lines = textwrap.wrap(summary, width - 12)
    print(f"{style(name, '1', sys.stdout)}{' ' * (12 - len(name))}{lines[0]}")
    for line in lines[1:]:
        print(f"{'':12}{line}")


def _indented(text: str, width: int) -> None:
    if text:
        print(textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False))


def _defaults(module: ModuleType) -> list[str]:
    """``name=default`` of each parameter; of choices all, the default first."""
    hints = get_type_hints(module.Parameters)
    return [f"{f.name}={_value(f.default, hints[f.name])}" for f in fields(module.Parameters)]


def _value(default: Any, hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join([default, *(choice for choice in get_args(hint) if choice != default)])
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _paragraphs(parameters: type[Any]) -> list[str]:
    """The docstring as plain prose: quotes of code taken off."""
    text = re.sub(r"``([^`]*)``", r"\1", parameters.__doc__ or "")
    return [" ".join(part.split()) for part in text.split("\n\n")]
