"""AlexNet and VGG16 of random weights that are the same everywhere, and what they answer according to NumPy alone."""

import numpy as np
import torch


def seeded_state(network, seed=7):
    """A state dict: He-scaled weights from a frozen random stream."""
    rs = np.random.RandomState(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        values = rs.standard_normal(tuple(tensor.shape)).astype(np.float32)
        scale = np.sqrt(2 / np.prod(tensor.shape[1:])) if tensor.ndim == 4 else 0.1
        state[name] = torch.from_numpy(values * np.float32(scale))
    return state


def pictures(height, width, seed=3):
    """Codes in 0..1: a noisy picture and what it was."""
    rs = np.random.RandomState(seed)
    reference = rs.rand(height, width, 3)
    return np.clip(reference + 0.2 * rs.uniform(-1, 1, reference.shape), 0, 1), reference


# (size, stride, padding) of each layer: a convolution by its index, or a pooling "M"
ALEXNET = ((0, 11, 4, 2), ("M", 3, 2), (3, 5, 1, 2), ("M", 3, 2), (6, 3, 1, 1), (8, 3, 1, 1), (10, 3, 1, 1))
_VGG_INDICES = (0, 2, "M", 5, 7, "M", 10, 12, 14, "M", 17, 19, 21, "M", 24, 26, 28)
VGG16 = tuple(("M", 2, 2) if i == "M" else (i, 3, 1, 1) for i in _VGG_INDICES)


def numpy_activations(layers, state, codes):
    """What each convolution gives after its ReLU, ``(C, h, w)`` float64, for codes ``(H, W, 3)`` in 0..1."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = ((np.asarray(codes, np.float64) - mean) / std).transpose(2, 0, 1)
    found = {}
    for index, size, stride, *padding in layers:
        if index == "M":
            x = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride].max((3, 4))
            continue
        weight = state[f"features.{index}.weight"].numpy().astype(np.float64)
        bias = state[f"features.{index}.bias"].numpy().astype(np.float64)
        p = padding[0]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (p, p), (p, p))), (size, size), axis=(1, 2))
        x = np.tensordot(weight, windows[:, ::stride, ::stride], axes=([1, 2, 3], [0, 3, 4])) + bias[:, None, None]
        x = np.maximum(x, 0)
        found[index] = x
    return found
