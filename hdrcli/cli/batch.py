"""``hdrcli batch``: many files, resumable."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from hdrcli.cli import expand as expanding
from hdrcli.cli import tonemap as tonemapping
from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import FILES, Debug, Json, Overwrite, Quiet, Reconstruct, Verbose, parse_device, parse_pairs
from hdrcli.cli.presentation import Presenter, printable
from hdrcli.errors import HdrcliError, UnwritableOutput, UsageError

if TYPE_CHECKING:
    from hdrcli.batch.engines import Running
    from hdrcli.batch.naming import Item
    from hdrcli.batch.planning import Work
    from hdrcli.batch.recipe import Recipe
    from hdrcli.batch.running import Batch, Summary
    from hdrcli.batch.work import Outcome

RUN = "Run"
EXAMPLES = """
\b
Examples:
  hdrcli batch photos/ -r --out-dir hdr --to exr      run it again to go on after a crash
  hdrcli batch 'photos/**/*.jpg' --out-dir hdr --template '{stem}_{model}.{ext}'
  find . -name '*.jpg' -print0 | hdrcli batch --files-from - -0 --out-dir hdr
  hdrcli batch scenes/ -r --out-dir ldr --to png -t agx
  hdrcli batch incoming/ --out-dir hdr --watch
"""
# Options of the two directions: those parameters of `hdrcli expand` and `hdrcli tonemap` that say how a picture is converted.
_OF_EXPAND = (
    *("depth", "compression", "confidence", "preview", "strip", "model", "backend", "device", "reconstruct", "strength"),
    *("peak_stops", "projection", "sun", "ev", "white_nits", "primaries"),
)
_OF_TONEMAP = ("bits", "quality", "dither", "resize", "operator", "parameter", "auto_exposure", "white", "saturation")
_OF_BOTH = ("strip", "model", "backend", "device", "ev", "primaries")


def batch(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SRC]...", show_default=False, help="Files, folders, quoted globs ('**' for any depth)."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out-dir", metavar="DIR", help="Folder for the outputs; made if need be.", rich_help_panel=FILES),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="TYPE", help="exr, hdr, png ...: HDR types expand photos, others tone-map.", rich_help_panel=FILES
        ),
    ] = "exr",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Folders below as well, the tree kept.", rich_help_panel=FILES)
    ] = False,
    files_from: Annotated[
        Path | None,
        typer.Option("--files-from", metavar="FILE", help="A list of files; - is standard input.", rich_help_panel=FILES),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Lists end names with null characters, not lines.", rich_help_panel=FILES)
    ] = False,
    base: Annotated[
        Path | None,
        typer.Option("--base", metavar="DIR", help="Outputs keep their source's place below this.", rich_help_panel=FILES),
    ] = None,
    template: Annotated[
        str,
        typer.Option(
            "--template", metavar="NAME", help="Names of outputs, of {stem} {name} {type} {model} {ext}.", rich_help_panel=FILES
        ),
    ] = "{stem}.{ext}",
    overwrite: Overwrite = False,
    manifest: Annotated[
        Path | None,
        typer.Option(
            "--manifest",
            metavar="FILE",
            help="What was made from what [default: hdrcli-batch.jsonl in --out-dir].",
            rich_help_panel=RUN,
        ),
    ] = None,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Tell changed sources by content, not date.", rich_help_panel=RUN)
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Only what failed in earlier runs.", rich_help_panel=RUN)
    ] = False,
    failed_list: Annotated[
        Path | None,
        typer.Option("--failed-list", metavar="FILE", help="List what fails, for --files-from.", rich_help_panel=RUN),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.", rich_help_panel=RUN)] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="Files at once [default: cores].", rich_help_panel=RUN)
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="Of each of them.", rich_help_panel=RUN)] = 1,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="8G, 500M, 25% ... for all of them [default: half of what is free].",
            rich_help_panel=RUN,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Only this part; auto: of a SLURM array.", rich_help_panel=RUN),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="NAME", help="local, or ray: a cluster.", rich_help_panel=RUN)
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", metavar="ADDR", help="Of the Ray cluster.", rich_help_panel=RUN)
    ] = None,
    gpus: Annotated[
        float, typer.Option("--gpus", metavar="SHARE", help="Ray: of a GPU for each worker.", rich_help_panel=RUN)
    ] = 0.0,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on converting what arrives, until Ctrl-C.", rich_help_panel=RUN)
    ] = False,
    interval: Annotated[
        float, typer.Option("--interval", metavar="SECONDS", help="With --watch: between looks.", rich_help_panel=RUN)
    ] = 2.0,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
    **options: Any,
) -> int:
    """Many files: each is done once, whatever happens in between.

    Photos become HDR files, HDR files pictures, as --to asks for. What was made is on record in the output folder, so a second
    run does only what is missing, has changed or failed, after a crash too; several runs may share a folder.
    """
    from hdrcli.batch import sizes
    from hdrcli.batch.engines import Running
    from hdrcli.batch.planning import Rules, Shard
    from hdrcli.batch.running import Batch

    say = Presenter(verbose=verbose, quiet=quiet, as_json=as_json, debug=ctx.obj.debug)
    if out_dir is None:
        raise UsageError("there is no folder for the outputs", where="--out-dir", remedy="say --out-dir DIR")
    if not interval > 0:
        raise UsageError(f"{interval:g} is not above 0", where="--interval", remedy="give seconds")
    recipe = _recipe(ctx, f".{to.removeprefix('.').lower()}", options)
    running = Running(
        workers=jobs,
        threads=threads,
        memory=sizes.budget(memory),
        address=address,
        gpus=gpus,
    )
    _check_engine(engine)
    part = None if shard is None else Shard.of(shard, os.environ)
    rules = Rules(overwrite=overwrite, checksum=checksum, retry_failed=retry_failed)
    if failed_list is not None:
        from hdrcli import formats

        formats.check_target(failed_list, overwrite=overwrite)
    find = _Finder(tuple(sources or ()), files_from, null, base, recursive, template, out_dir, recipe)
    job = Batch((), out_dir, recipe, rules, part, manifest)
    if watch:
        if dry_run or files_from is not None:
            fault = "--watch looks for files again and again"
            raise UsageError(fault, where="--watch", remedy="give folders, without --dry-run and --files-from")
        return _Run(say, failed_list, null, overwrite).watch(job, running, engine, find, interval)
    job = _with_items(job, find())
    if dry_run:
        return _show_plan(say, job)
    return _Run(say, failed_list, null, overwrite).once(job, running, engine)


def _with_conversion_options(command: Callable[..., int]) -> None:
    """Give the command the options of `hdrcli expand` and `hdrcli tonemap` in place of its ``**options``.

    So that they are said once, and mean the same everywhere.
    """
    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    named = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters = [p.replace(annotation=hints[p.name]) for p in named]
    first_general = next(i for i, p in enumerate(parameters) if p.name == "as_json")
    taken: list[inspect.Parameter] = []
    for function, names in ((expanding.expand, _OF_EXPAND), (tonemapping.tonemap, _OF_TONEMAP)):
        theirs, hints = inspect.signature(function).parameters, get_type_hints(function, include_extras=True)
        taken += [theirs[name].replace(annotation=hints[name]) for name in names]
    parameters[first_general:first_general] = taken
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}


_with_conversion_options(batch)


# -- what is asked for -------------------------------------------------------------------------------------------------------


def _recipe(ctx: typer.Context, extension: str, options: Mapping[str, Any]) -> Recipe:
    from hdrcli.batch.recipe import EXPAND, TONEMAP, Recipe
    from hdrcli.conversion import ExpandOptions, TonemapOptions, check_tonemap
    from hdrcli.formats import WriteOptions

    o = dict(options)
    device = parse_device(o["device"])
    depth = o["depth"]
    half = expanding._is_half(extension, depth)
    expand = ExpandOptions(
        model=o["model"],
        backend=o["backend"].value,
        device=device,
        whole=o["reconstruct"] is Reconstruct.ALL,
        ev=o["ev"],
        white_nits=o["white_nits"],
        peak_stops=o["peak_stops"],
        strength=o["strength"],
        half=half,
        primaries=o["primaries"].value,
        projection=o["projection"].value,
        sun=o["sun"],
    )
    operators = o["operator"] or [TonemapOptions().operator]
    if len(operators) > 1:
        raise UsageError("takes one operator here", where="-t", remedy="contact sheets are made by hdrcli tonemap")
    tonemap = TonemapOptions(
        operator=operators[0],
        parameters=parse_pairs(o["parameter"], "-p"),
        ev=o["ev"],
        bits=o["bits"],
        model=_toning_model(o["model"], extension),
        backend=o["backend"].value,
        device=device,
        auto_exposure=o["auto_exposure"],
        white=tonemapping._white(o["white"]),
        saturation=o["saturation"],
        dither=o["dither"],
        primaries=_display_primaries(o["primaries"].value, extension),
    )
    recipe = Recipe(
        extension,
        expand,
        tonemap,
        WriteOptions(
            depth=None if depth is None else depth.value,
            compression=None if o["compression"] is None else o["compression"].value,
        ),
        WriteOptions(depth="16" if o["bits"] == 16 else None, quality=o["quality"] or tonemapping._QUALITY),
        o["confidence"],
        o["preview"],
        None if o["strip"] is None else o["strip"].value,
        o["resize"],
    )
    directions = recipe.directions
    if TONEMAP in directions:
        tonemapping._check_file_options(extension, o["bits"], o["quality"])
        check_tonemap(tonemap)
    for verb, names in ((EXPAND, _OF_EXPAND), (TONEMAP, _OF_TONEMAP)):
        if verb in directions:
            continue
        for name in names:
            if name not in _OF_BOTH and ctx.get_parameter_source(name) is _on_command_line(ctx):
                doing = "expands" if verb == EXPAND else "tone-maps"
                flag = next(p.opts[0] for p in ctx.command.params if p.name == name)
                raise UsageError(f"nothing {doing} with --to {extension[1:]}", where=flag, remedy="leave it out")
    return recipe


def _check_engine(name: str) -> None:
    from hdrcli import registry
    from hdrcli.batch.engines import PACKAGE

    try:
        registry.load(PACKAGE, name)
    except UsageError as error:
        error.where = "--engine"
        raise


def _toning_model(name: str, extension: str) -> str:
    """The bundle that tone-maps: the model, or the usual one where the name can only be meant for what is expanded."""
    from hdrcli.conversion import TonemapOptions, is_operator

    return TonemapOptions().model if _may_expand(extension) and is_operator(name) else name


def _may_expand(extension: str) -> bool:
    from hdrcli import formats

    return "hdr" in formats.module_for_output(Path(f"x{extension}")).HOLDS


def _display_primaries(name: str, extension: str) -> str:
    """Of tone-mapped pictures: what was asked for, or sRGB where that can only be meant for expanded ones."""
    from hdrcli.conversion import DISPLAYS

    return "srgb" if name == "keep" or (_may_expand(extension) and name not in DISPLAYS) else name


def _on_command_line(ctx: typer.Context) -> Any:
    """The mark of a value that was given; typer does not export the enumeration it is of."""
    source: Any = type(ctx.get_parameter_source("out_dir"))
    return source.COMMANDLINE


class _Finder:
    """Looks for the sources; may be asked again and again."""

    def __init__(
        self,
        arguments: Sequence[str],
        files_from: Path | None,
        null: bool,
        base: Path | None,
        recursive: bool,
        template: str,
        out_dir: Path,
        recipe: Recipe,
    ) -> None:
        if files_from is not None and arguments:
            raise UsageError("--files-from and SRC exclude each other", remedy="give one of them")
        if files_from is None and not arguments:
            raise UsageError("there is nothing to convert", remedy="name files, folders or globs, or give --files-from")
        if null and files_from is None:
            raise UsageError("is for lists", where="-0", remedy="give --files-from as well")
        if base is not None and not base.is_dir():
            raise UsageError("no such folder", where=f"--base {base}", remedy="check the name")
        self._arguments, self._files_from, self._null, self._recursive = arguments, files_from, null, recursive
        self._base = None if base is None else str(base)
        self._template, self._out_dir, self._recipe = template, str(out_dir), recipe

    def __call__(self) -> list[Item]:
        """All sources with their outputs; raises UsageError where these clash."""
        return self._items(empty=False)

    def again(self, say: Presenter, told: set[str]) -> list[Item]:
        """As a call, but what clashes is left out, and told once; folders may be empty."""

        def tell(error: UsageError) -> None:
            if str(error) not in told:
                told.add(str(error))
                say.warning("left out", str(error))

        return self._items(empty=True, clash=tell)

    def _items(self, *, empty: bool, **more: Any) -> list[Item]:
        from hdrcli.batch import naming, sources
        from hdrcli.batch.recipe import PREVIEW

        if self._files_from is None:
            found = sources.find(
                self._arguments,
                takes=self._recipe.takes,
                recursive=self._recursive,
                base=self._base,
                skip=self._out_dir,
                empty=empty,
            )
        else:
            found = sources.listed(self._names(), base=self._base)
        preview = PREVIEW if self._recipe.preview else None
        extension, model = self._recipe.extension, self._recipe.model_name
        return naming.items(found, self._out_dir, extension, template=self._template, model=model, preview=preview, **more)

    def _names(self) -> Iterator[str]:
        from hdrcli.batch import sources

        assert self._files_from is not None
        if str(self._files_from) != "-":
            with sources.list_of(self._files_from) as file:
                yield from sources.read_list(file, zeros=self._null)
            return
        if sys.stdin.isatty():
            raise UsageError(
                "standard input is a terminal", where="--files-from -", remedy="send a list into it, or name a file"
            )
        yield from sources.read_list(sys.stdin.buffer, zeros=self._null)


def _with_items(job: Batch, items: list[Item]) -> Batch:
    from dataclasses import replace

    if not items:
        raise UsageError("the list is empty", where="--files-from", remedy="name at least one file")
    return replace(job, items=items)


def _show_plan(say: Presenter, job: Batch) -> int:
    from hdrcli.batch.running import prepared

    work = prepared(job)
    for task in work.tasks:
        if not say.as_json:
            print(f"{printable(task.source)} -> {printable(job.folder / task.outputs[0])}  ({task.why})")
        say.record({"event": "would do", "input": task.source, "output": task.outputs[0], "why": task.why})
    say.note(f"{_amount(len(work.tasks))} to do, {work.current} done before{_of_others(work)} (dry run, nothing written)")
    return ExitCode.OK


# -- doing it ----------------------------------------------------------------------------------------------------------------


class _Run:
    """Presents one call of the command."""

    def __init__(self, say: Presenter, failed_list: Path | None, null: bool, overwrite: bool) -> None:
        self._say, self._failed_list, self._null, self._overwrite = say, failed_list, null, overwrite
        self._done = self._failed = 0
        self._started = time.monotonic()
        self._advance: Callable[[float, str], None] = lambda done, text: None

    def once(self, job: Batch, running: Running, engine: str) -> int:
        """All there is, once."""
        from hdrcli.batch.running import run

        with self._bar() as planned:
            summary = run(job, running, engine=engine, planned=planned, report=self._hear)
        return self._sum_up(summary)

    def watch(self, job: Batch, running: Running, engine: str, find: _Finder, interval: float) -> int:
        """Again and again, until it is interrupted."""
        from hdrcli.batch.watching import watch

        told: set[str] = set()

        def wait() -> None:
            try:
                time.sleep(interval)
            except KeyboardInterrupt:  # the way to end it
                raise StopIteration from None

        self._say.note("watching; Ctrl-C ends it")
        summary = watch(
            job, running, lambda: find.again(self._say, told), wait, engine=engine, planned=self._plan, report=self._hear
        )
        return self._sum_up(summary)

    @contextmanager
    def _bar(self) -> Iterator[Callable[[Work], None]]:
        """A bar from the moment when it is known what is to be done."""
        from contextlib import ExitStack

        with ExitStack() as stack:

            def planned(work: Work) -> None:
                self._plan(work)
                self._advance = stack.enter_context(self._say.progress(len(work.tasks), unit="files", wanted=bool(work.tasks)))

            yield planned

    def _plan(self, work: Work) -> None:
        before = f", {work.current} done before" if work.current else ""
        self._say.detail(f"{_amount(len(work.tasks))} to do{before}{_of_others(work)}")
        self._say.record({"event": "planned", "tasks": len(work.tasks), "current": work.current, "others": work.others})
        self._done = self._failed = 0
        self._started = time.monotonic()

    def _hear(self, outcome: Outcome) -> None:
        self._done += 1
        if outcome.what == "failed":
            self._failed += 1
            if outcome.trace is not None and self._say.debug:
                print(outcome.trace, file=sys.stderr, end="")
            self._say.fault(_Told(outcome.record["error"]))
        elif outcome.what == "elsewhere":
            self._say.detail(f"{printable(outcome.source)}: another run has it")
        else:
            self._say.detail(f"{printable(outcome.source)} -> {printable(outcome.output)}")
            for note in outcome.record.get("notes", ()):
                self._say.detail(f"  {printable(note)}")
        self._say.record({"event": outcome.what, "input": outcome.source, **outcome.record})
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        failed = f", {self._failed} failed" if self._failed else ""
        self._advance(self._done, f"{rate:.1f}/s{failed}  {Path(outcome.source).name}")

    def _sum_up(self, summary: Summary) -> int:
        self._advance = lambda done, text: None
        say = self._say
        if summary.stopped is not None:
            say.note(f"stopped with {_amount(summary.left)} left: run again when that is mended")
        if self._failed_list is not None:
            self._write_failed([source for source, _ in summary.failed])
        tried = summary.done + len(summary.failed)
        parts = [f"{_amount(summary.done)} done"]
        parts += [f"{summary.current} done before"] if summary.current else []
        parts += [f"{summary.elsewhere} left to another run"] if summary.elsewhere else []
        parts += [f"{summary.others} in other shards"] if summary.others else []
        parts += [f"{len(summary.failed)} failed"] if summary.failed else []
        rate = f", {tried / summary.seconds:.1f} a second" if tried and summary.seconds > 1 else ""
        say.result(f"{', '.join(parts)} in {summary.seconds:.1f} s{rate}")
        if summary.failed:
            there = "" if self._failed_list is None else f"; they are listed in {printable(self._failed_list)}"
            say.result(f"run again with --retry-failed to try only those that failed{there}")
        counts = {name: value for name, value in vars(summary).items() if name not in ("failed", "seconds")}
        say.record({"event": "summary", **counts, "failed": len(summary.failed), "seconds": round(summary.seconds, 3)})
        total = tried + summary.current + summary.elsewhere + summary.left
        if summary.stopped is not None and not summary.failed:
            return ExitCode.PARTLY
        return code_of_all([ExitCode.FAILURE] * len(summary.failed), total)

    def _write_failed(self, names: Sequence[str]) -> None:
        from hdrcli import formats

        assert self._failed_list is not None
        end = b"\0" if self._null else b"\n"
        unfit = [name for name in names if "\n" in name and not self._null]
        for name in unfit:
            self._say.warning(
                self._failed_list, f"{name!r} holds a line break and is left out; -0 makes a list that can hold it"
            )
        content = b"".join(os.fsencode(name) + end for name in names if name not in unfit)
        with formats.whole_file(self._failed_list, overwrite=self._overwrite) as temporary:
            try:
                temporary.write_bytes(content)
            except OSError as error:
                fault = f"can't be written: {error.strerror}"
                raise UnwritableOutput(fault, where=self._failed_list, remedy="check rights and free space") from error


class _Told(HdrcliError):
    """A fault that a worker has put into words, with its file."""

    def __str__(self) -> str:
        return printable(self.what)


def _amount(files: int) -> str:
    return "1 file" if files == 1 else f"{files} files"


def _of_others(work: Work) -> str:
    return f", {work.others} in other shards" if work.others else ""
