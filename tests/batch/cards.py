"""A card that is none: generators for the process that runs the network, as picklable functions."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from hdrcli.errors import MissingRequirement, ModelError
from hdrcli.inference.generator import Floats, Generator, GeneratorSpec


class OnCard:
    """Says T = 0.5 + 0.3 ldr, and writes down how many photos came together. A negative photo kills it."""

    ran_on = "a card"
    spec = GeneratorSpec("fake", "1", ("ldr", "clip"), 64, 8, 256.0, Path("fake"))

    def __call__(self, inputs: dict[str, Floats]) -> Floats:
        log = os.environ.get("CARDS_LOG")
        if log:
            with open(log, "a", encoding="ascii") as file:
                file.write(f"{len(inputs['ldr'])} {inputs['ldr'].shape[2]}\n")
        if len(inputs["ldr"]) > 2:
            raise ModelError("no room on the card")
        if (inputs["ldr"] < 0).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return np.asarray(0.5 + 0.3 * inputs["ldr"], dtype=np.float32)


class OnCpu(OnCard):
    ran_on = "somewhere, CPU"


def load(model: str, backend: str, device: str, role: str) -> Generator:
    return OnCard()


def load_on_cpu(model: str, backend: str, device: str, role: str) -> Generator:
    return OnCpu()


def load_nothing(model: str, backend: str, device: str, role: str) -> Generator:
    raise MissingRequirement("ONNX Runtime can't use CUDA here", where=f"--device {device}", remedy="use --device cpu")
