"""The one line to cite: what it takes to compute the same numbers again."""

from __future__ import annotations

from hdrcli import __version__


def line(protocol: str, *parts: str) -> str:
    """``hdrcli VERSION PROTOCOL: PART, PART ...``; empty parts are left out."""
    return f"hdrcli {__version__} {protocol}: " + ", ".join(part for part in parts if part)


def number(x: float) -> str:
    """The shortest text that reads back as the same number, whole numbers without a point: 30, 0.005, 46.7."""
    return str(int(x)) if float(x).is_integer() else repr(float(x))
