"""ColorVideoVDP, the visual difference of colour pictures, through its package cvvdp (MIT).

Mantiuk et al. 2024, "ColorVideoVDP: a visual difference predictor for image, video and display distortions".
Nearly blind to global exposure, because it compares contrasts: a picture that is four times too bright still gets 10 JOD, and
so does any even one against any other. Read it beside a metric of absolute light (PU21-PSNR, log2-RMSE).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from hdrcli.errors import Unavailable
from hdrcli.metrics import Score, Viewing
from hdrcli.metrics._packages import rgb_pair, sensible_ppd, version_of, without

BLACK, PEAK = 0.005, 10000.0  # cd/m2 of the display that is assumed; the range of PU21 and of PQ
SMALLEST = 2  # pixels in height and width
_PACKAGE = "pycvvdp"


def cvvdp(test: NDArray[Any], reference: NDArray[Any], ppd: float, device: str = "cpu") -> float:
    """JOD (just-objectionable-difference units): 10 for equal pictures, less for others. In float32.

    ``test``, ``reference``: ``(H, W, 3)`` linear RGB with BT.709 primaries in cd/m2, shown on a display of 0.005 to 10000 cd/m2
    in a dark room (values are clamped to that). ``ppd``: pixels per visual degree. ``device``: where torch runs. A megapixel
    takes 0.6 GB.

    Blind to global exposure: see above. Raises Unavailable without torch or the package and for pictures of less than 2 x 2
    pixels, MismatchError for other shapes and values that are not finite, UsageError for a ``ppd`` that is not above 0 or above
    1000.
    """
    pair = rgb_pair("ColorVideoVDP", test, reference)
    ppd = sensible_ppd(ppd)
    height, width = pair[0].shape[:2]
    if min(height, width) < SMALLEST:
        raise Unavailable(f"ColorVideoVDP needs pictures of {SMALLEST} x {SMALLEST} pixels or more")
    package = _package()
    import torch

    from hdrcli.networks._precision import measuring

    display, metric = package["display_model"], package["cvvdp_metric"]
    # Given by name, the package's own parameters come before those that the variable CVVDP_PATH points to.
    own = [str(Path(str(metric.__file__)).parent / "vvdp_data")]
    photometry = display.vvdp_display_photo_eotf(
        PEAK, contrast=PEAK / BLACK, source_colorspace="BT.709-linear", E_ambient=0, config_paths=own
    )
    geometry = display.vvdp_display_geometry([width, height], ppd=ppd)
    predictor = metric.cvvdp(
        display_photometry=photometry, display_geometry=geometry, config_paths=own, quiet=True, device=torch.device(device)
    )
    with measuring():
        quality, _ = predictor.predict(*pair, dim_order="HWC")
    return float(quality)


def version() -> str | None:
    """The package and its version, "cvvdp 0.5.7"; None if it is not installed."""
    return version_of("cvvdp")


_LOADING = threading.Lock()


def _package() -> dict[str, ModuleType]:
    """The package's modules for still pictures by name. Raises Unavailable without torch or the package."""
    if importlib.util.find_spec("torch") is None:
        raise without("torch", "ColorVideoVDP")
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> dict[str, ModuleType]:
    """A private copy of the package's modules for still pictures.

    Imported as it is meant to be, the package needs torchvision, whose wheel does not work beside a torch for the CPU alone
    and then breaks whatever looks for it (lightning, transformers); einops, huggingface_hub and ffmpeg for models and files
    that are of no use here; and it adds its folder to sys.path, from where it loads modules of names like ``interp``. All
    that it takes from torchvision for still pictures is a Gaussian blur. So its __init__ is left out, that blur stands in for
    torchvision, and nothing of this stays in sys.modules and sys.path. The JODs are those with torchvision, bit by bit.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise without("cvvdp", "ColorVideoVDP")
    folder = Path(spec.submodule_search_locations[0])
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    transforms = ModuleType("torchvision.transforms")
    transforms.GaussianBlur = _gaussian_blur  # type: ignore[attr-defined]
    stand_ins = {
        _PACKAGE: package,
        "torchvision": ModuleType("torchvision"),
        "torchvision.transforms": transforms,
        "ffmpeg": ModuleType("ffmpeg"),  # writes videos
        "matplotlib": None,  # draws diagrams; the package does without
    }
    try:
        with _set_aside(folder, stand_ins):
            modules = {name: importlib.import_module(f"{_PACKAGE}.{name}") for name in ("cvvdp_metric", "display_model")}
            for name, module in sys.modules.items():
                # it writes to the root logger, which then starts to print
                if name.startswith(f"{_PACKAGE}.") and hasattr(module, "logging"):
                    module.logging = _logger()  # type: ignore[attr-defined]
    except (ImportError, AttributeError, OSError) as error:  # OSError: torch is half installed
        raise Unavailable(f"{version()} can't be used: {error}", remedy="install the version that hdrcli names") from error
    return modules


def _logger() -> logging.Logger:
    logger = logging.getLogger("hdrcli.cvvdp")
    logger.addHandler(logging.NullHandler())
    return logger


@contextmanager
def _set_aside(folder: Path, stand_ins: dict[str, ModuleType | None]) -> Iterator[None]:
    """Imports find the stand-ins, then the folder's modules; afterwards sys.modules and sys.path are as they were.

    Modules from elsewhere that were imported meanwhile (torch's, SciPy's) stay.
    """
    ours = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()} | stand_ins.keys()

    def is_ours(name: str) -> bool:
        return name in ours or name.partition(".")[0] in ours

    before = {name: module for name, module in sys.modules.items() if is_ours(name)}
    path = list(sys.path)
    for name in before:
        del sys.modules[name]
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        for name in [name for name in sys.modules if is_ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:] = path


def _gaussian_blur(size: int, sigma: float) -> Any:
    """What torchvision's GaussianBlur(size, sigma) is for float tensors, ``(..., C, H, W)``.

    A normalised Gaussian of ``size`` x ``size`` taps, each channel on its own, borders mirrored without their last pixel.
    """
    import torch
    from torch.nn import functional

    class GaussianBlur(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            position = torch.arange(size, dtype=image.dtype, device=image.device) - (size - 1) / 2
            taps = torch.exp(-0.5 * (position / sigma).square())
            taps = taps / taps.sum()
            kernel = (taps[:, None] * taps[None, :]).expand(image.shape[-3], 1, size, size)
            padded = functional.pad(image, [size // 2] * 4, mode="reflect")
            return functional.conv2d(padded, kernel, groups=image.shape[-3])

    return GaussianBlur()


def _score(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
    return cvvdp(test, reference, viewing.ppd, viewing.device)


SCORES = (
    Score(
        "cvvdp_jod",
        "ColorVideoVDP, a display of 0.005 to 10000 cd/m2 in the dark; nearly blind to global exposure",
        "JOD",
        "higher",
        "Mantiuk et al. 2024; package cvvdp",
        _score,
        slow=True,
    ),
)
