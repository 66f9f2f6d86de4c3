"""``hdrcli doctor``: is everything here that hdrcli needs, and does it work? Everything is tried, not looked up."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli import __version__
from hdrcli.cli.exits import ExitCode
from hdrcli.cli.options import Debug
from hdrcli.cli.presentation import GENERAL, Presenter, printable, style
from hdrcli.errors import HdrcliError, MismatchError, MissingExtra, MissingModel, MissingRequirement

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from hdrcli.image import Image
    from hdrcli.inference.bundles import Bundle

EXAMPLES = """
\b
Examples:
  hdrcli doctor                                 a line for each check
  hdrcli doctor --json > report.json            for a bug report
"""

_HDRCLI = "hdrcli"
# modules whose distribution is called otherwise; and distributions that do the same
_MODULES = {"opencv-python-headless": "cv2", "onnxruntime-gpu": "onnxruntime", "pillow": "PIL", "openexr": "OpenEXR"}
_INSTEAD = {
    "onnxruntime-gpu": ("onnxruntime",),
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
}
_NOT_FOR_USERS = ("dev", "all")
_LEAST_FREE = 10**9  # bytes; an .exr of 200 megapixels is about that
_NAME_WIDTH = 24


class State(StrEnum):
    """How a check ended. ABSENT: something optional that is not there, which is no fault."""

    OK = "ok"
    ABSENT = "absent"
    WARNING = "warning"
    FAULT = "FAULT"


_COLOURS = {State.OK: "32", State.ABSENT: "2", State.WARNING: "33", State.FAULT: "1;31"}


@dataclass(frozen=True)
class Check:
    """One thing that was tried. ``missing``: the fault is that something is not installed. ``error``: what it failed with."""

    name: str
    state: State
    text: str
    remedy: str | None = None
    missing: bool = False
    error: BaseException | None = None
    group: str = ""

    def __str__(self) -> str:
        return self.text + (f" ({self.remedy})" if self.remedy else "")


def doctor(
    ctx: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object with all checks on stdout.", rich_help_panel=GENERAL)
    ] = False,
    debug: Debug = False,
) -> int:
    """Try everything that hdrcli needs: packages, models, ONNX Runtime on CPU and CUDA, file types, temporary folder.

    Exit codes: 0 no fault, 4 all that is at fault has to be installed, else 1. What is optional and absent is no fault.
    """
    say = Presenter(as_json=as_json, debug=ctx.obj.debug)
    checks = []
    for check in _checks():
        checks.append(check)
        if say.debug and check.error is not None:
            say.note("".join(traceback.format_exception(check.error)).rstrip())
        if not as_json:
            state = style(f"{check.state:<8}", _COLOURS[check.state], sys.stdout)
            print(f"{state} {check.name:<{_NAME_WIDTH}} {_shared(check)}", flush=True)
    faults = [check for check in checks if check.state is State.FAULT]
    code = ExitCode.OK
    if faults:
        code = ExitCode.MISSING if all(check.missing for check in faults) else ExitCode.FAILURE
    warnings = sum(check.state is State.WARNING for check in checks)
    if not as_json:
        print(f"\n{_number(len(faults), 'fault')}, {_number(warnings, 'warning')}")
    counts = {"faults": len(faults), "warnings": warnings, "exit_code": code}
    say.record({"version": __version__, **counts, "checks": [_record(check) for check in checks]})
    return code


def _record(check: Check) -> dict[str, str | None]:
    remedy = None if check.remedy is None else _shared(check.remedy)
    names = {"group": check.group, "name": check.name, "state": check.state.lower()}
    return {**names, "text": _shared(check.text), "remedy": remedy}


def _checks() -> Iterator[Check]:
    groups = {
        "system": _system,
        "packages": _packages,
        "extras": _extras,
        "models": _bundles,
        "providers": _providers,
        "file types": _codecs,
    }
    for group, checks in groups.items():
        try:
            for check in checks():
                yield replace(check, group=group)
        except Exception as error:  # a doctor does not fall ill: what keeps it from looking further is a finding
            yield replace(_failed(group, error), group=group)


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _shared(text: object) -> str:
    """A text that may go into a bug report: one line, the user's home folder not named."""
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return printable(str(text).replace(home, "~") if len(home) > 1 else str(text))


def _tried(name: str, work: Callable[[], str]) -> Check:
    """What came of it: the text that ``work`` gives, or its error, whatever that is."""
    try:
        return Check(name, State.OK, work())
    except Exception as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Check:
    match error:
        case MissingExtra():
            return Check(name, State.ABSENT, error.what, error.remedy)
        case HdrcliError():
            where = "" if error.where is None else f"{error.where}: "
            missing = isinstance(error, MissingRequirement)
            return Check(name, State.FAULT, f"{where}{error.what}", error.remedy, missing=missing, error=error)
        case ImportError():
            text = f"can't be imported: {_line(error)}"
            return Check(name, State.FAULT, text, _reinstall(error), missing=True, error=error)
    return Check(name, State.FAULT, f"{type(error).__name__}: {_line(error)}", error=error)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _reinstall(error: ImportError) -> str | None:
    """What to install again, where the error says which module could not be imported."""
    if error.name is None:
        return None
    module = error.name.partition(".")[0]
    distribution = next((d for d, m in _MODULES.items() if m == module), module)
    return f"pip install --force-reinstall {distribution}"


# system


def _system() -> Iterator[Check]:
    yield _tried("python", _python)
    yield _own_version()
    yield Check("platform", State.OK, platform.platform())
    yield _tried("cores", _cores)
    yield _memory()
    yield _temporary_folder()


def _python() -> str:
    from importlib import metadata

    found = f"{platform.python_implementation()} {platform.python_version()}"
    try:
        wanted = metadata.metadata(_HDRCLI)["Requires-Python"]
    except metadata.PackageNotFoundError:
        return found
    from packaging.specifiers import SpecifierSet

    if not SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        raise MissingRequirement(f"{found} is not {wanted}", remedy=f"use a Python {wanted}")
    return f"{found} ({wanted})"


def _own_version() -> Check:
    installed = _version(_HDRCLI)
    if installed is None:
        remedy = "pip install . in its folder"
        return Check(_HDRCLI, State.WARNING, f"{__version__}, not installed: what it needs is not known", remedy)
    if installed != __version__:
        fault = f"{__version__} runs, but {installed} is installed: what it needs may differ"
        return Check(_HDRCLI, State.WARNING, fault, "install it again")
    return Check(_HDRCLI, State.OK, __version__)


def _cores() -> str:
    from hdrcli.parallel import available, threads

    return f"{threads()} of {os.cpu_count() or available()} used"


def _memory() -> Check:
    limit = _memory_limit()
    text = "how much there is, is not known" if limit is None else f"{limit / 2**30:.1f} GiB"
    return Check("memory", State.OK, text)


def _memory_limit() -> int | None:
    """Bytes that this process may take: the machine's memory, or less where a container or shell limits it."""
    limits = []
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        import resource

        limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    # control groups, version 2 and 1
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(place).read_text(encoding="ascii").strip()
        except OSError:
            continue
        limits += [int(text)] if text.isdecimal() else []
    return min((limit for limit in limits if limit > 0), default=None)


def _temporary_folder() -> Check:
    import shutil
    import tempfile

    name = "temporary folder"
    try:
        with tempfile.TemporaryDirectory(prefix="hdrcli-") as folder:
            (Path(folder) / "probe").write_bytes(bytes(4096))
            free = shutil.disk_usage(folder).free
    except OSError as error:
        fault = f"can't be written: {error.strerror or 'no folder will do'}"
        return Check(name, State.FAULT, fault, "name another in TMPDIR", error=error)
    text = f"can be written, {free / 1e9:.1f} GB free"
    if free < _LEAST_FREE:
        return Check(name, State.WARNING, text, "make room, or name another in TMPDIR")
    return Check(name, State.OK, text)


# packages


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Check]:
    """Every package that the installed hdrcli says it needs, and pairs that must not stand beside each other."""
    if _version(_HDRCLI) is not None:
        try:
            wanted = list(_wanted(_HDRCLI))
        except ImportError as error:  # without it nobody can tell what is needed
            yield _failed("packaging", error)
        else:
            for requirement in wanted:
                yield _package(requirement)
    for name, others in _INSTEAD.items():
        beside = [other for other in others if _version(name) is not None and _version(other) is not None]
        if beside:
            yield _beside(name, beside)


def _wanted(distribution: str, extra: str | None = None) -> Iterator[Requirement]:
    """What a distribution needs on this system: always, or what one of its extras adds."""
    from importlib import metadata

    from packaging.requirements import Requirement

    for text in metadata.requires(distribution) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        if always:
            if extra is None:
                yield requirement
        elif marker is not None and extra is not None and marker.evaluate({"extra": extra}):
            yield requirement


def _package(wanted: Requirement) -> Check:
    name = wanted.name
    install = f"pip install '{name}{wanted.specifier}'"
    found, version = name, _version(name)
    if version is None:
        found = next((other for other in _INSTEAD.get(name, ()) if _version(other) is not None), name)
        version = _version(found)
    if version is None:
        return Check(name, State.FAULT, "is not installed", install, missing=True)
    try:
        _import(name)
    except Exception as error:
        return _failed(name, error)
    if not wanted.specifier.contains(version, prereleases=True):
        fault = f"{version} is not {wanted.specifier}"
        return Check(name, State.FAULT, fault, install, missing=True)
    if found != name:
        text = f"{found} {version} stands in its place"
        return Check(name, State.WARNING, text, f"pip uninstall {found}; {install}")
    return Check(name, State.OK, f"{version} ({wanted.specifier})")


def _import(distribution: str) -> None:
    """Raises whatever its module raises when it is imported."""
    if distribution.startswith("onnxruntime"):
        from hdrcli.inference.onnx_backend import runtime

        module: ModuleType = runtime()
    else:
        module = importlib.import_module(_MODULES.get(distribution.lower(), distribution.lower().replace("-", "_")))
    if getattr(module, "__file__", None) is None:
        # what the uninstalling of a neighbour leaves behind: a folder without a module, which imports all the same
        raise ImportError("its folder holds no module", name=module.__name__)


def _beside(name: str, others: list[str]) -> Check:
    both = " ".join((name, *others))
    remedy = f"pip uninstall {both}; pip install {name}"
    if name.startswith("onnxruntime"):
        fault = f"{', '.join(others)} is installed beside {name}: it takes its place, and only the CPU is used"
        return Check("onnxruntime twice", State.FAULT, fault, remedy)
    fault = f"{', '.join(others)} is installed beside {name}: one overwrites the other"
    return Check("opencv twice", State.WARNING, fault, remedy)


def _extras() -> Iterator[Check]:
    from importlib import metadata

    if _version(_HDRCLI) is None:
        return
    for extra in metadata.metadata(_HDRCLI).get_all("Provides-Extra") or ():
        if extra in _NOT_FOR_USERS:
            continue
        try:
            wanted = [r for requirement in _wanted(_HDRCLI, extra) for r in _with_extras(requirement)]
        except ImportError:  # packaging, whose fault has been told
            return
        if wanted:
            yield _extra(extra, wanted)
    if _version("torch") is not None:
        yield _tried("torch", _torch)


def _with_extras(requirement: Requirement) -> Iterator[Requirement]:
    """A requirement, and those of the extras that it names."""
    yield requirement
    if _version(requirement.name) is not None:
        for extra in sorted(requirement.extras):
            yield from _wanted(requirement.name, extra)


def _extra(extra: str, wanted: list[Requirement]) -> Check:
    install = f"pip install '{_HDRCLI}[{extra}]'"
    versions = {r.name: _version(r.name) for r in wanted}
    lacking = [name for name, version in versions.items() if version is None]
    old = [f"{r.name} {v}" for r in wanted if (v := versions[r.name]) and not r.specifier.contains(v, prereleases=True)]
    name = f"extra {extra}"
    if old:
        return Check(name, State.WARNING, f"too old or too new: {', '.join(old)}", install)
    if lacking:
        what = "is not installed" if len(lacking) == len(versions) else f"lacks {', '.join(lacking)}"
        return Check(name, State.ABSENT, what, install)
    return Check(name, State.OK, ", ".join(f"{name} {version}" for name, version in versions.items()))


def _torch() -> str:
    torch: Any = importlib.import_module("torch")
    if not torch.cuda.is_available():
        return f"{torch.__version__}, no CUDA"
    total = float(torch.ones(4, device="cuda").sum())
    if total != 4:
        raise MismatchError(f"CUDA adds four ones to {total:g}", remedy="check driver and card")
    return f"{torch.__version__}, CUDA {torch.version.cuda} on {torch.cuda.get_device_name()}"


# models and what runs them


def _bundles() -> Iterator[Check]:
    from hdrcli.inference import bundles

    folders = list(bundles.installed())
    for folder in folders:
        yield _tried(f"model {printable(folder.name)}", lambda folder=folder: _verified(folder))  # type: ignore[misc]
    if "default" not in [folder.name for folder in folders]:
        remedy = f"install hdrcli again, or name its folder in {bundles.ENVIRONMENT}"
        yield Check("model default", State.FAULT, "is not here", remedy, missing=True)


def _verified(folder: Path) -> str:
    from hdrcli.inference import bundles

    bundle = bundles.read(folder)
    bundles.verify(bundle)
    return f"version {bundle.version}, {_number(len(bundle.card['files']), 'file')} as on the card, {folder}"


def _providers() -> Iterator[Check]:
    from hdrcli.errors import ModelError
    from hdrcli.inference import bundles

    try:
        bundle = bundles.read(bundles.find("default"))
    except (MissingModel, ModelError):  # told among the models
        return
    yield _tried("ONNX Runtime, CPU", lambda: _ran(bundle, "cpu"))
    yield _cuda(bundle)


def _cuda(bundle: Bundle) -> Check:
    from hdrcli.inference.onnx_backend import cuda_driver_present

    name = "ONNX Runtime, CUDA"
    if not cuda_driver_present():
        return Check(name, State.ABSENT, "no NVIDIA driver; the CPU does the work")
    try:
        return Check(name, State.OK, _ran(bundle, "cuda"))
    except MissingRequirement as error:
        why = "" if error.__cause__ is None else f": {_line(error.__cause__)}"
        text = f"there is a driver, but ONNX Runtime can't use it; the CPU does the work{why}"
        return Check(name, State.WARNING, text, f"pip install '{_HDRCLI}[cuda]'", error=error)
    except Exception as error:
        return _failed(name, error)


def _ran(bundle: Bundle, device: str) -> str:
    """Run the bundle once on a grey picture. Its answer is checked for form and finite values by the generator."""
    import numpy as np

    from hdrcli.inference import onnx_backend

    generator = onnx_backend.load(bundle, device)
    spec = generator.spec
    side = -(-spec.working_size // spec.multiple) * spec.multiple
    started = time.perf_counter()
    generator({name: np.full((1, 3, side, side), 0.5, np.float32) for name in spec.inputs})
    return f"{generator.ran_on}: {spec.name} {spec.version} ran in {time.perf_counter() - started:.2f} s"


# file types


def _codecs() -> Iterator[Check]:
    from hdrcli import formats

    for name in formats.names():
        yield _tried(f"file type {name}", lambda name=name: _codec(name))  # type: ignore[misc]


def _codec(name: str) -> str:
    """Write a tiny picture of every kind that a format holds, and read it back; one that is only read is made by Pillow."""
    import tempfile

    from hdrcli import formats

    module = formats.module_for_name(name)
    done = "written and read" if hasattr(module, "write") else "read"
    with tempfile.TemporaryDirectory(prefix="hdrcli-") as folder:
        for kind in module.HOLDS:
            path = Path(folder) / f"{kind}{module.EXTENSIONS[0]}"
            sample = _sample(kind)
            try:
                if hasattr(module, "write"):
                    formats.write(sample, path, format=name)
                elif not _written_by_pillow(sample, path):
                    return "not tried: nothing here writes such a file"
                _compare(sample, formats.read(path), kind)
            except HdrcliError as error:
                error.where = None  # the user knows nothing of this file
                raise
    return f"{done} ({', '.join(kind.upper() for kind in module.HOLDS)})"


def _sample(kind: str) -> Image:
    """A smooth picture of 24 x 16 pixels, without edges that lossy compression would change."""
    import numpy as np

    from hdrcli.color import Transfer
    from hdrcli.image import Image

    y, x = np.mgrid[0:1:16j, 0:1:24j]
    ramp = np.stack([x, y, 0.25 + x * y / 2], axis=-1)
    if kind == "hdr":
        return Image(np.exp2(8 * ramp - 4).astype(np.float32), Transfer.LINEAR)
    return Image(np.rint(20 + 200 * ramp).astype(np.uint8), Transfer.SRGB)


def _written_by_pillow(sample: Image, path: Path) -> bool:
    """False where Pillow has no writer for such a file."""
    from PIL import Image as pillow  # noqa: N813

    kind = pillow.registered_extensions().get(path.suffix)
    if kind not in pillow.SAVE:
        return False
    pillow.fromarray(sample.pixels).save(path, kind, quality=100)
    return True


def _compare(sample: Image, again: Image, kind: str) -> None:
    """Raises MismatchError for values that differ by more than the loss of JPEG and Radiance."""
    import numpy as np

    from hdrcli.image import as_unit_float

    fault = None
    if again.pixels.shape != sample.pixels.shape:
        fault = f"is {again.width} x {again.height} pixels large instead of {sample.width} x {sample.height}"
    else:
        wanted, found = as_unit_float(sample.pixels), as_unit_float(again.pixels)
        wrong = np.abs(found - wanted) > (0.02 * wanted.max(axis=2, keepdims=True) if kind == "hdr" else 0.05)
        if wrong.any():
            fault = f"has {np.count_nonzero(wrong)} of {wrong.size} values that are far from those written"
    if fault is not None:
        raise MismatchError(f"{kind.upper()}: what comes back {fault}", remedy="report it, with the output of hdrcli doctor")
