"""Small valid files of every kind that hdrcli reads, by format and name: what mutated files are made of."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "formats"))  # where the makers of samples are

from hdrcli import formats


@cache
def corpus(format: str) -> dict[str, bytes]:
    """name -> bytes."""
    match format:
        case "radiance":
            import radiance_samples

            return radiance_samples.samples()
        case "exr":
            import exr_samples

            return exr_samples.samples()
        case "tiff":
            import tiff_samples

            return tiff_samples.samples()
        case "pfm":
            import pfm_samples

            return pfm_samples.samples()
        case _:
            import display_samples

            return display_samples.samples()[format]


def all_formats() -> tuple[str, ...]:
    return formats.names()
