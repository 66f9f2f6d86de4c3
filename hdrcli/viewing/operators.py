"""Tone-mapping operators as a page can run them: what the library prepared for a scene, as curves and matrices.

What an operator's ``prepare`` returns is brought to one of three forms, which ``operators.js`` computes pixel by pixel:

* "channels": each channel through ``curve``; ``before`` and ``back``: matrices before and after it; ``after``: another curve;
* "luminance": luminance times ``gain`` of it, colour kept with the exponent ``saturation``, drawn into the gamut;
* "peak": PBR Neutral's, curves over the smallest and the largest channel.

Curves are the library's own, sampled, so page and library can't come to disagree by an edit of one of them. An operator whose
state has another form is not offered. That a form says what the operator does is tried on colours of the scene and beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, singledispatch
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import registry
from hdrcli.conversion import LEARNED
from hdrcli.errors import UsageError
from hdrcli.tonemapping import Scene, aces, agx, clip, khronos
from hdrcli.tonemapping._color import luminance as luminance_of
from hdrcli.tonemapping._color import mixed, multiplied, recoloured
from hdrcli.tonemapping._curves import LuminanceCurve, Table, srgb_codes, tabulated

Floats = NDArray[Any]
Form = dict[str, Any]

PACKAGE = "hdrcli.tonemapping"
PER_OCTAVE = 64  # nodes of a sampled curve: where clip ends at white, linear between them is within a code
FROM, TO = -36, 40  # octaves about 1.0 that curves span: pictures on a page do 24 below to 40 above
_TOLERANCE = 2  # codes of 8 bit between a form and the operator
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})


def nodes() -> Floats:
    """Where curves are sampled: PER_OCTAVE values, evenly within each octave, ``float32``, ascending."""
    octaves = np.arange(FROM, TO)
    within = 1 + np.arange(PER_OCTAVE) / PER_OCTAVE
    return np.append((2.0 ** octaves[:, None] * within).ravel(), 2.0**TO).astype(np.float32)


def form(name: str, scene: Scene, parameters: Mapping[str, str] = _NO_PARAMETERS) -> Form | None:
    """What a page computes to show a scene by the operator of this name, or None where no form says it.

    Values are what JSON holds. Raises UsageError for an unknown operator or parameter.
    """
    module = registry.load(PACKAGE, name)
    options = registry.build(module.Parameters, dict(parameters))
    if module.LOCAL:
        return None
    state = module.prepare(scene, options)
    found = _form_of(state)
    if found is None:
        return None
    light = _tried(scene)
    there, here = (srgb_codes(shown).astype(int) for shown in (module.apply(light, state, 0), computed(found, light)))
    return found if np.abs(there - here).max() <= _TOLERANCE else None


@lru_cache(maxsize=1)
def offered() -> tuple[str, ...]:
    """Names of the operators that a page can run, with their usual parameters."""
    scene = Scene.whole(np.geomspace(1e-3, 1e2, 64, dtype=np.float32).reshape(8, 8, 1).repeat(3, 2))
    return tuple(name for name in registry.names(PACKAGE) if form(name, scene) is not None)


def check(name: str, parameters: Mapping[str, str] = _NO_PARAMETERS) -> None:
    """Raises UsageError for an operator that is unknown or that a page can't run, and for its parameters."""
    scene = Scene.whole(np.geomspace(1e-3, 1e2, 64, dtype=np.float32).reshape(8, 8, 1).repeat(3, 2))
    if name == LEARNED or form(name, scene, parameters) is None:
        remedy = f"tonemap first and view the result beside the file, or take one of: {', '.join(offered())}"
        raise UsageError(f"{name} is more than a page can compute", where="--html", remedy=remedy)


def _tried(scene: Scene) -> Floats:
    """Some of the scene's pixels, and saturated colours over 20 stops, ``(n, 8, 3) float32``."""
    pixels = scene.sample.reshape(-1, 3)
    pixels = pixels[:: max(1, len(pixels) // 2048)]
    colours = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0.8, 0.1], [0.1, 0.3, 1]])
    middle = float(np.median(luminance_of(pixels))) or 1.0
    made = middle * 2.0 ** np.arange(-10, 10.5, 0.5)[:, None, None] * colours
    light: Floats = np.minimum(np.concatenate([pixels, made.reshape(-1, 3)]), 2.0**TO).astype(np.float32)
    return light[: len(light) // 8 * 8].reshape(-1, 8, 3)


@singledispatch
def _form_of(state: Any) -> Form | None:
    return None


@_form_of.register
def _(state: Table) -> Form:
    return {"kind": "channels", "curve": _sampled(state)}


@_form_of.register
def _(state: LuminanceCurve) -> Form:
    return {"kind": "luminance", "gain": _sampled(state.gain), "saturation": state.saturation}


@_form_of.register
def _(state: clip.State) -> Form:
    if state.channels:
        return {"kind": "channels", "curve": _sampled(tabulated(lambda x: np.minimum(x * state.scale, 1)))}
    return {"kind": "luminance", "gain": _sampled(tabulated(lambda y: np.minimum(state.scale, 1 / y))), "saturation": 1.0}


@_form_of.register
def _(state: aces.State) -> Form:
    if not state.hill:
        return {"kind": "channels", "curve": _sampled(state.table)}
    there, back = aces.matrices()
    return {"kind": "channels", "before": there.tolist(), "curve": _sampled(state.table), "back": back.tolist()}


@_form_of.register
def _(state: agx.State) -> Form:
    matrices = {"before": agx.inset().tolist(), "back": state.back.tolist()}
    return {"kind": "channels", "curve": _sampled(state.table), **matrices, "after": _sampled(state.display)}


@_form_of.register
def _(state: khronos.State) -> Form:
    curves = {"offset": state.offset, "gain": state.gain, "grey": state.grey}
    return {"kind": "peak", "scale": state.scale, **{name: _sampled(curve) for name, curve in curves.items()}}


def _sampled(curve: Table) -> list[float]:
    return [float(f"{value:.6g}") for value in curve(nodes())]


def computed(form: Form, light: Floats) -> Floats:
    """Display-linear light of a form, as ``operators.js`` computes it: ``(n, W, 3) float32`` >= 0 to the same in [0, 1]."""
    return np.clip(_KINDS[form["kind"]](form, light), 0, 1)


def _at(values: list[float], x: Floats) -> Floats:
    return np.interp(x, nodes(), values).astype(np.float32)


def _channels(form: Form, light: Floats) -> Floats:
    if "before" in form:
        light = mixed(light, np.array(form["before"]))
    shown = _at(form["curve"], light)
    if "back" in form:
        shown = np.maximum(mixed(shown, np.array(form["back"])), 0)
    return _at(form["after"], shown) if "after" in form else shown


def _luminance(form: Form, light: Floats) -> Floats:
    y = luminance_of(light)
    return recoloured(light, y, np.minimum(y * _at(form["gain"], y), 1), form["saturation"])


def _peak(form: Form, light: Floats) -> Floats:
    exposed = light * np.float32(form["scale"])
    offset = _at(form["offset"], exposed.min(axis=-1))
    peak = np.maximum(exposed.max(axis=-1) - offset, 0)
    gain, grey = _at(form["gain"], peak), _at(form["grey"], peak)
    return multiplied(exposed - offset[..., None], gain) + grey[..., None]


_KINDS: Mapping[str, Callable[[Form, Floats], Floats]] = {"channels": _channels, "luminance": _luminance, "peak": _peak}
