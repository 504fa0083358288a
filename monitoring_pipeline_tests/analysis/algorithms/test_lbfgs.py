from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from monitoring_pipeline.analysis.algorithms.lbfgs import Floats, Rows, minimise

optimize = pytest.importorskip("scipy.optimize")

STEP = 1e-5


def rosenbrock(x: Floats) -> Floats:
    return ((1 - x[..., :-1]) ** 2 + 100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2).sum(axis=-1)


def beale(x: Floats) -> Floats:
    one, two = x[..., 0], x[..., 1]
    return (1.5 - one + one * two) ** 2 + (2.25 - one + one * two**2) ** 2 + (2.625 - one + one * two**3) ** 2


def stretched(x: Floats) -> Floats:
    """A bowl 10,000 times as steep one way as the other."""
    return (x**2 * 10.0 ** np.linspace(-2, 2, x.shape[-1])).sum(axis=-1)


def spread(x: Floats) -> Floats:
    """The negative log-likelihood of data with deviation 5,000, flat enough to end early."""
    return np.log(x[..., 0] ** 2) / 2 + (25e6 + (x[..., 1] - 100) ** 2) / (2 * x[..., 0] ** 2)


def wavy(x: Floats) -> Floats:
    return (np.sin(3 * x) + 0.1 * x**2).sum(axis=-1)


@pytest.mark.parametrize(
    ("function", "width", "scale"),
    [(rosenbrock, 2, 1.5), (rosenbrock, 5, 1.5), (beale, 2, 1.0), (stretched, 6, 10.0), (wavy, 3, 4.0)],
    ids=["rosenbrock", "rosenbrock in five dimensions", "beale", "stretched", "wavy"],
)
@pytest.mark.parametrize("iterations", [3, 12])
def test_ends_where_scipy_ends(
    function: Callable[[Floats], Floats], width: int, scale: float, iterations: int
) -> None:
    start = np.random.default_rng(1).normal(size=(10, width)) * scale
    found = minimise(lambda _, points: function(points), start, difference=STEP, iterations=iterations)
    expected = [scipys(function, one, iterations) for one in start]
    assert found == pytest.approx(np.array(expected), rel=1e-4, abs=1e-5)


def test_ends_where_scipy_ends_too_early() -> None:
    start = np.column_stack([np.linspace(1000, 20_000, 15), np.linspace(-5000, 5000, 15)])
    found = minimise(lambda _, points: spread(points), start, difference=STEP, iterations=50)
    expected = np.array([scipys(spread, one, 50) for one in start])
    assert np.abs(expected[:, 1] - 100).max() > 100
    assert spread(found) == pytest.approx(spread(expected), rel=1e-4)
    # Rounding leads a few elsewhere in the flat.
    assert np.quantile(np.abs(found / expected - 1).max(axis=1), 0.8) < 1e-3


def test_every_row_has_its_own_function() -> None:
    def towards(rows: Rows, points: Floats) -> Floats:
        return ((points - rows[:, None, None]) ** 2).sum(axis=-1)

    found = minimise(towards, np.full((5, 2), 3.0), difference=STEP, iterations=50)
    # Forward differences put the minimum half a step before it.
    assert found == pytest.approx(np.repeat(np.arange(5.0)[:, None], 2, axis=1), abs=1e-5)


def test_where_a_function_is_not_finite_there_is_no_answer() -> None:
    def cliff(rows: Rows, points: Floats) -> Floats:
        return np.where((rows == 1)[:, None], np.nan, rosenbrock(points))

    found = minimise(cliff, np.zeros((3, 2)), difference=STEP, iterations=50)
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False]


def scipys(function: Callable[[Floats], Floats], start: Floats, iterations: int) -> Floats:
    def alone(x: Floats) -> float:
        return float(function(x))

    end, _, _ = optimize.fmin_l_bfgs_b(alone, start, approx_grad=True, epsilon=STEP, maxiter=iterations)
    return np.asarray(end, dtype=np.float64)
