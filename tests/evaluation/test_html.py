import hashlib
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_sample as sample

from hdrcli.errors import MismatchError, OutputExists, UnwritableOutput
from hdrcli.evaluation.html import Pictures, number, report, write_report
from hdrcli.evaluation.results import Aggregate, Evaluation, Settings

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Tree(HTMLParser):
    """Elements as (tag, attributes, text within, tags around), and a check that what is opened is closed in turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self._open = [], []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"an attribute twice in {tag}"
        element = [tag, dict(attributes), "", [e[0] for e in self._open]]
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> without a start"
        assert self._open[-1][0] == tag, f"</{tag}> closes <{self._open[-1][0]}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element[2] += data

    def all(self, tag, **wanted):
        wanted = {name.rstrip("_").replace("_", "-"): v for name, v in wanted.items()}
        return [e for e in self.elements if e[0] == tag and all(e[1].get(k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def text():
    return "".join(report(sample.evaluation(), sample.pictures()))


@pytest.fixture(scope="module")
def tree(text):
    return Tree(text)


def table(text, label):
    """Rows of the table with this label, each a list of (attributes, text) of its cells."""
    content = text[text.index(f'aria-label="{label}"') :]
    part = Tree(re.search(r"<table.*?</table>", content, re.DOTALL)[0])
    rows = []
    for tag, attributes, inside, _ in part.elements:
        if tag == "tr":
            rows.append([])
        elif tag in ("th", "td"):
            rows[-1].append((attributes, inside))
    return rows


def test_what_is_opened_is_closed(tree):
    assert len(tree.all("html")) == len(tree.all("body")) == len(tree.all("h1")) == 1


def test_identities_are_there_once_and_links_lead_somewhere(tree):
    names = [e[1]["id"] for e in tree.elements if "id" in e[1]]
    assert len(names) == len(set(names))
    targets = {e[1]["href"] for e in tree.all("a")}
    assert targets
    assert all(target.startswith("#") and target[1:] in names for target in targets)
    same = {e[1]["data-same"] for e in tree.elements if "data-same" in e[1]}
    assert same <= set(names)


def test_nothing_is_asked_for_from_outside(text):
    assert not re.search(r"https?://|//[a-z]+\.|\bsrc=|@import|url\(|<link|<iframe|<object", text)


def test_names_do_no_harm(text, tree):
    assert "window.hacked=1</script>" not in text
    assert "\u202e" not in text
    assert len(tree.all("script")) == text.count("<script")
    shown = sample.NASTY.replace("\u202e", "\\u202e").replace("\ud800", "\\ud800").replace("\n", "\\n")
    assert any(e[2].startswith(shown) for e in tree.all("h3"))
    text.encode("utf-8")


def test_it_says_what_was_compared_and_how(text, tree):
    codes = [e[2] for e in tree.all("code")]
    assert all(line in codes for line in sample.LINES.values())
    shown = tree.all("body")[0][2]
    assert "4 images" in shown
    for word in (
        "results/bright",
        "numpy",
        "2.0",
        "white_nits",
        "100.0",
        "0123456789abcdef" * 4,
        "truth/lamp.exr",
        "dark/night.hdr",
    ):
        assert word in shown


def test_summary(text):
    head, *rows = table(text, "raw: means")
    assert [cell[1] for cell in head] == ["method", "psnr ↑dB", "rmse ↓stops", "share"]
    assert [cell[0]["data-first"] for cell in head] == ["ascending", "descending", "ascending", "ascending"]
    for method, (_, *cells) in zip(sample.METHODS, rows):
        for score, (attributes, shown) in zip(sample.SCORES, cells):
            expected = sample.aggregate("raw", method, score.name)
            assert float(attributes["data-value"]) == expected.mean
            assert shown.startswith(number(expected.mean))
            assert f"{number(expected.low)} … {number(expected.high)}median {number(expected.median)}" in shown
    # bright: 30, 40, 50; dark: 33, 43, 53; the third: 26, 46, 56
    assert [("★" in r[1][1], r[1][0].get("class")) for r in rows] == [(False, None), (True, "best"), (False, None)]
    # 1 / (1 + place), lower is better; bright is not significantly different from the best, dark is
    best = min(sample.METHODS, key=lambda m: sample.aggregate("raw", m, "rmse").mean)
    assert best == sample.NASTY
    assert [("★" in r[2][1], "≈" in r[2][1]) for r in rows] == [(False, True), (False, False), (True, False)]
    assert not any("★" in r[3][1] or "≈" in r[3][1] for r in rows)  # a share is neither good nor bad


def test_what_is_missing_says_why(text, tree):
    _, bright, dark, _ = table(text, "raw: means")
    assert "3 of 4, 1 inf left out" in bright[1][1]
    mark = re.search(r"3 of 4([a-z])$", dark[1][1])[1]
    assert f"{mark} {sample.WHY} (1 of 4)" in [e[2] for e in tree.all("li")]
    rows = table(text, "raw: scores of every image")[1:]
    cells = {(r[0][1], r[1][1]): r[2] for r in rows}
    assert cells["lamp", "bright"] == ({"data-value": "Infinity"}, "inf")
    assert cells["lamp", "dark"][0].get("data-value") is None
    mark = re.fullmatch(r"n/a([a-z])", cells["lamp", "dark"][1])[1]
    assert f"{mark} {sample.WHY}" in [e[2] for e in tree.all("li")]
    for row in rows:
        assert all(shown.strip() for _, shown in row)


def test_every_number_is_there(text):
    for protocol in sample.LINES:
        rows = table(text, f"{protocol}: scores of every image")[1:]
        assert len(rows) == len(sample.IMAGES) * len(sample.METHODS)
        found = {(r[0][1], r[1][1]): [c[0].get("data-value") for c in r[2:]] for r in rows}
        for image in ("lamp", "night", "far"):
            for method in ("bright", "dark"):
                numbers = [sample.value(protocol, method, image, s.name) for s in sample.SCORES]
                if image == "lamp":
                    numbers[0] = math.inf if method == "bright" else None
                assert [None if v is None else float(v) for v in found[image, method]] == numbers


def test_ranking_by_protocol(text):
    head, *rows = table(text, "ranking by protocol")
    assert [cell[1] for cell in head] == ["method", "rawpsnr", "sihdrpsnr"]
    assert [[cell[1] for cell in row[1:]] for row in rows] == [["1 ★", "n/a"], ["2", "1 ★"], ["3", "2"]]


def test_scores_by_region(text):
    head, *rows = table(text, "raw: scores by region")
    columns = [("clipped", "rmse"), ("clipped", "psnr"), ("mid", "rmse"), ("mid", "psnr")]
    words = {"rmse": "rmse ↓stops", "psnr": "psnr ↑dB"}
    assert [cell[1] for cell in head] == ["method", *(region + words[score] for region, score in columns)]
    for method, row in zip(sample.METHODS, rows):
        means = [sample.aggregate("raw", method, score, region).mean for region, score in columns]
        assert [float(cell[0]["data-value"]) for cell in row[1:]] == means


def test_differences(text):
    _, *rows = table(text, "raw: differences between methods")
    assert [row[-1][1] for row in rows] == ["no", "yes", "no"]
    assert [row[4][1] for row in rows] == ["0.5000", "0.001000", "n/aa"]


def test_pictures_and_what_has_none(text, tree):
    assert len(tree.all("section", class_="image")) == 4
    assert len(tree.all("figure")) == 3
    assert "Its pictures are not in this report." in tree.all("section", id="image-3")[0][2]
    night = tree.all("section", id="image-1")[0][2]
    assert f"not scored: {sample.ERROR}" in night
    stages = re.findall(r'class="hv-stage hv-none"', text)
    assert len(stages) == 1
    # the first picture of each: input, reference, three tests, less the one that is missing
    assert len(tree.all("canvas", class_="hv-picture")) == 3 * 5 - 1
    assert len(tree.all("canvas", class_="hv-map")) == 3 * 4 - 1
    assert f"psnr {number(sample.value('raw', 'dark', 'night', 'psnr'))} dB" in night


def test_scores_beside_the_pictures_name_regions(tree):
    lamp = tree.all("section", id="image-0")[0][2]
    assert "rmse clipped, 25.0 % of the picture0.1250" in lamp


def test_few_pairs_are_not_called_alike():
    evaluation = sample.evaluation()
    few = replace(evaluation, significance=tuple(replace(s, n=5) for s in evaluation.significance))
    assert not any("≈" in row[2][1] for row in table("".join(report(few)), "raw: means"))


def test_the_same_again(text):
    """In another process too, where sets have another order."""
    code = (
        "import sys, hashlib, report_sample as s; from hdrcli.evaluation.html import report;"
        "print(hashlib.sha256(''.join(report(s.evaluation(), s.pictures())).encode()).hexdigest())"
    )
    folder = str(Path(sample.__file__).parent)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": folder}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == hashlib.sha256(text.encode()).hexdigest()


def test_pictures_are_taken_as_they_are_written():
    taken = []

    def counted():
        for each in sample.pictures():
            taken.append(each.image)
            yield each

    pieces = report(sample.evaluation(), counted())
    for piece in pieces:
        if "data-facts=" in piece:
            break
    assert taken == ["lamp"]
    assert '<section class="image" id="image-1">' not in piece


def test_several_protocols_share_what_is_alike():
    def twice():
        for first, second in zip(sample.pictures("raw"), sample.pictures("sihdr")):
            yield from (first, replace(second, predictions={m: p * 2 for m, p in second.predictions.items()}))

    once = "".join(report(sample.evaluation(), sample.pictures()))
    both = "".join(report(sample.evaluation(), twice()))
    tree = Tree(both)
    assert len(tree.all("figure")) == 6
    # references, photos and masks again, and the darker prediction, doubled, is not one of the others
    assert both.count("data-same=") >= 3 * 3 + once.count("data-same=")
    assert len(tree.all("section", class_="image")) == 4


def test_ldr_predictions():
    """--task tonemap: codes against an HDR reference have no error in stops, against codes they do."""
    each = next(sample.pictures())
    codes = each.ldr
    against_hdr = "".join(report(sample.evaluation(), [replace(each, ldr=None, regions={}, predictions={"bright": codes})]))
    assert 'class="hv-map"' not in against_hdr
    both = replace(each, reference=codes, ldr=None, regions={}, predictions={"bright": codes})
    assert 'class="hv-map"' in "".join(report(sample.evaluation(), [both]))


def test_without_pictures_or_anything():
    Tree("".join(report(sample.evaluation())))
    nothing = Evaluation(Settings(), (), (), (), (), (), (), (), (), (), {})
    Tree("".join(report(nothing)))


def test_black_and_broken_pictures_are_shown_too():
    black = np.zeros((3, 5, 3), np.float32)
    lost = np.full((3, 5, 3), np.nan, np.float32)
    for reference in (black, lost, black - 1):
        Tree("".join(report(sample.evaluation(), [Pictures("lamp", reference, {"bright": lost, "dark": black})])))


def test_an_aggregate_without_a_mean():
    evaluation = sample.evaluation()
    aggregates = [a for a in evaluation.aggregates if (a.protocol, a.method, a.score) != ("raw", "bright", "psnr")]
    for infinite, shown in ((0, "n/aa"), (4, "inf (4 of 4)")):
        none = Aggregate("raw", "bright", "psnr", None, 0, infinite, {} if infinite else {"why": 4}, None, None, None, None)
        text = "".join(report(replace(evaluation, aggregates=(*aggregates, none))))
        assert table(text, "raw: means")[1][1] == ({"class": "none"}, shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (27.4321, "27.43"),
        (0.91234, "0.9123"),
        (100.0, "100.0"),
        (12345.6, "12346"),
        (1234.56, "1235"),
        (0.0, "0.000"),
        (-3.0, "-3.000"),
        (1.234567e-7, "1.235e-07"),
        (4.2e9, "4.200e+09"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers(value, shown):
    assert number(value) == shown


def test_the_file_is_whole_or_not_there(tmp_path: Path):
    path = tmp_path / "report.html"

    def failing():
        yield next(sample.pictures())
        raise KeyError("out of pictures")

    with pytest.raises(KeyError):
        write_report(path, sample.evaluation(), failing())
    assert list(tmp_path.iterdir()) == []
    write_report(path, sample.evaluation(), sample.pictures())
    written = path.read_bytes()
    assert written.startswith(b"<!DOCTYPE html>")
    assert written.endswith(b"</html>\n")
    with pytest.raises(OutputExists):
        write_report(path, sample.evaluation())
    with pytest.raises(KeyError):
        write_report(path, sample.evaluation(), failing(), overwrite=True)
    assert path.read_bytes() == written
    with pytest.raises(UnwritableOutput):
        write_report(tmp_path / "nowhere" / "report.html", sample.evaluation())
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_of_something_else_are_refused():
    each = list(sample.pictures())
    with pytest.raises(MismatchError, match="not in the evaluation"):
        list(report(sample.evaluation(), [replace(each[0], image="other")]))
    with pytest.raises(MismatchError, match="come twice"):
        list(report(sample.evaluation(), [each[0], each[1], each[0]]))
    with pytest.raises(MismatchError, match="a picture is"):
        list(report(sample.evaluation(), [replace(each[0], reference=each[0].reference[..., 0])]))
