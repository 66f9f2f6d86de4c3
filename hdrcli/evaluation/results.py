"""What an evaluation found, as frozen values.

``Evaluation`` holds every number with what it needs to be made again: the settings, the files with their SHA-256, the
versions, the seed, and the line that each protocol is cited by. ``storage`` writes it as JSON and CSV, and reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hdrcli.evaluation.protocols import Missing, Value

REGIONS = ("clipped", "mid", "shadow")
REGION_SCORES = ("log2_rmse", "pu21_psnr_rgb")
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class File:
    """A file that went in: its ``path`` as it was given, and the SHA-256 of its bytes (64 hex digits)."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Settings:
    """What was asked for, all that numbers depend on besides the files.

    ``task``: "hdr" or "tonemap". ``protocols``: their names in order. ``options``: protocol -> option -> text, as ``-p`` takes
    them, only those that were given. ``align``: None for the protocols' own. ``peak``: cd/m2 that the reference's largest value
    was brought to, or None. ``white_nits``: cd/m2 of 1.0 in the files, or "header": each file's own. ``ppd``: pixels per visual
    degree. ``metrics``: names of scores besides those of papers' protocols; None: the usual ones. ``resize``: predictions of
    another size are resized. ``seed``, ``resamples``: of the bootstrap. ``device``: where torch runs. ``weights``: a folder for
    files of weights that hdrcli does not bring along.
    """

    task: str = "hdr"
    protocols: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    align: str | None = None
    peak: float | None = None
    white_nits: float | Literal["header"] = 100.0
    ppd: float = 30.0
    metrics: tuple[str, ...] | None = None
    resize: bool = False
    seed: int = 0
    resamples: int = 10000
    device: str = "cpu"
    weights: str | None = None


@dataclass(frozen=True)
class Method:
    """What is compared: ``name``, where its files come from, and "prediction" or "baseline" (made from the LDR inputs)."""

    name: str
    source: str
    kind: Literal["prediction", "baseline"] = "prediction"


@dataclass(frozen=True)
class EvaluatedImage:
    """One reference: ``name`` (stem, with folders where there are any), its file and size, and the LDR file, if given."""

    name: str
    reference: File
    width: int
    height: int
    ldr: File | None = None


@dataclass(frozen=True)
class ScoreInfo:
    """A column: what its numbers are called and mean."""

    name: str
    title: str
    unit: str
    better: Better
    source: str


@dataclass(frozen=True)
class Protocol:
    """How pairs were aligned and measured. ``line``: the one to cite. ``scores``: its columns; the first one ranks methods.

    ``options``: all of them, those left at their defaults too. ``line`` is empty where no pair could be scored.
    """

    name: str
    summary: str
    source: str
    options: Mapping[str, Any]
    line: str
    scores: tuple[ScoreInfo, ...]


@dataclass(frozen=True)
class Row:
    """The scores of one picture by one method under one protocol, and what is to be known of that pair (``facts``)."""

    protocol: str
    method: str
    image: str
    scores: Mapping[str, Value]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RegionRow:
    """Scores of one region ("clipped", "mid", "shadow") of one pair. ``share``: of the picture's pixels, 0..1."""

    protocol: str
    method: str
    image: str
    region: str
    share: float
    scores: Mapping[str, Value]


@dataclass(frozen=True)
class Entry:
    """What went in for one method and image, and what became of it.

    ``prediction``: the file, None for a baseline or a file that could not be read. ``error``: why nothing was scored, or None.
    ``remarks``: what is odd about the pair (negative values, constant picture, no clipped pixel), one line each.
    """

    method: str
    image: str
    prediction: File | None
    error: str | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Aggregate:
    """One score of one method over the images.

    ``region``: None for the whole picture. ``n``: finite values, which ``mean``, ``median`` and the 95 % bootstrap interval
    ``low``..``high`` of the mean are made of (None where there are too few: mean and median 1, interval 2). ``infinite``: left
    out. ``missing``: reason -> how many. ``worst``: the images with the worst values, worst first.
    """

    protocol: str
    method: str
    score: str
    region: str | None
    n: int
    infinite: int
    missing: Mapping[str, int]
    mean: float | None
    median: float | None
    low: float | None
    high: float | None
    worst: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Significance:
    """Is ``first`` better or worse than ``second``, on the images that both have?

    ``n``: pairs with finite values. ``difference``: mean of first minus second. ``p``: two-sided, Wilcoxon signed-rank test;
    None below 2 differing pairs. ``p_adjusted``: after Holm, over all pairs of methods of this protocol and score.
    """

    protocol: str
    score: str
    first: str
    second: str
    n: int
    difference: float | None
    p: float | None
    p_adjusted: float | None
    test: str


@dataclass(frozen=True)
class Ranking:
    """Methods by the mean of a protocol's first score, best first; those without a mean are left out."""

    protocol: str
    score: str
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """All of it. ``settings``: what was asked for. ``notes``: what the user should know, one line each."""

    settings: Settings
    methods: tuple[Method, ...]
    images: tuple[EvaluatedImage, ...]
    entries: tuple[Entry, ...]
    protocols: tuple[Protocol, ...]
    scores: tuple[Row, ...]
    regions: tuple[RegionRow, ...]
    aggregates: tuple[Aggregate, ...]
    significance: tuple[Significance, ...]
    rankings: tuple[Ranking, ...]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()


__all__ = [
    "REGIONS",
    "REGION_SCORES",
    "Aggregate",
    "Better",
    "Entry",
    "EvaluatedImage",
    "Evaluation",
    "File",
    "Method",
    "Missing",
    "Protocol",
    "Ranking",
    "RegionRow",
    "Row",
    "ScoreInfo",
    "Settings",
    "Significance",
    "Value",
]
