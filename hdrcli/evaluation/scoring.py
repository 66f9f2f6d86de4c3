"""One pair of files: read, brought to one scale and size, checked, and measured under every protocol."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import formats, registry
from hdrcli.color import Transfer
from hdrcli.errors import HdrcliError, MismatchError, UsageError
from hdrcli.evaluation import pictures, reading, regions, tonemapped
from hdrcli.evaluation.pairs import Unit
from hdrcli.evaluation.protocols import Missing, Outcome, Pair, Value
from hdrcli.evaluation.results import REGION_SCORES, Entry, EvaluatedImage, File, RegionRow, Row, Settings
from hdrcli.image import Image
from hdrcli.metrics import Viewing

PROTOCOLS = "hdrcli.evaluation.protocols"
# options that a flag of its own sets, in those protocols that have them
ALIGN_OPTION, PEAK_OPTION = "align", "peak_nits"


@dataclass(frozen=True)
class Plan:
    """What holds for all pairs.

    ``threads``: for one pair. ``maps``: a folder for heat maps of ``map_kinds``, which replace those there with ``overwrite``.
    ``views``: make pictures for a report, and only those scores that protocols can't leave out.
    """

    settings: Settings
    threads: int = 1
    maps: Path | None = None
    map_kinds: tuple[str, ...] = (pictures.STOPS,)
    overwrite: bool = False
    views: bool = False


@dataclass(frozen=True)
class Scored:
    """All that one pair gave. ``image``: None where the reference can't be read. ``lines``: protocol -> the one to cite.

    ``trace``: of an error that is no HdrcliError, for whoever looks for the bug.
    """

    entry: Entry
    image: EvaluatedImage | None = None
    rows: tuple[Row, ...] = ()
    regions: tuple[RegionRow, ...] = ()
    lines: Mapping[str, str] = field(default_factory=dict)
    views: tuple[pictures.View, ...] = ()
    trace: str | None = None


Room = Callable[[int], AbstractContextManager[None]]  # of a number of pixels: waits until there is memory for them


def any_room(pixels: int) -> AbstractContextManager[None]:
    """Where nothing runs beside."""
    return nullcontext()


def score(unit: Unit, plan: Plan, room: Room = any_room) -> Scored:
    """Measure one pair. What is wrong with its files ends up in ``entry.error``; raises UsageError for options alone."""
    known = _Known()
    try:
        return _measured(unit, plan, room, known)
    except Exception as error:
        why, trace = _told(error)
    return Scored(Entry(unit.method, unit.image, known.prediction, why), known.image, trace=trace)


def _told(error: Exception) -> tuple[str, str | None]:
    """Why there are no scores, and the traceback if that is a bug, ours or a library's. Raises UsageErrors on."""
    match error:
        case UsageError():
            raise error
        case HdrcliError():
            return str(error), None
        case MemoryError():
            return "not enough memory for this picture", None
    return f"internal error: {' '.join(f'{type(error).__name__}: {error}'.split())}", traceback.format_exc()


@dataclass
class _Known:
    """What is known of a pair even if measuring it fails."""

    prediction: File | None = None
    image: EvaluatedImage | None = None


def _measured(unit: Unit, plan: Plan, room: Room, known: _Known) -> Scored:
    reference_file = reading.hashed(unit.reference)
    reference = formats.read(unit.reference)
    ldr_file = None if unit.ldr is None else reading.hashed(unit.ldr)
    known.image = EvaluatedImage(unit.image, reference_file, reference.width, reference.height, ldr_file)
    if unit.prediction is not None:
        known.prediction = reading.hashed(unit.prediction)
    measure = _measured_codes if plan.settings.task == "tonemap" else _measured_light
    with room(reference.width * reference.height):
        scored = measure(unit, plan, reference)
    return replace(scored, image=known.image, entry=replace(scored.entry, prediction=known.prediction))


def _measured_light(unit: Unit, plan: Plan, reference_image: Image) -> Scored:
    settings = plan.settings
    reference, white = reading.light(reference_image, unit.reference, settings)
    photo, remarks = reading.photo(unit, reference.shape, settings)
    if unit.prediction is None:
        assert photo is not None
        test = reading.linear(photo, white)
    else:
        test, _ = reading.light(formats.read(unit.prediction), unit.prediction, settings)
        test, resized = reading.to_size(test, reference.shape, unit.prediction, settings)
        remarks += resized
    remarks += (*reading.oddities(test, "the prediction"), *reading.oddities(reference, "the reference"))
    masks = regions.from_reference(reference, white) if photo is None else regions.from_codes(photo.codes)
    if not masks["clipped"].any():
        remarks += (f"no clipped pixel, by the {regions.FROM_REFERENCE if photo is None else regions.FROM_CODES}",)
    metrics = () if plan.views else settings.metrics or ()
    pair = Pair(test, reference, white, viewing(settings, plan.threads), metrics)
    found = _Found(unit, plan, photo, masks)
    for name in settings.protocols:
        found.add(name, pair)
    entry = Entry(unit.method, unit.image, None, _why_nothing(found.rows), remarks + tuple(found.remarks))
    return Scored(entry, None, tuple(found.rows), tuple(found.regions), found.lines, tuple(found.views), found.trace)


@dataclass
class _Found:
    """What one pair gives, protocol by protocol."""

    unit: Unit
    plan: Plan
    photo: Image | None
    masks: regions.Masks
    rows: list[Row] = field(default_factory=list)
    regions: list[RegionRow] = field(default_factory=list)
    lines: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    views: list[pictures.View] = field(default_factory=list)
    trace: str | None = None

    def add(self, name: str, pair: Pair) -> None:
        unit, plan = self.unit, self.plan
        module, options = protocol(name, plan.settings)
        try:
            outcome: Outcome = module.run(pair, options)
        except Exception as error:  # this protocol can't; others may
            why, trace = _told(error)
            self.rows.append(Row(name, unit.method, unit.image, {}, {"unavailable": why}))
            self.trace = trace or self.trace
            return
        white = pair.white_nits * _scale(outcome, pair)
        if plan.views:
            self.views.append(pictures.view(unit, name, outcome, white, self.photo, self.masks))
        self.lines[name] = outcome.protocol
        self.rows.append(Row(name, unit.method, unit.image, dict(outcome.scores), dict(outcome.facts)))
        self.regions += _of_regions(name, unit, outcome, self.masks)
        self.remarks += _maps(unit, plan, name, outcome, white, pair.viewing)


def _maps(unit: Unit, plan: Plan, name: str, outcome: Outcome, white: float, eye: Viewing) -> tuple[str, ...]:
    if plan.maps is None:
        return ()
    return pictures.write_maps(plan.maps, plan.map_kinds, unit, name, outcome, white, eye, overwrite=plan.overwrite)


def protocol(name: str, settings: Settings) -> tuple[ModuleType, Any]:
    """A protocol's module and its options as these settings have them. Raises UsageError."""
    module = registry.load(PROTOCOLS, name)
    texts = dict(settings.options.get(name, {}))
    known = module.Options.__dataclass_fields__
    for option, value in ((ALIGN_OPTION, settings.align), (PEAK_OPTION, settings.peak)):
        if value is not None and option in known:
            texts.setdefault(option, str(value))
    return module, registry.build(module.Options, texts)


def viewing(settings: Settings, threads: int) -> Viewing:
    """What scores may depend on."""
    weights = None if settings.weights is None else Path(settings.weights)
    return Viewing(settings.ppd, settings.device, threads, weights)


def _scale(outcome: Outcome, pair: Pair) -> float:
    """By which factor a protocol scaled the reference, so that white can be scaled with it."""
    if outcome.reference is pair.reference:
        return 1.0
    before, after = (float(x.mean(dtype=np.float64)) for x in (pair.reference, outcome.reference))
    return after / before if before > 0 and after > 0 else 1.0


def _of_regions(name: str, unit: Unit, outcome: Outcome, masks: regions.Masks) -> list[RegionRow]:
    """Scores by region under protocols that judge pixels by PU21 in cd/m2; others have units in which it means nothing."""
    whole = outcome.scores.get("pu21_psnr_rgb")
    if whole is None:
        return []
    found = []
    for region, mask in masks.items():
        values: dict[str, Value] = (
            dict.fromkeys(REGION_SCORES, whole)
            if isinstance(whole, Missing)
            else regions.scores(outcome.test, outcome.reference, mask)
        )
        found.append(RegionRow(name, unit.method, unit.image, region, float(mask.mean()), values))
    return found


def _why_nothing(rows: list[Row]) -> str | None:
    """The reason why no protocol gave a number, if none did."""
    if any(not isinstance(value, Missing) for row in rows for value in row.scores.values()):
        return None
    for row in rows:
        whys = [value.why for value in row.scores.values() if isinstance(value, Missing)]
        return str(row.facts.get("unavailable") or (whys[0] if whys else "no scores were asked for"))
    return "no protocol was asked for"


def _measured_codes(unit: Unit, plan: Plan, reference_image: Image) -> Scored:
    assert unit.prediction is not None
    settings = plan.settings
    codes = _codes(formats.read(unit.prediction), unit.prediction)
    test, remarks = reading.to_size(codes, reference_image.pixels.shape, unit.prediction, settings)
    eye = viewing(settings, plan.threads)
    views: tuple[pictures.View, ...] = ()
    if reference_image.is_hdr or reference_image.transfer is Transfer.PQ:
        name = tonemapped.TMQI
        reference, _ = reading.light(reference_image, unit.reference, replace(settings, white_nits=1.0))
        outcome = tonemapped.against_light(test, reference)
        shown = replace(outcome, test=tonemapped.as_integers(test))
        if plan.maps is not None:
            remarks += ("no stops map: an LDR picture has no error in stops against an HDR reference",)
    else:
        name = tonemapped.CODES
        reference = _codes(reference_image, unit.reference)
        outcome = tonemapped.against_codes(test, reference, eye)
        lights = replace(outcome, test=tonemapped.light_of(test), reference=tonemapped.light_of(reference))
        remarks += _maps(unit, replace(plan, map_kinds=(pictures.STOPS,)), name, lights, 1.0, eye)
        shown = replace(outcome, test=tonemapped.as_integers(test), reference=tonemapped.as_integers(reference))
    if plan.views:
        views = (pictures.view(unit, name, shown, 1.0),)
    row = Row(name, unit.method, unit.image, dict(outcome.scores), dict(outcome.facts))
    remarks += (*reading.oddities(test, "the prediction", "codes"), *reading.oddities(reference, "the reference", ""))
    entry = Entry(unit.method, unit.image, None, _why_nothing([row]), remarks)
    return Scored(entry, None, (row,), (), {name: outcome.protocol}, views)


def _codes(image: Image, path: Path) -> NDArray[np.float32]:
    try:
        return tonemapped.codes_of(image)
    except MismatchError as error:
        error.where = str(path)
        raise
