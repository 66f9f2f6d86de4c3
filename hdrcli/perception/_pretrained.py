"""Frozen networks from local folders or the Hugging Face hub, through transformers."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hdrcli.errors import MissingExtra, MissingModel, ModelError, UsageError


def load(class_name: str, model: str, *, guide: str) -> Any:
    """A network of transformers in evaluation mode, without gradients for its weights, float32, on the CPU.

    ``class_name``: its class, for example ``"SamModel"``. ``model``: a local folder, from which nothing goes to the net, or the
    name of a hub repository, which transformers downloads once. Only safetensors are read: no code from a file is run.

    Raises MissingExtra without transformers, UsageError without a name, MissingModel if there is no such folder or repository,
    ModelError if it holds another kind of network: transformers would fill what is missing with random numbers.
    """
    if not model:
        raise UsageError(f"the guide {guide} needs a model", where="model", remedy="name a local folder or a hub repository")
    try:
        transformers: Any = importlib.import_module("transformers")
    except ModuleNotFoundError:
        raise MissingExtra("transformers", "guides", purpose=f"the guide {guide}") from None
    local = Path(model).is_dir()
    if not local and _looks_like_a_path(model):
        raise MissingModel(
            "there is no such folder", where=model, remedy="name a folder with config.json and model.safetensors"
        )
    network_class = getattr(transformers, class_name)
    with _quiet():
        try:
            network, found = network_class.from_pretrained(
                model, local_files_only=local, use_safetensors=True, output_loading_info=True, dtype="float32"
            )
        except OSError as error:
            if local:
                remedy = "it needs config.json and model.safetensors"
                raise MissingModel("holds no model that transformers can load", where=model, remedy=remedy) from error
            remedy = "check the name and the connection, or download it elsewhere and name the folder"
            raise MissingModel("can't be had from the Hugging Face hub", where=model, remedy=remedy) from error
        # what transformers and safetensors raise for damaged or foreign files is of many kinds
        except Exception as error:
            raise ModelError(
                f"can't be loaded as {class_name}: {error}", where=model, remedy="name another, or get it anew"
            ) from error
    if found["missing_keys"] or found["mismatched_keys"]:
        count = len(found["missing_keys"]) + len(found["mismatched_keys"])
        fault = f"is no {class_name}: {count} of its tensors are missing or of another size"
        raise ModelError(fault, where=model, remedy=f"name a model for the guide {guide}")
    return network.requires_grad_(False).eval()


def _looks_like_a_path(model: str) -> bool:
    """A hub name is ``name`` or ``owner/name``, nothing else."""
    return model.startswith((".", "/", "~")) or "\\" in model or model.count("/") > 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """transformers prints progress bars and tables of tensors; what matters of them is checked."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
