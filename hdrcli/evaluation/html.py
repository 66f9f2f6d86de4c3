"""An evaluation as one HTML file that needs nothing else: tables to sort, pictures with an exposure slider, error maps.

The pictures are downsized and log2-coded (``hdrcli.webview``), so that the page can expose them anew; tables are plain HTML and
can be read without JavaScript. The same evaluation and pictures give the same bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import webview
from hdrcli.errors import MismatchError
from hdrcli.evaluation.results import (
    REGIONS,
    Aggregate,
    Entry,
    EvaluatedImage,
    Evaluation,
    Missing,
    Protocol,
    Ranking,
    RegionRow,
    ScoreInfo,
    Significance,
    Value,
)
from hdrcli.formats import whole_file
from hdrcli.webview import escaped

ALPHA = 0.05  # an adjusted p below this calls a difference significant
_NO_MASKS: Mapping[str, NDArray[np.bool_]] = MappingProxyType({})
_CODES = "of white"  # the unit of LDR pictures
_ENOUGH = 6  # with fewer pairs no signed-rank test's p can be below ALPHA: 2 / 2^5 is 0.0625
_FEW_ROWS = 12  # tables of so many rows are open from the start
_MARKS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the report shows of one image, as it was scored by one protocol.

    ``image``: its name in the evaluation. ``reference``, ``predictions`` (method -> picture), ``ldr`` (input): ``(H, W, 3)``,
    floats are linear RGB, BT.709, in ``unit``; unsigned integers are sRGB codes. Errors are shown between pictures of one
    kind. Negative, infinite and NaN values are shown as what they are. ``regions``: names -> disjoint ``(H, W) bool``.
    ``white``: what 1.0 of the files is in ``unit``. ``protocol``: whose aligned pictures these are; "": as they were read.
    Sizes are brought to the reference's.
    """

    image: str
    reference: NDArray[Any]
    predictions: Mapping[str, NDArray[Any]]
    ldr: NDArray[Any] | None = None
    regions: Mapping[str, NDArray[np.bool_]] = field(default_factory=lambda: _NO_MASKS)
    white: float = 100.0
    unit: str = "cd/m²"
    protocol: str = ""


def write_report(
    path: str | Path,
    evaluation: Evaluation,
    pictures: Iterable[Pictures] = (),
    *,
    overwrite: bool = False,
    side: int = webview.SIDE,
) -> None:
    """The report as a file that appears under its name only when it is whole.

    ``pictures`` are taken one at a time, so a generator keeps one image in memory; several of one image follow each other.
    ``side``: largest width and height of a picture in the page. Raises OutputExists, UnwritableOutput, and MismatchError for
    pictures that don't belong to the evaluation or are none.
    """
    with whole_file(Path(path), overwrite=overwrite) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for piece in report(evaluation, pictures, side=side):
            file.write(piece)


def report(evaluation: Evaluation, pictures: Iterable[Pictures] = (), *, side: int = webview.SIDE) -> Iterator[str]:
    """The report's text, piece by piece. Raises MismatchError as :func:`write_report` does."""
    yield from webview.page(
        _title(evaluation),
        _body(_Found(evaluation), pictures, side),
        styles=[webview.resource("hdrcli.evaluation", "report.css")],
        scripts=[webview.resource("hdrcli.evaluation", "report.js")],
    )


class _Found:
    """The evaluation, and its parts by what they are looked up by."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        self.methods = [m.name for m in evaluation.methods]
        self.images = {image.name: place for place, image in enumerate(evaluation.images)}
        self.protocols = {p.name: p for p in evaluation.protocols}
        self.rows = {(r.protocol, r.method, r.image): r for r in evaluation.scores}
        self.regions: dict[tuple[str, str], dict[str, dict[str, RegionRow]]] = {}  # (protocol, image) -> region -> method
        for r in evaluation.regions:
            self.regions.setdefault((r.protocol, r.image), {}).setdefault(r.region, {})[r.method] = r
        self.entries = {(e.method, e.image): e for e in evaluation.entries}
        self.aggregates = {(a.protocol, a.method, a.score, a.region): a for a in evaluation.aggregates}

    def value(self, protocol: str, method: str, image: str, score: str) -> Value:
        """The number, or why there is none."""
        row = self.rows.get((protocol, method, image))
        if row is not None and score in row.scores:
            return row.scores[score]
        entry = self.entries.get((method, image))
        return Missing("not scored" if entry is None or entry.error is None else entry.error)

    def link(self, image: str) -> str:
        """The image's name, linked to its pictures."""
        return f'<a href="#image-{self.images[image]}">{escaped(image)}</a>' if image in self.images else escaped(image)


class _Footnotes:
    """Reasons why numbers are missing, in the order in which a table comes upon them."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}

    def mark(self, why: str) -> str:
        """The mark of a reason, to stand where the number would."""
        place = len(self._reasons)
        name = _MARKS[place % 26] * (place // 26 + 1)
        return f"<sup>{self._reasons.setdefault(why, name)}</sup>"

    def __str__(self) -> str:
        notes = "".join(f"<li><sup>{mark}</sup> {escaped(why)}</li>" for why, mark in self._reasons.items())
        return f'<ul class="footnotes">{notes}</ul>\n' if notes else ""


def number(value: float) -> str:
    """A score as text: four significant digits, or what is left of the point where there are more."""
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:#.4g}".rstrip(".") if abs(value) < 1e4 else f"{value:.0f}"
    return f"{value:.3e}"


def _title(evaluation: Evaluation) -> str:
    return f"hdrcli evaluation: {', '.join(m.name for m in evaluation.methods)}"


def _body(found: _Found, pictures: Iterable[Pictures], side: int) -> Iterator[str]:
    evaluation = found.evaluation
    yield _header(found)
    if len(evaluation.rankings) > 1:
        yield _rankings(evaluation.rankings)
    for protocol in evaluation.protocols:
        yield f'<section class="protocol"><h2>{escaped(protocol.name)}</h2>\n'
        yield f"<p>{escaped(protocol.summary)}</p>\n" if protocol.summary else ""
        yield _summary(found, protocol)
        yield _worst(found, protocol)
        yield _by_region(found, protocol)
        yield _comparisons(evaluation.significance, protocol)
        yield "</section>\n"
    yield '<section><h2 id="scores">Scores of every image</h2>\n'
    for place, protocol in enumerate(evaluation.protocols):
        yield _per_image(found, protocol, place, opened=place == 0)
    yield '</section>\n<section><h2 id="pictures">Pictures</h2>\n'
    yield webview.controls()
    yield _explanation()
    yield from _galleries(found, pictures, side)
    yield f"</section>\n{_record(found)}"


def _header(found: _Found) -> str:
    evaluation = found.evaluation
    methods = "".join(
        f"<li><b>{escaped(m.name)}</b> <span class='faint'>{escaped(m.kind)}, {escaped(m.source)}</span></li>"
        for m in evaluation.methods
    )
    lines = "".join(
        f'<li><code>{escaped(p.line)}</code> <button type="button" class="copy">copy</button></li>'
        if p.line
        else f"<li>{escaped(p.name)}: no pair could be scored</li>"
        for p in evaluation.protocols
    )
    notes = "".join(f"<li>{escaped(note)}</li>" for note in evaluation.notes)
    failed = [e for e in evaluation.entries if e.error is not None]
    errors = "".join(f"<li><b>{escaped(e.method)}</b>, {found.link(e.image)}: {escaped(e.error)}</li>" for e in failed)
    images = f"{len(evaluation.images)} image{'s' * (len(evaluation.images) != 1)}"
    task = evaluation.settings.task
    opened = " open" * (len(failed) <= _FEW_ROWS)
    not_scored = f"<details class='warning'{opened}><summary>{len(failed)} not scored</summary><ul>{errors}</ul></details>"
    return f"""<header><h1>{escaped(_title(evaluation))}</h1>
<p>{images}, {escaped({"hdr": "HDR predictions", "tonemap": "tone-mapped predictions"}.get(task, task))}</p>
<ul class="methods">{methods}</ul>
<h2>Protocols, to cite</h2><ul class="lines">{lines}</ul>
{f'<ul class="notes">{notes}</ul>' if notes else ""}{not_scored if errors else ""}
<nav><a href="#scores">scores of every image</a> <a href="#pictures">pictures</a>
<a href="#record">settings, versions, files</a></nav>
</header>
"""


def _rankings(rankings: Sequence[Ranking]) -> str:
    """Methods down, protocols across: how the order depends on the protocol."""
    methods = sorted(
        dict.fromkeys(m for r in rankings for m in r.methods), key=lambda m: [_place(r, m) or math.inf for r in rankings]
    )
    head = "".join(_heading(f"{escaped(r.protocol)}<br><small>{escaped(r.score)}</small>", first="ascending") for r in rankings)
    rows = []
    for method in methods:
        places = [_place(r, method) for r in rankings]
        cells = "".join(_none("n/a") if p is None else _number_cell(p, f"{p}{_star(p == 1)}", p == 1) for p in places)
        rows.append(f'<tr><th scope="row">{escaped(method)}</th>{cells}</tr>')
    return (
        "<section><h2>Ranking by protocol</h2>\n"
        "<p>Place of each method by the mean of the protocol's first score; n/a: it has none.</p>\n"
        + _table("ranking by protocol", _heading("method", first="ascending", text=True) + head, rows)
        + "</section>\n"
    )


def _place(ranking: Ranking, method: str) -> int | None:
    return ranking.methods.index(method) + 1 if method in ranking.methods else None


def _summary(found: _Found, protocol: Protocol) -> str:
    """Methods down, scores across: mean, interval, median, and how many numbers they are made of."""
    notes = _Footnotes()
    rows = []
    best = {s.name: _best_methods(found, protocol, s) for s in protocol.scores}
    for method in found.methods:
        mine = [found.aggregates.get((protocol.name, method, s.name, None)) for s in protocol.scores]
        cells = "".join(_mean_cell(a, notes, best[s.name]) for a, s in zip(mine, protocol.scores))
        rows.append(f'<tr><th scope="row">{escaped(method)}</th>{cells}</tr>')
    head = _heading("method", first="ascending", text=True) + "".join(map(_score_heading, protocol.scores))
    legend = (
        "Mean, 95 % bootstrap interval of the mean, median; ★ best mean; ≈ not significantly different from it "
        f"(Wilcoxon signed-rank, Holm-adjusted p ≥ {ALPHA:g}; not told of fewer than {_ENOUGH} pairs)."
    )
    return _table(f"{protocol.name}: means", head, rows) + f'<p class="faint">{legend}</p>\n{notes}'


def _best_methods(found: _Found, protocol: Protocol, score: ScoreInfo, region: str | None = None) -> Mapping[str, str]:
    """Method -> "best" or "alike" (no significant difference from a best one); empty where the score does not judge."""
    means = {
        m: a.mean
        for m in found.methods
        if (a := found.aggregates.get((protocol.name, m, score.name, region))) is not None and a.mean is not None
    }
    if score.better == "neither" or len(means) < 2:
        return {}
    top = (max if score.better == "higher" else min)(means.values())
    out = {m: "best" for m, mean in means.items() if mean == top}
    for s in found.evaluation.significance if region is None else ():  # whole pictures were compared
        alike = s.p_adjusted is not None and s.p_adjusted >= ALPHA and s.n >= _ENOUGH
        if s.protocol == protocol.name and s.score == score.name and alike:
            for one, other in ((s.first, s.second), (s.second, s.first)):
                if out.get(one) == "best" and other in means:
                    out.setdefault(other, "alike")
    return out


def _mean_cell(aggregate: Aggregate | None, notes: _Footnotes, best: Mapping[str, str]) -> str:
    if aggregate is None:
        return _none(f"n/a{notes.mark('not scored')}")
    total = aggregate.n + aggregate.infinite + sum(aggregate.missing.values())
    marks = "".join(notes.mark(f"{why} ({count} of {total})") for why, count in aggregate.missing.items())
    if aggregate.mean is None:
        why = f"inf ({aggregate.infinite} of {total})" if aggregate.infinite else "n/a"
        return _none(why + marks)
    standing = best.get(aggregate.method)
    alike = ' <span title="not significantly different from the best">≈</span>' if standing == "alike" else ""
    parts = [f"<b>{number(aggregate.mean)}</b>{_star(standing == 'best')}{alike}"]
    if aggregate.low is not None and aggregate.high is not None:
        parts.append(f"<small>{number(aggregate.low)} … {number(aggregate.high)}</small>")
    if aggregate.median is not None:
        parts.append(f"<small>median {number(aggregate.median)}</small>")
    if aggregate.n != total:
        infinite = f", {aggregate.infinite} inf left out" if aggregate.infinite else ""
        parts.append(f'<small class="warning">{aggregate.n} of {total}{infinite}{marks}</small>')
    return _number_cell(aggregate.mean, "<br>".join(parts), standing == "best")


def _worst(found: _Found, protocol: Protocol) -> str:
    """The worst images of each method by the protocol's first score."""
    if not protocol.scores:
        return ""
    score = protocol.scores[0]
    items = []
    for method in found.methods:
        aggregate = found.aggregates.get((protocol.name, method, score.name, None))
        if aggregate is not None and aggregate.worst:
            worst = ", ".join(f"{found.link(image)} {number(value)}" for image, value in aggregate.worst)
            items.append(f"<li><b>{escaped(method)}</b>: {worst}</li>")
    if not items:
        return ""
    return f"<details><summary>worst images by {escaped(score.name)}</summary><ul>{''.join(items)}</ul></details>\n"


def _by_region(found: _Found, protocol: Protocol) -> str:
    """Methods down, regions and their scores across."""
    mine = [a for a in found.evaluation.aggregates if a.protocol == protocol.name and a.region is not None]
    if not mine:
        return ""
    scored = list(dict.fromkeys(a.score for a in mine))  # in their order, not a set's: the same bytes every time
    regions = dict.fromkeys((*REGIONS, *(a.region for a in mine if a.region is not None)))
    used = {(a.region, a.score) for a in mine}
    columns = [(region, score) for region in regions for score in scored if (region, score) in used]
    known = {s.name: s for s in protocol.scores}
    scores = [known.get(name, ScoreInfo(name, name, "", "neither", "")) for _, name in columns]
    notes = _Footnotes()
    best = [_best_methods(found, protocol, s, region) for s, (region, _) in zip(scores, columns)]
    rows = []
    for method in found.methods:
        cells = [found.aggregates.get((protocol.name, method, name, region)) for region, name in columns]
        shown = "".join(_mean_cell(a, notes, b) for a, b in zip(cells, best))
        rows.append(f'<tr><th scope="row">{escaped(method)}</th>{shown}</tr>')
    head = _heading("method", first="ascending", text=True)
    head += "".join(_score_heading(s, region) for s, (region, _) in zip(scores, columns))
    table = _table(f"{protocol.name}: scores by region", head, rows)
    return f"<details open><summary>scores by region</summary>{table}{notes}</details>\n"


def _comparisons(significance: Sequence[Significance], protocol: Protocol) -> str:
    mine = [s for s in significance if s.protocol == protocol.name]
    if not mine:
        return ""
    notes = _Footnotes()
    few = notes.mark("fewer than two pairs that differ") if any(s.p is None for s in mine) else ""
    rows = []
    for s in mine:
        cells = [f'<th scope="row">{escaped(s.score)}</th>', f"<td>{escaped(s.first)}</td>", f"<td>{escaped(s.second)}</td>"]
        for value in (s.difference, s.p, s.p_adjusted):
            cells.append(_none(f"n/a{few}") if value is None else _number_cell(value, number(value)))
        strong = s.p_adjusted is not None and s.p_adjusted < ALPHA
        cells += [_number_cell(s.n, str(s.n)), f"<td>{'yes' if strong else 'no'}</td>"]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    words = ("score", "first", "second")
    head = "".join(_heading(word, first="ascending", text=True) for word in words)
    head += "".join(_heading(word, first="ascending") for word in ("first − second", "p", "p adjusted", "pairs"))
    head += _heading(f"p adjusted &lt; {ALPHA:g}", first="descending", text=True)
    tests = ", ".join(dict.fromkeys(escaped(s.test) for s in mine))
    table = _table(f"{protocol.name}: differences between methods", head, rows)
    return f"<details><summary>are the differences significant?</summary><p>{tests}</p>{table}{notes}</details>\n"


def _per_image(found: _Found, protocol: Protocol, place: int, *, opened: bool) -> str:
    notes = _Footnotes()
    rows = []
    for image in found.images:
        for method in found.methods:
            if (method, image) not in found.entries and (protocol.name, method, image) not in found.rows:
                continue
            cells = "".join(_value_cell(found.value(protocol.name, method, image, s.name), notes) for s in protocol.scores)
            rows.append(f'<tr><th scope="row">{found.link(image)}</th><td>{escaped(method)}</td>{cells}</tr>')
    head = _heading("image", first="ascending", text=True) + _heading("method", first="ascending", text=True)
    head += "".join(map(_score_heading, protocol.scores))
    table = _table(f"{protocol.name}: scores of every image", head, rows, name=f"table-{place}")
    search = f'<label>show rows with <input type="search" class="filter" data-table="table-{place}"></label>'
    summary = f"<summary>{escaped(protocol.name)} ({len(rows)} rows)</summary>"
    return f"<details{' open' * opened}>{summary}{search}{table}{notes}</details>\n"


def _value_cell(value: Value, notes: _Footnotes) -> str:
    if isinstance(value, Missing):
        return _none(f"n/a{notes.mark(value.why)}")
    return _number_cell(value, number(value))


def _explanation() -> str:
    return """<details><summary>how to read the pictures</summary>
<p>Exposure multiplies light by two per EV; what exceeds display white is cut off. “Automatic start” puts 0 EV where the
reference of an image is well exposed (its median where the LDR input has its own; without one, its mean logarithm at 18 %
grey), and treats all pictures of the image alike. Without it, 1.0 of the files is display white at 0 EV. LDR pictures start
from their own white.</p>
<p>Errors are log2 of the prediction's luminance over the reference's, 2<sup>−10</sup> of white added to both: blue is too
dark, red too bright. Pictures, maps and values at a pixel are averages at the size shown, exact to 0.4 %; scores are those
of the full size. Magenta marks what is infinite or no number.</p>
<p>Point at a pixel, or use the arrow keys, to read it off in every picture. The key R shows the reference in every place.</p>
</details>
"""


def _galleries(found: _Found, pictures: Iterable[Pictures], side: int) -> Iterator[str]:
    shown: set[str] = set()
    held: set[str] = set()
    for image, group in itertools.groupby(pictures, key=lambda p: p.image):
        if image not in found.images:
            raise MismatchError(f"pictures of {image!r}, which is not in the evaluation")
        if image in shown:
            raise MismatchError(f"pictures of {image!r} come twice, with others between")
        shown.add(image)
        yield _image_head(found, image)
        for place, each in enumerate(group):
            title = f"as scored by {escaped(each.protocol)}" if each.protocol else "as read"
            yield f"<details{' open' * (place == 0)}><summary>{title}</summary>\n"
            yield from _gallery(found, each, side, held)
            yield "</details>\n"
        yield _image_scores(found, image)
        yield "</section>\n"
    for image in found.images:
        if image not in shown:
            yield _image_head(found, image)
            yield '<p class="faint">Its pictures are not in this report.</p>\n'
            yield _image_scores(found, image)
            yield "</section>\n"


def _image_head(found: _Found, name: str) -> str:
    image = found.evaluation.images[found.images[name]]
    entries = [found.entries[m, name] for m in found.methods if (m, name) in found.entries]
    remarks = "".join(f"<li><b>{escaped(e.method)}</b>: {escaped(text)}</li>" for e in entries for text in _remarks(e))
    return f"""<section class="image" id="image-{found.images[name]}"><h3>{escaped(name)}
<small>{image.width} × {image.height}</small></h3>
{f'<ul class="remarks">{remarks}</ul>' if remarks else ""}"""


def _remarks(entry: Entry) -> tuple[str, ...]:
    return entry.remarks if entry.error is None else (f"not scored: {entry.error}", *entry.remarks)


def _gallery(found: _Found, pictures: Pictures, side: int, held: set[str]) -> Iterator[str]:
    webview.check(pictures.reference)
    size = webview.reduced_size(pictures.reference.shape[0], pictures.reference.shape[1], side)
    reference = webview.reduced(pictures.reference, size=size)
    photo = None if pictures.ldr is None else webview.reduced(pictures.ldr, size=size)
    automatic = webview.automatic_white(reference, photo) or pictures.white

    def scale(pixels: NDArray[Any]) -> Mapping[str, Any]:
        if pixels.dtype.kind == "u":
            return {"white": 1.0, "auto": 1.0, "unit": _CODES}
        return {"white": pictures.white, "auto": automatic, "unit": pictures.unit}

    panels = []
    if pictures.ldr is not None:
        panels.append(webview.Panel("LDR input", photo, "input", **scale(pictures.ldr)))
    panels.append(webview.Panel("reference", reference, "reference", **scale(pictures.reference)))
    for method in (*found.methods, *(m for m in pictures.predictions if m not in found.methods)):
        note = _first_score(found, pictures, method)
        if method in pictures.predictions:
            pixels = pictures.predictions[method]
            panels.append(webview.Panel(method, webview.reduced(pixels, size=size), "test", note=note, **scale(pixels)))
        elif (method, pictures.image) in found.entries:
            why = found.entries[method, pictures.image].error or "no picture"
            panels.append(webview.Panel(method, None, "test", note=why, **scale(pictures.reference)))
    yield from webview.viewer(pictures.image, panels, pictures.regions, held=held)


def _first_score(found: _Found, pictures: Pictures, method: str) -> str:
    """A method's first score on that image, to stand beside its name."""
    protocol = found.protocols.get(pictures.protocol)
    if protocol is None or not protocol.scores:
        return ""
    score = protocol.scores[0]
    value = found.value(protocol.name, method, pictures.image, score.name)
    if isinstance(value, Missing):
        return f"{score.name} n/a: {value.why}"
    return f"{score.name} {number(value)} {score.unit}".strip()


def _image_scores(found: _Found, image: str) -> str:
    """All scores of one image: scores down, methods across, a body a protocol."""
    protocols = found.protocols
    methods = [m for m in found.methods if (m, image) in found.entries or any((p, m, image) in found.rows for p in protocols)]
    if not methods:
        return ""
    notes = _Footnotes()
    bodies = []
    for protocol in found.evaluation.protocols:
        lines = [
            (escaped(s.name), [_value_cell(found.value(protocol.name, m, image, s.name), notes) for m in methods])
            for s in protocol.scores
        ]
        for region, by_method in found.regions.get((protocol.name, image), {}).items():
            rows = {m: by_method.get(m) for m in methods}
            share = next((r.share for r in rows.values() if r is not None), 0.0)
            for name in dict.fromkeys(n for r in rows.values() if r is not None for n in r.scores):
                none = Missing("not scored")
                values = [none if r is None else r.scores.get(name, none) for r in rows.values()]
                label = f"{escaped(name)} <small>{escaped(region)}, {100 * share:.1f} % of the picture</small>"
                lines.append((label, [_value_cell(v, notes) for v in values]))
        body = "".join(f'<tr><th scope="row">{label}</th>{"".join(cells)}</tr>' for label, cells in lines)
        span = f'<tr><th colspan="{len(methods) + 1}" scope="rowgroup" class="group">{escaped(protocol.name)}</th></tr>'
        bodies.append(f"<tbody>{span}{body}</tbody>")
    head = '<th scope="col">score</th>' + "".join(f'<th scope="col">{escaped(m)}</th>' for m in methods)
    return (
        "<details><summary>scores of this image</summary>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>{"".join(bodies)}</table></div>{notes}</details>\n'
    )


def _record(found: _Found) -> str:
    """What is needed to make the numbers again."""
    evaluation = found.evaluation
    settings = {f.name: getattr(evaluation.settings, f.name) for f in fields(evaluation.settings)}
    given = {name: value for name, value in settings.items() if value not in (None, (), "") and value != {}}
    protocols = "".join(
        f"<li><b>{escaped(p.name)}</b>: {escaped(p.source)}{_options(p.options)}"
        f"<ul>{''.join(map(_score_item, p.scores))}</ul></li>"
        for p in evaluation.protocols
    )
    files = "".join(_file_row(found, image) for image in evaluation.images)
    return f"""<section id="record"><h2>For the record</h2>
<h3>Settings</h3>{_definitions(given)}
<h3>Versions</h3>{_definitions(evaluation.versions)}
<details><summary>protocols and scores</summary><ul>{protocols}</ul></details>
<details><summary>files and their SHA-256</summary>
<div class="wide" tabindex="0" role="region" aria-label="files"><table class="files">
<thead><tr><th scope="col">image</th><th scope="col">what</th><th scope="col">file</th><th scope="col">SHA-256</th></tr></thead>
<tbody>{files}</tbody></table></div></details>
</section>
"""


def _options(options: Mapping[str, Any]) -> str:
    return f" ({escaped(', '.join(f'{k}={v}' for k, v in options.items()))})" if options else ""


def _score_item(score: ScoreInfo) -> str:
    judged = {"higher": "higher is better", "lower": "lower is better", "neither": "describes, does not judge"}[score.better]
    unit = f", {escaped(score.unit)}" if score.unit else ""
    return f"<li><code>{escaped(score.name)}</code> {escaped(score.title)}{unit}; {judged}. {escaped(score.source)}</li>"


def _file_row(found: _Found, image: EvaluatedImage) -> str:
    files = [("reference", image.reference), ("LDR", image.ldr)]
    files += [(m, found.entries[m, image.name].prediction) for m in found.methods if (m, image.name) in found.entries]
    return "".join(
        f"<tr><td>{escaped(image.name)}</td><td>{escaped(what)}</td><td>{escaped(file.path)}</td>"
        f"<td><code>{escaped(file.sha256)}</code></td></tr>"
        for what, file in files
        if file is not None
    )


def _definitions(pairs: Mapping[str, Any]) -> str:
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(_plain(value))}</dd></div>" for name, value in pairs.items())
    return f"<dl>{items}</dl>"


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_plain(inner)}" for name, inner in value.items())
    return value


def _table(label: str, head: str, rows: Sequence[str], *, name: str = "") -> str:
    """A table that can be sorted; it scrolls on its own where it is wider than the page."""
    identity = f' id="{name}"' if name else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(label)}"><table class="sortable"{identity}>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{chr(10).join(rows)}</tbody></table></div>\n"
    )


def _heading(content: str, *, first: str, text: bool = False, hint: str = "") -> str:
    """A column's head that sorts by it; ``first``: the direction of the first click; ``text``: it holds words, not numbers."""
    kind = ' class="text"' if text else ""
    title = f' title="{escaped(hint)}"' if hint else ""
    return f'<th scope="col" data-first="{first}"{kind}><button type="button"{title}>{content}</button></th>'


def _score_heading(score: ScoreInfo, region: str = "") -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "neither": ""}[score.better]
    unit = f"<br><small>{escaped(score.unit)}</small>" if score.unit else ""
    first = "descending" if score.better == "higher" else "ascending"
    better = {"higher": "; higher is better", "lower": "; lower is better", "neither": ""}[score.better]
    part = f"<small>{escaped(region)}</small><br>" if region else ""
    return _heading(f"{part}{escaped(score.name)}{arrow}{unit}", first=first, hint=f"{score.title}{better}")


def _number_cell(value: float, content: str, best: bool = False) -> str:
    """A cell that sorts by ``value``, with all its digits."""
    mark = ' class="best"' if best else ""
    return f'<td data-value="{repr(value).replace("inf", "Infinity")}"{mark}>{content}</td>'  # as JavaScript spells it


def _none(content: str) -> str:
    """A cell without a number: sorted last."""
    return f'<td class="none">{content}</td>'


def _star(yes: bool) -> str:
    return ' <span class="star" title="best">★</span>' if yes else ""
