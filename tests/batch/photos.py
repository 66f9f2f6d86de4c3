"""What the tests of batch share: small photos, and a run over them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hdrcli.batch import naming, sources
from hdrcli.batch.engines import Running
from hdrcli.batch.planning import Rules
from hdrcli.batch.recipe import Recipe
from hdrcli.batch.running import Batch, Summary, run
from hdrcli.batch.work import Outcome
from hdrcli.conversion import ExpandOptions, TonemapOptions
from hdrcli.image import Image

LINEAR = ExpandOptions(model="linear", half=True)
OOPS = 13  # columns of a photo that kills whoever converts it


def photo(path: Path, seed: int = 0, *, width: int = 24) -> Path:
    """A photo with a clipped patch; the type is the one its name says."""
    picture = np.random.default_rng(seed).integers(20, 200, (16, width, 3), np.uint8)
    picture[:5, :7] = 255
    done, data = cv2.imencode(path.suffix, picture)
    assert done
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    return path


def photos(folder: Path, count: int) -> Path:
    """A folder of PNG photos: 000.png ..."""
    for number in range(count):
        photo(folder / f"{number:03d}.png", number)
    return folder


@dataclass(frozen=True)
class Deadly(Recipe):
    """A recipe on which a process dies at photos of OOPS columns, as for lack of memory."""

    def direction(self, image: Image) -> str:
        if image.width == OOPS:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().direction(image)


def recipe(extension: str = ".exr", **changed: object) -> Recipe:
    usual = {"expand": LINEAR, "tonemap": TonemapOptions(operator="agx")}
    return Recipe(extension, **{**usual, **changed})  # type: ignore[arg-type]


def batch(source: Path | Iterable[Path], out: Path, made: Recipe | None = None, **rules: bool) -> Batch:
    """What ``hdrcli batch SOURCE -r --out-dir OUT`` would do."""
    made = made or recipe()
    names = [source] if isinstance(source, Path) else source
    found = sources.find([str(name) for name in names], takes=made.takes, recursive=True)
    return Batch(naming.items(found, str(out), made.extension), out, made, Rules(**rules))


def converted(
    source: Path | Iterable[Path],
    out: Path,
    made: Recipe | None = None,
    *,
    workers: int = 1,
    report: Callable[[Outcome], None] = lambda outcome: None,
    **rules: bool,
) -> Summary:
    """Do it."""
    return run(batch(source, out, made, **rules), Running(workers=workers), report=report)


def tree(folder: Path) -> set[str]:
    """All there is below a folder, hidden things too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
