"""``hdrcli train``: HDR scenes to a run folder and a bundle."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrcli.cli.exits import ExitCode
from hdrcli.cli.options import MODEL, Debug, Device, Precision, Quiet, Resume, Verbose, parse_device, parse_pairs
from hdrcli.cli.presentation import Presenter, printable
from hdrcli.errors import MissingExtra, MissingRequirement, UsageError

if TYPE_CHECKING:
    from hdrcli.training.loop import Progress

RECIPES = "hdrcli.training.objectives"
DATA, RUN = "Data", "Run"
_LINE_SECONDS = 30.0
_EXTRA = frozenset(
    ("torch", "lightning", "lightning_fabric", "lightning_utilities", "tensorboard", "onnx", "onnxscript", "safetensors")
)

EXAMPLES = """
\b
Examples:
  hdrcli train --hdr scenes --out run --minutes 60
  hdrcli train --hdr scenes --out run --minutes 90 --resume auto
  hdrcli train --hdr scenes --out run --max-steps 500 -p network.width=16
"""


@contextmanager
def training_extra(purpose: str = "training") -> Iterator[None]:
    """Turn a missing package of the extra "train" into MissingExtra; let every other ImportError be the bug it is."""
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA:
            raise
        raise MissingExtra(package, "train", purpose=purpose) from error


def train(
    ctx: typer.Context,
    hdr: Annotated[
        list[Path],
        typer.Option(
            "--hdr",
            metavar="DIR",
            show_default=False,
            readable=False,
            help="HDR files: folder, list (.txt) or file; repeatable.",
            rich_help_panel=DATA,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", show_default=False, help="Folder of the run.", rich_help_panel=RUN)
    ],
    split: Annotated[
        str,
        typer.Option(
            "--split", metavar="NAME", help="Of a folder with manifest.csv; all takes everything.", rich_help_panel=DATA
        ),
    ] = "train",
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="NAME", help="What is trained, and how.", rich_help_panel=MODEL)
    ] = "paired",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", "-p", metavar="KEY=VALUE", help="An option of the recipe; repeatable.", rich_help_panel=MODEL),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="N", help="End after this time, resumed runs counted in.", rich_help_panel=RUN),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", metavar="N", help="End after these steps.", rich_help_panel=RUN)
    ] = None,
    resume: Annotated[
        Resume,
        typer.Option(
            "--resume", metavar="WHEN", help="auto: go on with the run in RUN, if any; or never.", rich_help_panel=RUN
        ),
    ] = Resume.NEVER,
    init: Annotated[
        Path | None,
        typer.Option("--init", metavar="RUN", help="Start from the weights of another run (fine-tuning).", rich_help_panel=RUN),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of views, cameras and weights.", rich_help_panel=RUN)] = 1,
    device: Device = "auto",
    precision: Annotated[
        Precision, typer.Option("--precision", metavar="TYPE", help="bf16-mixed or 32-true.", rich_help_panel=MODEL)
    ] = Precision.BF16,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes that make samples.", rich_help_panel=RUN)
    ] = 1,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="CPU threads of torch.", rich_help_panel=RUN)
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train a generator on HDR scenes, seen through a virtual camera.

    RUN gets checkpoints, TensorBoard logs and at the end a bundle and g_y.safetensors. Needs pip install 'hdrcli[train]'.
    """
    say = Presenter(verbose=verbose, quiet=quiet, debug=ctx.obj.debug)
    _refuse_below("--minutes", minutes, 0, exclusive=True)
    for option, value, least in (
        ("--max-steps", max_steps, 1),
        ("--seed", seed, 0),
        ("--workers", workers, 0),
        ("--threads", threads, 1),
    ):
        _refuse_below(option, value, least)
    if minutes is None and max_steps is None:
        raise UsageError("training needs an end", remedy="give --minutes or --max-steps")
    parse_device(device)
    settings = parse_pairs(parameter, "--set")
    with training_extra(), _quiet_lightning():
        from hdrcli.training import datasets, loop, objectives

        objective = objectives.create(recipe, settings, seed)
        scenes = datasets.find_scenes(hdr, split)
        say.note(f"scenes: {printable(scenes.note)}")
        loaded = datasets.load_scenes(scenes.files, lambda line: say.warning("training data", line))
        end = " or ".join(f"{n:g} {unit}" for n, unit in ((max_steps, "steps"), (minutes, "minutes")) if n is not None)
        say.note(f"recipe: {recipe}, {len(loaded)} scenes, until {end}, device {device}, {precision}, seed {seed}")
        config = loop.LoopConfig(
            max_steps=max_steps,
            minutes=minutes,
            seed=seed,
            device=device,
            precision=precision,
            workers=workers,
            threads=threads,
        )
        with say.progress(1.0) as advance:
            state = loop.train(
                objective, loaded, config, out, resume=resume is Resume.AUTO, initial=init, observe=_observer(say, advance)
            )
        say.result(f"trained {state['step']} steps in {state['elapsed'] / 60:.1f} min on {state['device']} -> {printable(out)}")
    return _export(say, out)


def _export(say: Presenter, run: Path) -> int:
    """Weights and bundle at the end. Without the packages for them the run is still a success, and can be exported later."""
    from hdrcli.training.export import write_bundle, write_weights

    try:
        with training_extra("writing safetensors"):
            write_weights(run)
    except MissingRequirement as error:
        say.warning(run, f"no weights written: {error}")
    try:
        with training_extra("exporting a bundle"):
            bundle = write_bundle(run, run / "bundle", overwrite=True)
    except MissingRequirement as error:
        say.warning(run, f"no bundle written: {error}")
    else:
        say.result(f"{printable(run)} -> {printable(bundle)}; use it: hdrcli expand photo.jpg --model {printable(bundle)}")
    return ExitCode.OK


def _refuse_below(option: str, value: float | None, least: float, *, exclusive: bool = False) -> None:
    # written so that NaN is refused too
    if value is not None and not (value > least if exclusive else value >= least):
        raise UsageError(
            f"{value:g} is {'not above' if exclusive else 'below'} {least:g}", where=option, remedy="give a larger number"
        )


def _observer(say: Presenter, advance: Callable[[float, str], None]) -> Callable[[Progress], None]:
    """Progress to the bar, and where there is none a line now and then."""
    said = time.monotonic() - _LINE_SECONDS

    def observe(progress: Progress) -> None:
        nonlocal said
        losses = " ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
        advance(progress.fraction, f"step {progress.step}  {progress.steps_per_second:.1f}/s  {losses}")
        if not say.has_bar and time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            speed = f"{progress.steps_per_second:.1f} steps/s"
            say.note(
                f"{100 * progress.fraction:3.0f} %  step {progress.step}  {progress.elapsed / 60:.1f} min  {speed}  {losses}"
            )

    return observe


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning advertises and explains itself; what matters comes as errors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # not by logger: importing Lightning sets the levels of its loggers anew
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
