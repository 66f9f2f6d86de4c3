"""ICC profiles. The witness is LittleCMS in double precision without its own tables; the rest are closed forms."""

import struct
import tracemalloc

import imagecodecs
import numpy as np
import pytest
from format_samples import (
    d50_colorants,
    fixed_numbers,
    gamma_curve,
    grey_profile,
    ink_profile,
    inks,
    lut16,
    matrix_profile,
    parametric_curve,
    profile_bytes,
    screen,
    table_curve,
    table_profile,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import parallel
from hdrcli.color import Chromaticities, Primaries, Transfer, chromaticities_of, converted, decode, encode
from hdrcli.errors import UnsupportedInput
from hdrcli.formats import _icc
from hdrcli.image import Image

SRGB_CURVE = parametric_curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
ODD_CURVE = parametric_curve(3, 1.9, 0.9, 0.1, 0.2, 0.05)
D50 = (0.9642, 1.0, 0.8249)
WIDE = Chromaticities((0.69, 0.31), (0.2, 0.75), (0.14, 0.05), (0.34567, 0.3585))
# Published numbers of the profiles photos carry: HP's sRGB, Apple's Display P3, Adobe RGB (1998), Kodak's ROMM
PUBLISHED = {
    Primaries.BT709: [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)],
    Primaries.DISPLAY_P3: [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)],
    Primaries.ADOBE_RGB: [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)],
    Primaries.PROPHOTO: [(0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)],
    Primaries.BT2020: [(0.67349, 0.27903, -0.00194), (0.16566, 0.67535, 0.02998), (0.12505, 0.04561, 0.79686)],
}


def random_codes(shape=(40, 50, 3), dtype=np.uint16):
    codes = np.random.default_rng(7).integers(0, np.iinfo(dtype).max + 1, shape, dtype)
    codes[0, 0], codes[0, 1] = 0, np.iinfo(dtype).max
    return codes


def grey_ramp(dtype):
    codes = np.iinfo(dtype).max + 1
    return np.repeat(np.arange(codes).astype(dtype).reshape(codes // 256, 256, 1), 3, axis=2)


def by_littlecms(values, icc, primaries, space="rgb"):
    """Linear light (float64, not cut) of device values 0..1.

    Through XYZ: a profile of the primaries themselves would add its rounding to 1/65536.
    """
    colorants = d50_colorants(primaries)
    colorants *= D50 / colorants.sum(axis=0)  # 1e-5 of Z: ICC gives four digits, ISO 22028-2 six
    return xyz_by_littlecms(values, icc, space) @ np.linalg.inv(colorants)


def xyz_by_littlecms(values, icc, space="rgb"):
    values = np.ascontiguousarray(values, np.float64) * (100 if space == "cmyk" else 1)  # it counts ink in percent
    options = {"intent": 1, "flags": 0x2100, "outdtype": "float64"}  # black point compensation, no optimisation
    return imagecodecs.cms_transform(
        values, icc, imagecodecs.cms_profile("xyz"), colorspace=space, outcolorspace="xyz", **options
    )


def as_codes(light):
    return encode(np.clip(light, 0, 1), Transfer.SRGB) * 65535


def unit(codes):
    return codes / np.iinfo(codes.dtype).max


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("primaries", "colorants"), PUBLISHED.items())
def test_published_profiles_leave_the_codes_alone(primaries, colorants, dtype):
    codes = random_codes(dtype=dtype)
    for curve, transfer in (
        (SRGB_CURVE, Transfer.SRGB),
        (gamma_curve(1.8), Transfer.GAMMA18),
        (gamma_curve(1), Transfer.LINEAR),
    ):
        meaning = _icc.interpret(matrix_profile([curve] * 3, colorants), codes, grey=False)
        assert (meaning.transfer, meaning.primaries, meaning.stored, meaning.notes) == (transfer, primaries, None, ())
        assert meaning.pixels is codes


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("primaries", "colorants"), PUBLISHED.items())
def test_published_profiles_are_as_far_from_their_numbers_as_stated(primaries, colorants, dtype):
    """What is read as known primaries, on purpose, differs from what the profile's own numbers say: by so much XYZ."""
    codes = random_codes(dtype=dtype)
    icc = matrix_profile([SRGB_CURVE] * 3, colorants)
    meaning = _icc.interpret(icc, codes, grey=False)
    ours = decode(unit(meaning.pixels), meaning.transfer) @ d50_colorants(meaning.primaries)
    distance = np.abs(ours - xyz_by_littlecms(unit(codes), icc)).max()
    assert distance < (14 if primaries is Primaries.BT709 else 3) / 65535
    assert distance < _icc._COLORANT_TOLERANCE


@pytest.mark.parametrize("primaries", [*Primaries, WIDE])
@pytest.mark.parametrize("transfer", [Transfer.LINEAR, Transfer.SRGB, Transfer.GAMMA22, Transfer.GAMMA18])
def test_profiles_built_here_are_read_back_and_mean_the_same_to_littlecms(transfer, primaries):
    icc = _icc.build(transfer, primaries)
    codes = random_codes()
    meaning = _icc.interpret(icc, codes, grey=False)
    assert meaning.pixels is codes
    assert meaning.transfer is transfer
    if isinstance(primaries, Primaries):
        assert meaning.primaries is primaries
    else:
        np.testing.assert_allclose(chromaticities_of(meaning.primaries).numbers, primaries.numbers, atol=1e-4)
    # by_littlecms sees colorants rounded to 1/65536, and for GAMMA18 461/256, which 1.8 is up to 1.6e-4 away from
    limit = 2e-4 if transfer is Transfer.GAMMA18 else 5e-5
    ours = converted(decode(unit(codes), transfer), meaning.primaries, Primaries.ACES2065)
    np.testing.assert_allclose(ours, by_littlecms(unit(codes), icc, Primaries.ACES2065), atol=limit)
    np.testing.assert_allclose(xyz_by_littlecms(np.ones((1, 1, 3)), icc)[0, 0], D50, atol=1e-5)


@pytest.mark.parametrize("adaptation", [None, "bradford", "garbage"])
def test_own_primaries_agree_with_littlecms(adaptation):
    """Whatever white a profile says it was measured under: only the header's numbers differ, no colour does."""
    camera = Chromaticities((0.66, 0.33), (0.25, 0.65), (0.14, 0.08), (0.3127, 0.3290))
    tag = None if adaptation is None else [0.0] * 9
    if adaptation == "bradford":  # D65 to D50: ICC.1:2022, annex E.4
        tag = [1.047835, 0.022897, -0.050147, 0.029556, 0.990481, -0.017056, -0.009238, 0.015050, 0.752034]
    icc = matrix_profile([SRGB_CURVE] * 3, d50_colorants(camera), tag)
    codes = random_codes()
    meaning = _icc.interpret(icc, codes, grey=False)
    assert meaning.pixels is codes
    if adaptation == "bradford":
        np.testing.assert_allclose(meaning.primaries.numbers, camera.numbers, atol=2e-4)
    else:
        np.testing.assert_allclose(meaning.primaries.white, (0.3457, 0.3585), atol=1e-4)
    ours = converted(decode(unit(codes), Transfer.SRGB), meaning.primaries, Primaries.BT709)
    np.testing.assert_allclose(ours, by_littlecms(unit(codes), icc, Primaries.BT709), atol=5e-5)


def test_colorants_that_are_no_colours():
    for colorants in (np.zeros((3, 3)), np.ones((3, 3)), np.eye(3) * [1, 1, -1]):
        codes = random_codes()
        meaning = _icc.interpret(matrix_profile([SRGB_CURVE] * 3, colorants), codes, grey=False)
        assert (meaning.pixels is codes, meaning.transfer, meaning.primaries) == (True, Transfer.SRGB, Primaries.BT709)
        assert "can't be used; taken as sRGB" in meaning.notes[0]


@pytest.mark.parametrize(
    ("curve", "transfer"),
    [
        (SRGB_CURVE, Transfer.SRGB),
        (parametric_curve(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0), Transfer.SRGB),
        (table_curve(decode(np.linspace(0, 1, 1024), Transfer.SRGB)), Transfer.SRGB),
        (table_curve(decode(np.linspace(0, 1, 256), Transfer.SRGB)), Transfer.SRGB),
        (table_curve(decode(np.linspace(0, 1, 32), Transfer.SRGB)), None),
        (parametric_curve(0, 563 / 256), Transfer.GAMMA22),
        (parametric_curve(1, 563 / 256, 1.0, 0.0), Transfer.GAMMA22),
        (parametric_curve(0, 2.2), None),  # 1.3e-4 off
        (parametric_curve(0, 1.0), Transfer.LINEAR),
        (table_curve([0, 1]), Transfer.LINEAR),
        (parametric_curve(0, 2.6), None),
        (gamma_curve(461 / 256), Transfer.GAMMA18),
    ],
)
def test_curves(curve, transfer):
    profile = _icc.parse(matrix_profile([curve] * 3, PUBLISHED[Primaries.DISPLAY_P3]))
    assert profile.transfer is transfer
    assert profile.primaries is Primaries.DISPLAY_P3


CURVES = {
    "gamma": [gamma_curve(2.5)] * 3,
    "2.2": [parametric_curve(0, 2.2)] * 3,
    "parametric": [ODD_CURVE] * 3,
    "table": [table_curve(np.linspace(0, 1, 20) ** 1.5)] * 3,
    "differing": [gamma_curve(2.5), SRGB_CURVE, table_curve(np.linspace(0, 1, 300) ** 1.7)],
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("curves", CURVES.values(), ids=CURVES)
@pytest.mark.parametrize("primaries", [Primaries.ADOBE_RGB, WIDE])
def test_other_curves_are_within_a_code_of_littlecms(curves, primaries, dtype):
    icc = matrix_profile(curves, d50_colorants(primaries))
    codes = random_codes(dtype=dtype)
    meaning = _icc.interpret(icc, codes, grey=False)
    assert (meaning.pixels.dtype, meaning.transfer) == (np.uint16, Transfer.SRGB)
    assert meaning.stored is codes
    assert meaning.notes == ("converted from its ICC profile 'sample'",)
    if isinstance(primaries, Primaries):
        assert meaning.primaries is primaries
    # the primaries are the profile's own, so each channel is its curve alone: nothing is mixed, nothing cut
    alone = [
        xyz_by_littlecms(unit(codes) * channel, icc)[..., 1] / xyz_by_littlecms(channel[None, None], icc)[..., 1]
        for channel in np.eye(3)
    ]
    light = np.stack(alone, axis=-1)
    # LittleCMS rounds what tables give to 1/65535 of linear light, hdrcli does not: more codes where sRGB is steep
    tables = any(curve.startswith(b"curv") and len(curve) > 16 for curve in curves)
    np.testing.assert_allclose(decode(unit(meaning.pixels), Transfer.SRGB), light, atol=3e-5)
    np.testing.assert_allclose(meaning.pixels, as_codes(light), atol=7 if tables else 0.6)
    ours = converted(decode(unit(meaning.pixels), Transfer.SRGB), meaning.primaries, Primaries.ACES2065)
    np.testing.assert_allclose(ours, by_littlecms(unit(codes), icc, Primaries.ACES2065), atol=5e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["mft2", "mAB "])
def test_tables_are_within_a_code_of_littlecms(kind, dtype):
    icc = table_profile(kind)
    codes = random_codes(dtype=dtype)
    meaning = _icc.interpret(icc, codes, grey=False)
    assert (meaning.transfer, meaning.primaries, meaning.pixels.dtype) == (Transfer.SRGB, Primaries.DISPLAY_P3, np.uint16)
    assert meaning.stored is codes
    expected = by_littlecms(unit(codes), icc, Primaries.DISPLAY_P3)
    assert expected.min() > -5e-4  # nothing that the choice of primaries cuts
    np.testing.assert_allclose(meaning.pixels, as_codes(expected), atol=1)
    closed_form = np.linalg.solve(d50_colorants(Primaries.DISPLAY_P3).T, screen(unit(codes) ** 2).reshape(-1, 3).T).T
    np.testing.assert_allclose(
        decode(unit(meaning.pixels), Transfer.SRGB).reshape(-1, 3), closed_form, atol=0.04
    )  # coarse table


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", ["mft2", "mAB "])
def test_tables_keep_white_and_grey_and_order(kind, dtype):
    meaning = _icc.interpret(table_profile(kind), grey_ramp(dtype), grey=True)
    assert (np.ptp(meaning.pixels, axis=2) == 0).all()
    grey = meaning.pixels[..., 0].ravel().astype(int)
    assert (np.diff(grey) >= 0).all()
    assert (grey[0], grey[-1]) == (0, 65535)


def test_tables_take_the_narrowest_primaries_that_hold_them():
    def narrow(light):
        return light @ d50_colorants(Primaries.BT709)

    def neon(light):
        return light @ d50_colorants(Primaries.BT709) * (1, 1, 1) + (light.max(axis=-1) - light.min(axis=-1))[..., None] * (
            0.5,
            0,
            0,
        )

    codes = random_codes(dtype=np.uint8)
    srgb = profile_bytes({b"A2B0": lut16(narrow, 3, 33, np.square)}, b"RGB ", b"Lab ")
    meaning = _icc.interpret(srgb, codes, grey=False)
    assert meaning.primaries is Primaries.BT709
    assert meaning.notes == ("converted from its ICC profile 'sample'",)
    beyond = _icc.interpret(profile_bytes({b"A2B0": lut16(neon, 3, 9)}, b"RGB ", b"Lab "), codes, grey=False)
    assert beyond.primaries is Primaries.ACES2065
    assert beyond.notes == ("converted from its ICC profile 'sample'; colours beyond ACES2065-1 are cut",)


def test_tables_go_before_curves_and_the_colorimetric_before_others():
    dark = lut16(lambda light: screen(light) * 0.25, 3, 5)
    curves = {c + b"TRC": SRGB_CURVE for c in (b"r", b"g", b"b")}
    colorants = {
        c + b"XYZ": fixed_numbers(b"XYZ ", row) for c, row in zip((b"r", b"g", b"b"), PUBLISHED[Primaries.BT709], strict=True)
    }
    white = np.full((1, 1, 3), 255, np.uint8)
    seen = {}
    for tables in ({}, {b"A2B0": dark}, {b"A2B0": dark, b"A2B1": lut16(screen, 3, 5)}, {b"A2B2": dark}):
        icc = profile_bytes(curves | colorants | tables, b"RGB ", b"Lab " if tables else b"XYZ ")
        meaning = _icc.interpret(icc, white, grey=False)
        seen[*tables] = float(decode(unit(meaning.pixels), meaning.transfer)[0, 0, 1])
    assert seen == {(): 1, (b"A2B0",): pytest.approx(0.25, abs=0.01), (b"A2B0", b"A2B1"): 1, (b"A2B2",): 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("lab", [False, True])
@pytest.mark.parametrize("curve", [gamma_curve(3), table_curve(np.linspace(0, 1, 5) ** 2), ODD_CURVE])
def test_grey_curves(curve, lab, dtype):
    icc = grey_profile(curve, b"Lab " if lab else b"XYZ ")
    meaning = _icc.interpret(icc, grey_ramp(dtype), grey=True)
    assert (np.ptp(meaning.pixels, axis=2) == 0).all()
    assert meaning.stored is not None
    ramp = unit(np.arange(np.iinfo(dtype).max + 1).astype(dtype))
    expected = by_littlecms(ramp[None], icc, Primaries.BT709, "gray")[0]
    # what tables give LittleCMS rounds to 16 bit: lightness, beside which light rises 2.6 times as fast
    ours = decode(unit(meaning.pixels[..., 1].ravel()), Transfer.SRGB)
    np.testing.assert_allclose(ours, expected[:, 1].clip(0, 1), atol=5e-5)
    assert meaning.pixels[-1, -1, 0] == as_codes(expected[-1, 1]).round()


@pytest.mark.parametrize("transfer", [Transfer.LINEAR, Transfer.GAMMA22, Transfer.SRGB])
def test_known_grey_curves_leave_the_codes_alone(transfer):
    curves = {Transfer.LINEAR: b"curv" + bytes(8), Transfer.GAMMA22: gamma_curve(2.2), Transfer.SRGB: SRGB_CURVE}
    codes = grey_ramp(np.uint8)
    meaning = _icc.interpret(grey_profile(curves[transfer]), codes, grey=True)
    assert (meaning.pixels is codes, meaning.transfer, meaning.primaries) == (True, transfer, Primaries.BT709)
    colour = _icc.interpret(grey_profile(curves[transfer]), random_codes(), grey=False)
    assert colour.transfer is Transfer.SRGB
    assert colour.notes == ("its ICC profile 'grey' is for GRAY, not for these pixels; taken as sRGB",)


def test_grey_tables():
    """A sepia table: grey takes its luminance."""

    def sepia(light):
        return light**2 * (0.98, 1.0, 0.7)

    icc = profile_bytes({b"A2B0": lut16(sepia, 1, 200)}, b"GRAY", b"Lab ")
    meaning = _icc.interpret(icc, grey_ramp(np.uint8), grey=True)
    assert (np.ptp(meaning.pixels, axis=2) == 0).all()
    light = decode(unit(meaning.pixels[..., 0].ravel()), Transfer.SRGB)
    np.testing.assert_allclose(light, np.linspace(0, 1, 256) ** 2, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_inks_are_within_a_code_of_littlecms(dtype):
    icc = ink_profile()
    amounts = random_codes((30, 40, 4), dtype)
    meaning = _icc.from_cmyk(amounts, icc)
    assert (meaning.transfer, meaning.primaries, meaning.stored) == (Transfer.SRGB, Primaries.PROPHOTO, None)
    assert meaning.notes == ("converted from CMYK by its ICC profile 'sample'",)
    expected = by_littlecms(unit(amounts), icc, Primaries.PROPHOTO, "cmyk")
    assert expected.min() > 0
    np.testing.assert_allclose(meaning.pixels, as_codes(expected), atol=1)
    light = decode(unit(meaning.pixels), Transfer.SRGB)
    closed_form = np.linalg.solve(d50_colorants(Primaries.PROPHOTO).T, inks(unit(amounts)).reshape(-1, 3).T).T
    np.testing.assert_allclose(light.reshape(-1, 3), closed_form, atol=0.03)  # a table of 7 steps
    assert (meaning.pixels[0, 0] == 65535).all()  # paper


def test_inks_without_a_fitting_profile():
    amounts = random_codes((2, 2, 4), np.uint8)
    cases = {
        b"nonsense": "profile is damaged",
        _icc.build(Transfer.SRGB, Primaries.BT709): "'sRGB' is for RGB",
        profile_bytes({}, b"CMYK", b"Lab ", b"prtr"): "'sample' can't be used",
        profile_bytes({b"A2B0": b"mft2" + bytes(100)}, b"CMYK", b"Lab ", b"prtr"): "'sample' can't be used",
    }
    for icc, message in cases.items():
        with pytest.raises(UnsupportedInput, match=message) as caught:
            _icc.from_cmyk(amounts, icc)
        assert "\n" not in str(caught.value)
        assert "convert it to RGB" in str(caught.value)


def test_floats():
    light = np.random.default_rng(3).random((20, 30, 3)).astype(np.float32)
    known = _icc.interpret(_icc.build(Transfer.LINEAR, Primaries.BT2020), light, grey=False)
    assert (known.pixels is light, known.transfer, known.primaries) == (True, Transfer.LINEAR, Primaries.BT2020)
    for icc in (
        _icc.build(Transfer.SRGB, Primaries.BT2020),
        matrix_profile(CURVES["differing"], d50_colorants(Primaries.ADOBE_RGB)),
        table_profile(),
    ):
        for values in (light.copy(), light.astype(np.float16)):
            codes = values.copy()
            meaning = _icc.interpret(icc, values, grey=False)
            assert (meaning.transfer, meaning.stored, meaning.pixels.dtype) == (Transfer.LINEAR, None, np.float32)
            assert (meaning.pixels is values) == (values.dtype == np.float32)  # no second picture in memory
            expected = by_littlecms(codes, icc, meaning.primaries)
            np.testing.assert_allclose(meaning.pixels, expected, atol=5e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("curve", "note"),
    [
        (SRGB_CURVE, "decoded from sRGB to linear light"),
        (gamma_curve(563 / 256), "decoded from gamma 2.2 to linear light"),
        (gamma_curve(2.5), "converted from its ICC profile 'sample'"),
    ],
)
def test_floats_beyond_the_codes_survive(curve, note, dtype):
    values = np.array([[[-0.5, -1.5, 4.0], [0.0, 1.0, 250.0]]], dtype)
    meaning = _icc.interpret(matrix_profile([curve] * 3, PUBLISHED[Primaries.BT709]), values.copy(), grey=False)

    def srgb(v):  # IEC 61966-2-1, its sign apart
        return np.sign(v) * np.where(np.abs(v) <= 0.04045, np.abs(v) / 12.92, ((np.abs(v) + 0.055) / 1.055) ** 2.4)

    def power(v):
        return np.sign(v) * np.abs(v) ** (2.5 if "converted" in note else 563 / 256)

    expected = (srgb if "sRGB" in note else power)(values.astype(np.float64))
    np.testing.assert_allclose(meaning.pixels, expected, rtol=1e-6)
    assert (meaning.transfer, meaning.notes) == (Transfer.LINEAR, (note,))


def test_floats_stay_finite():
    values = np.array([[[3e38, -3e38, 65504.0]]], np.float32)
    for transfer in (Transfer.SRGB, Transfer.GAMMA18):
        light = _icc.as_stated(values.copy(), transfer, Primaries.BT709).pixels
        np.testing.assert_array_equal(light[0, 0, :2], [np.finfo(np.float32).max, -np.finfo(np.float32).max])
        assert 1e8 < light[0, 0, 2] < 1e12
    hlg = _icc.as_stated(values.copy(), Transfer.HLG, Primaries.BT2020).pixels
    np.testing.assert_array_equal(hlg[0, 0, :2], [np.finfo(np.float32).max, 0])


def test_floats_of_pq_are_light_of_known_luminance():
    tags = {b"cicp": b"cicp" + bytes(4) + bytes((9, 16, 0, 1))}
    values = np.array([[[0.0, 0.508078, 1.0], [3.0, -1.0, 0.751827]]], np.float32)  # BT.2408: 100 and 1000 cd/m2
    meaning = _icc.interpret(profile_bytes(tags, b"RGB "), values, grey=False)
    np.testing.assert_allclose(meaning.pixels, [[[0, 0.01, 1], [1, 0, 0.1]]], rtol=1e-4)
    assert (meaning.transfer, meaning.primaries) == (Transfer.LINEAR, Primaries.BT2020)
    assert meaning.white_luminance == 10000
    assert meaning.notes == ("decoded from PQ to linear light; values above 1 are cut, where its curve ends",)


def test_floats_beyond_the_end_of_a_table_are_cut_with_a_note():
    for icc in (matrix_profile(CURVES["table"], PUBLISHED[Primaries.BT709]), table_profile()):
        for brightest, told in ((1.0, False), (1.5, True)):
            light = np.full((2, 3, 3), brightest, np.float32)
            meaning = _icc.interpret(icc, light, grey=False)
            np.testing.assert_allclose(meaning.pixels, 1, atol=1e-4)
            assert meaning.notes[0].endswith("values above 1 are cut, where its curve ends") == told


def test_floats_under_a_useless_profile_are_what_they_are_without_one():
    light = np.full((2, 3, 3), 0.25, np.float32)
    for icc in (b"nonsense", grey_profile(SRGB_CURVE), profile_bytes({}, b"RGB ")):
        meaning = _icc.interpret(icc, light, grey=False)
        assert (meaning.pixels is light, meaning.transfer, meaning.primaries) == (True, Transfer.LINEAR, Primaries.BT709)
        assert meaning.notes[0].endswith("; taken as linear Rec.709")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(exponent=st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_powers(dtype, exponent):
    codes = grey_ramp(dtype)
    meaning = _icc.as_stated(codes, exponent, WIDE)
    assert (meaning.transfer, meaning.primaries, meaning.stored is codes) == (Transfer.SRGB, WIDE, True)
    assert meaning.notes == (f"converted from its gamma of {exponent:.4g}",)
    np.testing.assert_allclose(meaning.pixels, as_codes(unit(codes) ** exponent), atol=0.5 + 1e-6)


def test_cicp_goes_first():
    tags = {b"cicp": b"cicp" + bytes(4) + bytes((9, 16, 0, 1)), b"A2B0": lut16(screen, 3, 5)}
    codes = random_codes()
    meaning = _icc.interpret(profile_bytes(tags, b"RGB ", b"Lab "), codes, grey=False)
    assert (meaning.pixels is codes, meaning.transfer, meaning.primaries) == (True, Transfer.PQ, Primaries.BT2020)
    unknown = tags | {b"cicp": b"cicp" + bytes(4) + bytes((9, 99, 0, 1))}
    assert _icc.interpret(profile_bytes(unknown, b"RGB ", b"Lab "), codes, grey=False).stored is codes
    short = tags | {b"cicp": b"cicp" + bytes(4)}
    assert _icc.interpret(profile_bytes(short, b"RGB ", b"Lab "), codes, grey=False).stored is codes


def test_other_classes_and_spaces():
    codes = random_codes()
    curves = {c + b"TRC": SRGB_CURVE for c in (b"r", b"g", b"b")}
    for icc, message in (
        (profile_bytes(curves, b"RGB ", kind=b"link"), "'sample' can't be used"),
        (profile_bytes(curves, b"RGB ", b"RGB "), "'sample' can't be used"),
        (profile_bytes(curves, b"RGB "), "'sample' can't be used"),
        (profile_bytes(curves, b"HSV "), "is for HSV"),
        (profile_bytes({b"A2B0": b"mft2" + bytes(300)}, b"RGB ", b"Lab "), "'sample' can't be used"),
        (b"\0" * 500, "is damaged"),
        (_icc.build(Transfer.SRGB, Primaries.BT709)[:300], "is damaged"),
    ):
        meaning = _icc.interpret(icc, codes, grey=False)
        assert (meaning.pixels is codes, meaning.transfer, meaning.primaries) == (True, Transfer.SRGB, Primaries.BT709)
        assert message in meaning.notes[0]
        assert meaning.notes[0].endswith("; taken as sRGB")


def test_hdr_curves_have_no_profile():
    for transfer in (Transfer.PQ, Transfer.HLG):
        with pytest.raises(ValueError, match="HDR"):
            _icc.build(transfer, Primaries.BT2020)


@given(st.lists(st.floats(0.2, 4), min_size=1, max_size=12), st.floats(1, 3))
@settings(max_examples=30, deadline=None)
def test_rising_curves_keep_white_grey_and_order(steps, gamma):
    table = np.cumsum([0, *steps])
    icc = matrix_profile([table_curve((table / table[-1]) ** gamma)] * 3, d50_colorants(WIDE))
    meaning = _icc.interpret(icc, grey_ramp(np.uint8), grey=True)
    light = decode(unit(meaning.pixels), meaning.transfer)
    assert (np.ptp(light, axis=2) == 0).all()
    assert (np.diff(light[..., 0].ravel()) >= 0).all()
    assert (light[-1, -1] == 1).all()


def test_strips_and_threads_change_nothing(monkeypatch):
    codes = random_codes((301, 7, 3), np.uint8)
    profiles = (table_profile(), matrix_profile(CURVES["differing"], d50_colorants(WIDE)))
    whole = [_icc.interpret(icc, codes, grey=False).pixels for icc in profiles]
    monkeypatch.setattr(_icc, "_STRIP", 64)
    monkeypatch.setattr(parallel, "_limit", 3)
    for icc, expected in zip(profiles, whole, strict=True):
        turned = np.ascontiguousarray(codes[::-1])[::-1]  # not contiguous, as decoders' views
        np.testing.assert_array_equal(_icc.interpret(icc, turned, grey=False).pixels, expected)


def test_an_image_takes_what_comes_out():
    codes = random_codes(dtype=np.uint8)
    meaning = _icc.interpret(table_profile(), codes, grey=False)
    image = Image(meaning.pixels, meaning.transfer, meaning.primaries, stored=meaning.stored)
    np.testing.assert_array_equal(image.codes, codes)
    assert _icc.parse(_icc.build(image.transfer, image.primaries)).primaries is Primaries.DISPLAY_P3


PROFILES = (
    _icc.build(Transfer.SRGB, WIDE),
    matrix_profile(CURVES["differing"], d50_colorants(WIDE), np.eye(3)),
    table_profile("mft2"),
    table_profile("mAB "),
    grey_profile(ODD_CURVE),
)


@given(st.sampled_from(PROFILES), st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_spoiled_profiles_never_raise(icc, changes):
    spoiled = bytearray(icc)
    for position, value in changes:  # most of them where the structure stands
        spoiled[position % (len(icc) if position % 2 else min(len(icc), 500))] = value
    for pixels in (random_codes((2, 3, 3), np.uint8), random_codes((2, 3, 3)), np.ones((2, 3, 3), np.float32)):
        meaning = _icc.interpret(bytes(spoiled), pixels, grey=True)
        assert meaning.pixels.shape == pixels.shape


@given(st.integers(0, 40000))
@settings(max_examples=60, deadline=None)
def test_profiles_cut_short_never_raise(size):
    for icc in PROFILES:
        assert _icc.interpret(icc[: size % len(icc)], random_codes((1, 2, 3)), grey=True).notes


def test_names_are_one_printable_line():
    text = "a\nb\0\x1b[31mc".encode("utf-16-be")
    tag = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(text), 28) + text
    assert _icc.parse(profile_bytes({b"desc": tag}, b"RGB ")).name == "a b [31mc"
    assert _icc.parse(profile_bytes({b"desc": b""}, b"RGB ")).name == "of no name"


def test_many_tags_of_the_same_megabytes_cost_nothing():
    big = b"curv" + bytes(4) + struct.pack(">I", 1 << 22) + bytes(1 << 23)
    icc = bytearray(profile_bytes({b"rTRC": big}, b"RGB "))
    (count,) = struct.unpack_from(">I", icc, 128)
    entry = struct.unpack_from(">II", icc, 132 + 12 * (count - 1) + 4)
    names = [b"gTRC", b"bTRC", *(b"%04d" % i for i in range(190))]
    table = b"".join(struct.pack(">4sII", name, entry[0] + 12 * len(names), entry[1]) for name in names)
    head = icc[:128] + struct.pack(">I", count + len(names)) + icc[132 : 132 + 12 * count] + table
    tracemalloc.start()
    try:
        profile = _icc.parse(bytes(head) + bytes(icc[132 + 12 * count :]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (profile.transfer, profile.curves) == (None, ())
    assert peak < 64 << 20
