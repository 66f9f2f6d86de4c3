"""What is drawn of a pair: heat maps in files, small pictures for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli import formats
from hdrcli.color import Transfer, decode, encode
from hdrcli.errors import HdrcliError
from hdrcli.evaluation import maps
from hdrcli.evaluation.pairs import Unit
from hdrcli.evaluation.protocols import Outcome
from hdrcli.image import Image, as_unit_float
from hdrcli.metrics import Viewing
from hdrcli.webview import reduced, reduced_size

STOPS, PROBABILITY = "stops", "probability"
KINDS = (STOPS, PROBABILITY)


def map_path(folder: Path, image: str, method: str, protocol: str, kind: str) -> Path:
    """Where the heat map of a pair lies."""
    return folder / f"{image}.{method}.{protocol}.{kind}.png"


def write_maps(
    folder: Path,
    kinds: Sequence[str],
    unit: Unit,
    protocol: str,
    outcome: Outcome,
    white: float,
    viewing: Viewing,
    *,
    overwrite: bool,
) -> tuple[str, ...]:
    """Heat maps of these kinds. What can't be made or written is told in what is returned: the scores stand without it."""
    remarks = []
    title = f"{unit.image}, {unit.method} ({protocol})"
    for kind in kinds:
        path = map_path(folder, unit.image, unit.method, protocol, kind)
        try:
            if kind == STOPS:
                stops = maps.error_in_stops(outcome.test, outcome.reference, white)
                picture = maps.stops_map(stops, f"{title}: error in stops")
            else:
                picture = maps.probability_map(_probability(outcome, viewing), f"{title}: chance that a difference is seen")
            path.parent.mkdir(parents=True, exist_ok=True)
            formats.write(picture, path, overwrite=overwrite)
        except (HdrcliError, OSError) as error:
            remarks.append(f"no {kind} map: {error}")
    return tuple(remarks)


def _probability(outcome: Outcome, viewing: Viewing) -> NDArray[Any]:
    from hdrcli.metrics.hdrvdp2 import hdrvdp2

    made = hdrvdp2(outcome.test, outcome.reference, encoding="rgb-bt.709", ppd=viewing.ppd, device=viewing.device)
    return np.asarray(made.p_map)


@dataclass(frozen=True, eq=False)
class View:
    """A pair as the report shows it, reduced to its size.

    ``test``, ``reference``: ``(h, w, 3)``, float32 linear light as the protocol scored it, or uint16 sRGB codes. ``ldr``: codes
    likewise. ``regions``: name -> ``(h, w) bool``. ``white``: what 1.0 of the files is in the light's unit.
    """

    image: str
    method: str
    protocol: str
    test: NDArray[Any]
    reference: NDArray[Any]
    white: float
    ldr: NDArray[np.uint16] | None
    regions: Mapping[str, NDArray[np.bool_]]


def view(
    unit: Unit,
    protocol: str,
    outcome: Outcome,
    white: float,
    photo: Image | None = None,
    masks: Mapping[str, NDArray[np.bool_]] | None = None,
) -> View:
    """The pair of an outcome, reduced; its pictures are linear light, or of unsigned integers: sRGB codes."""
    ldr = None if photo is None else small_codes(decode(as_unit_float(photo.pixels), photo.transfer))
    test, reference = (small_codes(p) if p.dtype.kind == "u" else reduced(p) for p in (outcome.test, outcome.reference))
    return View(unit.image, unit.method, protocol, test, reference, white, ldr, _small_masks(masks or {}))


def small_codes(picture: NDArray[Any]) -> NDArray[np.uint16]:
    """``(H, W, 3)`` of linear light, or of sRGB codes (unsigned integers), to reduced 16-bit sRGB codes."""
    light = np.clip(reduced(picture), 0, 1)
    return np.asarray(np.rint(encode(light, Transfer.SRGB) * 65535), np.uint16)


def _small_masks(masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
    """Each pixel of the reduced size belongs to the region that most of it is in."""
    import cv2

    if not masks:
        return {}
    height, width = reduced_size(*next(iter(masks.values())).shape)
    shares = np.stack(
        [
            cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA).reshape(height, width)
            for mask in masks.values()
        ]
    )
    largest = shares.argmax(axis=0)
    return {name: largest == place for place, name in enumerate(masks)}
