"""One self-contained page of pictures: exposure, tone mapping, false colour, histograms and a pixel inspector, no network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hdrcli import __version__, formats, webview
from hdrcli.errors import MismatchError
from hdrcli.image import Image
from hdrcli.viewing import light, operators
from hdrcli.webview import escaped

SIDE = 1024  # largest height and width of a picture in a page
UNIT = "× white"
_ALIKE = 0.01  # of a side: how far two pictures side by side may differ in shape
_SHOWN = 1e-4  # of the pixels: what false colour and histograms may leave out at either end
_WIDEST = 24  # stops that they span at most
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Shown:
    """How a page starts.

    ``operator``: what HDR pictures are shown by, "" for as they are, 1.0 as white; ``parameters``: its; ``ev``: stops.
    ``side``: largest height and width of its pictures.
    """

    operator: str = ""
    parameters: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS)
    ev: float = 0.0
    side: int = SIDE


@dataclass(frozen=True, eq=False)
class Exhibit:
    """A picture as a page holds it: ``panel``, and ``whole``, the size (h, w) that it was made smaller from."""

    panel: webview.Panel = field(repr=False)
    whole: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """Its own, (h, w)."""
        assert self.panel.light is not None
        return self.panel.light.shape[0], self.panel.light.shape[1]


def exhibit(image: Image, name: str, shown: Shown, *, beside: Exhibit | None = None) -> Exhibit:
    """An image for a page; with ``beside`` in the size of that one. HDR comes with all operators that a page can run.

    Raises MismatchError where the shapes differ, and UsageError as :func:`hdrcli.viewing.operators.form` does.
    """
    whole = image.height, image.width
    size = webview.reduced_size(image.height, image.width, shown.side)
    if beside is not None:
        if not alike(whole, beside.whole):
            (height, width), (h, w) = whole, beside.whole
            fault = f"is {width} x {height}, which can't stand beside {w} x {h} for comparison"
            raise MismatchError(fault, remedy="leave out --beside, or take pictures of one shape")
        size = beside.size
    rows = light.rows_of(image)
    if size[0] <= image.height and size[1] <= image.width:
        small = light.reduced(rows, whole, size)
    else:  # a small picture beside a large one
        small = webview.reduced(rows(slice(None)), size=size)
    found = light.histogram(rows, *whole)
    panel = webview.Panel(
        name,
        small,
        "input",
        white=1.0,
        auto=1.0,
        unit=UNIT,
        note=light.summary(image),
        nits=light.nits_of_white(image),
        bars=webview.Bars(found.first, light.PER_STOP, found.counts),
        operators=_operators(image, shown) if light.is_hdr(image) else None,
    )
    return Exhibit(panel, whole)


def alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Have two sizes (h, w) the same shape?"""
    return math.isclose(one[0] * other[1], one[1] * other[0], rel_tol=_ALIKE)


def _operators(image: Image, shown: Shown) -> dict[str, Any]:
    scene = light.scene_of(image)
    forms = {}
    for name in _names(shown):
        found = operators.form(name, scene, shown.parameters if name == shown.operator else _NO_PARAMETERS)
        if found is not None:
            forms[name] = found
    return {"nodes": {"from": operators.FROM, "perOctave": operators.PER_OCTAVE}, "forms": forms}


def _names(shown: Shown) -> tuple[str, ...]:
    """What the page offers: what it can run, and what was asked for (with parameters a page may run more, or less)."""
    return tuple(sorted({*operators.offered(), *filter(None, (shown.operator,))}))


def write_page(path: Path, title: str, rows: Iterable[Sequence[Exhibit]], shown: Shown, *, overwrite: bool = False) -> None:
    """A page of rows of pictures that stand side by side, all of one row of one size.

    ``rows`` is gone through once, a row at a time; it may raise, and then there is no file. Raises OutputExists and
    UnwritableOutput.
    """
    with formats.whole_file(path, overwrite=overwrite) as target, target.open("w", encoding="utf-8") as file:
        for piece in page(title, rows, shown):
            file.write(piece)


def page(title: str, rows: Iterable[Sequence[Exhibit]], shown: Shown) -> Iterator[str]:
    """The page's text, piece by piece."""
    yield from webview.page(
        title,
        _body(title, rows, shown),
        styles=[webview.resource("hdrcli.viewing", "page.css")],
        scripts=[webview.resource("hdrcli.viewing", "operators.js")],
    )


def _body(title: str, rows: Iterable[Sequence[Exhibit]], shown: Shown) -> Iterator[str]:
    yield f"<h1>{escaped(title)}</h1>\n"
    yield f'<p class="about">Shown by hdrcli {escaped(__version__)}. Point at a picture to read its values, or use the arrow '
    yield "keys on it. Histograms count all pixels by stops above 1.0, LDR white; their height is the square root.</p>\n"
    yield _controls(shown)
    held: set[str] = set()
    for row in rows:
        label = ", ".join(exhibit.panel.title for exhibit in row)
        yield "<section>\n"
        whole = row[0].whole if len({exhibit.whole for exhibit in row}) == 1 else None
        panels = [exhibit.panel for exhibit in row]
        yield from webview.viewer(label, panels, held=held, whole=whole, stops=_stops(panels))
        yield "</section>\n"


def _controls(shown: Shown) -> str:
    limit = max(10, math.ceil(abs(shown.ev)))
    choices = [("", "as they are, 1.0 is white"), *((name, name) for name in _names(shown))]
    options = "".join(
        f'<option value="{escaped(value)}"{" selected" * (value == shown.operator)}>{escaped(text)}</option>'
        for value, text in choices
    )
    return f"""<form class="hv-controls" aria-label="how the pictures are shown">
<label class="hv-exposure">Exposure <input type="range" name="ev" min="-{limit}" max="{limit}" step="0.1" value="{shown.ev:g}">
</label><output name="shown"></output>
<button type="button" name="zero" title="back to 0 EV">0</button>
<label>HDR by <select name="operator">{options}</select></label>
<label><input type="checkbox" name="false"> false colour</label>
</form>
<noscript><p>The pictures need JavaScript. Nothing is loaded from anywhere.</p></noscript>
"""


def _stops(panels: Sequence[webview.Panel]) -> tuple[int, int]:
    """The whole stops that hold all pixels of all panels but a few at either end."""
    lows, highs = [], []
    for bars in (panel.bars for panel in panels if panel.bars is not None):
        total = sum(bars.counts)
        if total == 0:
            continue
        below = 0
        edges = []
        for i, count in enumerate(bars.counts):
            if below <= _SHOWN * total < below + count or below < (1 - _SHOWN) * total <= below + count:
                edges.append(bars.first + i / bars.per_stop)
            below += count
        lows.append(math.floor(edges[0]))
        highs.append(math.ceil(edges[-1] + 1 / bars.per_stop))
    if not lows:
        return -1, 1
    high = max(max(highs), 1)
    return max(min(min(lows), 0), high - _WIDEST), high
