"""Windows: the same as torch's own padding and pooling, and the same gradients."""

import pytest
import torch
from torch.nn import functional

from hdrcli.perception import _windows as windows

SIZES = [(1, 1), (1, 7), (5, 2), (9, 12), (40, 33)]


def random(size, channels=1, dtype=torch.float32, seed=0):
    return torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def compared(ours, theirs, x, tolerance=1e-5):
    """Both give the same values, with and without gradient, and the same gradients."""
    weight = None
    found = []
    for function in (ours, theirs):
        given = x.clone().requires_grad_()
        out = function(given)
        weight = random(out.shape[2:], out.shape[1], x.dtype, seed=9) if weight is None else weight
        (out * weight).sum().backward()
        found.append((out.detach(), given.grad))
    torch.testing.assert_close(found[0], found[1], rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), found[1][0], rtol=tolerance, atol=tolerance)


def moved(x, offset, dim):
    """``x[i + offset]``, the last value beyond the border."""
    index = (torch.arange(x.shape[dim]) + offset).clamp(0, x.shape[dim] - 1)
    return x.index_select(dim, index)


def mean_over(x, rows, columns):
    padded = functional.pad(x, (columns // 2, columns // 2, rows // 2, rows // 2), mode="replicate")
    return functional.avg_pool2d(padded, (rows, columns), stride=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [(1, 1), (3, 1), (1, 5), (5, 65), (25, 25)])
def test_box_is_the_mean_over_a_window(size, window):
    compared(lambda x: windows.box(x, *window), lambda x: mean_over(x, *window), random(size, 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dim", [-1, -2])
def test_shifts(size, dim):
    x = random(size, 2)
    compared(lambda x: windows.shifted(x, 8, dim), lambda x: moved(x, 8, dim), x)
    compared(lambda x: windows.shifted(x, -3, dim), lambda x: moved(x, -3, dim), x)
    compared(lambda x: windows.difference(x, -1, 1, dim), lambda x: moved(x, 1, dim) - moved(x, -1, dim), x)
    compared(lambda x: windows.difference(x, 0, 1, dim), lambda x: moved(x, 1, dim) - x, x)
    compared(lambda x: windows.both_sides(x, 2, dim), lambda x: moved(x, 2, dim) + moved(x, -2, dim), x)
    offsets = (-3, -1, 2)
    compared(lambda x: windows.mean_of(x, offsets, dim), lambda x: torch.stack([moved(x, o, dim) for o in offsets]).mean(0), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("window", [(1, 9), (17, 17), (3, 5)])
def test_largest_is_max_pooling(size, window, dtype):
    padding = (window[0] // 2, window[1] // 2)
    compared(
        lambda x: windows.largest(x, *window),
        lambda x: functional.max_pool2d(x, window, stride=1, padding=padding),
        random(size, 2, dtype),
    )


def test_of_equal_values_the_first_has_the_gradient():
    flat = torch.zeros(1, 1, 3, 4, requires_grad=True)
    windows.largest(flat, 5, 5).sum().backward()
    assert flat.grad.flatten().tolist() == [9, 3] + [0] * 10


def test_larger_and_smaller():
    a, b = random((6, 7)), random((6, 7), seed=1)
    compared(lambda x: windows.larger(x, b), lambda x: torch.maximum(x, b), a)
    compared(lambda x: windows.smaller(x, b), lambda x: torch.minimum(x, b), a)
    compared(lambda x: windows.smaller(x, 1 - x), lambda x: torch.minimum(x, 1 - x), a)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_second_nearest_of_eight(size, channels, dtype):
    ring = [(dy, dx) for dy in (-3, 0, 3) for dx in (-3, 0, 3) if (dy, dx) != (0, 0)]

    def by_sorting(x):
        distances = [(moved(moved(x, dy, -2), dx, -1) - x).square().sum(1, keepdim=True) for dy, dx in ring]
        return torch.cat(distances, 1).sort(dim=1).values[:, 1:2]

    compared(lambda x: windows.second_nearest(x, 3), by_sorting, random(size, channels, dtype))


@pytest.mark.parametrize("size", range(1, 20))
def test_joining_by_doubling(size):
    x = random((3, 40))
    expected = x.unfold(-1, size, 1)
    torch.testing.assert_close(windows.doubled(x, size, -1, torch.add), expected.sum(-1))
    assert torch.equal(windows.doubled(x, size, -1, torch.maximum), expected.amax(-1))
