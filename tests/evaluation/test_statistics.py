"""Against SciPy, and against what can be counted by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hdrcli.evaluation.statistics import EXACT_PAIRS, bootstrap_interval, holm, paired_test, summary, worst


def scores(n: int, seed: int = 0, decimals: int | None = None) -> np.ndarray:
    values = np.random.default_rng(seed).normal(30, 4, n)
    return values if decimals is None else values.round(decimals)


def test_summary_leaves_infinities_out_and_counts_them() -> None:
    found = summary([1.0, math.inf, 3.0, 8.0, -math.inf], seed=0)
    assert (found.n, found.infinite, found.mean, found.median) == (3, 2, 4.0, 3.0)


def test_few_values() -> None:
    one = summary([5.0], seed=0)
    assert (one.n, one.mean, one.median, one.low, one.high) == (1, 5.0, 5.0, None, None)
    none = summary([math.inf], seed=0)
    assert (none.n, none.infinite, none.mean, none.low) == (0, 1, None, None)
    assert summary([], seed=0).n == 0
    with pytest.raises(ValueError, match="NaN"):
        summary([1.0, math.nan], seed=0)


def test_interval_of_two_values_is_they_themselves() -> None:
    """Both drawn twice, a quarter of all draws, is more than 2.5 %."""
    assert bootstrap_interval(np.array([1.0, 4.0]), seed=3) == (1.0, 4.0)


def test_interval_of_equal_values() -> None:
    assert bootstrap_interval(np.full(7, 0.1), seed=3) == (0.1, 0.1)


def test_interval_against_all_draws() -> None:
    """Of five values all 5^5 draws can be made."""
    x = scores(5)
    means = np.array([np.mean(draw) for draw in itertools.product(x, repeat=5)])
    assert bootstrap_interval(x, seed=0, resamples=200_000) == pytest.approx(np.quantile(means, (0.025, 0.975)), abs=0.02)


def test_interval_of_many_is_the_normal_one() -> None:
    x = scores(4000)
    half = 1.959964 * x.std() / math.sqrt(x.size)
    assert bootstrap_interval(x, seed=0) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.05 * half)


def test_interval_against_scipy() -> None:
    x = scores(40)
    theirs = stats.bootstrap((x,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1))
    ours = bootstrap_interval(x, seed=0, resamples=20_000)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)


def test_seed_decides() -> None:
    x = scores(30)
    assert bootstrap_interval(x, seed=1) == bootstrap_interval(x, seed=1) != bootstrap_interval(x, seed=2)


@pytest.mark.parametrize("n", [2, 5, 11, 30])
def test_exact_p_against_scipy(n: int) -> None:
    a, b = scores(n), scores(n, 1) + 0.7
    found = paired_test(a, b)
    assert found.exact
    assert found.n == n
    assert found.difference == pytest.approx(np.mean(a - b))
    assert found.p == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue, rel=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=2, max_size=9))
def test_exact_p_with_ties_by_counting_all_signs(differences: list[int]) -> None:
    d = np.array([x for x in differences if x], float)
    found = paired_test(np.array(differences, float), np.zeros(len(differences)))
    if d.size < 2:
        assert found.p is None
        return
    ranks = stats.rankdata(np.abs(d))
    far = abs(ranks[d > 0].sum() - ranks.sum() / 2)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=d.size)]
    assert found.p == pytest.approx(np.mean([abs(s - ranks.sum() / 2) >= far - 1e-9 for s in sums]))


def test_many_pairs_against_scipy() -> None:
    n = EXACT_PAIRS + 100
    a, b = scores(n, 0, 1), scores(n, 1, 1) + 0.3
    found = paired_test(a, b)
    assert not found.exact
    theirs = stats.wilcoxon(a, b, method="asymptotic", correction=False)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_exact_and_approximate_p_meet() -> None:
    a, b = scores(EXACT_PAIRS, 4), scores(EXACT_PAIRS, 5) + 0.3
    theirs = stats.wilcoxon(a, b, method="asymptotic")
    assert paired_test(a, b).p == pytest.approx(theirs.pvalue, rel=0.02)


def test_infinite_pairs_and_equal_ones_are_left_out() -> None:
    found = paired_test([1.0, 2.0, 3.0, math.inf, 5.0], [1.0, 1.0, 1.5, 2.0, math.inf])
    assert (found.n, found.p) == (3, 0.5)
    assert paired_test([1.0, 2.0], [1.0, 2.0]).p is None
    assert paired_test([], []).difference is None


def test_holm() -> None:
    """The worked example of Holm's step-down: 0.01, 0.02, 0.03, 0.04 of four."""
    assert holm([0.04, 0.01, None, 0.03, 0.02]) == (
        pytest.approx(0.06),
        pytest.approx(0.04),
        None,
        pytest.approx(0.06),
        pytest.approx(0.06),
    )
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_worst() -> None:
    values = {"a": 3.0, "b": 1.0, "c": math.inf, "d": 2.0, "e": 1.0}
    assert worst(values, better="higher", count=2) == (("b", 1.0), ("e", 1.0))
    assert worst(values, better="lower", count=2) == (("a", 3.0), ("d", 2.0))
    assert worst(values, better="neither", count=2) == ()
