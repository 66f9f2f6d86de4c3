"""Names to modules: listing imports nothing, options convert to the types of their defaults."""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Literal

import pytest

from hdrcli import registry
from hdrcli.errors import UsageError

FOLDERS = ["hdrcli.expansion", "hdrcli.tonemapping", "hdrcli.networks", "hdrcli.training.objectives"]


@dataclass(frozen=True)
class Inner:
    depth: int = 3


@dataclass(frozen=True)
class Options:
    count: int = 4
    rate: float = 0.5
    name: str = "a"
    on: bool = False
    span: tuple[float, float] = (0.0, 1.0)
    inner: Inner = field(default_factory=Inner)
    norm: Literal["batch", "none"] = "batch"


def test_the_files_of_a_folder_are_its_names():
    assert registry.names("hdrcli.expansion") == ("akyuz07", "landis02", "linear")
    assert {"mulaw", "reinhard"} <= set(registry.names("hdrcli.tonemapping"))


def test_listing_imports_none_of_them():
    script = f"""
import sys
from hdrcli import registry
for package in {FOLDERS[:3]}:
    assert registry.names(package), package
loaded = [m for m in sys.modules if any(m.startswith(p) for p in {FOLDERS}) or m in ("torch", "numpy")]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("package", FOLDERS)
def test_every_module_of_a_folder_loads(package):
    for name in registry.names(package):
        assert registry.load(package, name).__doc__


def test_an_unknown_name_is_answered_with_the_nearest_or_all():
    with pytest.raises(UsageError, match="did you mean reinhard"):
        registry.load("hdrcli.tonemapping", "reinhart")
    with pytest.raises(UsageError, match="there are: akyuz07, landis02, linear"):
        registry.load("hdrcli.expansion", "xyz")


@pytest.mark.parametrize("name", ["os", "../errors", "__init__", ""])
def test_nothing_outside_the_folder_is_loaded(name):
    with pytest.raises(UsageError):
        registry.load("hdrcli.expansion", name)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("count", "7", 7),
        ("rate", "1e-3", 1e-3),
        ("name", "b c", "b c"),
        ("on", "yes", True),
        ("on", "0", False),
        ("span", "2, 3.5", (2.0, 3.5)),
        ("inner.depth", "9", Inner(9)),
        ("norm", "none", "none"),
    ],
)
def test_texts_take_the_type_of_the_default(key, text, value):
    assert getattr(registry.build(Options, {key: text}), key.partition(".")[0]) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("count", "7.5"),
        ("rate", "fast"),
        ("rate", "nan"),
        ("on", "maybe"),
        ("span", "1"),
        ("span", "1,x"),
        ("colour", "1"),
        ("inner", "1"),
        ("inner.width", "1"),
        ("count.depth", "1"),
        ("norm", "bach"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(key, text):
    with pytest.raises(UsageError) as caught:
        registry.build(Options, {key: text})
    assert caught.value.where == key
    assert caught.value.remedy
