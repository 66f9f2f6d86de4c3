"""What every loaded generator is, whatever runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import MU
from hdrcli.errors import ModelError, UsageError

Floats = NDArray[np.float32]

KNOWN_INPUTS = {"g_y": ("ldr", "clip"), "g_x": ("t",)}  # by role


@dataclass(frozen=True)
class GeneratorSpec:
    """What a generator takes and gives.

    ``role``: "g_y" (LDR to HDR) or "g_x" (the way back). ``inputs``: names of its ``(N, 3, h, w) float32`` inputs. Of G_Y:
    "ldr" (sRGB codes in [0, 1]) and perhaps "clip" (clip map); it gives T(y / peak), ``(N, 3, h, w)``, y in LDR whites. Of
    G_X: "t" (T(y / peak) in [0, 1]); it gives sRGB codes in [0, 1]. h and w are multiples of ``multiple``, h w about
    ``working_size``^2. ``origin``: the bundle or file it came from. ``architecture`` and ``network`` (its options) are for the
    torch backend. ``digest``: first 16 hex digits of the weights file's SHA-256; "" where there is no file.

    Raises ModelError for inputs that this version can't make, and sizes out of range.
    """

    name: str
    version: str
    inputs: tuple[str, ...]
    working_size: int
    multiple: int
    peak: float
    origin: Path
    architecture: str = ""
    network: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    digest: str = ""
    role: str = "g_y"

    def __post_init__(self) -> None:
        unknown = [name for name in self.inputs if name not in KNOWN_INPUTS[self.role]]
        if unknown or not self.inputs:
            raise ModelError(
                f"wants inputs that this version can't make: {', '.join(unknown) or 'none'}",
                where=self.origin,
                remedy="use a newer hdrcli",
            )
        if not (0 < self.working_size <= 4096 and 0 < self.multiple <= 256 and 1 <= self.peak <= 2**20):
            raise ModelError("has a working size, multiple or peak out of range", where=self.origin, remedy="export it again")


class Generator(Protocol):
    """A loaded generator. ``ran_on`` says which runtime and device really ran, e.g. "ONNX Runtime 1.31, CPU"."""

    spec: GeneratorSpec
    ran_on: str

    def __call__(self, inputs: Mapping[str, Floats]) -> Floats:
        """Inputs by name, each ``(N, 3, h, w)``, to T values (G_X: codes) ``(N, 3, h, w) float32``."""
        ...


def checked(t: Any, inputs: Mapping[str, Floats], spec: GeneratorSpec) -> Floats:
    """What a network gave, if a generator gives such. Raises ModelError for another shape or values that are not finite."""
    expected = inputs[spec.inputs[0]].shape
    result = np.asarray(t, dtype=np.float32)
    if result.shape != expected or not np.isfinite(result).all():
        fault = "values that are not finite" if result.shape == expected else f"shape {result.shape} for {expected}"
        raise ModelError(f"the network gives {fault}", where=spec.origin, remedy="use another model")
    return result


def device_kind(device: str) -> tuple[str, int]:
    """ "auto", "cpu", "cuda" or "cuda:N" -> its kind and number. Raises UsageError for anything else."""
    kind, colon, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise UsageError(f"no device {device!r}", where="--device", remedy="there are: auto, cpu, cuda, cuda:N")
    return kind, int(number or 0)


def to_t(y: Floats, peak: float) -> Floats:
    """Scene-linear light, 0 to ``peak`` LDR whites, to the T domain, 0 to 1: log(1 + mu y / peak) / log(1 + mu) (Eq. 1)."""
    return np.asarray(np.log1p(y * np.float32(MU / peak)) / np.float32(np.log1p(MU)), dtype=np.float32)


def from_t(t: Floats, peak: float) -> Floats:
    """T domain to scene-linear, never negative: y = peak (exp(T log(1 + mu)) - 1) / mu (Eq. 1 inverted)."""
    return np.asarray(np.maximum(np.expm1(t * np.float32(np.log1p(MU))) * np.float32(peak / MU), 0), dtype=np.float32)
