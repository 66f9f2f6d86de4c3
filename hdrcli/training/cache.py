"""Training pictures, read once, checked, reduced to a working size, and kept within a budget of memory and disk.

What neither holds is decoded anew each time it is drawn. Arrays in memory are shared with worker processes where those are
forked (Linux); cached files are mapped, so all processes share them. Several processes of one run on a machine share the work
and what comes of it: see :func:`load`.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hdrcli.camera import exposure_alignment
from hdrcli.color import Primaries, Transfer, conversion_matrix, converted, decode, decoding_table, encode, luminance
from hdrcli.errors import DataError, InputError, MismatchError
from hdrcli.image import Image, as_unit_float
from hdrcli.inference.seam import looks_like_panorama
from hdrcli.parallel import threads
from hdrcli.training.agreement import brightness_of_light, brightness_of_photo, likeness
from hdrcli.training.pairs import ORDER, PairFile
from hdrcli.training.reading import read
from hdrcli.training.sources import Domain, SceneFile

Floats = NDArray[np.float32]
Report = Callable[[str], None]

MOST_LINES = 10  # files that are left out are named one by one up to here
CEILING = 2.0**24  # times 0.18 of the median: what infinity becomes
_LEVELS = 256  # an HDR file with no more different values than an 8-bit picture is one
_ENOUGH = 64 * 64  # pixels, below which the number of levels says nothing
_FORM = 2  # of cached files: part of their names
_WELL_EXPOSED = 50  # pixels, without which camera.exposure_alignment can't tell an exposure


class Picture(Protocol):
    """What the loop draws views from."""

    @property
    def name(self) -> str:
        """The file's, without extension."""
        ...

    @property
    def panorama(self) -> bool:
        """Is it equirectangular?"""
        ...

    @property
    def licence(self) -> str:
        """What its manifest says."""
        ...

    @property
    def digest(self) -> str:
        """Tells its file from another of the same name; empty if there is none."""
        ...

    @property
    def short_side(self) -> int:
        """Pixels of the shorter side."""
        ...

    def pixels(self) -> NDArray[Any]:
        """``(H, W, 3)``: HDR: float32 scene-linear Rec.709, median luminance about 0.18; LDR: uint8 sRGB codes."""
        ...


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene in memory: ``(H, W, 3) float32`` scene-linear Rec.709, median luminance about 0.18."""

    name: str
    radiance: Floats
    panorama: bool
    licence: str = "not stated"
    digest: str = ""

    @property
    def short_side(self) -> int:
        """Pixels of the shorter side."""
        return int(min(self.radiance.shape[:2]))

    def pixels(self) -> Floats:
        """The radiance."""
        return self.radiance


@dataclass(frozen=True, eq=False)
class Photo:
    """An LDR picture in memory: ``(H, W, 3) uint8`` sRGB codes."""

    name: str
    codes: NDArray[np.uint8]
    panorama: bool = False
    licence: str = "not stated"
    digest: str = ""

    @property
    def short_side(self) -> int:
        """Pixels of the shorter side."""
        return int(min(self.codes.shape[:2]))

    def pixels(self) -> NDArray[np.uint8]:
        """The codes."""
        return self.codes


@dataclass(frozen=True, eq=False)
class Stored:
    """A picture that is not in memory: mapped from ``cached``, or decoded from ``file`` each time.

    ``gain``: factor of HDR to the exposure of its photo, if it has one.
    """

    name: str
    panorama: bool
    licence: str
    file: SceneFile
    domain: Domain
    limits: Limits
    short_side: int
    cached: Path | None = None
    digest: str = ""
    gain: float | None = None

    @property
    def kept(self) -> bool:
        """Is there a cached file, here too?"""
        return self.cached is not None and self.cached.is_file()

    def pixels(self) -> NDArray[Any]:
        """Raises DataError if the file has gone bad since it was checked."""
        if self.cached is not None:
            try:
                return np.asarray(np.load(self.cached, mmap_mode="r"))
            except (OSError, ValueError):  # swept away while the run goes on: the source is still there
                pass
        try:
            return _exposed(_decoded(self.file, self.domain, self.limits), self.gain).pixels
        except (InputError, Unfit) as error:
            raise DataError(f"can't be read any more: {error}", where=self.file.path, remedy="put it back") from error


@dataclass(frozen=True, eq=False)
class Pair:
    """A ``photo`` and the ``scene`` that it shows, at its exposure (1: LDR white): HDR that brings its own photo.

    Both have one size.
    """

    photo: Picture
    scene: Picture

    @property
    def name(self) -> str:
        """The photo's."""
        return self.photo.name

    @property
    def panorama(self) -> bool:
        """Is it equirectangular?"""
        return self.scene.panorama

    @property
    def licence(self) -> str:
        """What the manifests say, of both if they say two things."""
        return "; ".join(dict.fromkeys((self.photo.licence, self.scene.licence)))

    @property
    def digest(self) -> str:
        """Of both files."""
        return f"{self.photo.digest}{self.scene.digest}"

    @property
    def short_side(self) -> int:
        """Pixels of the shorter side."""
        return self.scene.short_side

    def pixels(self) -> NDArray[Any]:
        """The scene's light in the photo's whites, ``(H, W, 3) float32``."""
        return self.scene.pixels()


def parts(picture: Picture) -> tuple[Picture, ...]:
    """What a picture's pixels are kept in: both pictures of a pair, else itself."""
    return (picture.photo, picture.scene) if isinstance(picture, Pair) else (picture,)


class Unfit(Exception):
    """A file that is whole but can't be trained on; the text says why."""


@dataclass(frozen=True)
class Limits:
    """Working size: larger photos are reduced to this short side, larger panoramas to this width; None: never."""

    short_side: int | None = None
    panorama_width: int | None = None

    @classmethod
    def of_views(cls, view_size: int) -> Limits:
        """As large as views of this size can use: crops are 60 % of the short side or more, fields of view 35 degrees."""
        return cls(math.ceil(view_size / 0.6), math.ceil(view_size * 360 / 35))


@dataclass
class Budget:
    """What may still be kept: bytes of ``memory`` and, in ``folder``, of ``disk``; counts down. None: no end."""

    memory: float | None = None
    disk: float = 0.0
    folder: Path | None = None
    used_memory: float = field(default=0.0, init=False)
    used_disk: float = field(default=0.0, init=False)

    @classmethod
    def gigabytes(cls, memory: float, disk: float, folder: Path) -> Budget:
        """So many 10^9 bytes; of the disk no more than half of what is free."""
        try:
            near = next(p for p in (folder, *folder.parents) if p.is_dir())
            free = shutil.disk_usage(near).free / 2
        except (OSError, StopIteration):
            free = 0.0
        return cls(memory * 1e9, min(disk * 1e9, free), folder)

    def takes_memory(self, size: int, processes: int = 1) -> bool:
        """Room for so many more bytes, if so many processes have as much each? Then they are counted."""
        fits = self.memory is None or self.used_memory + size <= self.memory / processes
        self.used_memory += size if fits else 0
        return fits

    def takes_disk(self, size: int, processes: int = 1) -> bool:
        """Room for so many more bytes, if so many processes write as much each? Then they are counted."""
        fits = self.folder is not None and self.used_disk + size <= self.disk / processes
        self.used_disk += size if fits else 0
        return fits


@dataclass(frozen=True, eq=False)
class _Decoded:
    pixels: NDArray[Any]
    panorama: bool
    remark: str = ""


@dataclass(frozen=True, eq=False)
class _DecodedPair:
    photo: _Decoded
    scene: _Decoded
    gain: float


_File = SceneFile | PairFile
_Found = _Decoded | _DecodedPair | InputError | Unfit


def load_scenes(files: Sequence[SceneFile], report: Report = lambda line: None) -> tuple[Scene, ...]:
    """All HDR files in memory at their own size. Unreadable files are reported and left out; see :func:`load`."""
    return tuple(
        Scene(p.name, np.asarray(p.pixels(), dtype=np.float32), p.panorama, p.licence, p.digest)
        for p in load(files, "hdr", report=report)
    )


def load(
    files: Sequence[SceneFile],
    domain: Domain,
    limits: Limits | None = None,
    budget: Budget | None = None,
    report: Report = lambda line: None,
) -> tuple[Picture, ...]:
    """The pictures of a domain, each decoded once and checked.

    What is a panorama the manifest says, else the file's metadata or its looks (:mod:`hdrcli.inference.seam`). Left out and
    reported: unreadable files, those of the other domain, black ones and ones of a single colour. Raises DataError
    if more than half can't be used, and says so if that is because the domains are swapped.

    Where torch.distributed is at work, the processes of a machine share the files out, and keep what they decode on the disk
    first, where it is there for all of them. What the disk doesn't take each of them decodes and keeps in memory for itself.
    """
    limits, budget = limits or Limits(), budget or Budget()
    found, swapped = _fit(_outcomes(files, domain, limits, budget), report)
    if len(found) * 2 < len(files) or not found:
        if swapped * 2 > len(files):
            other = "HDR" if domain == "ldr" else "LDR"
            fault = f"{swapped} of {len(files)} files given as {domain.upper()} are {other}"
            raise DataError(fault, where=f"--{domain}", remedy=f"give them to --{other.lower()}")
        raise DataError(f"only {len(found)} of {len(files)} {domain.upper()} files can be used", remedy="see the lines above")
    return tuple(found)


def load_pairs(
    files: Sequence[PairFile],
    limits: Limits | None = None,
    budget: Budget | None = None,
    report: Report = lambda line: None,
) -> tuple[Picture, ...]:
    """The pairs, each decoded once and checked, HDR at the exposure of its photo. Else as :func:`load`.

    Left out and reported besides: pairs of two sizes, those of which one is turned or mirrored, those that show different
    things (:mod:`hdrcli.training.agreement`), and photos without well-exposed pixels, whose exposure nobody can tell.
    """
    limits, budget = limits or Limits(), budget or Budget()
    found, swapped = _fit(_outcomes(files, "hdr", limits, budget), report)
    if len(found) * 2 < len(files) or not found:
        remedy = ORDER if swapped * 2 > len(files) else "see the lines above, and hdrcli data check"
        raise DataError(f"only {len(found)} of {len(files)} pairs can be used", where="--pairs", remedy=remedy)
    return tuple(found)


def _fit(outcomes: Iterator[_Outcome], report: Report) -> tuple[list[Picture], int]:
    """The pictures among them, and how many others are of the other domain; faults and remarks are reported."""
    found: list[Picture] = []
    swapped = faults = 0
    for outcome in outcomes:
        if outcome.picture is not None:
            found.append(outcome.picture)
            if outcome.line:
                report(outcome.line)
            continue
        faults += 1
        swapped += outcome.swapped
        if faults <= MOST_LINES:
            report(f"left out: {outcome.line}")
    if faults > MOST_LINES:
        report(f"left out: {faults - MOST_LINES} more")
    return found, swapped


@dataclass(frozen=True, eq=False)
class _Outcome:
    """What came of a file: a picture, with a remark or without, or a fault."""

    picture: Picture | None
    line: str = ""
    swapped: bool = False


def _outcomes(files: Sequence[_File], domain: Domain, limits: Limits, budget: Budget) -> Iterator[_Outcome]:
    """In the files' order."""
    peers, mine = _peers()
    count = len(peers)
    if count == 1 or budget.folder is None:
        yield from (_outcome(*pair, domain, limits, budget, count) for pair in _in_turn(files, domain, limits))
        return
    own = [_outcome(*pair, domain, limits, budget, count, shared=True) for pair in _in_turn(files[mine::count], domain, limits)]
    everyone = _of_all(own)
    outcomes: list[_Outcome] = [everyone[peers[number % count]][number // count] for number in range(len(files))]
    anew = [n for n, outcome in enumerate(outcomes) if outcome.picture is not None and not _is_kept(outcome.picture)]
    for number, pair in zip(anew, _in_turn([files[n] for n in anew], domain, limits), strict=True):
        outcomes[number] = _outcome(*pair, domain, limits, budget, count)
    yield from outcomes


def _is_kept(picture: Picture) -> bool:
    return all(part.kept for part in parts(picture) if isinstance(part, Stored))


def _outcome(
    file: _File,
    decoded: _Found,
    domain: Domain,
    limits: Limits,
    budget: Budget,
    processes: int,
    *,
    shared: bool = False,
) -> _Outcome:
    if isinstance(decoded, _DecodedPair):
        assert isinstance(file, PairFile)
        # as it was decided for both: decoded alone, later, it must not be decided otherwise
        ldr, hdr = (replace(f, panorama=decoded.scene.panorama) for f in (file.ldr, file.hdr))
        photo = _kept(ldr, decoded.photo, "ldr", limits, budget, processes, shared)
        scene = _kept(hdr, decoded.scene, "hdr", limits, budget, processes, shared, decoded.gain)
        remark = f"{file.hdr.path}: {decoded.scene.remark}" if decoded.scene.remark else ""
        return _Outcome(Pair(photo, scene), remark)
    if isinstance(decoded, _Decoded):
        assert isinstance(file, SceneFile)
        remark = f"{file.path}: {decoded.remark}" if decoded.remark else ""
        return _Outcome(_kept(file, decoded, domain, limits, budget, processes, shared), remark)
    # faults of pairs name the file that has them
    line = f"{file.path}: {decoded}" if isinstance(decoded, Unfit) and isinstance(file, SceneFile) else str(decoded)
    return _Outcome(None, line, isinstance(decoded, _Swapped))


def _peers() -> tuple[list[int], int]:
    """Ranks of the run's processes on this machine, and this one's place among them."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return [0], 0
    host = socket.gethostname()
    peers = [rank for rank, name in enumerate(_of_all(host)) if name == host]
    return peers, peers.index(torch.distributed.get_rank())


def _of_all(value: Any) -> list[Any]:
    """What every process has to say, by rank."""
    import torch

    everyone: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(everyone, value)
    return everyone


def _in_turn(files: Sequence[_File], domain: Domain, limits: Limits) -> Iterator[tuple[_File, _Found]]:
    """Decoded by several threads, in the files' order, few ahead: a picture at its own size may take gigabytes."""

    def attempt(file: _File) -> _Found:
        try:
            return _decoded_pair(file, limits) if isinstance(file, PairFile) else _decoded(file, domain, limits)
        except (InputError, Unfit) as error:
            return error

    count = max(1, min(threads(), 8))
    with ThreadPoolExecutor(count) as pool:
        waiting: list[tuple[_File, Future[_Found]]] = []
        for file in files:
            waiting.append((file, pool.submit(attempt, file)))
            if len(waiting) > count:
                first, future = waiting.pop(0)
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _kept(
    file: SceneFile,
    decoded: _Decoded,
    domain: Domain,
    limits: Limits,
    budget: Budget,
    processes: int,
    shared: bool,
    gain: float | None = None,
) -> Picture:
    """In memory, or on the disk, or neither; ``shared``: not in memory, since other processes shall have it too."""
    name, pixels, digest = file.path.stem, decoded.pixels, _digest(file.path)
    if not shared and budget.takes_memory(pixels.nbytes, processes):
        if domain == "hdr":
            return Scene(name, pixels, decoded.panorama, file.licence, digest)
        return Photo(name, pixels, decoded.panorama, file.licence, digest)
    cached = None
    if budget.folder and budget.takes_disk(pixels.nbytes, processes):
        cached = _written(pixels, budget.folder / _key(file, limits, gain))
    side = int(min(pixels.shape[:2]))
    return Stored(name, decoded.panorama, file.licence, file, domain, limits, side, cached, digest, gain)


def _digest(path: Path) -> str:
    """Of a file's length, beginning and end: quick, whatever its size, and no library has a say in it."""
    ends = 1 << 16
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.sha256(f"{size}|".encode() + file.read(ends))
            file.seek(max(0, size - ends))
            digest.update(file.read(ends))
    except OSError:  # it was there a moment ago
        return ""
    return digest.hexdigest()[:16]


def _key(file: SceneFile, limits: Limits, gain: float | None) -> str:
    """A cached file's name: another one as soon as the source or the working size is another."""
    state = file.path.stat()
    text = f"{file.path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{limits}|{file.panorama}|{_FORM}"
    text += f"|{gain}|{file.encoding}" if gain is not None or file.encoding is not None else ""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32] + ".npy"


def _written(pixels: NDArray[Any], target: Path) -> Path | None:
    """The cached file, whole; None if the disk does not take it: then the source is decoded each time."""
    if target.is_file():
        return target
    temporary: str | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".cache-", dir=target.parent)
        with os.fdopen(descriptor, "wb") as file:
            np.save(file, pixels)
        Path(temporary).replace(target)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        return None
    return target


class _Swapped(Unfit):
    """A picture of the other domain."""


def _decoded(file: SceneFile, domain: Domain, limits: Limits) -> _Decoded:
    """One file as it is trained on. Raises InputError, or Unfit with the reason."""
    image = read(file, domain)
    panorama = file.panorama
    if panorama is None:  # a photo may well be twice as wide as high
        panorama = image.metadata.panorama or looks_like_panorama(image)
    return _converted(image, domain, panorama, limits)


def _converted(image: Image, domain: Domain, panorama: bool, limits: Limits) -> _Decoded:
    try:
        return _hdr(image, panorama, limits) if domain == "hdr" else _ldr(image, panorama, limits)
    except MismatchError as error:  # primaries that can't be converted
        raise Unfit(error.what) from error


def _decoded_pair(pair: PairFile, limits: Limits) -> _DecodedPair:
    """Both, at one size and exposure. Raises InputError, or Unfit with the reason and the files' names.

    Panorama is only what a file or a manifest says is one: photos may well be twice as wide as high.
    """
    photo_image, scene_image = read(pair.ldr, "ldr"), read(pair.hdr, "hdr")
    files = (pair.ldr, pair.hdr)
    panorama = any(
        f.panorama or (f.panorama is None and i.metadata.panorama) for f, i in zip(files, (photo_image, scene_image))
    )
    photo = _named(pair.ldr, photo_image, "ldr", panorama, limits)
    scene = _named(pair.hdr, scene_image, "hdr", panorama, limits)
    found = likeness(brightness_of_photo(photo.pixels), brightness_of_light(scene.pixels))
    both = f"{pair.ldr.path} and {pair.hdr.path}"
    fault = found.fault(photo_image.pixels.shape, scene_image.pixels.shape)
    if fault is not None:
        raise Unfit(f"{both}: {fault}")
    linear = decoding_table(Transfer.SRGB, 256)[photo.pixels]
    usable = (photo.pixels.min(axis=2) >= 0.05 * 255) & (photo.pixels.max(axis=2) <= 0.90 * 255)
    if np.count_nonzero(usable) < _WELL_EXPOSED:
        raise Unfit(f"{pair.ldr.path}: has no {_WELL_EXPOSED} well-exposed pixels to tell its exposure by")
    gain = 1 / exposure_alignment(linear, scene.pixels, photo.pixels)
    return _DecodedPair(photo, _exposed(scene, gain), gain)


def _named(file: SceneFile, image: Image, domain: Domain, panorama: bool, limits: Limits) -> _Decoded:
    try:
        return _converted(image, domain, panorama, limits)
    except Unfit as error:
        raise type(error)(f"{file.path}: {error}") from error


def _exposed(decoded: _Decoded, gain: float | None) -> _Decoded:
    return decoded if gain is None else replace(decoded, pixels=decoded.pixels * np.float32(gain))


def _hdr(image: Image, panorama: bool, limits: Limits) -> _Decoded:
    if not image.is_hdr:
        raise _Swapped("is display-encoded, not HDR")
    stored = np.asarray(image.pixels)
    if stored.shape[0] * stored.shape[1] >= _ENOUGH and 1 < _levels(stored) <= _LEVELS:
        raise _Swapped(f"is LDR in an HDR file: it has {_levels(stored)} different values or fewer")
    finite = np.isfinite(stored)
    notes = [note for note in image.metadata.notes if "NaN" in note or "infin" in note.lower()]
    for what, most, there in (("NaN", 0.01, np.isnan(stored)), ("infinite", 0.5, np.isinf(stored))):
        share = max(_noted(notes, what) / max(1, stored.size), float(there.mean()))
        if share > most:
            raise Unfit(f"{100 * share:.3g} % of its values are {what}")
    remark = "; ".join(notes)
    if not finite.all():
        lost = 100 * float(1 - finite.mean())
        remark = f"{lost:.2g} % of its values are not finite; NaN counts as black, infinity as very bright"
        stored = np.where(finite, stored, np.where(np.isposinf(stored), np.float32(3e38), np.float32(0)))
    matrix = conversion_matrix(image.primaries, Primaries.BT709).T.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        radiance = np.maximum(stored.astype(np.float32) @ matrix, 0)
        brightness = luminance(radiance)
        median = float(np.median(brightness))
        if not median > 0:
            raise Unfit("is black, at least half of it" + (f" ({remark})" if remark else ""))
        if float(brightness.min()) == float(brightness.max()):
            raise Unfit("is of one colour throughout")
        scaled = np.minimum(np.nan_to_num(radiance * np.float32(0.18 / median), posinf=CEILING), np.float32(CEILING))
    return _Decoded(_reduced(scaled, panorama, limits), panorama, remark)


def _noted(notes: Sequence[str], what: str) -> int:
    """How many values were NaN or infinite before the reader replaced them, as its notes tell: "3 NaN values read as 0"."""
    return sum(int(found[1]) for note in notes if (found := re.match(rf"(\d+) {what} values?\b", note)))


def _levels(pixels: NDArray[Any]) -> int:
    """How many different values the green channel has, at most 257, of up to 2^16 pixels spread over the picture."""
    green = pixels[..., 1].ravel()
    return int(np.unique(green[:: max(1, green.size >> 16)]).size)


def _ldr(image: Image, panorama: bool, limits: Limits) -> _Decoded:
    if image.is_hdr or image.pixels.dtype.kind == "f":
        raise _Swapped("is HDR (scene-linear floats)")
    if image.transfer in (Transfer.PQ, Transfer.HLG):
        raise _Swapped(f"is HDR ({image.transfer.name})")
    codes = _reduced(np.asarray(image.pixels), panorama, limits)
    if codes.dtype != np.uint8 or image.transfer is not Transfer.SRGB or image.primaries is not Primaries.BT709:
        light = converted(decode(as_unit_float(codes), image.transfer), image.primaries, Primaries.BT709)
        codes = np.rint(np.clip(encode(np.clip(light, 0, 1), Transfer.SRGB), 0, 1) * 255).astype(np.uint8)
    if int(codes.min()) == int(codes.max()) or (codes == codes[:1, :1]).all():
        raise Unfit("is of one colour throughout")
    return _Decoded(np.ascontiguousarray(codes), panorama)


def _reduced(pixels: NDArray[Any], panorama: bool, limits: Limits) -> NDArray[Any]:
    """Area means at the working size; a smaller picture as it is."""
    import cv2

    height, width = pixels.shape[:2]
    limit = limits.panorama_width if panorama else limits.short_side
    now = width if panorama else min(height, width)
    if limit is None or now <= limit:
        return pixels
    size = (max(1, round(width * limit / now)), max(1, round(height * limit / now)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
