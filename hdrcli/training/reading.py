"""Training files as Images, their numbers meaning what the set's layout says they do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hdrcli import formats
from hdrcli.color import Transfer, decode
from hdrcli.image import Image, as_unit_float
from hdrcli.training.sources import Domain, Encoding, SceneFile


def read(file: SceneFile, domain: Domain) -> Image:
    """The file; HDR whose encoding the layout states comes as scene-linear float32. Raises InputError."""
    image = formats.read(file.path)
    encoding = file.encoding
    if encoding is None:
        return image
    if domain == "ldr":
        assert isinstance(encoding.transfer, Transfer)
        return replace(image, transfer=encoding.transfer, primaries=encoding.primaries)
    linear = _linear(image, encoding)
    return replace(image, pixels=linear, transfer=Transfer.LINEAR, primaries=encoding.primaries, stored=None)


def _linear(image: Image, encoding: Encoding) -> NDArray[np.float32]:
    values = as_unit_float(image.pixels)
    if isinstance(encoding.transfer, Transfer):
        return np.asarray(decode(values, encoding.transfer), dtype=np.float32)
    return np.asarray(np.maximum(values, 0) ** np.float32(encoding.transfer))
