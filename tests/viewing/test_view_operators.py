import json

import numpy as np
import pytest

from hdrcli.color import Transfer
from hdrcli.conversion import TonemapOptions, tonemap
from hdrcli.errors import UsageError
from hdrcli.image import Image
from hdrcli.tonemapping._curves import srgb_codes
from hdrcli.viewing import light, operators

ASKED = {"clip", "gamma", "reinhard", "mulaw", "hable", "aces", "agx", "khronos"}


def scene(seed=0):
    """Texture, dark to bright over 20 stops, with a saturated half."""
    rng = np.random.default_rng(seed)
    stops = np.linspace(-12, 8, 64)[None, :, None] + rng.normal(0, 0.5, (48, 64, 3))
    stops[24:] += rng.normal(0, 3, (24, 64, 3))
    return np.exp2(stops).astype(np.float32)


def test_operators_that_a_page_offers():
    assert set(operators.offered()) >= ASKED


@pytest.mark.parametrize("name", operators.offered())
@pytest.mark.parametrize("ev", [0, -3, 2.5])
def test_a_form_says_what_the_operator_does(name, ev):
    image = Image(scene(), Transfer.LINEAR)
    form = json.loads(json.dumps(operators.form(name, light.scene_of(image)), allow_nan=False))
    expected = tonemap(image, TonemapOptions(name, ev=ev)).pixels.astype(int)
    assert expected.std() > 20
    assert np.abs(srgb_codes(operators.computed(form, image.pixels * 2.0**ev)).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("clip", {"channels": "true", "exposure": "keep"}),
        ("aces", {"fit": "narkowicz"}),
        ("agx", {"power": "1.35", "saturation": "1.4"}),
        ("reinhard", {"saturation": "0.6", "white": "3"}),
        ("gamma", {"gamma": "1.8", "saturation": "1.4"}),
    ],
)
def test_parameters_count(name, parameters):
    image = Image(scene(1), Transfer.LINEAR)
    form = operators.form(name, light.scene_of(image), parameters)
    expected = tonemap(image, TonemapOptions(name, parameters)).pixels.astype(int)
    assert np.abs(srgb_codes(operators.computed(form, image.pixels)).astype(int) - expected).max() <= 2
    assert form != operators.form(name, light.scene_of(image))


def test_what_no_form_says_is_not_offered():
    whole = light.scene_of(Image(scene(), Transfer.LINEAR))
    # its state is a curve as that of operators that treat each channel by itself, but is used otherwise: the trial tells
    assert operators.form("bt2390", whole, {"of": "max"}) is None
    assert operators.form("reinhard", whole, {"local": "true"}) is None


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3)), np.full((1, 1, 3), 3.0), np.full((3, 3, 3), 2.0**39)])
def test_odd_scenes(pixels):
    whole = light.scene_of(Image(pixels.astype(np.float32), Transfer.LINEAR))
    for name in sorted(ASKED):
        assert operators.form(name, whole) is not None


def test_faults():
    operators.check("reinhard", {"key": "0.3"})
    for name, parameters, words in (
        ("reinhart", {}, "did you mean reinhard?"),
        ("reinhard", {"kee": "1"}, "kee"),
        ("reinhard", {"key": "-1"}, "key"),
        ("learned", {}, "more than a page can compute"),
        ("bt2390", {"of": "max"}, "more than a page can compute"),
    ):
        with pytest.raises(UsageError, match=words):
            operators.check(name, parameters)
