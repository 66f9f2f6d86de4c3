"""The linearised input, nothing added: what every other result is to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries

SUMMARY = "linearised input, nothing reconstructed"


@dataclass(frozen=True)
class Parameters:
    """No parameters."""


def apply(linear: NDArray[Any], parameters: Parameters, primaries: AnyPrimaries) -> NDArray[Any]:
    """The input as it is."""
    return linear
