"""The report where it is read: in a browser, with a mouse and a keyboard. Expected pixels are computed here."""

import base64
import json
import zlib

import numpy as np
import pytest
import report_sample as sample

from hdrcli import webview
from hdrcli.color import STOPS_FLOOR, Transfer, encode, luminance
from hdrcli.evaluation.html import write_report

pytestmark = pytest.mark.browser

LAMP, NIGHT = "#image-0", "#image-1"
FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
# the anchors of the error maps: place, sRGB; those that hdrcli/evaluation/maps.py documents
SIGNED = [
    (0, "#09145c"),
    (0.2, "#2561c4"),
    (0.4, "#9ecaf0"),
    (0.5, "#f7f7f7"),
    (0.6, "#fddb84"),
    (0.8, "#e35226"),
    (1, "#600016"),
]
_TENTHS = [
    "#14104a",
    "#2a3fb0",
    "#1f7fc4",
    "#17a398",
    "#4fb84a",
    "#b9c52b",
    "#f5b324",
    "#ee6a2c",
    "#d82a4a",
    "#ff9bd0",
    "#ffffff",
]
SPECTRUM = [(place / 10, colour) for place, colour in enumerate(_TENTHS)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "a report.html"
    write_report(path, sample.evaluation(), sample.pictures())
    return path


@pytest.fixture
def page(browser, path):
    browser.resize(1280, 900)
    browser.open(path)
    show(browser, LAMP)
    return browser


def show(page, section):
    page.evaluate(f"document.querySelector('{section}').scrollIntoView()")
    page.wait(f"document.querySelector('{section} .hv').dataset.ready === 'yes'")


def choose(page, **choices):
    """Set the form as a user would leave it."""
    for name, value in choices.items():
        key = "checked" if isinstance(value, bool) else "value"
        page.evaluate(f"document.querySelector('.hv-controls').elements['{name}'].{key} = {json.dumps(value)}")
    page.evaluate("document.querySelector('.hv-controls').dispatchEvent(new Event('input', {bubbles: true}))")
    page.evaluate(FRAME)


def canvas(page, section, place, kind="picture"):
    """``(h, w, 3) uint8`` of a panel's canvas: input, reference, then the methods."""
    selector = f"{section} .hv-panel:nth-of-type({place + 1}) canvas.hv-{kind}"
    script = f"""(() => {{ const c = document.querySelector({json.dumps(selector)});
        const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        return [c.height, c.width, btoa(Array.from(d, (v) => String.fromCharCode(v)).join(''))]; }})()"""
    height, width, data = page.evaluate(script)
    pixels = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)
    assert (pixels[..., 3] == 255).all()
    return pixels[..., :3]


def exposed(light, white):
    return np.rint(255 * encode(np.clip(light.astype(np.float64) / white, 0, 1), Transfer.SRGB)).astype(int)


def assert_alike(shown, expected):
    """Up to a code: that is what a step of the stored logarithm may be."""
    assert np.abs(shown.astype(int) - expected).max() <= 1


def test_it_opens_without_a_complaint_and_asks_for_nothing_else(page, path):
    assert page.complaints() == []
    assert page.requested() == [path.as_uri()]
    assert page.evaluate("window.hacked") is None


def test_injected_code_does_not_run(page):
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,x\" onerror=\"window.hacked = 2\">')")
    page.evaluate(FRAME)
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in page.complaints())


def test_codes_are_read_as_they_were_written(page):
    """The script's way back from ``packed``, on pictures that are smooth, flat, or as wild as codes can be."""
    rng = np.random.default_rng(0)
    wild = rng.integers(0, webview.NOT_FINITE + 1, (9, 14, 3))
    smooth = 3000 + 40 * np.arange(50)[None, :, None] + rng.normal(0, 3, (30, 50, 3))
    steps = np.where(rng.random((16, 8, 3)) < 0.2, webview.NOT_FINITE, 0)
    for picture in (wild, smooth, steps, np.full((1, 1, 3), 7), wild[:1], wild[:, :1]):
        codes = picture.astype(np.uint16)
        text = base64.b64encode(zlib.compress(webview.packed(codes))).decode()
        facts = {"width": codes.shape[1], "height": codes.shape[0], "classes": webview.CLASSES}
        script = f"hdrView.inflated('{text}').then((b) => hdrView.unpacked(b, {json.dumps(facts)}).map((p) => Array.from(p)))"
        planes = np.array(page.evaluate(script)).reshape(3, *codes.shape[:2])
        assert np.array_equal(np.moveaxis(planes, 0, -1), codes)


def test_the_slider_exposes_all_pictures_anew(page):
    reference, photo = sample.light(0), next(sample.pictures()).ldr
    light = webview.reduced(photo)
    choose(page, auto=False)
    page.evaluate("document.querySelector('[name=ev]').focus()")
    for key, times, ev, shown in (
        ("ArrowRight", 0, 0.0, "0.0 EV"),
        ("ArrowRight", 13, 1.3, "+1.3 EV"),
        ("End", 1, 8.0, "+8.0 EV"),
        ("Home", 1, -8.0, "−8.0 EV"),
        ("ArrowRight", 5, -7.5, "−7.5 EV"),
    ):
        page.press(key, times=times)
        page.evaluate(FRAME)
        assert page.evaluate("document.querySelector('[name=shown]').value") == shown
        for place, picture, white in ((0, light, 1), (1, reference, 100), (2, reference * 2, 100), (3, reference / 4, 100)):
            assert_alike(canvas(page, LAMP, place), exposed(picture, white * 2.0**-ev))
    page.click("[name=zero]")
    page.evaluate(FRAME)
    assert page.evaluate("document.querySelector('[name=ev]').value") == "0"
    assert_alike(canvas(page, LAMP, 1), exposed(reference, 100))


def test_automatic_start_suits_the_reference(page):
    reference, photo = sample.light(0), webview.reduced(next(sample.pictures()).ldr)
    white = np.median(luminance(reference)) / np.median(luminance(photo))
    choose(page, auto=True)
    assert_alike(canvas(page, LAMP, 1), exposed(reference, white))
    assert_alike(canvas(page, LAMP, 2), exposed(2 * reference, white))
    assert_alike(canvas(page, LAMP, 0), exposed(photo, 1))
    assert f"display white: {float(f'{white:.3g}'):g} cd/m²" in page.evaluate(
        f"document.querySelector('{LAMP} .hv-legend').textContent"
    )


def colours(anchors, share):
    """``(...)`` in 0..1 -> ``(..., 3)``."""
    places = [place for place, _ in anchors]
    return np.stack([np.interp(share, places, [int(c[i : i + 2], 16) for _, c in anchors]) for i in (1, 3, 5)], axis=-1)


def test_error_maps(page):
    reference = sample.light(0)
    choose(page, map="signed", scale="2")
    floor = STOPS_FLOOR * sample.WHITE
    for place, gain in ((2, 2.0), (3, 0.25), (4, 1.0)):
        stops = np.log2((luminance(gain * reference) + floor) / (luminance(reference) + floor))
        expected = colours(SIGNED, np.clip((stops / 2 + 1) / 2, 0, 1))
        # two whole codes of 256 colours, whose steepest slope is 7 codes a colour, and the step of the stored light
        assert np.abs(canvas(page, LAMP, place, "map") - expected).max() <= 9
    before = canvas(page, LAMP, 2, "map")
    choose(page, scale="8")
    assert np.abs(canvas(page, LAMP, 2, "map")[:, -1] - colours(SIGNED, (1 / 8 + 1) / 2)).max() <= 4
    assert not np.array_equal(before, canvas(page, LAMP, 2, "map"))
    choose(page, map="absolute", scale="2")
    right = canvas(page, LAMP, 3, "map")[:, -1]
    assert (right == [0xFC, 0xFD, 0xD2]).all()  # a quarter is two stops: the end of the scale
    middle = canvas(page, LAMP, 2, "map")[:, -1].astype(int)
    assert np.abs(middle - [0xBE, 0x2C, 0x50]).max() <= 4  # a factor of two: half way
    choose(page, map="none")
    assert page.evaluate(f"[...document.querySelectorAll('{LAMP} .hv-below')].every((e) => e.offsetHeight === 0)")


def test_regions_have_their_colours(page):
    clipped = sample.light(0)[..., 1] >= sample.WHITE
    shown = canvas(page, LAMP, 1, "map").astype(int)
    orange = shown[..., 0] - shown[..., 2]  # two thirds of f0 - 00; grey has none
    assert (orange[clipped] == 160).all()
    assert (np.abs(orange[~clipped]) < 8).all()
    assert page.evaluate(f"document.querySelector('{LAMP} .hv-legend').textContent").endswith("clippedmid")


def test_false_colour(page):
    before = canvas(page, LAMP, 1)
    choose(page, false=True)
    reference = luminance(sample.light(0)).astype(np.float64)
    low, high = np.floor(np.log2(np.quantile(reference, 0.01))), np.ceil(np.log2(np.quantile(reference, 0.999)))
    for place, gain in ((1, 1.0), (2, 2.0), (3, 0.25)):  # the same luminance has the same colour in every picture
        expected = colours(SPECTRUM, np.clip((np.log2(gain * reference) - low) / (high - low), 0, 1))
        assert np.abs(canvas(page, LAMP, place) - expected).max() <= 9
    ticks = page.evaluate(f"[...document.querySelectorAll('{LAMP} .hv-legend .hv-tick')].map((t) => Number(t.textContent))")
    assert len(ticks) >= 4
    assert ticks == sorted(ticks)
    choose(page, false=False)
    assert np.array_equal(canvas(page, LAMP, 1), before)


def test_what_is_not_finite_is_magenta(page):
    show(page, NIGHT)
    where = (canvas(page, NIGHT, 3) == [255, 0, 255]).all(axis=-1)
    assert [tuple(map(int, w)) for w in np.argwhere(where)] == [(sample.HEIGHT // 2, sample.WIDTH // 2)]


def values(page):
    texts = page.evaluate(f"[...document.querySelectorAll('{LAMP} .hv-values')].map((e) => e.textContent)")
    place = page.evaluate(f"document.querySelector('{LAMP} .hv-place').textContent")
    return place, texts


def test_the_inspector_reads_every_picture(page):
    reference = sample.light(0)
    x, y = 40, 7
    box = page.evaluate(
        f"(() => {{ const b = document.querySelector('{LAMP} .hv-reference canvas').getBoundingClientRect();"
        " return [b.x, b.y, b.width, b.height] })()"
    )
    page.point(box[0] + (x + 0.5) / sample.WIDTH * box[2], box[1] + (y + 0.5) / sample.HEIGHT * box[3])
    place, texts = values(page)
    assert place == f"pixel ({x}, {y})"
    for text, gain, stops in zip(texts[1:], (1, 2, 0.25, 1), (None, "+1.00", "−2.00", "+0.00")):
        numbers = [float(w) for w in text.replace("\n", " ").split() if w.replace(".", "").isdigit()]
        expected = [*(gain * reference[y, x]), float(luminance(gain * reference[y, x]))]
        assert numbers[:4] == pytest.approx(expected, rel=0.01)
        assert "cd/m²" in text
        assert stops is None or f"· {stops} stops" in text
    assert "of white" in texts[0]
    assert page.evaluate(f"[...document.querySelectorAll('{LAMP} .hv-cross')].every((c) => !c.hidden)")
    page.evaluate(f"document.querySelector('{LAMP} .hv-panels').focus({{preventScroll: true}})")
    page.press("ArrowRight", times=3)
    page.press("ArrowDown")
    assert values(page)[0] == f"pixel ({x + 3}, {y + 1})"
    page.point(2, 890)
    page.evaluate("document.activeElement.blur()")
    assert values(page) == ("", [""] * 5)


def test_holding_a_key_shows_the_reference(page):
    choose(page, auto=False)
    mine, reference = canvas(page, LAMP, 2), canvas(page, LAMP, 1)
    page.hold("r")
    page.evaluate(FRAME)
    assert np.array_equal(canvas(page, LAMP, 2), reference)
    page.release("r")
    page.evaluate(FRAME)
    assert np.array_equal(canvas(page, LAMP, 2), mine)
    assert not np.array_equal(mine, reference)


def column(page, place):
    return page.evaluate(f"[...document.querySelectorAll('#table-0 tbody tr')].map((r) => r.cells[{place}].textContent)")


def test_tables_sort(page):
    head = "#table-0 th:nth-child({})"
    state = "[...document.querySelectorAll('#table-0 thead th')].map((t) => t.getAttribute('aria-sort'))"
    given = column(page, 2)
    numbers = sorted((float(v) for v in given if not v.startswith(("n/a", "inf"))), reverse=True)
    page.click(head.format(3) + " button")  # higher is better: best first
    assert page.evaluate(state) == [None, None, "descending", None, None]
    shown = column(page, 2)
    assert shown[0] == "inf"
    assert [float(v) for v in shown[1 : 1 + len(numbers)]] == numbers
    missing = shown[1 + len(numbers) :]
    assert len(missing) == 2
    assert all(v.startswith("n/a") for v in missing)
    page.press("Enter")  # the button has the focus
    assert page.evaluate(state) == [None, None, "ascending", None, None]
    shown = column(page, 2)
    assert [float(v) for v in shown[: len(numbers)]] == numbers[::-1]
    assert shown[len(numbers)] == "inf"
    assert shown[-2:] == missing
    page.click(head.format(4) + " button")  # lower is better
    assert page.evaluate(state) == [None, None, None, "ascending", None]
    page.click(head.format(2) + " button")  # words
    assert column(page, 1) == sorted(column(page, 1), key=lambda name: name.lower())
    assert len(column(page, 0)) == len(given)


def test_rows_can_be_left_out(page):
    page.evaluate(
        "(() => { const f = document.querySelector('.filter'); f.value = 'NIGHT dar';"
        " f.dispatchEvent(new Event('input', {bubbles: true})) })()"
    )
    visible = "[...document.querySelectorAll('#table-0 tbody tr')].filter((r) => r.offsetHeight > 0).map((r) => r.innerText)"
    shown = page.evaluate(visible)
    assert len(shown) == 1
    assert shown[0].startswith("night\tdark\t")


def test_a_row_leads_to_its_pictures(page):
    page.click("#table-0 tbody th a[href='#image-1']")
    page.wait("location.hash === '#image-1'")
    page.wait(f"document.querySelector('{NIGHT} .hv').dataset.ready === 'yes'")
    top, bar = page.evaluate(
        f"[document.querySelector('{NIGHT} h3').getBoundingClientRect().top,"
        " document.querySelector('.hv-controls').getBoundingClientRect().bottom]"
    )
    assert bar <= top + 1  # not behind the bar
    assert top < 450


def test_a_line_can_be_copied(page):
    page.click(".lines li:nth-child(2) button")
    page.wait("document.querySelectorAll('.copy')[1].textContent !== 'copy'")
    said = page.evaluate("document.querySelectorAll('.copy')[1].textContent")
    if said != "copied":  # the browser may refuse its clipboard; then the line is marked
        assert page.evaluate("getSelection().toString()") == sample.LINES["sihdr"]


def test_pictures_out_of_sight_cost_nothing(page):
    page.resize(600, 300)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait("[...document.querySelectorAll('.hv')].every((f) => f.dataset.ready === undefined)")
    assert page.evaluate(f"document.querySelector('{LAMP} canvas').width") == 0
    show(page, LAMP)
    assert page.evaluate(f"document.querySelector('{LAMP} canvas').width") == sample.WIDTH
    # what was changed meanwhile shows when it comes into sight
    choose(page, auto=False, ev="1")
    show(page, "#image-2")
    page.evaluate(FRAME)
    assert_alike(canvas(page, "#image-2", 1), exposed(sample.light(2), 50))


def test_dark_and_light_and_a_phone(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    found = []
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        found.append(sum(map(int, page.evaluate(ground)[4:-1].split(","))))
    page.call("Emulation.setEmulatedMedia", features=[])
    assert found[0] > 700
    assert found[1] < 100
    page.resize(360, 700, mobile=True)
    page.evaluate(FRAME)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360  # wide tables scroll on their own
    page.resize(1280, 900)


def test_it_prints(page):
    page.evaluate("hdrView.loadAll()")
    assert page.evaluate("[...document.querySelectorAll('.hv')].every((f) => f.dataset.ready === 'yes')")
    assert base64.b64decode(page.call("Page.printToPDF")["data"]).startswith(b"%PDF")
