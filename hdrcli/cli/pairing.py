"""Options for pairs of photos and HDR pictures, which ``train`` and ``data`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrcli.cli.presentation import Presenter, printable
from hdrcli.errors import UsageError

if TYPE_CHECKING:
    from hdrcli.training.pairs import PairList

_MOST_LINES = 10

Pairs = Annotated[
    tuple[Path, Path] | None,
    typer.Option(
        "--pairs",
        metavar="LDR_DIR HDR_DIR",
        readable=False,
        help="Photos and the HDR pictures they show, matched by name.",
        rich_help_panel="Data",
    ),
]
PairsLayout = Annotated[
    tuple[str, Path] | None,
    typer.Option(
        "--pairs-layout",
        metavar="NAME ROOT",
        help="Pairs of a public set as it is published; hdrcli data layouts lists the names.",
        rich_help_panel="Data",
    ),
]


def pair_sources(pairs: tuple[Path, Path] | None, layout: tuple[str, Path] | None) -> dict[str, list[str]]:
    """What was given, as run.json tells it; empty if nothing was. Raises UsageError for both options."""
    if pairs and layout:
        raise UsageError("--pairs and --pairs-layout exclude each other", remedy="give one of them")
    given = pairs or layout
    return {"pairs": [str(part) for part in given]} if given else {}


def find_pairs(
    pairs: tuple[Path, Path] | None, layout: tuple[str, Path] | None, split: str, say: Presenter, subject: str
) -> PairList | None:
    """The pairs of these folders or this set, telling how they were found and what has no partner; None if none were given."""
    from hdrcli.training.layouts import find as laid_out
    from hdrcli.training.pairs import find_pairs as in_folders

    if pairs is None and layout is None:
        return None
    found = in_folders(*pairs, split) if pairs else laid_out(*layout) if layout else None
    assert found is not None
    say.note(f"pairs: {printable(found.note)}")
    for line in found.left_out[:_MOST_LINES]:
        say.warning(subject, line)
    if len(found.left_out) > _MOST_LINES:
        say.warning(subject, f"{len(found.left_out) - _MOST_LINES} more have no partner")
    return found
