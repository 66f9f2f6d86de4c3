import base64
import json
import re
import zlib

import numpy as np
import pytest

from hdrcli import webview
from hdrcli.color import Transfer
from hdrcli.errors import MismatchError, OutputExists
from hdrcli.image import Image
from hdrcli.viewing import operators
from hdrcli.viewing.page import Shown, alike, exhibit, page, write_page


def hdr(height=20, width=30, **more):
    ramp = np.geomspace(2.0**-8, 2.0**6, height * width, dtype=np.float32)
    return Image(ramp.reshape(height, width, 1).repeat(3, 2), Transfer.LINEAR, **more)


def ldr(height=20, width=30):
    return Image(np.full((height, width, 3), 188, np.uint8), Transfer.SRGB)


def held(text, kind):
    """What the elements of a kind hold, inflated."""
    return [zlib.decompress(base64.b64decode(data)) for data in re.findall(rf'class="{kind}" id="[^"]*">([^<]*)<', text)]


def facts(text):
    return [json.loads(found.replace("&quot;", '"')) for found in re.findall(r'data-facts="([^"]*)"', text)]


def test_what_a_page_holds_of_a_picture():
    shown = Shown("hable", side=16)
    text = "".join(page("a title", [[exhibit(hdr(white_luminance=80), "a.exr", shown)]], shown))
    (said,) = facts(text)
    assert (said["width"], said["height"], said["whole"]) == (16, 11, [30, 20])
    assert said["stops"] == [-8, 7]
    (panel,) = said["panels"]
    assert (panel["nits"], panel["white"], panel["unit"]) == (80, 1.0, "× white")
    assert sum(panel["histogram"]["counts"]) == 600
    assert panel["histogram"]["first"] == -8
    (forms,) = held(text, "hv-operators")
    assert tuple(json.loads(forms)["forms"]) == operators.offered()
    assert "<title>a title</title>" in text
    assert not re.search(r"https?://|\bsrc=|@import|url\(|<link|<iframe", text)


def test_ldr_comes_without_operators():
    text = "".join(page("a", [[exhibit(ldr(), "a.png", Shown())]], Shown()))
    assert held(text, "hv-operators") == []
    assert facts(text)[0]["panels"][0]["nits"] is None
    codes = webview.coded(exhibit(ldr(), "a.png", Shown()).panel.light)
    assert 2.0 ** ((codes[0, 0, 0] - 1.0) / webview.STEPS + webview.DARKEST) == pytest.approx(0.503, rel=0.004)


def test_parameters_reach_the_page():
    plain, other = (
        exhibit(hdr(), "a.exr", Shown("mulaw", parameters)).panel.operators["forms"] for parameters in ({}, {"mu": "100"})
    )
    assert plain["mulaw"] != other["mulaw"]
    assert plain["hable"] == other["hable"]


def test_pictures_side_by_side_have_one_size():
    shown = Shown(side=24)
    first = exhibit(hdr(40, 60), "a.exr", shown)
    assert first.size == (16, 24)
    for height, width in ((40, 60), (400, 601), (2, 3)):
        assert exhibit(ldr(height, width), "b.png", shown, beside=first).size == (16, 24)
    with pytest.raises(MismatchError, match="is 60 x 60, which can't stand beside 60 x 40"):
        exhibit(ldr(60, 60), "c.png", shown, beside=first)
    assert alike((4000, 6000), (400, 603))
    assert not alike((4000, 6000), (400, 607))


def test_the_span_is_that_of_all_pictures_in_a_row():
    bright = Image(np.full((10, 10, 3), 2.0**9, np.float32), Transfer.LINEAR)
    rows = [[exhibit(ldr(10, 10), "a.png", Shown()), exhibit(bright, "a.exr", Shown())]]
    assert facts("".join(page("a", rows, Shown())))[0]["stops"] == [-1, 10]
    dark = Image(np.zeros((10, 10, 3), np.float32), Transfer.LINEAR)
    assert facts("".join(page("a", [[exhibit(dark, "a.exr", Shown())]], Shown())))[0]["stops"] == [-1, 1]


def test_a_row_that_fails_leaves_no_file(tmp_path):
    path = tmp_path / "page.html"

    def rows():
        yield [exhibit(ldr(), "a.png", Shown())]
        raise MismatchError("no")

    with pytest.raises(MismatchError):
        write_page(path, "a", rows(), Shown())
    assert list(tmp_path.iterdir()) == []
    write_page(path, "a", [[exhibit(ldr(), "a.png", Shown())]], Shown())
    with pytest.raises(OutputExists):
        write_page(path, "a", [[exhibit(ldr(), "a.png", Shown())]], Shown())
