"""An evaluation as JSON and back, and as CSV.

Numbers in JSON are JSON numbers with all their digits; infinity is the text "inf" or "-inf"; a value that there is not is
``{"missing": "why"}``. Keys are the fields of the classes in ``results``.
"""

from __future__ import annotations

import csv
import io
import json
import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from hdrcli.errors import MissingInput, UnreadableInput
from hdrcli.evaluation.results import Evaluation, Missing, Value

FORMAT = "hdrcli-evaluation"
VERSION = 1


def to_json(evaluation: Evaluation) -> str:
    """The whole evaluation as a JSON document; the same evaluation gives the same text."""
    return json.dumps({"format": FORMAT, "format_version": VERSION, **plain(evaluation)}, indent=1, allow_nan=False) + "\n"


def plain(value: Any) -> Any:
    """Dataclasses, mappings, tuples and NumPy numbers as what JSON has; see the module's docstring. NaN raises ValueError."""
    match value:
        case Missing():
            return {"missing": value.why}
        case None | bool() | int() | str():
            return value
        case float():
            if math.isnan(value):
                raise ValueError("NaN can't be a result")
            return value if math.isfinite(value) else str(value)
        case np.generic() | np.ndarray():
            return plain(value.tolist())
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return str(value)  # paths, enumerations: what an option holds


def read(path: Path) -> Evaluation:
    """The evaluation in a JSON file. Raises MissingInput, or UnreadableInput for a file that this did not write."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise UnreadableInput("is no text", where=path, remedy="name a file written with --out-json") from None
        raise MissingInput("no such file", where=path, remedy="check the name") from None
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None
    try:
        return from_json(text)
    except UnreadableInput as error:
        error.where = str(path)
        raise


def from_json(text: str) -> Evaluation:
    """The evaluation that :func:`to_json` made the text of. Raises UnreadableInput for any other."""
    remedy = "name a file written with hdrcli evaluate --out-json"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableInput(f"is no JSON: {error}", remedy=remedy) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnreadableInput("is no evaluation", remedy=remedy)
    if document.get("format_version") != VERSION:
        fault = f"is of format version {document.get('format_version')}, this hdrcli reads {VERSION}"
        raise UnreadableInput(fault, remedy="read it with the version that wrote it, or evaluate again")
    try:
        made = _typed(Evaluation, document, "evaluation")
    except _Fault as fault:
        raise UnreadableInput(f"is damaged: {fault}", remedy="evaluate again") from None
    assert isinstance(made, Evaluation)
    return made


class _Fault(Exception):
    """Where a document departs from what the classes say."""


def _typed(kind: Any, value: Any, place: str) -> Any:
    """JSON's value as what an annotation asks for."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, place)
    if origin is Literal:
        return _checked(value, value in arguments, place)
    if kind is float:
        if value in ("inf", "-inf"):
            return float(value)
        return float(_checked(value, isinstance(value, (int, float)) and not isinstance(value, bool), place))
    if kind is type(None):
        return _checked(value, value is None, place)
    if kind is Missing:
        is_one = isinstance(value, dict) and isinstance(value.get("missing"), str)
        return Missing(_checked(value, is_one, place)["missing"])
    if origin is tuple:
        _checked(value, isinstance(value, list), place)
        if arguments[1:] == (...,):
            return tuple(_typed(arguments[0], item, f"{place}[{i}]") for i, item in enumerate(value))
        _checked(value, len(value) == len(arguments), place)
        return tuple(_typed(a, item, f"{place}[{i}]") for i, (a, item) in enumerate(zip(arguments, value, strict=True)))
    if origin is Mapping:
        _checked(value, isinstance(value, dict), place)
        return {key: _typed(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if is_dataclass(kind):
        _checked(value, isinstance(value, dict), place)
        hints = get_type_hints(kind)
        lacking = [f.name for f in fields(kind) if f.name not in value]
        if lacking:
            raise _Fault(f"{place} has no {lacking[0]}")
        make: Any = kind
        return make(**{f.name: _typed(hints[f.name], value[f.name], f"{place}.{f.name}") for f in fields(kind)})
    return _checked(value, isinstance(value, kind) and not (kind is int and isinstance(value, bool)), place)


def _one_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    for kind in kinds:
        try:
            return _typed(kind, value, place)
        except _Fault:
            continue
    raise _Fault(f"{place} is {str(value)[:40]!r}")


def _checked(value: Any, right: bool, place: str) -> Any:
    if not right:
        raise _Fault(f"{place} is {str(value)[:40]!r}")
    return value


def to_csv(evaluation: Evaluation) -> str:
    """One line for each method and image, one column for each number, no cell left blank.

    Columns: ``method``, ``image``, ``prediction``, ``reference``, ``error`` ("-" for none), then ``protocol.score`` and
    ``protocol.region.score``, with ``protocol.region.share``. A number that there is not reads ``missing: why``.
    """
    columns, cells = _columns(evaluation)
    references = {image.name: image.reference.path for image in evaluation.images}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["method", "image", "prediction", "reference", "error", *columns])
    for entry in evaluation.entries:
        prediction = entry.prediction.path if entry.prediction is not None else "-"
        found = cells.get((entry.method, entry.image), {})
        why = Missing(entry.error or "this protocol has no such score for this pair")
        values = [_cell(found.get(column, why)) for column in columns]
        writer.writerow([entry.method, entry.image, prediction, references.get(entry.image, "-"), entry.error or "-", *values])
    return out.getvalue()


def _columns(evaluation: Evaluation) -> tuple[list[str], dict[tuple[str, str], dict[str, Value]]]:
    columns: dict[str, None] = {}
    cells: dict[tuple[str, str], dict[str, Value]] = {}
    for row in evaluation.scores:
        named = {f"{row.protocol}.{name}": value for name, value in row.scores.items()}
        columns.update(dict.fromkeys(named))
        cells.setdefault((row.method, row.image), {}).update(named)
    for part in evaluation.regions:
        place = f"{part.protocol}.{part.region}"
        named = {f"{place}.share": part.share, **{f"{place}.{name}": value for name, value in part.scores.items()}}
        columns.update(dict.fromkeys(named))
        cells.setdefault((part.method, part.image), {}).update(named)
    return list(columns), cells


def _cell(value: Value) -> str:
    return f"missing: {value.why}" if isinstance(value, Missing) else repr(float(value))
