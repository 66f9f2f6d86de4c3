"""What ``hdrcli tonemap`` does with one input: a picture, an exposure stack, or a contact sheet of operators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from hdrcli.cli import runs, targets
from hdrcli.cli._tonemap_sequence import Frame
from hdrcli.cli.exits import ExitCode
from hdrcli.cli.options import Strip
from hdrcli.cli.presentation import Presenter, explain
from hdrcli.cli.targets import Job
from hdrcli.errors import HdrcliError, UsageError

if TYPE_CHECKING:
    from hdrcli.conversion import TonemapOptions
    from hdrcli.image import Image
    from hdrcli.tonemapping._steady import Steady

SHEET_SIDE = 1024  # longest side at which operators see the picture for a sheet


@dataclass
class Run:
    """What holds for all pictures of a call.

    ``variants``: how to tone-map: for each of a job's outputs one, or with ``sheet`` one for each tile. ``frames``: of jobs
    that belong to sequences. ``faults``: of operators whose tiles say so.
    """

    say: Presenter
    variants: Sequence[TonemapOptions]
    extension: str
    quality: int
    strip: Strip | None
    overwrite: bool
    dry_run: bool
    resize: str | None
    sheet: bool
    frames: dict[Job, Frame] = field(default_factory=dict)
    faults: list[ExitCode] = field(default_factory=list)
    _steadies: dict[tuple[tuple[str, ...], int], Steady] = field(default_factory=dict)

    def tonemap(self, job: Job) -> None:
        """One picture: read, tone-map, write, tell."""
        started = time.perf_counter()
        try:
            image = self._read(job)
            size = f"{image.width}x{image.height}"
            if self.dry_run:
                self._remark(job, image.metadata.notes)
                self.say.result(f"{job}  {size} (dry run, nothing written)")
                sizes = {"width": image.width, "height": image.height}
                self.say.record({**runs.named(job), **sizes, "notes": image.metadata.notes, "dry_run": True})
                return
            read = time.perf_counter()
            facts = self._sheet(job, image) if self.sheet else self._pictures(job, image)
        except HdrcliError as error:
            if error.where is None and not isinstance(error, UsageError):
                error.where = job.source_name
            raise
        ended = time.perf_counter()
        self.say.detail(f"read {read - started:.2f} s, the rest {ended - read:.2f} s")
        sizes = {"width": image.width, "height": image.height}
        self.say.record({**runs.named(job), **sizes, **facts, "seconds": round(ended - started, 3)})

    def _read(self, job: Job) -> Image:
        from hdrcli import formats

        with targets.readable(job) as path:
            image = formats.read(path)
        if self.strip is not None:
            image = formats.strip(image, self.strip)
        if self.resize is not None:
            from hdrcli.resizing import parse_size, resized

            image = resized(image, *parse_size(self.resize, image.width, image.height))
        return image

    def _pictures(self, job: Job, image: Image) -> dict[str, Any]:
        """One output for each variant, each written before the next is made."""
        from hdrcli import formats
        from hdrcli.conversion import tonemap

        notes: dict[str, None] = {}  # in order, each once
        for index, options in enumerate(self.variants):
            result = tonemap(image, options, **self._place(job, index))
            written = formats.WriteOptions(depth="16" if options.bits == 16 else None, quality=self.quality)
            with targets.writable(job, self.extension, index) as target:
                remarks = formats.write(result, target, written, overwrite=self.overwrite)
            notes |= dict.fromkeys((*result.metadata.notes, *remarks))
        first = self.variants[0]
        evs = [options.ev for options in self.variants]
        self._remark(job, tuple(notes))
        self.say.result(f"{job}  {image.width}x{image.height} ({first.operator}, {', '.join(f'{ev:+g}' for ev in evs)} EV)")
        return {"operator": first.operator, "ev": evs[0] if len(evs) == 1 else evs, "notes": tuple(notes)}

    def _sheet(self, job: Job, image: Image) -> dict[str, Any]:
        """All operators of one picture, reduced; one that fails says so in its tile."""
        from hdrcli import formats
        from hdrcli.color import Transfer
        from hdrcli.conversion import tonemap
        from hdrcli.image import Image as Picture
        from hdrcli.image import Metadata
        from hdrcli.resizing import parse_size, resized
        from hdrcli.sheet import Tile, contact_sheet

        image = resized(image, *parse_size(str(SHEET_SIDE), image.width, image.height))
        tiles: list[Tile] = []
        found: dict[str, str | None] = {}
        errors: list[Exception] = []
        notes: dict[str, None] = {}
        for index, options in enumerate(self.variants):
            name = options.operator
            try:
                result = tonemap(image, options, **self._place(job, index))
            except Exception as error:
                found[name] = explain(error)
                tiles.append(Tile(name, fault=found[name]))
                errors.append(error)
                continue
            found[name] = None
            notes |= dict.fromkeys(result.metadata.notes)
            tiles.append(Tile(name, result.pixels))
        if len(errors) == len(tiles):
            raise errors[0]
        metadata = Metadata(exif=image.metadata.exif)
        sheet = Picture(contact_sheet(tiles), Transfer.SRGB, metadata=metadata)
        with targets.writable(job, self.extension) as target:
            remarks = formats.write(sheet, target, formats.WriteOptions(quality=self.quality), overwrite=self.overwrite)
        for fault, name in zip(errors, (name for name, words in found.items() if words), strict=True):
            self.faults.append(self.say.fault(fault, f"{job.source_name}, {name}"))
        self._remark(job, (*notes, *remarks))
        self.say.result(f"{job}  {sheet.width}x{sheet.height} ({len(tiles) - len(errors)} operators)")
        return {"operators": found, "notes": (*notes, *remarks)}

    def _place(self, job: Job, index: int) -> dict[str, Any]:
        """Which frame of which sequence the job is, and what is remembered of that, for each variant."""
        from hdrcli.tonemapping._steady import Steady

        frame = self.frames.get(job)
        if frame is None:
            return {}
        return {"steady": self._steadies.setdefault((frame.shot, index), Steady()), "number": frame.number}

    def _remark(self, job: Job, notes: Sequence[str]) -> None:
        for note in notes:
            self.say.warning(job.source_name, note)


def variants_of(options: TonemapOptions, brackets: Sequence[float]) -> list[TonemapOptions]:
    """The same at other exposures, stops added to ``options.ev``; without brackets itself."""
    return [replace(options, ev=options.ev + stops) for stops in brackets] or [options]
