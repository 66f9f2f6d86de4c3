import base64
import hashlib
import json
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hdrcli import webview
from hdrcli.color import Transfer, decode, encode
from hdrcli.errors import MismatchError


def unpacked(data: bytes, height: int, width: int) -> np.ndarray:
    """The way back, pixel by pixel, from what the docstring of ``packed`` says."""
    count = height * width
    sizes = np.frombuffer(data, "<u4", 3 * webview.CLASSES).reshape(3, webview.CLASSES)
    numbers, excess = 12 * webview.CLASSES, 12 * webview.CLASSES + 3 * count
    planes = []
    before = None
    for c in range(3):
        starts = [int(numbers + count * c + sizes[c][:k].sum()) for k in range(webview.CLASSES)]
        plane, folded = {}, {}
        for y in range(height):
            for x in range(width):
                first = (y, x - 1) if x else (y - 1, x)
                above = (y - 1, x) if y else first
                corner = (y - 1, x - 1) if y and x else above
                right = (y - 1, x + 1) if y and x + 1 < width else above
                w, n, nw = (plane.get(p, 0) for p in (first, above, corner))
                guess = sorted((w, n, w + n - nw))[1]
                busy = 2 * folded.get(first, 0) + 2 * folded.get(above, 0) + folded.get(corner, 0) + folded.get(right, 0)
                busy += 1 + (3 * before[y, x] if before else 0)
                octave = busy.bit_length() - 1
                half = octave > 0 and bool(busy & (1 << (octave - 1)))
                kind = min(2 * octave + half, webview.CLASSES - 1)
                number = data[starts[kind]]
                starts[kind] += 1
                if number == 255:
                    number += int.from_bytes(data[excess : excess + 2], "little")
                    excess += 2
                folded[y, x] = number
                plane[y, x] = guess + (-(number + 1) // 2 if number % 2 else number // 2)
        before = folded
        planes.append(np.array([plane[y, x] for y in range(height) for x in range(width)]).reshape(height, width))
    assert excess == len(data)
    green, red, blue = planes
    return np.stack([red + green, green, blue + green], axis=-1)


codes = st.one_of(st.integers(0, webview.NOT_FINITE), st.sampled_from([0, 1, 3000, 3001, 3003, webview.NOT_FINITE]))


@given(array_shapes(min_dims=2, max_dims=2, max_side=7).flatmap(lambda s: arrays(np.uint16, (*s, 3), elements=codes)))
@settings(deadline=None, max_examples=60)
def test_packed_codes_come_back(picture: np.ndarray) -> None:
    assert np.array_equal(unpacked(webview.packed(picture), *picture.shape[:2]), picture)


def test_a_smooth_picture_comes_back_too() -> None:
    y, x = np.mgrid[0:20, 0:30]
    picture = np.stack([3000 + 20 * x + y, 3050 + 18 * x + 2 * y, 2900 + 25 * x], axis=-1).astype(np.uint16)
    assert np.array_equal(unpacked(webview.packed(picture), 20, 30), picture)


@given(st.floats(2.0**-24, 2.0**40, width=32))
def test_a_code_is_within_half_a_step(value: float) -> None:
    code = int(webview.coded(np.array([value], np.float32))[0])
    assert 0 < code < webview.NOT_FINITE
    assert abs((code - 1) / webview.STEPS + webview.DARKEST - np.log2(value)) <= 0.5 / webview.STEPS + 1e-12


def test_codes_of_what_has_no_logarithm() -> None:
    light = np.array([0.0, -0.0, -3.0, np.nan, np.inf, -np.inf, 1e-38, 3e38], np.float32)
    top = webview.NOT_FINITE
    assert webview.coded(light).tolist() == [0, 0, 0, top, top, top, 1, top - 1]


@pytest.mark.parametrize("white", [2.0**-8, 0.37, 1.0, 100.0, 3.3 * 2**8])
def test_no_display_code_is_skipped_at_any_exposure(white: float) -> None:
    """No bands: neighbouring codes are at most one 8-bit sRGB code apart."""
    light = 2.0 ** (np.arange(webview.NOT_FINITE - 1) / webview.STEPS + webview.DARKEST)
    shown = np.rint(255 * encode(np.minimum(light / white, 1), Transfer.SRGB)).astype(int)
    assert shown[0] == 0
    assert shown[-1] == 255
    assert np.diff(shown).max() == 1


def test_reduced_averages_light() -> None:
    light = np.random.default_rng(0).random((64, 128, 3), np.float32)
    small = webview.reduced(light, 32)
    assert small.shape == (16, 32, 3)
    assert small == pytest.approx(light.reshape(16, 4, 32, 4, 3).mean(axis=(1, 3)), rel=1e-5)


def test_reduced_never_enlarges_and_keeps_thin_pictures() -> None:
    assert webview.reduced(np.ones((3, 5, 3), np.float64)).shape == (3, 5, 3)
    assert webview.reduced(np.ones((1, 5000, 3), np.float32), 100).shape == (1, 100, 3)
    assert webview.reduced(np.ones((3, 5, 3), np.float32), size=(6, 2)).shape == (6, 2, 3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_codes_are_decoded_before_they_are_averaged(kind: type) -> None:
    top = np.iinfo(kind).max
    photo = np.array([[[0] * 3, [top] * 3], [[0] * 3, [top // 5] * 3]], kind)
    expected = (0 + 1 + 0 + float(decode(np.array(0.2), Transfer.SRGB))) / 4
    assert webview.reduced(photo, size=(1, 1)).ravel() == pytest.approx([expected] * 3, rel=1e-5)


def test_what_is_not_finite_stays_where_it_is() -> None:
    light = np.ones((8, 8, 3), np.float64)
    light[0, 0, 0], light[7, 7, 1], light[0, 7, 2] = np.nan, np.inf, 1e300
    wrong = ~np.isfinite(webview.reduced(light, size=(4, 4)))
    assert [tuple(map(int, where)) for where in np.argwhere(wrong)] == [(0, 0, 0), (0, 3, 2), (3, 3, 1)]


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 4)), np.zeros((0, 4, 3)), np.zeros((4, 4, 3), np.int32)])
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(MismatchError, match="a picture is"):
        webview.reduced(pixels)


def test_automatic_white() -> None:
    grey = np.full((9, 9, 3), 5.0, np.float32)
    assert webview.automatic_white(grey) == pytest.approx(5 / 0.18)
    assert webview.automatic_white(grey, np.full_like(grey, 0.5)) == pytest.approx(10)
    halves = grey.copy()
    halves[:, :3] = 0  # black has no logarithm
    assert webview.automatic_white(halves) == pytest.approx(5 / 0.18)
    assert webview.automatic_white(halves, np.zeros_like(grey)) == pytest.approx(5 / 0.18)  # nor has its photo a median
    grey[0, 0] = np.nan
    assert webview.automatic_white(grey, np.full_like(grey, 0.5)) == pytest.approx(10)
    assert webview.automatic_white(np.zeros_like(grey)) is None
    assert webview.automatic_white(np.full_like(grey, np.nan), np.ones_like(grey)) is None


def test_masks_become_one_map() -> None:
    left, right = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :2], right[:, 4:] = True, True
    text = webview.encoded_masks([left, right], (2, 3))
    assert list(zlib.decompress(base64.b64decode(text))) == [1, 0, 2, 1, 0, 2]
    with pytest.raises(MismatchError):
        webview.encoded_masks([np.zeros((2, 2, 3), bool)], (2, 2))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#x27;"),
        ("line\nfeed\x00", "line\\nfeed\\x00"),
        ("turned \u202e", "turned \\u202e"),
        ("half \udcff", "half \\udcff"),
        ("Fußgänger 道", "Fußgänger 道"),
    ],
)
def test_names_are_shown_as_text(name: str, shown: str) -> None:
    assert webview.escaped(name) == shown
    webview.escaped(name).encode("utf-8")


def panel(role: str, light: np.ndarray | None, unit: str = "cd/m²") -> webview.Panel:
    return webview.Panel(role, light, role, 100.0, 50.0, unit)  # type: ignore[arg-type]


def test_a_viewer_holds_its_pictures_once() -> None:
    light = np.random.default_rng(0).random((5, 7, 3)).astype(np.float32)
    panels = [panel("input", light, "of white"), panel("reference", light), panel("test", light * 2), panel("test", None)]
    held: set[str] = set()
    text = "".join(webview.viewer("a <name>", panels, {"all": np.ones((5, 7), bool)}, held=held))
    facts = json.loads(re.search(r'data-facts="([^"]*)"', text)[1].replace("&quot;", '"').replace("&#x27;", "'"))
    assert (facts["width"], facts["height"], facts["masks"]) == (7, 5, ["all"])
    texts = re.findall(r'class="hv-data" id="[^"]*">([^<]+)<', text)
    assert [unpacked(zlib.decompress(base64.b64decode(t)), 5, 7).tolist() for t in texts] == [
        webview.coded(light).tolist(),
        webview.coded(light * 2).tolist(),
    ]
    assert text.count('class="hv-map"') == 2  # the test's error and the reference's regions
    again = "".join(webview.viewer("again", panels, held=held))
    assert again.count("data-same=") == 3
    assert 'id="' not in again


def test_errors_are_shown_between_pictures_of_one_unit() -> None:
    light = np.ones((2, 2, 3), np.float32)
    assert "hv-map" not in "".join(webview.viewer("", [panel("reference", light), panel("test", light, "of white")]))


@pytest.mark.parametrize("sizes", [[], [(2, 3), (3, 2)]])
def test_a_viewer_needs_one_size(sizes: list[tuple[int, int]]) -> None:
    with pytest.raises(MismatchError, match="one size"):
        list(webview.viewer("", [panel("test", np.ones((*s, 3), np.float32)) for s in sizes]))


def test_a_page_allows_itself_its_own_script_and_style_only() -> None:
    text = "".join(webview.page("a <title>", ["<p>body</p>"], styles=["b { color: red }"], scripts=["// ü"]))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    for kind in ("style", "script"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "<title>a &lt;title&gt;</title>" in text
    assert not re.search(r"https?:|src=|@import|url\(", text.replace("script-src", "").replace("style-src", ""))
