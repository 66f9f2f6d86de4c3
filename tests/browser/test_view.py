"""The page of ``hdrcli view`` where it is read. Expected pixels are those of the library, and are computed here."""

import base64
import json
import re

import numpy as np
import pytest

from hdrcli import registry, webview
from hdrcli.color import Primaries, Transfer, decode, encode, luminance
from hdrcli.conversion import TonemapOptions, tonemap
from hdrcli.image import Image
from hdrcli.tonemapping._curves import srgb_codes
from hdrcli.viewing import operators
from hdrcli.viewing.light import scene_of
from hdrcli.viewing.page import Shown, exhibit, write_page

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 48, 64
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
ASKED = ("clip", "gamma", "reinhard", "mulaw", "hable", "aces", "agx", "khronos")
PHOTO, HDR, LARGE = (
    "section:nth-of-type(1) .hv-panel:nth-of-type(1)",
    "section:nth-of-type(1) .hv-panel:nth-of-type(2)",
    "section:nth-of-type(2)",
)


def light():
    """A ramp over 18 stops, the lower half in wild colours, with black and what is not finite in corners."""
    rng = np.random.default_rng(0)
    stops = np.linspace(-10, 8, WIDTH)[None, :, None] + rng.normal(0, 0.3, (HEIGHT, WIDTH, 3))
    stops[HEIGHT // 2 :] += rng.normal(0, 3, (HEIGHT // 2, WIDTH, 3))
    pixels = np.exp2(stops).astype(np.float32)
    pixels[0, :4] = 0
    pixels[-1, -1] = (np.nan, 1, 1)
    return pixels


def hdr():
    return Image(light(), Transfer.LINEAR, white_luminance=203)


def photo():
    codes = np.rint(255 * encode(np.clip(np.nan_to_num(light()), 0, 1), Transfer.SRGB)).astype(np.uint8)
    return Image(codes, Transfer.SRGB)


def large():
    return np.exp2(np.random.default_rng(1).normal(0, 2, (300, 200, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("view") / "a page.html"
    shown = Shown("reinhard", side=128)

    def rows():
        first = exhibit(photo(), "scene.png", shown)
        yield [first, exhibit(hdr(), "scene.exr", shown, beside=first)]
        yield [exhibit(Image(large(), Transfer.LINEAR, Primaries.BT2020), "<b>large.exr", shown)]

    write_page(path, "scene.png and 2 more", rows(), shown)
    return path


@pytest.fixture
def page(browser, path):
    browser.resize(1280, 900)
    browser.open(path)
    browser.wait("document.querySelector('.hv').dataset.ready === 'yes'")
    return browser


def choose(page, **choices):
    for name, value in choices.items():
        key = "checked" if isinstance(value, bool) else "value"
        page.evaluate(f"document.querySelector('.hv-controls').elements['{name}'].{key} = {json.dumps(value)}")
    page.evaluate("document.querySelector('.hv-controls').dispatchEvent(new Event('input', {bubbles: true}))")
    page.evaluate(FRAME)


def canvas(page, panel, kind="hv-picture"):
    script = f"""(() => {{ const c = document.querySelector({json.dumps(f"{panel} canvas.{kind}")});
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return [c.height, c.width, btoa(Array.from(d, (v) => String.fromCharCode(v)).join(''))]; }})()"""
    height, width, data = page.evaluate(script)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


def finite():
    return np.isfinite(light()).all(axis=-1)


def stored():
    """The light as the page holds it: in steps of 0.7 %."""
    codes = webview.coded(light())
    exact = 2.0 ** ((codes.astype(float) - 1) / webview.STEPS + webview.DARKEST)
    return np.where(codes == 0, 0, np.where(finite()[..., None], exact, 0)).astype(np.float32)


def test_it_opens_without_a_complaint_and_asks_for_nothing_else(page, path):
    page.evaluate("window.scrollTo(0, 1e6)")
    page.wait("[...document.querySelectorAll('.hv')].every((f) => f.dataset.ready === 'yes')")
    assert page.complaints() == []
    assert page.requested() == [path.as_uri()]
    assert page.evaluate("document.title") == "scene.png and 2 more"
    assert page.evaluate(f"document.querySelector('{LARGE} .hv-title b').textContent") == "<b>large.exr"


def test_the_page_offers_what_it_can_run(page):
    names = page.evaluate("[...document.querySelector('[name=operator]').options].map((o) => o.value)")
    assert names == ["", *operators.offered()]
    assert set(names) >= set(ASKED)
    assert page.evaluate("document.querySelector('[name=operator]').value") == "reinhard"


def test_operators_are_those_of_the_library(page):
    """Of tonemap() within 2 codes; in the wildest colours the page's steps of light are more, there of the light as stored."""
    natural = finite()
    natural[HEIGHT // 2 :] = False
    worst = {}
    for name in operators.offered():
        module = registry.load(operators.PACKAGE, name)
        state = module.prepare(scene_of(hdr()), module.Parameters())
        for ev in (0, -3, 2.5):
            choose(page, operator=name, ev=str(ev))
            shown = canvas(page, HDR).astype(int)
            expected = tonemap(hdr(), TonemapOptions(name, ev=ev, dither=False)).pixels.astype(int)
            exact = srgb_codes(module.apply(stored() * np.float32(2.0**ev), state, 0)).astype(int)
            assert expected[natural].std() > 20
            worst[name, ev] = np.abs(shown - expected)[natural].max(), np.abs(shown - exact)[finite()].max()
            assert (shown[~finite()] == [255, 0, 255]).all()
    assert {case: found for case, found in worst.items() if max(found) > 2} == {}


def test_ldr_is_shown_as_it_is_whatever_is_chosen(page):
    for name in ("", *ASKED):
        choose(page, operator=name, ev="0")
        assert np.abs(canvas(page, PHOTO).astype(int) - photo().pixels).max() <= 1


def test_as_they_are_both_are_exposed_alike(page):
    choose(page, operator="", ev="-2")
    for panel, picture in ((HDR, light()), (PHOTO, decode(photo().pixels / 255, Transfer.SRGB))):
        expected = np.rint(255 * encode(np.clip(picture.astype(np.float64) / 4, 0, 1), Transfer.SRGB))
        assert np.abs(canvas(page, panel).astype(int) - expected)[finite()].max() <= 1
    legend = page.evaluate("document.querySelector('.hv-legend').textContent")
    assert legend.startswith("display white: 4 × white")


def test_the_legend_names_the_operator(page):
    choose(page, operator="hable", ev="1.5")
    assert page.evaluate("document.querySelector('.hv-legend').textContent").startswith("hable at +1.5 EV")
    assert page.evaluate("document.querySelector('[name=shown]').value") == "+1.5 EV"
    page.click("[name=zero]")
    page.evaluate(FRAME)
    assert page.evaluate("document.querySelector('.hv-legend').textContent").startswith("hable at +0.0 EV")


def test_false_colour_in_stops(page):
    choose(page, **{"false": True})
    low, high = page.evaluate("[...hdrView.viewers.values()][0].range")
    y = luminance(np.nan_to_num(light()).astype(np.float64))
    lit = np.sort(y[y > 0])
    assert (low, high) == (high - 24, np.ceil(np.log2(lit[-1])))  # at most 24 stops
    anchors = [(20, 16, 74), (42, 63, 176), (31, 127, 196), (23, 163, 152), (79, 184, 74), (185, 197, 43), (245, 179, 36)]
    anchors += [(238, 106, 44), (216, 42, 74), (255, 155, 208), (255, 255, 255)]
    share = np.clip((np.log2(np.maximum(y, 1e-30)) - low) / (high - low), 0, 1)
    expected = np.stack([np.interp(share * 10, range(11), [a[c] for a in anchors]) for c in range(3)], axis=-1)
    assert np.abs(canvas(page, HDR) - expected)[finite()].max() <= 9
    ticks = page.evaluate("[...document.querySelectorAll('.hv-legend .hv-tick')].map((t) => t.textContent)")
    assert "0" in ticks
    numbers = [int(tick.replace("−", "-")) for tick in ticks if tick]
    steps = np.diff(numbers[: len(numbers) // 2])
    assert len(set(steps)) == 1
    assert "stops above 1.0" in page.evaluate("document.querySelector('.hv-legend').textContent")


def test_histograms(page):
    facts = json.loads(page.evaluate("document.querySelector('.hv').dataset.facts"))["panels"][1]["histogram"]
    y = luminance(light().astype(np.float64))
    stops = np.log2(y[np.isfinite(y) & (y > 0)])
    edges = facts["first"] + np.arange(len(facts["counts"]) + 1) / facts["perStop"]
    assert np.abs(np.histogram(stops, edges)[0] - facts["counts"]).sum() <= 4
    assert sum(facts["counts"]) == stops.size
    # heights on the canvas are square roots
    low, high = page.evaluate("[...hdrView.viewers.values()][0].range")
    drawn = canvas(page, HDR, "x, section:nth-of-type(1) .hv-panel:nth-of-type(2) .hv-plot canvas")
    heights = (drawn[:, 1::4].max(axis=-1) > 0).sum(axis=0)
    counts = np.zeros((high - low) * 4)
    for i, count in enumerate(facts["counts"]):
        place = round((facts["first"] - low) * 4) + i
        if 0 <= place < len(counts):
            counts[place] = count
    expected = 120 * np.sqrt(counts / max(facts["counts"]))
    assert np.abs(heights - np.maximum(expected, counts > 0)).max() <= 1


def test_the_line_of_display_white_moves_with_the_exposure(page):
    choose(page, operator="", ev="0")
    left = f"parseFloat(document.querySelector('{HDR} .hv-white').style.left)"
    low, high = page.evaluate("[...hdrView.viewers.values()][0].range")
    assert page.evaluate(left) == pytest.approx(100 * -low / (high - low))
    choose(page, ev="3")
    assert page.evaluate(left) == pytest.approx(100 * (-3 - low) / (high - low))
    choose(page, operator="agx")
    assert page.evaluate(f"document.querySelector('{HDR} .hv-white').hidden")


def point(page, panel, x, y, width, height):
    page.box(f"{panel} .hv-picture")
    box = page.box(f"{panel} .hv-picture")
    page.point(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])


def test_the_inspector_reads_light_and_nits(page):
    x, y = 50, 10
    point(page, HDR, x, y, WIDTH, HEIGHT)
    assert page.evaluate("document.querySelector('.hv-place').textContent") == f"pixel ({x}, {y})"
    text = page.evaluate(f"document.querySelector('{HDR} .hv-values').textContent")
    numbers = [float(n) for n in re.findall(r"[RGBY=] ([\d.]+)", text)]
    pixel = light()[y, x].astype(float)
    white = float(luminance(pixel))
    assert numbers == pytest.approx([*pixel, white, 203 * white], rel=0.01)
    assert "× white" in text
    assert "cd/m²" in text
    assert (
        f"· +{np.log2(white):.2f} stops" in text
        or f"· +{np.log2(white) - 0.01:.2f} stops" in text
        or abs(float(re.search(r"· \+([\d.]+) stops", text)[1]) - np.log2(white)) < 0.02
    )
    assert "cd/m²" not in page.evaluate(f"document.querySelector('{PHOTO} .hv-values').textContent")
    low, high = page.evaluate("[...hdrView.viewers.values()][0].range")
    mark = page.evaluate(f"parseFloat(document.querySelector('{HDR} .hv-mark').style.left)")
    assert mark == pytest.approx(100 * (np.log2(white) - low) / (high - low), abs=0.1)
    page.point(2, 2)
    assert page.evaluate(f"document.querySelector('{HDR} .hv-mark').hidden")


def test_a_smaller_picture_says_what_its_pixels_are(page):
    page.evaluate(f"document.querySelector('{LARGE}').scrollIntoView()")
    page.wait("[...document.querySelectorAll('.hv')][1].dataset.ready === 'yes'")
    page.evaluate(FRAME)
    assert canvas(page, LARGE).shape == (128, 85, 3)
    point(page, LARGE, 30, 60, 85, 128)
    place = page.evaluate(f"document.querySelector('{LARGE} .hv-place').textContent")
    assert place == "mean of 2.35 × 2.34 pixels about (71, 141)"


def test_pictures_keep_their_shape_and_fit_the_window(page):
    for width, height in ((1280, 900), (600, 1200), (1500, 400)):
        page.resize(width, height)
        page.evaluate(FRAME)
        for panel, shape in ((HDR, WIDTH / HEIGHT), (LARGE, 85 / 128)):
            box = page.box(f"{panel} .hv-picture")
            assert box["width"] / box["height"] == pytest.approx(shape, rel=0.02)
            assert box["height"] <= height
            assert box["width"] <= width
    page.resize(360, 700, mobile=True)
    page.evaluate(FRAME)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.resize(1280, 900)


def test_keys_that_belong_to_other_pages_do_nothing_here(page):
    before = canvas(page, HDR)
    page.press("r")
    page.evaluate(FRAME)
    assert np.array_equal(canvas(page, HDR), before)
    assert [text for text in page.complaints() if "getImageData" not in text] == []  # that one is about the test


def test_injected_code_does_not_run(page):
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,x\" onerror=\"window.hacked = 2\">')")
    page.evaluate(FRAME)
    assert page.evaluate("window.hacked") is None
