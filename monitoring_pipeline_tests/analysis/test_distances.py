from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.analysis.distances import DISTANCES, hellinger, jensenshannon, kl_divergence, psi


def probabilities() -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    cells = st.lists(st.floats(0, 1), min_size=3, max_size=8).filter(lambda row: sum(row) > 0.01)
    pair = st.integers(3, 8).flatmap(
        lambda n: st.tuples(*[st.lists(st.floats(1e-3, 1), min_size=n, max_size=n) for _ in range(2)])
    )
    del cells
    return pair.map(lambda rows: (np.array(rows[0]) / sum(rows[0]), np.array(rows[1]) / sum(rows[1])))


@given(probabilities())
def test_formulas_by_hand(pair: tuple[np.ndarray, np.ndarray]) -> None:
    p, q = pair
    assert hellinger(p, q) == pytest.approx(math.sqrt(max(0, 1 - sum(map(math.sqrt, p * q)))), abs=1e-7)
    assert kl_divergence(p, q) == pytest.approx(
        sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)), abs=1e-9
    )
    assert psi(p, q) == pytest.approx(kl_divergence(p, q) + kl_divergence(q, p), abs=1e-9)
    m = (p + q) / 2
    assert jensenshannon(p, q) ** 2 == pytest.approx(
        (kl_divergence(p, m) + kl_divergence(q, m)) / 2, abs=1e-9
    )


@given(probabilities(), st.integers(0, 200))
def test_padding_with_zeros_changes_no_bit(pair: tuple[np.ndarray, np.ndarray], padding: int) -> None:
    padded = [np.concatenate([row, np.zeros(padding)]) for row in pair]
    for distance in DISTANCES.values():
        assert distance(*pair) == distance(*padded)


def test_many_rows_are_judged_at_once() -> None:
    p = np.array([[[0.5, 0.5], [1.0, 0.0]]])
    assert hellinger(p, p[:, ::-1]).shape == (1, 2)


@pytest.mark.parametrize("name", ["jensenshannon"])
def test_agrees_with_scipy(name: str) -> None:
    spatial = pytest.importorskip("scipy.spatial.distance", reason="scipy is not a dependency")
    p, q = np.array([0.1, 0.2, 0.7]), np.array([0.4, 0.4, 0.2])
    assert DISTANCES[name](p, q) == pytest.approx(spatial.jensenshannon(p, q))
