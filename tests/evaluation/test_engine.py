"""The engine as a whole: against the metrics called by hand, in processes and here, twice, and with every bad input."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import QUICK, SIZE, light, photo, request, save_codes, save_light, write_folders
from scipy import stats

from hdrcli.errors import HdrcliError, OutputExists, UnwritableOutput, UsageError
from hdrcli.evaluation import engine, pictures, scoring, storage
from hdrcli.evaluation.assembly import score_info
from hdrcli.evaluation.pairs import Unit
from hdrcli.evaluation.protocols import Missing
from hdrcli.evaluation.results import Evaluation, Settings
from hdrcli.metrics.log2_rmse import log2_rmse
from hdrcli.metrics.pu21 import pu21_psnr_rgb


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folders(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def found(root: Path) -> Evaluation:
    return engine.evaluate(request(root, "good", "poor", ldr=True))


def score(found: Evaluation, name: str, method: str, image: str, protocol: str = "raw") -> object:
    (row,) = [r for r in found.scores if (r.protocol, r.method, r.image) == (protocol, method, image)]
    return row.scores[name]


def errors(found: Evaluation) -> dict[tuple[str, str], str | None]:
    return {(e.method, e.image): e.error for e in found.entries}


def test_scores_are_those_of_the_metrics(found: Evaluation, root: Path) -> None:
    import hdrcli

    for method in ("good", "poor"):
        for image in ("one", "two", "three"):
            test, truth = (hdrcli.read(root / f"{folder}/{image}.exr").pixels for folder in (method, "truth"))
            assert score(found, "pu21_psnr_rgb", method, image) == pytest.approx(
                pu21_psnr_rgb(test * 100, truth * 100), abs=1e-5
            )
            assert score(found, "log2_rmse", method, image) == pytest.approx(log2_rmse(test, truth), rel=1e-5)


def test_linear_is_right_where_nothing_clipped(found: Evaluation) -> None:
    parts = {r.region: r for r in found.regions if (r.protocol, r.method, r.image) == ("raw", "linear", "one")}
    assert parts["mid"].scores["log2_rmse"] < 0.05 < 1 < parts["clipped"].scores["log2_rmse"]
    assert math.fsum(p.share for p in parts.values()) == pytest.approx(1)


def test_files_and_sizes_are_on_record(found: Evaluation, root: Path) -> None:
    for image in found.images:
        assert image.reference.sha256 == hashlib.sha256((root / f"truth/{image.name}.exr").read_bytes()).hexdigest()
        assert image.ldr is not None
        assert image.ldr.sha256 == hashlib.sha256((root / f"photos/{image.name}.png").read_bytes()).hexdigest()
        assert (image.height, image.width) == SIZE
    files = {(e.method, e.image): e.prediction for e in found.entries}
    assert files["linear", "one"] is None
    assert files["poor", "one"] is not None
    assert files["poor", "one"].sha256 == hashlib.sha256((root / "poor/one.exr").read_bytes()).hexdigest()


def test_averages_worst_and_ranking(found: Evaluation) -> None:
    values = {image: score(found, "pu21_psnr_rgb", "poor", image) for image in ("one", "three", "two")}
    (a,) = [a for a in found.aggregates if (a.protocol, a.method, a.score, a.region) == ("raw", "poor", "pu21_psnr_rgb", None)]
    assert (a.n, a.infinite, a.missing) == (3, 0, {})
    assert (a.mean, a.median) == pytest.approx((np.mean(list(values.values())), np.median(list(values.values()))))
    assert min(values.values()) <= a.low <= a.mean <= a.high <= max(values.values())
    assert a.worst == tuple(sorted(values.items(), key=lambda item: item[1]))
    (lower,) = [a for a in found.aggregates if (a.protocol, a.method, a.score, a.region) == ("raw", "poor", "log2_rmse", None)]
    assert [v for _, v in lower.worst] == sorted((v for _, v in lower.worst), reverse=True)
    assert [r.methods[0] for r in found.rankings] == ["good", "good"]


def test_significance_against_scipy(tmp_path: Path) -> None:
    root = write_folders(tmp_path, [f"scene{i}" for i in range(7)])
    found = engine.evaluate(request(root, "good", "poor", protocols=("raw",), metrics=()))
    images = [image.name for image in found.images]
    a, b = ([score(found, "pu21_psnr_rgb", method, image) for image in images] for method in ("good", "poor"))
    (s,) = [s for s in found.significance if s.score == "pu21_psnr_rgb"]
    assert (s.first, s.second, s.n) == ("good", "poor", 7)
    assert s.p == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue) == s.p_adjusted
    assert "exact" in s.test


def test_processes_give_the_same_bytes(found: Evaluation, root: Path) -> None:
    seen = []
    again = engine.evaluate(
        request(root, "good", "poor", ldr=True, processes=2), lambda done, total, text: seen.append((done, total))
    )
    assert storage.to_json(again) == storage.to_json(found)
    assert seen == [(i, 9) for i in range(1, 10)]


def test_the_same_twice(found: Evaluation, root: Path) -> None:
    assert engine.evaluate(request(root, "good", "poor", ldr=True)) == found


def test_seed_changes_intervals_alone(found: Evaluation, root: Path) -> None:
    other = engine.evaluate(request(root, "good", "poor", ldr=True, seed=1))
    assert other.scores == found.scores
    assert [a.mean for a in other.aggregates] == [a.mean for a in found.aggregates]


def test_identical_pictures(root: Path) -> None:
    found = engine.evaluate(request(root, "truth", protocols=("raw",)))
    assert score(found, "pu21_psnr_rgb", "truth", "one") == math.inf
    (a,) = [a for a in found.aggregates if a.score == "pu21_psnr_rgb" and a.region is None]
    assert (a.n, a.infinite, a.mean) == (0, 3, None)


def test_white_nits_and_peak_scale_both(root: Path) -> None:
    plain = engine.evaluate(request(root, "good", protocols=("raw",), metrics=()))
    bright = engine.evaluate(request(root, "good", protocols=("raw",), metrics=(), white_nits=400.0))
    assert score(bright, "pu21_psnr_rgb", "good", "one") != score(plain, "pu21_psnr_rgb", "good", "one")
    assert bright.protocols[0].line.endswith("1.0 in a file: 400 cd/m2")
    peaked = engine.evaluate(request(root, "good", protocols=("raw",), metrics=(), peak=4000.0))
    assert peaked.protocols[0].options["peak_nits"] == 4000
    largest = light(0).max()
    assert peaked.scores[0].facts["scale"] == pytest.approx(4000 / (100 * largest), rel=1e-5)


def test_alignment_takes_a_gain_away(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ["one"])
    save_light(root / "gain/one.exr", light(0) * 4)
    found = engine.evaluate(request(root, "gain", align="exposure"))
    assert score(found, "log2_rmse", "gain", "one") > 1
    assert score(found, "log2_rmse", "gain", "one", "sihdr") < 1e-5
    assert [p.name for p in found.protocols] == ["raw", "sihdr"]
    assert engine.complete(Settings(align="none")).protocols == ("raw",)


def test_all_protocols(root: Path) -> None:
    settings = engine.complete(Settings(protocols=("all",)))
    assert settings.protocols[:2] == ("raw", "sihdr")
    assert {"expandnet", "fhdr", "hdrtv", "mu", "ntire21", "singlehdr"} <= set(settings.protocols)
    found = engine.evaluate(request(root, "good", "poor", protocols=("raw", "mu", "ntire21", "fhdr", "hdrtv")))
    assert [r.protocol for r in found.rankings] == ["raw", "mu", "ntire21", "fhdr", "hdrtv"]
    assert all(r.methods == ("good", "poor") for r in found.rankings)
    assert all(p.line.startswith("hdrcli ") and p.name in p.line for p in found.protocols)
    assert {r.protocol for r in found.regions} == {"raw"}


def test_the_usual_metrics(tmp_path: Path) -> None:
    from hdrcli.metrics.hdrvdp2 import hdrvdp2

    for name, size in (("a", (48, 64)), ("b", (14, 14))):
        save_light(tmp_path / f"truth/{name}.exr", light(0, size))
        save_light(tmp_path / f"good/{name}.exr", light(1, size))
    found = engine.evaluate(request(tmp_path, "good", metrics=None, ppd=20.0, protocols=("raw",)))
    assert found.settings.metrics == engine.DEFAULT_METRICS
    assert [s.name for s in found.protocols[0].scores][3:] == list(engine.DEFAULT_METRICS)
    expected = hdrvdp2(light(1, (48, 64)) * 100, light(0, (48, 64)) * 100, ppd=20.0).q
    assert score(found, "hdrvdp22_q", "good", "a") == pytest.approx(expected, abs=1e-3)
    assert isinstance(score(found, "hdrvdp22_q", "good", "b"), Missing)
    assert isinstance(score(found, "pu21_psnr_rgb", "good", "b"), float)


def test_names_of_scores_tell_what_is_better() -> None:
    assert score_info("log2_rmse", "").better == "lower"
    assert score_info("delta_e_itp_unquantised", "").better == "lower"
    assert score_info("hdrvdp22_Q", "").better == score_info("mu_psnr", "").better == "higher"


BAD = {
    "size": (lambda p: save_light(p, light(0, (12, 16))), "is 16 x 12 pixels, the reference 32 x 24"),
    "ldr": (lambda p: save_codes(p.with_suffix(".png"), photo(light(0))), "is LDR (8-bit codes)"),
    "broken": (lambda p: p.write_bytes(p.read_bytes()[:400]), "two.exr"),
    "empty": (lambda p: p.write_bytes(b""), "is empty"),
    "foreign": (lambda p: p.write_bytes(b"no picture at all"), "is not an image of a known type"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_file_is_named_and_the_others_are_scored(tmp_path: Path, kind: str) -> None:
    root = write_folders(tmp_path)
    spoil, words = BAD[kind]
    path = root / "good/two.exr"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    spoil(path)
    if kind == "ldr":
        path.unlink()
    found = engine.evaluate(request(root, "good", "poor", protocols=("raw",)))
    told = errors(found)
    assert [place for place, error in told.items() if error] == [("good", "two")]
    assert words in told["good", "two"]
    assert "two." in told["good", "two"]
    (a,) = [a for a in found.aggregates if (a.method, a.score, a.region) == ("good", "pu21_psnr_rgb", None)]
    assert (a.n, sum(a.missing.values())) == (2, 1)
    assert found.notes[0] == "1 of 6 pairs could not be scored"


def test_bad_reference_and_bad_photo(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "truth/one.exr").write_bytes(b"")
    save_codes(root / "photos/two.png", photo(light(0, (12, 16))))
    (root / "photos/three.png").unlink()
    found = engine.evaluate(request(root, "good", ldr=True, protocols=("raw",)))
    told = errors(found)
    assert "truth/one.exr: is empty" in told["good", "one"]
    assert "truth/one.exr: is empty" in told["linear", "one"]
    assert "photos/two.png: is 16 x 12" in told["linear", "two"]
    assert "no file of this name" in told["linear", "three"]
    assert told["good", "two"] is told["good", "three"] is None
    (entry,) = [e for e in found.entries if (e.method, e.image) == ("good", "two")]
    assert any("regions come from the reference" in remark for remark in entry.remarks)
    assert [image.name for image in found.images] == ["three", "two"]


@pytest.mark.parametrize(
    ("pixels", "remark"),
    [
        (np.zeros((*SIZE, 3)), "the prediction is all black"),
        (np.full((*SIZE, 3), 0.5), "the prediction is constant (50 cd/m2)"),
        (light(0) - 0.01, "the prediction has negative values"),
    ],
)
def test_odd_pictures_are_scored_and_told(tmp_path: Path, pixels: np.ndarray, remark: str) -> None:
    root = write_folders(tmp_path, ["one"])
    save_light(root / "good/one.exr", pixels)
    found = engine.evaluate(request(root, "good"))
    (entry,) = found.entries
    assert entry.error is None
    assert any(r.startswith(remark) for r in entry.remarks)
    assert math.isfinite(score(found, "pu21_psnr_rgb", "good", "one"))
    if "negative" not in remark:  # what can't be corrected says so
        assert isinstance(score(found, "pu21_psnr_rgb", "good", "one", "sihdr"), Missing)
        (a,) = [a for a in found.aggregates if (a.protocol, a.score, a.region) == ("sihdr", "pu21_psnr_rgb", None)]
        assert (a.n, list(a.missing.values())) == (0, [1])


def test_no_clipped_pixel_is_told(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ["one"])
    save_light(root / "truth/one.exr", light(0) / 1000)
    found = engine.evaluate(request(root, "good", protocols=("raw",)))
    assert any(remark.startswith("no clipped pixel, by the reference") for remark in found.entries[0].remarks)
    (part,) = [r for r in found.regions if r.region == "clipped"]
    assert part.share == 0
    assert part.scores["log2_rmse"] == Missing("no pixel of this kind")


def test_a_bug_takes_one_pair_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scoring._of_regions

    def fails(name: str, unit: scoring.Unit, *rest: object) -> object:
        if unit.image == "two":
            raise RuntimeError("oops")
        return whole(name, unit, *rest)

    monkeypatch.setattr(scoring, "_of_regions", fails)
    made = engine.run(request(root, "good", protocols=("raw",)))
    assert errors(made.evaluation)["good", "two"] == "internal error: RuntimeError: oops"
    assert list(made.traces) == [("good", "two")]
    assert "in fails" in made.traces["good", "two"]
    assert len(made.evaluation.scores) == 2


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (HdrcliError("can't today"), "can't today"),
        (RuntimeError("oops"), "internal error: RuntimeError: oops"),
        (MemoryError(), "not enough memory for this picture"),
    ],
)
def test_a_protocol_that_fails_leaves_the_others(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    from hdrcli.evaluation.protocols import mu

    def fails(pair: object, options: object) -> object:
        raise error

    monkeypatch.setattr(mu, "run", fails)
    made = engine.run(request(root, "good", protocols=("raw", "mu")))
    found = made.evaluation
    assert all(error is None for error in errors(found).values())
    assert len(made.traces) == (3 if isinstance(error, RuntimeError) else 0)
    (protocol,) = [p for p in found.protocols if p.name == "mu"]
    assert (protocol.line, protocol.scores) == ("", ())
    assert {r.facts["unavailable"] for r in found.scores if r.protocol == "mu"} == {why}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocols": ("rew",)}, "'rew'"),
        ({"metrics": ("log2_rmsx",)}, "did you mean log2_rmse"),
        ({"align": "sideways"}, "sideways"),
        ({"align": "max", "protocols": ("mu",)}, "none of these protocols takes it: mu"),
        ({"peak": 100.0, "protocols": ("mu",)}, "--peak: none of these"),
        ({"options": {"mu": {"scale": "refmax"}}}, "mu is not among the protocols"),
        ({"options": {"raw": {"nothing": "1"}}}, "nothing"),
        ({"task": "paint"}, "no task 'paint'"),
        ({"task": "tonemap", "align": "crf", "metrics": None}, "--align: is for HDR"),
        ({"task": "tonemap"}, "--metrics: is for HDR"),
        ({"task": "tonemap", "protocols": ("raw",)}, "--protocol: is for HDR"),
    ],
)
def test_settings_that_make_no_sense(root: Path, settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        engine.evaluate(request(root, "good", **settings))


def test_complete_settings_stay() -> None:
    settings = engine.complete(Settings(metrics=QUICK))
    assert engine.complete(settings) == settings
    assert "all" not in engine.complete(Settings(metrics=("all",))).metrics


def test_resize(tmp_path: Path) -> None:
    root = write_folders(tmp_path, ["one"])
    save_light(root / "good/one.exr", light(0, (48, 64)))
    found = engine.evaluate(request(root, "good", resize=True))
    assert found.entries[0].remarks[0].endswith("good/one.exr: resized from 64 x 48 to 32 x 24")


def test_maps(tmp_path: Path) -> None:
    import hdrcli

    root = write_folders(tmp_path, ["one"])
    save_light(root / "truth/night/two.exr", light(1))
    save_light(root / "good/night/two.exr", light(2))
    (tmp_path / "maps").mkdir()
    asked = replace(request(root, "good", protocols=("raw",)), maps=tmp_path / "maps")
    engine.evaluate(asked)
    names = {str(p.relative_to(tmp_path / "maps")) for p in (tmp_path / "maps").rglob("*.png")}
    assert names == {"one.good.raw.stops.png", "night/two.good.raw.stops.png"}
    assert hdrcli.read(tmp_path / "maps/one.good.raw.stops.png").pixels.shape[0] > SIZE[0]
    with pytest.raises(OutputExists):
        engine.evaluate(asked)
    engine.evaluate(replace(asked, overwrite=True))


def test_maps_that_cannot_be_written_cost_no_scores(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> object:
        raise UnwritableOutput("can't be written: No space left on device", where="x.png")

    monkeypatch.setattr(pictures.formats, "write", full)
    found = engine.evaluate(replace(request(root, "good", protocols=("raw",)), maps=tmp_path))
    assert all(error is None for error in errors(found).values())
    assert all(e.remarks[-1] == "no stops map: x.png: can't be written: No space left on device" for e in found.entries)


def test_report_pictures_are_the_worst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "VIEWED", 2)
    root = write_folders(tmp_path, ["a", "b", "c", "d"])
    save_light(root / "poor/c.exr", light(2) * 30)
    save_light(root / "poor/a.exr", light(0) * 20)
    asked = request(root, "good", "poor", ldr=True)
    found = engine.evaluate(asked)
    views = list(engine.pictures(asked, found))
    assert [{view.image for view in group} for group in views] == [{"a"}, {"c"}]
    assert {(view.method, view.protocol) for view in views[0]} == {
        (m, p) for m in ("good", "poor", "linear") for p in ("raw", "sihdr")
    }
    shown = next(view for view in views[0] if (view.method, view.protocol) == ("poor", "raw"))
    np.testing.assert_allclose(shown.test, light(0) * 2000, rtol=1e-5)
    assert shown.white == 100
    assert shown.ldr is not None
    np.testing.assert_array_equal(np.rint(shown.ldr / 257), photo(light(0)))
    assert sum(int(mask.sum()) for mask in shown.regions.values()) == SIZE[0] * SIZE[1]


def test_report_pictures_are_held_a_few_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(root, "good", "poor", protocols=("raw",))
    found = engine.evaluate(asked)
    at_once: list[int] = []
    run = engine.processes.run

    def watched(units: Sequence[Unit], *rest: object, **named: object) -> list[scoring.Scored]:
        at_once.append(len(units))
        return run(units, *rest, **named)

    monkeypatch.setattr(engine.processes, "run", watched)
    monkeypatch.setattr(engine, "VIEWED_AT_ONCE", 5)
    told: list[tuple[int, int]] = []
    groups = list(engine.pictures(asked, found, lambda done, total, _: told.append((done, total))))
    assert at_once == [4, 2]
    assert [{view.image for view in group} for group in groups] == [{"one"}, {"three"}, {"two"}]
    assert told == [(n, 6) for n in range(1, 7)]


def test_where_regions_come_from_is_told_for_all_images(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    (root / "photos/two.png").unlink()
    notes = engine.evaluate(request(root, "good", ldr=True, protocols=("raw",))).notes
    assert any(note.startswith("regions by the codes of the LDR photo") for note in notes)
    assert any("regions by the reference" in note and "1 of 3 images" in note for note in notes)
