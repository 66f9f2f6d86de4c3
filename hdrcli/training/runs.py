"""Runs that are there already: going on with them, starting from them, refusing to mix them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hdrcli.errors import TrainingError
from hdrcli.inference.torch_backend import GENERATORS
from hdrcli.training import checkpoint
from hdrcli.training.datasets import Pictures
from hdrcli.training.objectives import Objective


def initialise(objective: Objective, run: Path) -> list[dict[str, Any]]:
    """Give the objective the weights of another run, averaged ones where there are; returns the runs before this one."""
    if not checkpoint.exists(run):
        raise TrainingError("holds no training run", where=run, remedy="name a folder that hdrcli train --out made")
    state = checkpoint.load_run(run)
    try:
        objective.networks.load_state_dict({**state["networks"], **state["ema"]})
    except RuntimeError as error:
        fault = "its weights don't fit these options"
        raise TrainingError(fault, where=run, remedy="start from a run with the same network") from error
    earlier = {"steps": state["step"], "minutes": state["elapsed"] / 60, "options": state["description"]["options"]}
    earlier |= {key: state[key] for key in ("seed", "scenes", "photos", "pairs") if state.get(key)}
    return [*state.get("history", []), earlier]


def existing(folder: Path, objective: Objective, pictures: Pictures, seed: int, *, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, None in a new folder. Raises TrainingError if it is not of this run."""
    if not checkpoint.exists(folder):
        kept = folder / GENERATORS
        if checkpoint.exists(kept):
            fault = "holds the generators of a run whose checkpoint could not be written, and nothing to go on from"
            remedy = f"hdrcli models export {kept} -o DIR makes a bundle of them; then use another --out, or delete that folder"
            raise TrainingError(fault, where=folder, remedy=remedy)
        return None
    if not resume:
        raise TrainingError("holds a run already", where=folder, remedy="use --resume auto, or another --out")
    old = checkpoint.load_run(folder)
    free = getattr(objective, "may_change", ())
    options = [line for line in _other_options(old["description"], objective.describe()) if line.split(" ")[0] not in free]
    if options:
        fault = f"holds a run with other options: {_some(options)}"
        raise TrainingError(fault, where=folder, remedy="give the same options, or another --out")
    differences = _differences(old, pictures, seed)
    if differences:
        remedy = "give the same data and seed, or another --out with --init"
        raise TrainingError(f"holds a run on other data: {'; '.join(differences)}", where=folder, remedy=remedy)
    return old


def _other_options(then: Any, now: Any, name: str = "") -> list[str]:
    """Where two descriptions differ: "batch_size 4, not 8"."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        inner = ((k, f"{name}.{k}" if name and name != "options" else str(k)) for k in dict.fromkeys([*then, *now]))
        return [line for key, label in inner for line in _other_options(then.get(key), now.get(key), label)]
    then, now = (tuple(v) if isinstance(v, list) else v for v in (then, now))
    return [] if then == now else [f"{name} {then}, not {now}"]


def _differences(old: dict[str, Any], pictures: Pictures, seed: int) -> list[str]:
    """How data and seed differ from a checkpoint's, in words. Its card would be wrong, and its views not the next ones."""
    found = [] if old.get("seed", seed) == seed else [f"seed {old['seed']}, not {seed}"]
    for what, domain in (("scenes", "hdr"), ("photos", "ldr")):
        now = [(p.name, p.licence) for p in pictures.get(domain, ())]
        before = [(str(name), str(licence)) for name, licence in old.get(what, now)]
        changes = _changes(what, before, now)
        digests = zip(now, old.get("digests", {}).get(domain, ()), (p.digest for p in pictures.get(domain, ())), strict=False)
        other = [name for (name, _), then, here in digests if then and here and then != here]
        found += changes or ([f"other files of these {what}: {_some(other)}"] if other else [])
    return found


def _changes(what: str, before: list[tuple[str, str]], now: list[tuple[str, str]]) -> list[str]:
    if before == now:
        return []
    then_licence, now_licence = dict(before), dict(now)
    gone = [name for name in then_licence if name not in now_licence]
    new = [name for name in now_licence if name not in then_licence]
    other = [
        f"{n} ({then_licence[n]}, not {now_licence[n]})"
        for n in now_licence
        if then_licence.get(n, now_licence[n]) != now_licence[n]
    ]
    words = [
        f"{label} {_some(names)}"
        for label, names in ((f"{what} gone:", gone), (f"{what} added:", new), ("other licences:", other))
        if names
    ]
    return words or [f"{what} in another order or number"]


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
