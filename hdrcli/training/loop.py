"""The training loop: time, data, devices, gradients, averages, checkpoints. What is trained is the objective's business.

How one training step goes is told in :mod:`hdrcli.training.objectives`. A run that is resumed with the same ``max_steps``, the
same devices and no ``minutes`` goes on bit for bit on the CPU: weights, optimisers, averages, random states, the objective's
own state and the position in the data are kept.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hdrcli.errors import HdrcliError, TrainingError, UsageError
from hdrcli.training import checkpoint
from hdrcli.training.datasets import BatchStream, Pair, Picture, Pictures, Position, checked_fault
from hdrcli.training.logs import Journal, write_record
from hdrcli.training.objectives import AsksOthers, Objective, Surroundings
from hdrcli.training.placement import (
    gathered,
    largest,
    make_fabric,
    memory_kept,
    placed,
    prepare_worker,
    ready_to_fork,
    served,
    without_sync,
)
from hdrcli.training.runs import existing, initialise
from hdrcli.training.schedule import CONSTANT_SHARE, learning_rate_factor
from hdrcli.training.validation import Validation, scores

PATIENCE = 20  # steps without a finite loss, one after the other, that end a run
SAME_REQUEST = 1.0  # seconds in which a second SIGTERM is the first one: GNU timeout sends it to its child and to the group
Report = Callable[[str], None]


@dataclass(frozen=True)
class LoopConfig:
    """How long, how fast, where.

    ``max_steps`` and ``minutes``: the run ends at whichever comes first; its position, which decides the learning rate, is the
    larger share of the two. At least one is given. ``minutes`` counts over resumed runs. ``schedule``, ``constant_share``,
    ``warmup_steps``: see :mod:`hdrcli.training.schedule`. ``precision``: "bf16-mixed", "16-mixed" or "32-true". ``ema``: decay
    of the averaged weights that are exported. ``clip_gradient``: largest norm of a phase's gradient; 0: not clipped.
    ``accumulate``: micro-batches of one step. ``devices``: processes on this node, 0 for one a card; ``num_nodes``: nodes.
    ``workers``: processes that make samples, for each process. ``threads``: of torch on the CPU; None: as many as it likes.
    ``checkpoint_minutes``, ``checkpoint_epochs``: between checkpoints, whichever comes first; ``shard_mib``: size
    of their pieces, and of those of ``RUN/best``. ``report_minutes``: between scores and sheets.
    """

    max_steps: int | None = None
    minutes: float | None = None
    seed: int = 1
    device: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    precision: str = "bf16-mixed"
    schedule: str = "cosine"
    constant_share: float = CONSTANT_SHARE
    warmup_steps: int = 200
    ema: float = 0.999
    clip_gradient: float = 1.0
    accumulate: int = 1
    workers: int = 1
    threads: int | None = None
    checkpoint_minutes: float = 2.0
    checkpoint_epochs: float | None = None
    shard_mib: float | None = None
    report_minutes: float = 10.0
    log_steps: int = 20


@dataclass(frozen=True)
class Progress:
    """What the loop tells its observer after the first step, every ``log_steps`` and at the end.

    ``losses``: means since the last report.

    ``epoch``: how many times as many views have been drawn as there are pictures (of the larger domain). ``remaining``:
    seconds, estimated. ``timings``: share of the time since the last report spent waiting for data ("data"), in losses and
    their gradients ("compute"), in optimisers and averages ("update"); on CUDA, where the device works on its own, only "data"
    means something.
    """

    step: int
    fraction: float
    elapsed: float
    steps_per_second: float
    losses: dict[str, float]
    epoch: float = 0.0
    images_per_second: float = 0.0
    remaining: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)


def batches_per_epoch(objective: Objective, pictures: Pictures) -> int:
    """How many batches show as many views as there are pictures in the larger domain."""
    return max(1, math.ceil(max(len(p) for p in pictures.values()) / objective.views_per_batch))


BEST = "best"  # folder in a run, of the generators that scored best on --val


def takes_pairs(objective: Objective) -> bool:
    """Does the system learn from photos and their truth? Those of scenes alone do, unless their ``takes_pairs`` denies it."""
    return bool(getattr(objective, "takes_pairs", tuple(objective.domains) == ("hdr",)))


def train(
    objective: Objective,
    data: Pictures | Sequence[Picture],
    config: LoopConfig,
    folder: Path,
    *,
    resume: bool = False,
    initial: Path | None = None,
    validation: Validation | None = None,
    record: Mapping[str, Any] | None = None,
    fabric: Any = None,
    observe: Callable[[Progress], None] = lambda progress: None,
    report: Report = lambda line: None,
) -> dict[str, Any]:
    """Train the objective, keeping checkpoints, ``run.json``, ``log.jsonl``, sheets and TensorBoard logs in ``folder``.

    ``data``: pictures by domain; a sequence alone is of the objective's only domain. HDR pictures may bring their photos
    (pairs). With ``resume`` an existing checkpoint of the same objective, data and seed is continued. A new run starts from the
    (averaged) weights of the run in ``initial``, if given. ``record``: more for ``run.json``. ``fabric``: one that has been
    launched; else one is made. Returns the last checkpoint's state. Raises TrainingError if the folder holds another run, if
    the initial weights don't fit, if a checkpoint can't be written at the end, or if the loss is not finite 20 times in a row;
    DataError; UsageError for pairs given to a system that does not learn from them; MissingRequirement or UsageError for a
    device that is not there. Ctrl-C, SIGTERM and SIGHUP (a closed terminal; not where it is ignored) end the step, write a
    checkpoint and raise KeyboardInterrupt; a second one does so at once. Where no samples come any more (a file has gone, a
    worker was killed), a checkpoint is written, too, before the error is raised.
    """
    if config.max_steps is None and config.minutes is None:
        raise UsageError("training needs an end", remedy="give --max-steps or --minutes")
    pictures = _by_domain(objective, data)
    if validation is not None and "g_y" not in objective.averaged:
        raise UsageError(f"scores G_Y, which {objective.name} does not train", where="--val", remedy="leave it out")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    fabric = fabric or make_fabric(config.device, config.devices, config.num_nodes, config.precision)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"can't be made: {error.strerror}", where=folder, remedy="name another --out") from error
    old = existing(folder, objective, pictures, config.seed, resume=resume)
    objective.see(pictures)
    torch.manual_seed(config.seed + 1_000_003 * fabric.global_rank)
    history = [] if old is not None or initial is None else initialise(objective, initial)
    run = _Run(objective, pictures, config, folder, fabric, history, validation, observe, report)
    if old is not None:
        run.restore(old)
    if fabric.global_rank == 0:
        if old is not None:
            report(f"resumes at step {run.step} of {folder}")
        elif resume:
            report(f"nothing to resume in {folder}: starts at step 0")
        names: dict[str, Any] = {domain: [p.name for p in chosen] for domain, chosen in pictures.items()}
        pairs = [[p.photo.name, p.scene.name] for chosen in pictures.values() for p in chosen if isinstance(p, Pair)]
        names |= {"pairs": pairs} if pairs else {}
        scored = {} if validation is None else {"validation": {"note": validation.note, "digest": validation.digest}}
        told = {"objective": objective.describe(), "loop": asdict(config), **(record or {}), **scored, "data": names}
        write_record(folder, told, None if old is None else run.step)
    return run.go()


def _by_domain(objective: Objective, data: Pictures | Sequence[Picture]) -> Pictures:
    if not isinstance(data, Mapping):
        data = {objective.domains[0]: data}
    if set(data) != set(objective.domains):
        wanted, given = " and ".join(objective.domains), " and ".join(data)
        raise UsageError(
            f"{objective.name} is trained on {wanted}, not {given}", remedy=f"give --{' and --'.join(objective.domains)}"
        )
    if not takes_pairs(objective) and any(isinstance(p, Pair) for chosen in data.values() for p in chosen):
        given = " and ".join(f"--{domain}" for domain in objective.domains)
        raise UsageError(f"{objective.name} does not learn from pairs", where="--pairs", remedy=f"give {given} instead")
    return {domain: tuple(data[domain]) for domain in objective.domains}


class _Run:
    """One run, from its first or restored state to its end."""

    def __init__(
        self,
        objective: Objective,
        pictures: Pictures,
        config: LoopConfig,
        folder: Path,
        fabric: Any,
        history: list[dict[str, Any]],
        validation: Validation | None,
        observe: Callable[[Progress], None],
        report: Report,
    ) -> None:
        self.objective, self.pictures, self.config, self.folder, self.fabric = objective, pictures, config, folder, fabric
        self.history, self.validation, self.observe, self.report = history, validation, observe, report
        self.best, self.best_on = math.inf, "" if validation is None else validation.digest
        self.leads = fabric.global_rank == 0
        self.raw: dict[str, nn.Module] = dict(objective.networks.items())
        objective.networks.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = nn.ModuleDict({name: copy.deepcopy(self.raw[name]) for name in objective.averaged})
        self.averaged.requires_grad_(False).eval()
        # found once: looking through the modules takes as long as some of what is done with these
        self.parameters = {name: list(network.parameters()) for name, network in self.raw.items()}
        self.statistics = [b for network in self.raw.values() for b in network.buffers() if b.is_floating_point()]
        sources = [self.raw[name] for name in self.averaged]
        self.averages = _Averages(self.averaged, sources)
        self.optimizers = objective.optimizers()
        if set(self.optimizers) != set(objective.phases):
            raise ValueError(f"{objective.name} has phases {objective.phases}, optimisers {tuple(self.optimizers)}")
        self.base_rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}
        self.epoch_batches = batches_per_epoch(objective, pictures)
        self.step = self.skipped = self.bad_in_a_row = 0
        self.batches_before = self.batches_done = 0  # in all processes; of this process since it started
        self.elapsed_before = 0.0
        self.rng: dict[str, Any] | None = None
        self.interrupted = 0.0  # when
        self.timings = dict.fromkeys(("data", "compute", "update"), 0.0)
        self.told_of_guides: dict[int, str] = {}
        self.last_saved: dict[str, Any] | None = None

    # position -------------------------------------------------------------------------------------------------------------

    @property
    def elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.started

    @property
    def batches(self) -> int:
        """Drawn so far, in all processes."""
        return self.batches_before + self.batches_done * int(self.fabric.world_size)

    @property
    def epoch(self) -> float:
        return self.batches / self.epoch_batches

    def fraction(self, elapsed: float) -> float:
        config = self.config
        steps = self.step / config.max_steps if config.max_steps else 0.0
        return max(steps, elapsed / (60 * config.minutes) if config.minutes else 0.0)

    # state ----------------------------------------------------------------------------------------------------------------

    def _networks(self) -> nn.ModuleDict:
        return nn.ModuleDict(self.raw)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds. Every process must come here: each has random states and pools of its own."""
        own = {"rng": _random_state(), "objective": self.objective.state()}
        processes = gathered(self.fabric, own)
        return self._averages() | {
            "networks": self._networks().state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self.optimizers.items()},
            "scaler": self.fabric.strategy.precision.state_dict(),
            "processes": processes,
            "batches": self.batches,
            "skipped": self.skipped,
            "best": self.best,
            "best_on": self.best_on,
            "digests": {domain: [p.digest for p in chosen] for domain, chosen in self.pictures.items()},
        }

    def _averages(self) -> dict[str, Any]:
        """The averaged generators and what a card says of them: what an export needs of a checkpoint."""
        exports = self.objective.export(self.averaged)
        return {
            "description": self.objective.describe(),
            "generator": exports[0].description(),
            "generators": {export.file: export.description() for export in exports},
            "ema": self.averaged.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
            "seed": self.config.seed,
            "history": self.history,
            "scenes": [[p.name, p.licence] for p in self.pictures.get("hdr", ())],
            "photos": [[p.name, p.licence] for p in self.pictures.get("ldr", ())],
            "pairs": sum(isinstance(p, Pair) for p in self.pictures.get("hdr", ())),
            "device": str(self.fabric.device),
            "torch": str(torch.__version__),
        }

    def restore(self, old: dict[str, Any]) -> None:
        """Go on from a checkpoint. Raises ModelError or TrainingError if what it holds doesn't fit."""
        try:
            self._networks().load_state_dict(old["networks"])
            self.averaged.load_state_dict(old["ema"])
        except RuntimeError as error:
            fault = "its weights don't fit these options"
            raise TrainingError(fault, where=self.folder, remedy="give the same options, or another --out") from error
        kept = old["optimizers"]
        for name, optimizer in self.optimizers.items():
            # before there were phases, an only optimiser had its network's name
            saved = kept.get(name) or (next(iter(kept.values())) if len(kept) == len(self.optimizers) == 1 else None)
            if saved is not None:
                _load(optimizer, saved)
        if old.get("scaler"):
            self.fabric.strategy.precision.load_state_dict(old["scaler"])
        self.step, self.skipped, self.elapsed_before = old["step"], old.get("skipped", 0), old["elapsed"]
        self.batches_before = old.get("batches", self.step)
        self.history = old.get("history", [])
        self._restore_best(old)
        processes = old.get("processes", [])
        if len(processes) == self.fabric.world_size:
            own = processes[self.fabric.global_rank]
            self.objective.load_state(own["objective"])
            self.rng = own["rng"]
        elif processes:
            self.report(f"the run had {len(processes)} processes, now {self.fabric.world_size}: it does not go on bit for bit")
            self.objective.load_state(processes[0]["objective"])

    def _restore_best(self, old: Mapping[str, Any]) -> None:
        """The score to beat, if it was measured on what is scored now."""
        now, then = self.best_on, old.get("best_on", "")
        self.best = old.get("best", math.inf)
        if now and then and now != then:
            if self.best < math.inf and self.leads:
                self.report(f"--val is another than before: its scores are not compared, and {BEST} starts anew")
            self.best = math.inf
        elif then:
            self.best_on = then

    def save(self, *, last: bool = False) -> dict[str, Any] | None:
        """Write a checkpoint, unless something in it is not finite; None then. Raises TrainingError at the end of a run only.

        A NaN in the objective's state (a pool, a running mean) would spoil every loss of the run that is resumed.
        """
        sound = _finite(dict(self._networks().named_parameters())), _finite(self.objective.state())
        weights, own = largest(self.fabric, *(float(not fine) for fine in sound))
        if weights or own:
            what = "weights are" if weights else f"the state of {self.objective.name} is"
            older = "; the older one is kept" if checkpoint.exists(self.folder) else ""
            self._tell(f"no checkpoint written: {what} not finite{older}", "not_saved")
            return None
        state = self.state()
        failed = ""
        if self.leads:
            try:
                checkpoint.save(state, self.folder, self.config.shard_mib)
            except TrainingError as error:
                if last:
                    raise self._lost(error, state) from error
                failed = str(error)
        if failed:
            self._tell(f"{failed}; training goes on and tries again", "not_saved")
        elif self.leads:
            self.journal.event("checkpoint", self.step, epoch=self.epoch)
            checkpoint.forget_generators(self.folder, self.step)
        self.last_saved = state
        return state

    def _lost(self, error: TrainingError, state: dict[str, Any]) -> TrainingError:
        """The error of a last checkpoint that can't be written, after saving what can be."""
        kept = checkpoint.save_generators(state, self.folder, self.config.shard_mib)
        if kept is None:
            return error
        remedy = f"{error.remedy}; the generators, at least, are in {kept}, for hdrcli models export"
        return TrainingError(error.what, where=error.where, remedy=remedy)

    def _tell(self, line: str, event: str, **values: Any) -> None:
        if self.leads:
            self.report(line)
            self.journal.event(event, self.step, line=line, **values)

    # the run --------------------------------------------------------------------------------------------------------------

    def go(self) -> dict[str, Any]:
        """Train to the end; returns the last state."""
        self.started = time.monotonic()
        self.journal = Journal(self.folder, active=self.leads, report=lambda line: self.report(line))
        try:
            with memory_kept(), placed(self.objective.networks, self.fabric), ready_to_fork(), self._signals():
                self.journal.event("resumed" if self.step else "started", self.step, **_plain(self.config))
                self._listen()
                with closing(self._batches()) as batches:
                    return self._steps(batches)
        finally:
            self.journal.close()

    def _steps(self, batches: Iterator[dict[str, torch.Tensor]]) -> dict[str, Any]:
        config, fabric = self.config, self.fabric
        if self.rng is not None:
            _set_random_state(self.rng)  # last: what is made above may draw from it
        wrapped = {phase: fabric.setup_optimizers(optimizer) for phase, optimizer in self.optimizers.items()}
        reported = saved = time.monotonic()
        shown = saved - 60 * config.report_minutes  # the first sheet soon, to see that data are right
        shown_at = -1
        saved_epoch = self.epoch
        sums: dict[str, torch.Tensor] = {}
        since = good = 0
        first = self.step + 1
        try:
            while True:
                stop, elapsed = largest(fabric, self.interrupted, self.elapsed)
                if stop:
                    raise KeyboardInterrupt
                fraction = self.fraction(elapsed)
                if fraction >= 1:
                    break
                self._set_rates(fraction)
                terms = self._train_step(batches, wrapped)
                self.step += 1
                since += 1
                if terms is not None:
                    good += 1
                    for name, value in terms.items():
                        sums[name] = sums.get(name, torch.zeros_like(value)) + value
                    self._average()
                if self.step % config.log_steps == 0 or self.step == first:
                    now = time.monotonic()
                    self._log(sums, good, since, fraction, now - reported)
                    sums, since, good, reported = {}, 0, 0, now
                due = time.monotonic() - saved >= 60 * config.checkpoint_minutes
                sheet_due = time.monotonic() - shown >= 60 * config.report_minutes and self.step % config.log_steps == 0
                due, sheet_due = (bool(v) for v in largest(fabric, float(due), float(sheet_due)))
                epochs = config.checkpoint_epochs
                due = due or (epochs is not None and self.epoch - saved_epoch >= epochs)
                if due and self.bad_in_a_row == 0:
                    self.save()
                    saved, saved_epoch = time.monotonic(), self.epoch
                if sheet_due:
                    self._show()
                    self._tell_of_guides()
                    shown, shown_at = time.monotonic(), self.step
        except KeyboardInterrupt:
            if not self.in_step:
                going_on = "; --resume auto goes on from there" if self.save(last=True) is not None else ""
                self._tell_of_guides()
                self._tell(f"interrupted at step {self.step}{going_on}", "interrupted")
            raise
        except _NoSamples as end:
            self._save_at_fault()
            self._tell_of_guides()
            raise end.error from end.error.__cause__
        if since:
            self._log(sums, good, since, 1.0, time.monotonic() - reported)
        if shown_at < self.step:
            self._show()
        self._tell_of_guides()
        state = self.save(last=True)
        if state is None:
            raise self._not_finite()
        self.journal.event("finished", self.step, elapsed=self.elapsed)
        return state

    in_step = False

    def _save_at_fault(self) -> None:
        """A checkpoint before an error; if that can't be written either, the error still is what the user must hear."""
        try:
            if self.save(last=True) is not None:
                self._tell(f"stopped at step {self.step}; --resume auto goes on from there", "stopped")
        except TrainingError as error:
            self._tell(str(error), "not_saved")

    def _set_rates(self, fraction: float) -> None:
        config = self.config
        factor = learning_rate_factor(self.step, fraction, config.warmup_steps, config.schedule, config.constant_share)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.base_rates[name], strict=True):
                group["lr"] = rate * factor

    def _train_step(
        self, batches: Iterator[dict[str, torch.Tensor]], wrapped: Mapping[str, Any]
    ) -> dict[str, torch.Tensor] | None:
        """All phases of one step; what to log, or None if a loss was not finite."""
        begun = time.perf_counter()
        parts = self._drawn(batches)
        self.timings["data"] += time.perf_counter() - begun
        self.in_step = True
        self.batches_done += len(parts)
        before = [b.clone() for b in self.statistics]
        terms: dict[str, torch.Tensor] = {}
        for phase in self.objective.phases:
            fault = self._phase(phase, parts, wrapped[phase], terms)
            if fault:
                for buffer, value in zip(self.statistics, before, strict=True):
                    buffer.copy_(value)
                self._skip(fault)
                self.in_step = False
                return None
        self.bad_in_a_row = 0
        self.in_step = False
        return terms

    def _drawn(self, batches: Iterator[dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        """The batches of one step. Raises _NoSamples, in all processes alike, if one of them has none."""
        error: Exception | None = None
        parts = []
        try:
            parts = [next(batches) for _ in range(self.config.accumulate)]
        except Exception as caught:  # whatever it is, no step has begun, and what was learned can be kept
            error = caught
        if largest(self.fabric, float(error is not None))[0]:
            raise _NoSamples(error or TrainingError("another process has no samples", remedy="see its message"))
        return parts

    def _phase(self, phase: str, parts: list[dict[str, torch.Tensor]], optimizer: Any, terms: dict[str, torch.Tensor]) -> str:
        """Losses, gradients and step of one phase, adding to ``terms``. Returns what is not finite, "" if all is well."""
        fabric = self.fabric
        begun = time.perf_counter()
        trained = set(self.objective.trained(phase))
        for name, parameters in self.parameters.items():
            for parameter in parameters:
                parameter.requires_grad = name in trained
        optimizer.zero_grad(set_to_none=True)
        label = "loss" if len(self.objective.phases) == 1 else f"loss_{phase}"
        total = torch.zeros((), device=fabric.device)
        for part, batch in enumerate(parts):
            with without_sync(fabric, self.objective.networks.values(), enabled=part < len(parts) - 1):
                found = self.objective.loss(phase, batch, part)
                loss = found["loss"]
                fabric.backward(loss if len(parts) == 1 else loss / len(parts))
            total = total + loss.detach()
            for name, value in found.items():
                key = label if name == "loss" else name
                share = value.detach() if len(parts) == 1 else value.detach() / len(parts)
                terms[key] = share if part == 0 else terms[key] + share
        bad = float(not bool(torch.isfinite(total)))
        self.timings["compute"] += time.perf_counter() - begun
        if largest(fabric, bad)[0]:
            optimizer.zero_grad(set_to_none=True)
            return label
        begun = time.perf_counter()
        if not self._clipped(optimizer):
            optimizer.zero_grad(set_to_none=True)
            return f"gradient of {label}"
        scale = self._scale()
        optimizer.step()
        self.timings["update"] += time.perf_counter() - begun
        return f"gradient of {label} in half precision (its scale was halved)" if self._scale() < scale else ""

    def _scale(self) -> float:
        """Of losses in 16-mixed, whose scaler halves it when it leaves a step out; else 0."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return 0.0 if scaler is None else float(scaler.get_scale())

    def _clipped(self, optimizer: Any) -> bool:
        """Is the norm of the gradients finite? If so it is ``clip_gradient`` at most now."""
        limit = self.config.clip_gradient or math.inf
        if self.config.precision == "16-mixed":  # its scaler finds what is not finite and leaves the step out
            self.fabric.clip_gradients(_NO_MODULE, optimizer, max_norm=limit, error_if_nonfinite=False)
            return True
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
        if norm > limit:  # mostly not, and then all gradients would be multiplied by 1
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return bool(torch.isfinite(norm))

    def _skip(self, fault: str) -> None:
        self.skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row == 1:
            self._tell(f"{fault} is not finite at step {self.step + 1}: that step is left out", "skipped", fault=fault)
        else:
            self.journal.event("skipped", self.step, fault=fault)
        if self.bad_in_a_row >= PATIENCE:
            raise self._not_finite()

    def _not_finite(self) -> TrainingError:
        there = checkpoint.exists(self.folder)
        remedy = "resume from the last checkpoint" if there else "start again"
        fault = f"losses are not finite at step {self.step + 1}, {self.bad_in_a_row} steps in a row"
        if self.bad_in_a_row < PATIENCE:  # the run has come to its end, but what it learned can't be saved
            fault = f"weights, or what {self.objective.name} keeps, are not finite after step {self.step}"
        return TrainingError(fault, where=self.folder, remedy=f"{remedy} with a lower learning rate or --precision 32-true")

    def _average(self) -> None:
        begun = time.perf_counter()
        self.averages.update(min(self.config.ema, (1 + self.step) / (10 + self.step)))
        self.timings["update"] += time.perf_counter() - begun

    # data -----------------------------------------------------------------------------------------------------------------

    def _batches(self) -> Generator[dict[str, torch.Tensor], None, None]:
        objective, config, fabric = self.objective, self.config, self.fabric
        stream = BatchStream(
            self.pictures,
            objective.view_size,
            objective.samples,
            seed=config.seed,
            views_per_batch=objective.views_per_batch,
            position=Position(self.batches_before, fabric.global_rank, fabric.world_size),
        )
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=config.workers,
            prefetch_factor=4 if config.workers else None,
            pin_memory=fabric.device.type == "cuda",
            worker_init_fn=prepare_worker,
            generator=torch.Generator(),  # or else it would draw from the random state that a resumed run restores
        )
        with served(loader) as given:
            for batch in given:
                yield self._placed(checked_fault(batch))

    def _placed(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        device = self.fabric.device
        return {k: v.to(device, memory_format=torch.channels_last, non_blocking=True) for k, v in batch.items()}

    # what is told ---------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Let an objective that asks others say so, and ask for the first time."""
        if isinstance(self.objective, AsksOthers):
            process, processes = self.fabric.global_rank, self.fabric.world_size
            run = Surroundings(lambda line: self._tell(line, "guide"), process, processes, self.config.accumulate)
            self.objective.listen(run)

    def _tell_of_guides(self) -> None:
        """What the guides of such an objective have been through, in each process, if that has changed."""
        if not isinstance(self.objective, AsksOthers):
            return
        summaries = gathered(self.fabric, self.objective.summary())
        for process, line in enumerate(summaries):
            if line is not None and line != self.told_of_guides.get(process):
                self.told_of_guides[process] = line
                self._tell(line if len(summaries) == 1 else f"process {process}: {line}", "guide_summary", process=process)

    def _log(self, sums: Mapping[str, torch.Tensor], good: int, since: int, fraction: float, seconds: float) -> None:
        own = {name: float(value) / max(good, 1) for name, value in sums.items()}
        everyone = gathered(self.fabric, own)
        means = {name: sum(process[name] for process in everyone) / len(everyone) for name in own}
        elapsed, seconds = self.elapsed, max(seconds, 1e-9)
        speed = since / seconds
        images = speed * self.objective.batch_size * self.config.accumulate * self.fabric.world_size
        at = max(self.fraction(elapsed), 1e-9)
        timings = {name: value / seconds for name, value in self.timings.items()}
        self.timings = dict.fromkeys(self.timings, 0.0)
        rates = {name: o.param_groups[0]["lr"] for name, o in self.optimizers.items()}
        self.journal.curves(self.step, means)
        self.journal.curves(self.step, rates, "learning_rate")
        self.journal.event(
            "losses",
            self.step,
            epoch=round(self.epoch, 4),
            elapsed=round(elapsed, 2),
            steps_per_second=speed,
            images_per_second=images,
            learning_rates=rates,
            losses=means,
        )
        remaining = elapsed * (1 - at) / at
        if self.leads:
            self.observe(Progress(self.step, fraction, elapsed, speed, means, self.epoch, images, remaining, timings))

    def _show(self) -> None:
        """A sheet of what the averaged networks make of the stream's first batch, and scores, if there is anything to score."""
        if not self.leads:
            return
        with _random_state_kept(), torch.no_grad():
            if self._first_batch is None:
                objective = self.objective
                stream = BatchStream(
                    self.pictures,
                    objective.view_size,
                    objective.samples,
                    seed=self.config.seed,
                    views_per_batch=objective.views_per_batch,
                )
                self._first_batch = stream.batch(0)
            sheet = self.objective.sheet(self.averaged, self._placed(self._first_batch))
            if sheet is not None:
                self.journal.sheet(self.step, sheet)
            if self.validation is not None:
                self._score(self.validation)

    _first_batch: dict[str, torch.Tensor] | None = None

    def _score(self, validation: Validation) -> None:
        from hdrcli.inference.generator import GeneratorSpec
        from hdrcli.inference.torch_backend import TorchGenerator

        export = next(export for export in self.objective.export(self.averaged) if export.role == "g_y")
        spec = GeneratorSpec(
            "averaged", export.version, export.inputs, export.working_size, export.multiple, export.peak, self.folder
        )
        try:
            values = scores(TorchGenerator(spec, export.network, str(self.fabric.device)), validation)
        except HdrcliError as error:  # early on a network may give anything; the run goes on
            self._tell(f"not scored: {error}", "not_scored")
            return
        self.journal.curves(self.step, values, "val")
        self.journal.curves(self.step, validation.linear, "val_linear")
        self.journal.event("scores", self.step, scores=values, linear=validation.linear)
        name = "clipped_log2_rmse"
        if name in values:
            self.report(f"val at step {self.step}: clipped log2-RMSE {values[name]:.3f} (linear {validation.linear[name]:.3f})")
            self._keep_if_best(values[name])

    def _keep_if_best(self, value: float) -> None:
        """The averaged generators that scored best so far go to ``RUN/best``: unpaired losses don't tell when to stop."""
        if not value < self.best:
            return
        try:
            (self.folder / BEST).mkdir(exist_ok=True)
            state = self._averages() | {"networks": {}, "score": value, "score_on": self.best_on}
            checkpoint.save(state, self.folder / BEST, self.config.shard_mib)
        except (OSError, TrainingError) as error:
            self._tell(f"not kept as the best: {error}", "not_saved")
            return
        self.best = value
        self.journal.event("best", self.step, score=value)

    # interruptions --------------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C, SIGTERM or SIGHUP lets the step end; the next one is KeyboardInterrupt at once.

        But what is sent twice without a hand at a keyboard (by GNU timeout, by systemd, by a shell and its terminal) is one.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        hangup = getattr(signal, "SIGHUP", None)  # not on Windows

        def interrupt(number: int, frame: object) -> None:
            now = time.monotonic()
            if number == hangup:
                self.report, self.observe = _unless_gone(self.report), _unless_gone(self.observe)
            if self.interrupted and (number == signal.SIGINT or now - self.interrupted > SAME_REQUEST):
                raise KeyboardInterrupt
            self.interrupted = self.interrupted or now
            if isinstance(self.objective, AsksOthers):
                self.objective.hurry()

        numbers = [signal.SIGINT, signal.SIGTERM]
        if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup ignores it
            numbers.append(hangup)
        before = {number: signal.signal(number, interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _NoSamples(Exception):
    """Training can't go on for want of samples; no step has begun."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _unless_gone(tell: Callable[[Any], None]) -> Callable[[Any], None]:
    """Whoever listened at the closed terminal; writing there fails, which is no reason to lose what was learned."""

    def told(what: Any) -> None:
        with suppress(OSError):
            tell(what)

    return told


def _finite(value: Any) -> bool:
    """Is every number in this, tensors and plain ones, finite?"""
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


_NO_MODULE = nn.Identity()  # where Fabric asks for one when it clips; DDP and single processes look at the optimiser alone


class _Averages:
    """averaged <- decay averaged + (1 - decay) networks; buffers (running statistics) are copied."""

    def __init__(self, averaged: nn.Module, networks: Sequence[nn.Module]) -> None:
        self._parameters: tuple[list[torch.Tensor], list[torch.Tensor]] = (
            list(averaged.parameters()),
            [p for network in networks for p in network.parameters()],
        )
        self._buffers = list(averaged.buffers()), [b for network in networks for b in network.buffers()]

    @torch.no_grad()
    def update(self, decay: float) -> None:
        torch._foreach_lerp_(*self._parameters, 1 - decay)
        for mine, theirs in zip(*self._buffers, strict=True):
            mine.copy_(theirs)


def _load(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """An optimiser's state; how it computes is for this device to say, not for the one that the checkpoint comes from."""
    ways = [{str(name): group[name] for name in ("foreach", "fused") if name in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, way in zip(optimizer.param_groups, ways, strict=True):
        group.update(way)


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """What looks at a run may not change it."""
    before = _random_state()
    try:
        yield
    finally:
        _set_random_state(before)


def _plain(config: LoopConfig) -> dict[str, Any]:
    return {"loop": asdict(config)}
