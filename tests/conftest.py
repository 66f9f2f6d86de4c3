"""What tests of several folders share; torch is imported only by the fixtures that need it."""

import os
from pathlib import Path

import pytest

# Tests run beside each other: threads that wait for each other would cost twenty times what they do.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def hdr_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small scenes with a manifest: two of split "train", one of "val"."""
    from fakes import write_scenes

    return write_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, hdr_folder: Path) -> Path:
    """The folder of a finished training run: ten steps of a tiny feedback U-Net."""
    from tiny_training import objective, short_loop

    from hdrcli.training import loop
    from hdrcli.training.datasets import find_scenes, load_scenes

    folder = tmp_path_factory.mktemp("run")
    loop.train(objective(), load_scenes(find_scenes([hdr_folder]).files), short_loop(10), folder)
    return folder


@pytest.fixture(scope="session")
def exported_bundle(tmp_path_factory: pytest.TempPathFactory, trained_run: Path) -> Path:
    """The bundle of that run; read-only by agreement: tests that change it take a copy."""
    from hdrcli.training.export import write_bundle

    return write_bundle(trained_run, tmp_path_factory.mktemp("models") / "exported")
