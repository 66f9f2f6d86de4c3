"""Recipes: files that say what is trained."""

import pytest

from hdrcli import registry
from hdrcli.errors import UsageError
from hdrcli.training import recipes
from hdrcli.training.objectives import __name__ as objectives
from hdrcli.training.schedule import SCHEDULES


def write(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_that_comes_along_fits_its_objective(name):
    recipe = recipes.load(name)
    assert recipe.summary
    assert recipe.loop.schedule in SCHEDULES
    registry.build(registry.load(objectives, recipe.objective).Config, dict(recipe.options))


def test_those_of_the_three_systems_are_there():
    systems = {"llm-hdr", "llm-hdr-small", "paired", "hdr-cgan", "hdr-cgan-small", "hybrid", "hybrid-small"}
    assert systems | {"toning", "segmentation"} == set(recipes.names())


def test_the_papers_schedule():
    loop = recipes.load("llm-hdr").loop
    assert (loop.schedule, loop.epochs, loop.warmup_steps) == ("constant-linear", 170, 0)
    assert loop.constant_share == pytest.approx(100 / 170)


def test_paired_is_what_it_was():
    recipe = recipes.load("paired")
    assert (recipe.objective, dict(recipe.options)) == ("paired", {})
    assert recipe.loop == recipes.Loop()


def test_a_file_of_ones_own(tmp_path):
    path = write(
        tmp_path,
        'summary = "mine"\nobjective = "paired"\n[options]\nbatch_size = 8\nnetwork.width = 16\nnetwork.gates = false\n'
        "camera.blends = [0.5, 1.5]\n[loop]\nminutes = 30\nema = 0.99\n",
    )
    recipe = recipes.load(path)
    assert (recipe.name, recipe.objective) == ("mine", "paired")
    expected = {"batch_size": "8", "network.width": "16", "network.gates": "false", "camera.blends": "0.5,1.5"}
    assert recipe.options == expected
    assert (recipe.loop.minutes, recipe.loop.ema, recipe.loop.warmup_steps) == (30, 0.99, 200)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("objective = ", "is no TOML"),
        ('summary = "x"', "names no objective"),
        ('objective = "paired"\nlosses = 1', "unknown keys: losses"),
        ('objective = "paired"\noptions = 1', "options is no table"),
        ('objective = "paired"\n[options]\na = 2020-01-01', "a is of a kind no option has"),
        ('objective = "paired"\n[loop]\nepoch = 1', r"\[loop\] has no 'epoch'.*there are: schedule"),
        ('objective = "paired"\n[loop]\nema = "x"', r"\[loop\] ema is no float"),
        ('objective = "paired"\n[loop]\nwarmup_steps = 1.5', r"\[loop\] warmup_steps is no int"),
        ('objective = "paired"\n[loop]\nema = 1', r"\[loop\] ema can't be 1"),
        ('objective = "paired"\n[loop]\nschedule = "step"', "cosine, constant-linear"),
        ('objective = "paired"\n[loop]\nminutes = -1', "minutes can't be -1"),
        ('objective = "paired"\n[loop]\nclip_gradient = nan', "clip_gradient can't be nan"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, words):
    with pytest.raises(UsageError, match=words):
        recipes.load(write(tmp_path, text))


def test_a_name_that_is_none():
    with pytest.raises(UsageError, match=r"did you mean paired\?"):
        recipes.load("pared")
    with pytest.raises(UsageError, match=r"there\.toml: can't be read"):
        recipes.load("there.toml")
