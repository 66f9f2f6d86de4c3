"""Which output each file gets: the template, and clashes found before any work."""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH117, PTH118, PTH122, PTH206
from __future__ import annotations

import os
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hdrcli.batch.sources import Source
from hdrcli.errors import UsageError

TEMPLATE = "{stem}.{ext}"
FIELDS = {
    "stem": "the source's name without extension",
    "name": "the source's name",
    "type": "the source's extension, without the dot",
    "ext": "the output's extension",
    "model": "the model or operator",
}


@dataclass(frozen=True, slots=True)
class Item:
    """A source, and its outputs: relative to the output folder with ``/``, the picture itself first."""

    source: str
    outputs: tuple[str, ...]


def _refuse(error: UsageError) -> None:
    raise error


def items(
    sources: Iterable[Source],
    folder: str,
    extension: str,
    *,
    template: str = TEMPLATE,
    model: str = "",
    preview: str | None = None,
    clash: Callable[[UsageError], None] = _refuse,
) -> list[Item]:
    """Each source with its outputs below ``folder``: the tree of the sources, and names by the template.

    ``preview``: the end of a second output's name. Raises UsageError for a template that makes no names. For sources that would
    have one output, and an output that is one of the sources, ``clash`` hears of it before any work, and raises it; if it does
    not, the file is left out.
    """
    check_template(template)
    made = [_item(source, extension, template, model, preview) for source in sources]
    kept = _without_lost_sources(_without_twins(made, clash), folder, clash)
    return made if len(kept) == len(made) else kept


def check_template(template: str) -> None:
    """Raises UsageError for fields that there are not, and for templates that give all outputs one name, or lead outside."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise UsageError(f"{template!r}: {error}", where="--template", remedy=f"for example {TEMPLATE}") from None
    known = ", ".join(f"{{{name}}}" for name in FIELDS)
    names = {name for _, name, _, _ in parts if name is not None}
    for name in sorted(names - set(FIELDS)):
        raise UsageError(f"no field {{{name}}}", where="--template", remedy=f"there are: {known}")
    if any(spec or conversion for _, _, spec, conversion in parts):
        raise UsageError("fields take no format", where="--template", remedy=f"for example {TEMPLATE}")
    if not names & {"stem", "name"}:
        raise UsageError(f"{template!r} gives all outputs one name", where="--template", remedy="add {stem} or {name}")
    literal = "".join(text for text, _, _, _ in parts)
    if "\0" in literal or os.path.isabs(template) or os.pardir in template.split(os.sep):
        raise UsageError(f"{template!r} leads out of the output folder", where="--template", remedy="give a relative name")
    if not template.endswith(".{ext}"):
        raise UsageError(f"{template!r} does not end in .{{ext}}", where="--template", remedy="the extension says the format")


def _item(source: Source, extension: str, template: str, model: str, preview: str | None) -> Item:
    folder, name = os.path.split(source.place)
    stem, dot_type = os.path.splitext(name)
    made = template.format(stem=stem, name=name, type=dot_type[1:], ext=extension[1:], model=model.replace(os.sep, "_"))
    output = os.path.join(folder, made.lstrip(os.sep))  # an empty {type} before a separator
    second = () if preview is None else (output.removesuffix(extension) + preview,)
    return Item(source.path, tuple(path.replace(os.sep, "/") for path in (output, *second)))


def _without_twins(made: list[Item], clash: Callable[[UsageError], None]) -> list[Item]:
    # on case-insensitive systems A.exr is a.exr; elsewhere both may stand beside each other
    makers: dict[str, str] = {}
    kept, twins = [], []
    for item in made:
        keys = [os.path.normcase(output) for output in item.outputs]
        taken = [(output, makers[key]) for output, key in zip(item.outputs, keys, strict=True) if key in makers]
        if taken:
            twins.append((*taken[0], item.source))
        else:
            kept.append(item)
            makers.update(dict.fromkeys(keys, item.source))
    if twins:
        output, first, second = twins[0]
        more = f", and {len(twins) - 1} more such" if len(twins) > 1 else ""
        fault = f"would come from both {first} and {second}{more}"
        remedy = "say --template '{name}.{ext}' to keep their extensions, or --base to keep their folders"
        clash(UsageError(fault, where=output, remedy=remedy))
    return kept


def _without_lost_sources(made: list[Item], folder: str, clash: Callable[[UsageError], None]) -> list[Item]:
    """An output that is a source would be the end of it."""
    sources = {os.path.realpath(item.source) for item in made}
    root = os.path.realpath(folder)
    kept = []
    for item in made:
        lost = [output for output in item.outputs if os.path.realpath(os.path.join(root, output)) in sources]
        if lost:
            fault = f"the output of {item.source} is one of the sources, it would be lost"
            remedy = "choose another --out-dir or --template"
            clash(UsageError(fault, where=os.path.join(folder, lost[0]), remedy=remedy))
        else:
            kept.append(item)
    return kept
