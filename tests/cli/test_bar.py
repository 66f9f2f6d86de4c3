"""What a terminal of some width shows while a run goes on."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from hdrcli.cli.bar import fitted, make
from hdrcli.cli.presentation import Presenter
from hdrcli.cli.train import _observer
from hdrcli.training.loop import Progress

LOSSES = {f"loss_{name}": 18.0234 for name in ("g", "d", "brightness", "cycle_x", "cycle_y", "highlights", "identity_x", "gan")}
PROGRESS = Progress(1020, 0.3, 540.0, 2.0, LOSSES, epoch=36.7, images_per_second=132.2, remaining=1260.0)


def told(progress: Progress = PROGRESS) -> tuple[float, str]:
    """What the observer gives the bar."""
    given: list[tuple[float, str]] = []
    _observer(Presenter(), lambda done, text: given.append((done, text)))(progress)
    return given[0]


def shown(width: int, text: str, done: float = 0.3, *, unit: str = "", estimates: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    bar = make(1.0 if not unit else 9, console, unit=unit, estimates=estimates)
    bar.update(bar.task_ids[0], completed=done, description=text)
    console.print(bar.get_renderable())
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue()).splitlines() if line.strip()]  # type: ignore[attr-defined]
    assert len(lines) == 1
    assert len(lines[0]) <= width
    return lines[0].rstrip()


@pytest.mark.parametrize(("width", "losses"), [(80, 0), (120, 2), (200, 5)])
def test_what_matters_is_there_at_any_width(width: int, losses: int) -> None:
    done, text = told()
    line = shown(width, text, done)
    assert re.match(r"━+[━╸╺ ]+ 30 % 21\.0 min left  132\.2 images/s  epoch 36\.7  step 1020", line)
    assert "…" not in line
    assert re.fullmatch(r"(  loss_\w+ \d+\.\d{3})*", line.partition("step 1020")[2])  # whole terms
    assert line.count("loss_") == losses


def test_hours_are_told_as_such() -> None:
    assert told(Progress(1, 0.5, 1.0, 1.0, {}, remaining=40000.0))[1].startswith("11.1 h left  ")


def test_a_bar_that_estimates_and_counts_keeps_its_numbers() -> None:
    line = shown(60, "a/very/long/name/of/a/picture/that/does/not/fit.exr", 3, unit="images", estimates=True)
    assert " 3/9 images -:--:-- a/very/lon" in line
    assert line.endswith("…")


@pytest.mark.parametrize(
    ("room", "expected"), [(99, "a 1  b 2  c 3"), (13, "a 1  b 2  c 3"), (12, "a 1  b 2"), (7, "a 1"), (2, "a…"), (1, "…")]
)
def test_terms_are_whole_but_the_first(room: int, expected: str) -> None:
    assert fitted("a 1  b 2  c 3", room) == expected


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert shown(90, "[bold]photo[/bold].png").endswith(" [bold]photo[/bold].png")
