"""Errors: one printable line each; the tree in the docstring is the tree in the code."""

import inspect
import re

import pytest

from hdrcli import errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.HdrcliError)]


def drawn_tree():
    """Name -> parent's name, from the drawing in the module's docstring."""
    parents, path = {}, {}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"^    ([ │├└─]*)(\w+)  ", line):
            depth = len(match[1]) // 4
            path[depth] = match[2]
            parents[match[2]] = path.get(depth - 1)
    return parents


def test_the_drawn_tree_is_the_class_tree():
    assert drawn_tree() == {c.__name__: c.__bases__[0].__name__ if c is not errors.HdrcliError else None for c in CLASSES}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_documented(cls):
    assert cls.__doc__


def test_where_what_and_remedy_in_one_line():
    error = errors.UnreadableInput("is\n empty", where="a.jpg", remedy="make a\nnew copy")
    assert str(error) == "a.jpg: is empty (make a new copy)"


def test_only_what_is_known_is_said():
    assert str(errors.HdrcliError("failed")) == "failed"


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\x1b[31mb.jpg", "a\tb.jpg", "a\udcff.jpg"])
def test_odd_file_names_stay_on_one_printable_line(name):
    message = str(errors.MissingInput("does not exist", where=name))
    assert message.isprintable()
    assert "does not exist" in message


def test_a_missing_extra_says_how_to_install_it():
    error = errors.MissingExtra("torch", "train", purpose="training")
    assert "hdrcli[train]" in str(error)
    assert (error.package, error.extra) == ("torch", "train")
