"""From scored pairs to an Evaluation: columns, averages, comparisons, what went wrong, which versions it was made with."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from itertools import combinations

from hdrcli import __version__
from hdrcli.evaluation import statistics, tonemapped
from hdrcli.evaluation.pairs import Matching
from hdrcli.evaluation.protocols import Missing, Value
from hdrcli.evaluation.protocols._scores import known_scores
from hdrcli.evaluation.regions import FROM_CODES, FROM_REFERENCE
from hdrcli.evaluation.results import (
    REGION_SCORES,
    REGIONS,
    Aggregate,
    Entry,
    EvaluatedImage,
    Evaluation,
    Method,
    Protocol,
    Ranking,
    RegionRow,
    Row,
    ScoreInfo,
    Settings,
    Significance,
)
from hdrcli.evaluation.scoring import Scored, protocol
from hdrcli.metrics import Score

WORST = 3  # images that are named for each score
_TEST = "Wilcoxon signed-rank test, two-sided, {how}; adjusted for the comparisons of a score (Holm)"
_PACKAGES = ("numpy", "opencv-python-headless", "OpenEXR", "imagecodecs", "Pillow", "torch", "lpips", "flip-evaluator", "cvvdp")


def assembled(matching: Matching, settings: Settings, found: Sequence[Scored]) -> Evaluation:
    """All of it; ``found``: one for each unit of ``matching``, in its order; ``settings``: complete."""
    methods = tuple(Method(s.name, str(s.path), "baseline" if s.baseline else "prediction") for s in matching.methods)
    rows = tuple(row for scored in found for row in scored.rows)
    parts = tuple(row for scored in found for row in scored.regions)
    images: dict[str, EvaluatedImage] = {}
    for scored in found:
        if scored.image is not None:
            images.setdefault(scored.image.name, scored.image)
    unmatched = (Entry(u.method, u.image, None, u.why) for u in matching.unmatched)
    entries = (*(scored.entry for scored in found), *unmatched)
    protocols = tuple(_protocols(settings, found, rows))
    aggregates = tuple(_aggregates(settings, methods, protocols, entries, rows, parts))
    return Evaluation(
        settings=settings,
        methods=methods,
        images=tuple(images.values()),
        entries=entries,
        protocols=protocols,
        scores=rows,
        regions=parts,
        aggregates=aggregates,
        significance=tuple(_significance(methods, protocols, rows)),
        rankings=tuple(_rankings(protocols, aggregates)),
        versions=versions(),
        notes=tuple(_notes(entries, images.values(), parts)),
    )


def _protocols(settings: Settings, found: Sequence[Scored], rows: Sequence[Row]) -> Iterator[Protocol]:
    for name in settings.protocols:
        line = next((scored.lines[name] for scored in found if name in scored.lines), "")
        if settings.task == "tonemap":
            if line:  # by the kinds of references that there were
                infos = tuple(_info(score) for score in tonemapped.SCORES[name])
                yield Protocol(name, tonemapped.SUMMARIES[name], infos[0].source, {}, line, infos)
            continue
        module, options = protocol(name, settings)
        columns = dict.fromkeys(score for row in rows if row.protocol == name for score in row.scores)
        infos = tuple(score_info(column, module.SOURCE) for column in columns)
        white = "as its header says" if settings.white_nits == "header" else f"{settings.white_nits:g} cd/m2"
        cited = f"{line}, 1.0 in a file: {white}" if line else ""
        yield Protocol(name, module.SUMMARY, module.SOURCE, asdict(options), cited, infos)


def score_info(name: str, source: str) -> ScoreInfo:
    """What is known of a score by its name.

    Protocols of papers name some scores in their own way: one that begins with a known name is of its kind; the others are
    PSNRs, SSIMs and quality indices, of which more is better.
    """
    known = known_scores()
    if name in known:
        return _info(known[name])
    like = max((k for k in known if name.lower().startswith(k.lower())), key=len, default=None)
    if like is not None:
        return ScoreInfo(name, f"{known[like].title}, as this protocol has it", known[like].unit, known[like].better, source)
    return ScoreInfo(name, name.replace("_", " "), "dB" if "psnr" in name else "", "higher", source)


def _info(score: Score) -> ScoreInfo:
    return ScoreInfo(score.name, score.title, score.unit, score.better, score.source)


def _aggregates(
    settings: Settings,
    methods: Sequence[Method],
    protocols: Sequence[Protocol],
    entries: Sequence[Entry],
    rows: Sequence[Row],
    parts: Sequence[RegionRow],
) -> Iterator[Aggregate]:
    places: dict[tuple[str, str, str, str | None], Row | RegionRow] = {(r.protocol, r.method, r.image, None): r for r in rows}
    places |= {(r.protocol, r.method, r.image, r.region): r for r in parts}
    with_regions = {r.protocol for r in parts}
    of_regions = tuple(score_info(name, "") for name in REGION_SCORES)
    for p in protocols:
        columns: list[tuple[str | None, ScoreInfo]] = [(None, info) for info in p.scores]
        if p.name in with_regions:
            columns += [(region, info) for region in REGIONS for info in of_regions]
        for m in methods:
            for region, info in columns:
                values = {
                    e.image: _value(places.get((p.name, m.name, e.image, region)), info.name, e)
                    for e in entries
                    if e.method == m.name
                }
                yield _aggregate(settings, p.name, m.name, info, region, values)


def _value(row: Row | RegionRow | None, score: str, entry: Entry) -> Value:
    if row is None:
        return Missing(entry.error or "not scored by this protocol")
    if score in row.scores:
        return row.scores[score]
    facts = row.facts if isinstance(row, Row) else {}
    return Missing(str(facts.get("unavailable") or "this protocol gave no such score for this pair"))


def _aggregate(
    settings: Settings, name: str, method: str, info: ScoreInfo, region: str | None, values: Mapping[str, Value]
) -> Aggregate:
    numbers = {image: value for image, value in values.items() if not isinstance(value, Missing)}
    missing: dict[str, int] = {}
    for value in values.values():
        if isinstance(value, Missing):
            missing[value.why] = missing.get(value.why, 0) + 1
    found = statistics.summary(list(numbers.values()), seed=settings.seed, resamples=settings.resamples)
    worst = statistics.worst(numbers, better=info.better, count=WORST)
    averages = (found.mean, found.median, found.low, found.high)
    return Aggregate(name, method, info.name, region, found.n, found.infinite, missing, *averages, worst)


def _significance(methods: Sequence[Method], protocols: Sequence[Protocol], rows: Sequence[Row]) -> Iterator[Significance]:
    """Every two methods under every protocol and score that judges."""
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        for name, value in row.scores.items():
            if not isinstance(value, Missing):
                values.setdefault((row.protocol, name, row.method), {})[row.image] = value
    pairs = list(combinations([m.name for m in methods], 2))
    for p in protocols:
        for info in p.scores:
            if info.better == "neither":
                continue
            tests = [_tested(*(values.get((p.name, info.name, method), {}) for method in pair)) for pair in pairs]
            adjusted = statistics.holm(test.p for test in tests)
            for (a, b), test, p_adjusted in zip(pairs, tests, adjusted, strict=True):
                how = _TEST.format(how="exact" if test.exact else "normal approximation")
                yield Significance(p.name, info.name, a, b, test.n, test.difference, test.p, p_adjusted, how)


def _tested(first: Mapping[str, float], second: Mapping[str, float]) -> statistics.PairedTest:
    both = [image for image in first if image in second]
    return statistics.paired_test([first[i] for i in both], [second[i] for i in both])


def _rankings(protocols: Sequence[Protocol], aggregates: Iterable[Aggregate]) -> Iterator[Ranking]:
    means = {(a.protocol, a.score, a.method): a.mean for a in aggregates if a.region is None and a.mean is not None}
    for p in protocols:
        info = next((s for s in p.scores if s.better != "neither"), None)
        if info is not None:
            mine = {method: mean for (name, score, method), mean in means.items() if (name, score) == (p.name, info.name)}
            best_first = sorted(mine, key=lambda method: mine[method], reverse=info.better == "higher")
            yield Ranking(p.name, info.name, tuple(best_first))


def versions() -> dict[str, str]:
    """Of everything that numbers depend on, as installed."""
    found = {"hdrcli": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "system": f"{platform.system()} {platform.machine()}"}


def _notes(entries: Sequence[Entry], images: Iterable[EvaluatedImage], parts: Sequence[RegionRow]) -> Iterator[str]:
    failed = sum(entry.error is not None for entry in entries)
    if failed:
        yield f"{failed} of {len(entries)} pairs could not be scored"
    if parts:
        with_photo = [image.ldr is not None for image in images]
        some = any(with_photo) and not all(with_photo)
        if any(with_photo):
            yield f"regions by the {FROM_CODES}"
        if not all(with_photo):
            without = f" ({with_photo.count(False)} of {len(with_photo)} images, which have no LDR photo)" if some else ""
            yield f"regions by the {FROM_REFERENCE}{without}"
