"""``hdrcli train``: pictures to a run folder and a bundle."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli.cli.exits import ExitCode
from hdrcli.cli.options import MODEL, Debug, Device, Quiet, Resume, Verbose, parse_device, parse_pairs
from hdrcli.cli.pairing import Pairs, PairsLayout, find_pairs, pair_sources
from hdrcli.cli.presentation import Presenter, printable, uses
from hdrcli.errors import MissingExtra, MissingRequirement, UsageError

if TYPE_CHECKING:
    from hdrcli.training.datasets import Pictures
    from hdrcli.training.loop import LoopConfig, Progress
    from hdrcli.training.objectives import Objective
    from hdrcli.training.pairs import PairList
    from hdrcli.training.recipes import Recipe
    from hdrcli.training.sources import Domain
    from hdrcli.training.validation import Validation

DATA, RUN = "Data", "Run"
_LINE_SECONDS = 30.0
# the guide that a dry run may not ask, and the one that stands for it there
_ASKED, _INSTEAD = "llm", "exposure"
_EXTRA = frozenset(
    ("torch", "lightning", "lightning_fabric", "lightning_utilities", "tensorboard", "onnx", "onnxscript", "safetensors")
)

EXAMPLES = """
\b
Examples:
  hdrcli train --hdr scenes --out run --minutes 60
  hdrcli train --pairs photos hdr --out run --minutes 60
  hdrcli train --ldr photos --hdr scenes --out run --val val
  hdrcli train --ldr photos --hdr scenes --out run --dry-run
  hdrcli train --ldr photos --hdr scenes --out run --resume auto
  hdrcli train --hdr scenes --out run --max-steps 500 --width 16
"""


class Precision(StrEnum):
    """Numbers that training computes with."""

    BF16 = "bf16-mixed"
    FP16 = "16-mixed"
    FULL = "32-true"


class Guides(StrEnum):
    """Sets of guides."""

    OFFLINE = "offline"
    PAPER = "paper"
    NONE = "none"


GUIDES: Mapping[Guides, Mapping[str, str]] = {
    Guides.OFFLINE: {"maps": "exposure", "embeddings": "own", "masks": "superpixels"},
    # with what uses them, where a recipe has left it out: the embedding of 3.2, the semantic loss by its weight (S2.3). Of what
    # networks make, a large model is shown a sample only: all of it would be eight requests a step
    Guides.PAPER: {
        **{"maps": "llm", "embeddings": "clip", "masks": "sam"},
        **{"embedding": "true", "semantic_weight": "2", "maps_every": "50"},
    },
    Guides.NONE: {"maps": "none", "embeddings": "none", "masks": "none"},
}


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
    *,
    hdr: Annotated[
        list[Path] | None,
        typer.Option(
            "--hdr",
            metavar="DIR",
            show_default=False,
            readable=False,
            help="HDR files: folder, list (.txt) or file; repeatable.",
            rich_help_panel=DATA,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", show_default=False, help="Folder of the run.", rich_help_panel=RUN)
    ],
    ldr: Annotated[
        list[Path] | None,
        typer.Option(
            "--ldr",
            metavar="DIR",
            readable=False,
            help="LDR photos, of any scenes (unpaired): folder, list (.txt) or file; repeatable.",
            rich_help_panel=DATA,
        ),
    ] = None,
    pairs: Pairs = None,
    pairs_layout: PairsLayout = None,
    val: Annotated[
        Path | None,
        typer.Option(
            "--val",
            metavar="DIR",
            readable=False,
            help="Scored while training: ldr/ and hdr/ by name, or HDR scenes.",
            rich_help_panel=DATA,
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            "--split", metavar="NAME", help="Of a folder with manifest.csv; all takes everything.", rich_help_panel=DATA
        ),
    ] = "train",
    cache_memory: Annotated[
        float, typer.Option("--cache-memory", metavar="GB", help="Decoded pictures kept in memory.", rich_help_panel=DATA)
    ] = 4.0,
    cache_disk: Annotated[
        float,
        typer.Option(
            "--cache-disk",
            metavar="GB",
            help="Decoded pictures kept in RUN/cache, if memory does not hold them.",
            rich_help_panel=DATA,
        ),
    ] = 10.0,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="paired; llm-hdr, hdr-cgan, hybrid (each -small, too); toning; segmentation; or a .toml file "
            "[default: by the data and device].",
            rich_help_panel=MODEL,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", "-p", metavar="KEY=VALUE", help="An option of the recipe; repeatable.", rich_help_panel=MODEL),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="N", help="Features of the network's first level.", rich_help_panel=MODEL)
    ] = None,
    guides: Annotated[
        Guides | None,
        typer.Option(
            "--guides",
            metavar="SET",
            help="offline (exposure, own, superpixels), paper (llm, clip, sam) or none.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Less memory, more time.", rich_help_panel=MODEL)
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="N", help="End after this time, resumed runs counted in.", rich_help_panel=RUN),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", metavar="N", help="End after these steps.", rich_help_panel=RUN)
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", metavar="N", help="End after as many times all pictures.", rich_help_panel=RUN)
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it costs; train three steps only.", rich_help_panel=RUN)
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of views, cameras and weights.", rich_help_panel=RUN)] = 1,
    accumulate: Annotated[
        int, typer.Option("--accumulate", metavar="N", help="Batches whose gradients make one step.", rich_help_panel=RUN)
    ] = 1,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", metavar="N", help="Between checkpoints.", rich_help_panel=RUN)
    ] = 2.0,
    checkpoint_epochs: Annotated[
        float | None, typer.Option("--checkpoint-epochs", metavar="N", help="Between checkpoints.", rich_help_panel=RUN)
    ] = None,
    shard_mib: Annotated[
        float | None,
        typer.Option("--shard-mib", metavar="N", help="Checkpoints in pieces of at most so many MiB.", rich_help_panel=RUN),
    ] = None,
    report_minutes: Annotated[
        float, typer.Option("--report-minutes", metavar="N", help="Between scores and contact sheets.", rich_help_panel=RUN)
    ] = 10.0,
    device: Device = "auto",
    devices: Annotated[
        int, typer.Option("--devices", metavar="N", help="Processes on this machine; 0: one a card.", rich_help_panel=MODEL)
    ] = 1,
    nodes: Annotated[
        int, typer.Option("--nodes", metavar="N", help="Machines; torchrun's environment is honoured.", rich_help_panel=MODEL)
    ] = 1,
    precision: Annotated[
        Precision, typer.Option("--precision", metavar="TYPE", help="bf16-mixed, 16-mixed or 32-true.", rich_help_panel=MODEL)
    ] = Precision.BF16,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Processes that make samples [default: 1, with CUDA up to 8].", rich_help_panel=RUN
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", metavar="N", help="CPU threads of torch.", rich_help_panel=RUN)
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train generators: on HDR scenes seen through a virtual camera, on pairs, or on unpaired LDR and HDR folders.

    RUN gets checkpoints, run.json, log.jsonl, sample sheets, TensorBoard logs and at the end a bundle and g_y.safetensors.
    Without --minutes, --max-steps and --epochs the recipe says when it ends. Needs pip install 'hdrcli[train]'.
    """
    say = Presenter(verbose=verbose, quiet=quiet, debug=ctx.obj.debug)
    for option, value, exclusive in (
        ("--minutes", minutes, True),
        ("--epochs", epochs, True),
        ("--checkpoint-epochs", checkpoint_epochs, True),
        ("--shard-mib", shard_mib, True),
        ("--checkpoint-minutes", checkpoint_minutes, False),
        ("--report-minutes", report_minutes, False),
        ("--cache-memory", cache_memory, False),
        ("--cache-disk", cache_disk, False),
    ):
        _refuse_below(option, value, 0, exclusive=exclusive)
    for option, count, least in (
        ("--max-steps", max_steps, 1),
        ("--seed", seed, 0),
        ("--accumulate", accumulate, 1),
        ("--devices", devices, 0),
        ("--nodes", nodes, 1),
        ("--workers", workers, 0),
        ("--threads", threads, 1),
    ):
        _refuse_below(option, count, least)
    parse_device(device)
    settings = parse_pairs(parameter, "--set")
    with training_extra(), _quiet_lightning():
        from hdrcli.training import loop, objectives, placement, plan, recipes, sources, validation

        paired_data = pair_sources(pairs, pairs_layout)
        if paired_data and ldr:
            remedy = "leave it out: pairs bring their own photos"
            raise UsageError("photos of any scenes don't go with pairs", where="--ldr", remedy=remedy)
        made = recipes.load(recipe or _default_recipe(device, unpaired=bool(ldr)))
        ends = {"max_steps": max_steps, "minutes": minutes, "epochs": epochs}
        if all(end is None for end in ends.values()):
            ends |= {"minutes": made.loop.minutes or None, "epochs": made.loop.epochs or None}
        if all(end is None for end in ends.values()):
            raise UsageError("training needs an end", remedy="give --minutes, --epochs or --max-steps")
        flags = _flag_options(made, width, guides, checkpoint_activations)
        options = {**made.options, **flags, **settings}
        instead = dry_run and options.get("maps") == _ASKED
        objective = objectives.create(made.objective, options | ({"maps": _INSTEAD} if instead else {}), seed)
        sources_given: dict[Domain, list[Path]] = {"hdr": hdr or [], "ldr": ldr or []}
        _check_domains(objective, sources_given, made.name, pairs=bool(paired_data))
        fabric = None if dry_run else placement.make_fabric(device, devices, nodes, precision)
        leads = fabric is None or fabric.global_rank == 0
        if not leads:
            say = Presenter(quiet=True, debug=ctx.obj.debug)
        given = [domain for domain in objective.domains if sources_given[domain]]
        lists: dict[Domain, Any] = {domain: sources.find_files(sources_given[domain], domain, split) for domain in given}
        for domain, found in lists.items():
            say.note(f"{'scenes' if domain == 'hdr' else 'photos'}: {printable(found.note)}")
        matched = find_pairs(pairs, pairs_layout, split, say, "training data")
        pictures = _load(lists, matched, objective.view_size, (cache_memory, cache_disk), out, say)
        scored = None if val is None else validation.find(val, lambda line: say.warning("validation data", line))
        processes = devices * nodes if fabric is None else int(fabric.world_size)
        steps = _steps(ends, objective, pictures, accumulate, processes)
        config = loop.LoopConfig(
            max_steps=steps,
            minutes=ends["minutes"],
            seed=seed,
            device=device,
            devices=devices,
            num_nodes=nodes,
            precision=precision,
            schedule=made.loop.schedule,
            constant_share=made.loop.constant_share,
            warmup_steps=made.loop.warmup_steps,
            ema=made.loop.ema,
            clip_gradient=made.loop.clip_gradient,
            accumulate=accumulate,
            workers=_workers(device, devices) if workers is None else workers,
            threads=threads,
            checkpoint_minutes=checkpoint_minutes,
            checkpoint_epochs=checkpoint_epochs,
            shard_mib=shard_mib,
            report_minutes=report_minutes,
        )
        if dry_run:
            return _print_plan(made, objective, pictures, config, instead=instead)
        _introduce(say, made, objective, pictures, config, scored)
        with say.progress(1.0, estimates=False) as advance:
            record = {
                "recipe": made.name,
                "sources": {d: [str(p) for p in sources_given[d]] for d in given} | paired_data,
                "split": split,
                "cache": {"memory_gb": cache_memory, "disk_gb": cache_disk},
            }
            record |= {} if init is None else {"init": str(init)}
            try:
                with plan.memory_errors(objective):
                    state = loop.train(
                        objective,
                        pictures,
                        config,
                        out,
                        resume=resume is Resume.AUTO,
                        initial=init,
                        validation=scored,
                        record=record,
                        fabric=fabric,
                        observe=_observer(say, advance),
                        report=lambda line: say.note(printable(line)),
                    )
            except KeyboardInterrupt:
                if leads:
                    raise
                return ExitCode.INTERRUPTED  # said once
        skipped = f", {state['skipped']} left out" if state["skipped"] else ""
        steps_done = f"{state['step']} steps{skipped}"
        say.result(f"trained {steps_done} in {state['elapsed'] / 60:.1f} min on {state['device']} -> {printable(out)}")
    return _export(say, out) if leads else ExitCode.OK


def _default_recipe(device: str, *, unpaired: bool) -> str:
    if not unpaired:
        return "paired"
    from hdrcli.training.placement import placement

    return "llm-hdr" if placement(device)[0] == "cuda" else "llm-hdr-small"


def _flag_options(made: Recipe, width: int | None, guides: Guides | None, activations: bool) -> dict[str, str]:
    """Flags as options of the recipe's objective. Raises UsageError where it has no such thing."""
    from hdrcli import registry

    config = registry.load("hdrcli.training.objectives", made.objective).Config()
    wanted = {} if width is None else {"width": ("--width", str(width))}
    wanted |= {name: (f"--guides {guides}", value) for name, value in (GUIDES[guides].items() if guides else ())}
    wanted |= {"saves_memory": ("--checkpoint-activations", "true")} if activations else {}
    out: dict[str, str] = {}
    for name, (flag, value) in wanted.items():
        place = next((p for p in (name, f"network.{name}", f"guides.{name}") if _has(config, p)), None)
        if place is None:
            raise UsageError(f"recipe {made.name} has no {name}", where=flag, remedy="leave it out, or use another --recipe")
        out[place] = value
    return out


def _has(config: Any, place: str) -> bool:
    name, _, rest = place.partition(".")
    if not is_dataclass(config) or name not in {f.name for f in fields(config)}:
        return False
    return _has(getattr(config, name), rest) if rest else True


def _check_domains(objective: Objective, given: Mapping[Domain, list[Path]], recipe: str, *, pairs: bool) -> None:
    domains: tuple[Domain, ...] = ("ldr", "hdr")
    from hdrcli.training.loop import takes_pairs

    pairable = takes_pairs(objective)
    if pairs and not pairable:
        folders = " and ".join(f"--{domain}" for domain in objective.domains)
        remedy = f"give {folders} instead, or use another --recipe"
        raise UsageError(f"recipe {recipe} does not learn from pairs", where="--pairs", remedy=remedy)
    for domain in domains:
        if domain in objective.domains and not given[domain] and not pairs:
            other = " or --pairs with two" if pairable else ""
            remedy = f"give --{domain} with a folder{other}, or another --recipe"
            raise UsageError(f"recipe {recipe} needs {domain.upper()} pictures", remedy=remedy)
        if domain not in objective.domains and given[domain]:
            remedy = f"leave --{domain} out, or use another --recipe"
            raise UsageError(f"recipe {recipe} is not trained on {domain.upper()} pictures", where=f"--{domain}", remedy=remedy)


def _load(
    lists: Mapping[Domain, Any],
    matched: PairList | None,
    view_size: int,
    budget_gb: tuple[float, float],
    out: Path,
    say: Presenter,
) -> Pictures:
    """All pictures of all domains, within one budget; pairs are HDR pictures that bring their photos."""
    from hdrcli.training import cache
    from hdrcli.training.datasets import enlarged_note

    budget = cache.Budget.gigabytes(*budget_gb, out / "cache")
    pictures: dict[str, Any] = {}
    limits = cache.Limits.of_views(view_size)

    def report(line: str) -> None:
        say.warning("training data", line)

    for domain, found in lists.items():
        pictures[domain] = cache.load(found.files, domain, limits, budget, report)
    if matched is not None:
        pictures["hdr"] = (*cache.load_pairs(matched.files, limits, budget, report), *pictures.get("hdr", ()))
    for name, chosen in pictures.items():
        note = enlarged_note(name, chosen, view_size)
        if note:
            say.note(note)
        panoramas = sum(picture.panorama for picture in chosen)
        if panoramas:
            say.note(f"{panoramas} of {len(chosen)} {name.upper()} images are panoramas: what is seen of them are flat views")
        if len(chosen) == 1:
            say.note(f"there is one {name.upper()} image only: what is learned will hold for it alone")
    return pictures


def _steps(ends: Mapping[str, Any], objective: Objective, pictures: Pictures, accumulate: int, processes: int) -> int | None:
    """The end in steps, whichever comes first, if there is one."""
    import math

    from hdrcli.training.plan import steps_per_epoch

    found = [] if ends["max_steps"] is None else [int(ends["max_steps"])]
    if ends["epochs"] is not None:
        found.append(max(1, math.ceil(ends["epochs"] * steps_per_epoch(objective, pictures, accumulate, max(1, processes)))))
    return min(found, default=None)


def _workers(device: str, devices: int) -> int:
    from hdrcli.parallel import available
    from hdrcli.training.placement import placement

    kind, where = placement(device, devices)
    processes = where if isinstance(where, int) else len(where)
    return max(1, min(8, available() // processes - 1)) if kind == "cuda" else 1


def _introduce(
    say: Presenter, made: Recipe, objective: Objective, pictures: Pictures, config: LoopConfig, scored: Validation | None
) -> None:
    """What is about to be done, in two or three lines."""
    end = " or ".join(
        f"{n:g} {unit}" for n, unit in ((config.max_steps, "steps"), (config.minutes, "minutes")) if n is not None
    )
    data = ", ".join(f"{len(some)} {words}" for words, some in _sorts(objective, pictures).items() if some)
    say.note(f"recipe: {made.name}, {data}, until {end}, device {config.device}, {config.precision}, seed {config.seed}")
    for kind, line in objective.guides().items():
        say.note(f"guide for {kind}: {line}")
    if scored is not None:
        say.note(f"validation: {printable(scored.note)}")


def _sorts(objective: Objective, pictures: Pictures) -> dict[str, list[Any]]:
    from hdrcli.training.datasets import Pair

    words = {"hdr": "scenes", "ldr": "photos"}
    pairs = [p for d in objective.domains for p in pictures[d] if isinstance(p, Pair)]
    return {"pairs": pairs} | {words[d]: [p for p in pictures[d] if not isinstance(p, Pair)] for d in objective.domains}


def _print_plan(made: Recipe, objective: Objective, pictures: Pictures, config: LoopConfig, *, instead: bool) -> int:
    """``instead``: the objective has another guide in place of one that may not be asked."""
    from hdrcli.training import plan

    print(f"recipe: {made.name} ({made.summary})" if made.summary else f"recipe: {made.name}")
    counts = plan.kept(pictures)
    for domain, (memory, disk, anew) in counts.items():
        where = f"{memory} in memory, {disk} cached on disk, {anew} decoded each time"
        pairs = len(_sorts(objective, pictures)["pairs"])
        print(f"{domain.upper()}: {len(pictures[domain])} images{f', {pairs} of them pairs' if pairs else ''} ({where})")
    numbers = plan.parameters(objective)
    print(f"networks: {', '.join(f'{name} {n:,}' for name, n in numbers.items())} parameters")
    processes = max(1, config.devices) * config.num_nodes
    size = f"{objective.batch_size} x {config.accumulate} x {processes}"
    print(f"batch: {size} images (batch x accumulate x processes), views of {objective.view_size} pixels")
    for kind, line in objective.guides().items():
        stands = f" (in place of {_ASKED}, which a dry run neither asks nor checks)" if instead and kind == "maps" else ""
        print(f"guide for {kind}: {line}{stands}")
    per_epoch = plan.steps_per_epoch(objective, pictures, config.accumulate, processes)
    print(f"epoch: {per_epoch:.4g} steps; schedule: {config.schedule}")
    with plan.memory_errors(objective):
        need, free = plan.estimate(objective, config), plan.free_memory(config)
    what = (
        f"{need.fixed / 1e9:.2f} for weights and their updates, {need.activations / 1e9:.2f} for {objective.batch_size} images"
    )
    print(f"memory, estimated: {need.total / 1e9:.2f} GB ({what}); {free / 1e9:.2f} GB are free", flush=True)
    if need.total > free:
        print(f"that is more than there is: {plan.what_to_lower(objective)}")
        print("time: not measured, since a step would not fit")
        return ExitCode.OK
    with plan.memory_errors(objective):
        cost = plan.measure(objective, pictures, config)
    ends = [] if config.max_steps is None else [config.max_steps * cost.seconds / 60]
    ends += [] if config.minutes is None else [config.minutes]
    steps = f"{min(ends) * 60 / cost.seconds:.0f} steps"
    device = f", {cost.device_memory / 1e9:.2f} GB on the device" if cost.device_memory else ""
    print(f"memory: {cost.memory / 1e9:.2f} GB in this process{device}; a checkpoint takes {cost.checkpoint / 1e6:.1f} MB")
    print(f"time: {cost.seconds:.3g} s a step (measured on {plan.STEPS - 1}, one process); {steps}, {min(ends):.1f} minutes")
    return ExitCode.OK


def _export(say: Presenter, run: Path) -> int:
    """Weights and bundle at the end. Without the packages for them the run is still a success, and can be exported later."""
    from hdrcli.inference import bundles
    from hdrcli.training.export import write_bundle, write_weights
    from hdrcli.training.loop import BEST

    try:
        with training_extra("writing safetensors"):
            write_weights(run)
    except MissingRequirement as error:
        say.warning(run, f"no weights written: {error}")
    say.note("making its bundle and comparing that with torch; this takes a while")
    try:
        with training_extra("exporting a bundle"):
            bundle = write_bundle(run, run / "bundle", overwrite=True)
    except MissingRequirement as error:
        say.warning(run, f"no bundle written: {error}")
    else:
        say.result(f"{printable(run)} -> {printable(bundle)}; use it: {uses(bundles.read(bundle).roles, str(bundle))}")
    if (run / BEST).is_dir():
        say.note(f"scored best on --val: {printable(run / BEST)}, another bundle by hdrcli models export")
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
        left, speed = f"{_time(progress.remaining)} left", f"{progress.images_per_second:.1f} images/s"
        where = f"epoch {progress.epoch:.1f}  step {progress.step}"
        losses = [f"{name} {value:.3f}" for name, value in progress.losses.items()]
        # what a narrow terminal shows is the beginning
        advance(progress.fraction, "  ".join((left, speed, where, *losses)))
        if not say.has_bar and time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            done = f"{100 * progress.fraction:3.0f} %  {where}  {_time(progress.elapsed)}, {left}"
            say.note("  ".join((done, speed, " ".join(losses))))

    return observe


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


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
