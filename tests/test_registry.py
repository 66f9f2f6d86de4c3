from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hdrcli import registry
from hdrcli.errors import UsageError


@dataclass(frozen=True)
class Inner:
    width: int = 4
    gates: bool = True


@dataclass(frozen=True)
class Outer:
    rate: float = 0.5
    name: str = "x"
    pair: tuple[float, float] = (0.0, 1.0)
    inner: Inner = field(default_factory=Inner)


def test_names_are_those_of_the_files() -> None:
    assert "reinhard" in registry.names("hdrcli.tonemapping")
    assert not any(name.startswith("_") for name in registry.names("hdrcli.formats"))


def test_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="'reinhart'") as error:
        registry.load("hdrcli.tonemapping", "reinhart")
    assert "did you mean reinhard?" in str(error.value)


def test_build() -> None:
    built = registry.build(Outer, {"rate": "2", "inner.width": "8", "inner.gates": "off", "pair": "1, 2.5"})
    assert built == Outer(2.0, "x", (1.0, 2.5), Inner(8, False))
    assert registry.build(Outer, {}) == Outer()


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("speed", "1"),
        ("rate", "fast"),
        ("rate", "inf"),
        ("pair", "1"),
        ("pair", "1,b"),
        ("inner", "1"),
        ("inner.height", "1"),
        ("rate.x", "1"),
        ("inner.gates", "perhaps"),
        ("inner.width", "1.5"),
    ],
)
def test_build_names_what_is_wrong(key: str, text: str) -> None:
    with pytest.raises(UsageError) as error:
        registry.build(Outer, {key: text})
    assert error.value.where == key
    assert error.value.remedy
