"""The progress bar. A module of its own: what it takes of rich costs as much as all the rest of a start."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

BETWEEN = "  "  # terms of the text


def fitted(text: str, room: int) -> str:
    """As many whole terms of the text as there is room for, at least the beginning of the first."""
    terms = text.split(BETWEEN)
    while len(terms) > 1 and Text(BETWEEN.join(terms)).cell_len > room:
        terms.pop()
    line = Text(BETWEEN.join(terms))
    line.truncate(room, overflow="ellipsis")
    return line.plain


@dataclass(frozen=True)
class _Fitted:
    """A text that is as wide as it may be."""

    text: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(fitted(self.text, options.max_width), no_wrap=True, overflow="ellipsis")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, Text(self.text).cell_len))


class _Rest(ProgressColumn):
    """What is told beside the bar, in the room that the other columns leave."""

    def __init__(self) -> None:
        super().__init__(Column(ratio=1, no_wrap=True))

    def render(self, task: Task) -> _Fitted:
        return _Fitted(task.description)


def make(total: float, console: Console, *, unit: str, estimates: bool) -> Progress:
    """A bar with one task of so much work. ``unit``: what is counted, "": per cent. ``estimates``: with the time left."""
    columns: list[ProgressColumn] = [BarColumn(bar_width=24 if console.width >= 100 else 12)]
    columns += [MofNCompleteColumn(), TextColumn(unit)] if unit else [TextColumn("{task.percentage:3.0f} %")]
    columns += [TimeRemainingColumn()] if estimates else []
    # no redirection of stdout and stderr: results may be going there as bytes, and all else goes through the presenter
    bar = Progress(
        *columns, _Rest(), console=console, transient=True, expand=True, redirect_stdout=False, redirect_stderr=False
    )
    bar.add_task("", total=total)
    return bar
