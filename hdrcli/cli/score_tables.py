"""An evaluation as tables on the terminal, and as records for machines."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hdrcli.cli.presentation import printable, style, table

if TYPE_CHECKING:
    from hdrcli.evaluation.results import Aggregate, Evaluation, Protocol, ScoreInfo, Significance

ALPHA = 0.05
_REASONS = 6  # why numbers are missing: so many different ones are told


def show(evaluation: Evaluation, *, thorough: bool) -> None:
    """All protocols one after the other; ``thorough``: comparisons of all scores, not of the first alone."""
    for place, protocol in enumerate(evaluation.protocols):
        if place:
            print()
        _show_protocol(evaluation, protocol, thorough=thorough)
    if len(evaluation.rankings) > 1 and len(evaluation.methods) > 1:
        print()
        _show_rankings(evaluation)
    print()
    for note in evaluation.notes:
        print(printable(note))


def _show_protocol(evaluation: Evaluation, protocol: Protocol, *, thorough: bool) -> None:
    print(style(printable(protocol.line or f"{protocol.name}: no pair could be scored"), "1", sys.stdout))
    mine = [a for a in evaluation.aggregates if a.protocol == protocol.name]
    reasons: dict[str, str] = {}
    whole = [a for a in mine if a.region is None]
    rows = [_row(a, info, whole, reasons) for info in protocol.scores for a in whole if a.score == info.name]
    if not rows:
        told = {str(r.facts.get("unavailable")) for r in evaluation.scores if r.protocol == protocol.name}
        print("\n".join(sorted(map(printable, told))[:_REASONS]))
    else:
        table(("SCORE", "METHOD", "MEAN", "95 % INTERVAL", "MEDIAN", "N", "LEFT OUT"), rows)
        if any(row[2].endswith("*") for row in rows):
            print("*: the best mean of that score")
    _show_regions(evaluation, protocol, mine, reasons)
    _show_worst(protocol, whole)
    _show_significance([s for s in evaluation.significance if s.protocol == protocol.name], protocol, thorough=thorough)
    for why, mark in list(reasons.items())[:_REASONS]:
        print(f"{mark}: {printable(why)}")
    if len(reasons) > _REASONS:
        print(f"and {len(reasons) - _REASONS} more reasons; --out-json and --csv have them all")


def _row(a: Aggregate, info: ScoreInfo, whole: list[Aggregate], reasons: dict[str, str]) -> tuple[str, ...]:
    better = "" if info.better == "neither" else f", {info.better}"
    name = f"{a.score} ({info.unit or 'no unit'}{better})"
    interval = "-" if a.low is None or a.high is None else f"{number(a.low)} .. {number(a.high)}"
    best = "*" if _is_best(a, info, whole) else ""
    mean = "inf" if a.mean is None and a.infinite else number(a.mean)
    return name, printable(a.method), f"{mean}{best}", interval, number(a.median), str(a.n), _left_out(a, reasons)


def _is_best(a: Aggregate, info: ScoreInfo, whole: list[Aggregate]) -> bool:
    means = [other.mean for other in whole if other.score == a.score and other.mean is not None]
    if a.mean is None or info.better == "neither" or len(means) < 2:
        return False
    return a.mean == (max(means) if info.better == "higher" else min(means))


def _left_out(a: Aggregate, reasons: dict[str, str]) -> str:
    parts = [f"{a.infinite} inf"] if a.infinite else []
    parts += [f"{count} [{_mark(why, reasons)}]" for why, count in a.missing.items()]
    return ", ".join(parts) or "-"


def _mark(why: str, reasons: dict[str, str]) -> str:
    return reasons.setdefault(why, str(len(reasons) + 1))


def _show_regions(evaluation: Evaluation, protocol: Protocol, mine: list[Aggregate], reasons: dict[str, str]) -> None:
    found = {(a.region, a.method, a.score): a for a in mine if a.region is not None}
    if not found:
        return
    shares: dict[str, list[float]] = {}
    seen = set()
    for part in evaluation.regions:
        if part.protocol == protocol.name and (part.image, part.region) not in seen:
            seen.add((part.image, part.region))
            shares.setdefault(part.region, []).append(part.share)
    scores = list(dict.fromkeys(score for _, _, score in found))
    rows = []
    for region, values in shares.items():
        for method in evaluation.methods:
            cells = [_region_cell(found[region, method.name, score], reasons) for score in scores]
            share = f"{100 * math.fsum(values) / len(values):.1f} %"
            rows.append((region, share, printable(method.name), *cells))
    print()
    table(("REGION", "SHARE", "METHOD", *(f"{score} (mean, n)" for score in scores)), rows)


def _region_cell(a: Aggregate, reasons: dict[str, str]) -> str:
    left_out = "" if not (a.missing or a.infinite) else f", {_left_out(a, reasons)}"
    return f"{number(a.mean)} ({a.n}{left_out})"


def _show_worst(protocol: Protocol, whole: list[Aggregate]) -> None:
    first = next((s for s in protocol.scores if s.better != "neither"), None)
    lines = [
        f"worst of {printable(a.method)} by {a.score}: "
        + ", ".join(f"{printable(image)} ({number(value)})" for image, value in a.worst)
        for a in whole
        if first is not None and a.score == first.name and a.n > 1
    ]
    if lines:
        print("\n" + "\n".join(lines))


def _show_significance(found: list[Significance], protocol: Protocol, *, thorough: bool) -> None:
    first = next((s.name for s in protocol.scores if s.better != "neither"), None)
    shown = [s for s in found if thorough or s.score == first]
    if not shown:
        return
    rows = []
    for s in shown:
        verdict = "-" if s.p_adjusted is None else "yes" if s.p_adjusted < ALPHA else "no"
        difference = ("+" if s.difference and s.difference > 0 else "") + number(s.difference)
        p = (number(s.p), number(s.p_adjusted))
        rows.append((s.score, f"{printable(s.first)} - {printable(s.second)}", difference, *p, str(s.n), verdict))
    print()
    table(("SCORE", "COMPARED", "MEAN DIFFERENCE", "P", "P ADJUSTED", "PAIRS", f"P < {ALPHA:g}"), rows)
    most = max(s.n for s in shown)
    if 2.0 ** (1 - most) >= ALPHA:  # all signs alike, either way
        print(f"{most} pairs are too few: no p can be below {2.0 ** (1 - most):g}")


def _show_rankings(evaluation: Evaluation) -> None:
    """Places down, protocols across would be wide: a line a protocol."""
    rows = [
        (r.protocol, r.score, "  ".join(f"{i}. {printable(m)}" for i, m in enumerate(r.methods, 1)))
        for r in evaluation.rankings
    ]
    table(("RANKING BY", "MEAN OF", "METHODS, BEST FIRST"), rows)


def number(value: float | None) -> str:
    """Four significant digits, "-" for none."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:#.4g}".rstrip(".") if 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def records(evaluation: Evaluation) -> Iterator[Mapping[str, Any]]:
    """An object a pair, then one with all that is about more than one pair."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in evaluation.scores:
        rows.setdefault((row.method, row.image), {})[row.protocol] = {"scores": row.scores, "facts": row.facts}
    parts: dict[tuple[str, str], dict[str, Any]] = {}
    for part in evaluation.regions:
        mine = parts.setdefault((part.method, part.image), {}).setdefault(part.protocol, {})
        mine[part.region] = {"share": part.share, **part.scores}
    for entry in evaluation.entries:
        place = (entry.method, entry.image)
        yield {
            "method": entry.method,
            "image": entry.image,
            "prediction": None if entry.prediction is None else entry.prediction.path,
            "error": entry.error,
            "remarks": entry.remarks,
            "protocols": rows.get(place, {}),
            "regions": parts.get(place, {}),
        }
    yield {
        "summary": evaluation.aggregates,
        "significance": evaluation.significance,
        "rankings": evaluation.rankings,
        "protocols": evaluation.protocols,
        "settings": evaluation.settings,
        "versions": evaluation.versions,
        "notes": evaluation.notes,
    }
