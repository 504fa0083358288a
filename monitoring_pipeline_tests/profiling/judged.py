"""Rows with predictions and outcomes, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.profiling.ledger import Ledger
from monitoring_pipeline.profiling.performance import Performance

ROLES = ColumnRoles(
    id="id", prediction="prediction", score="score", target="target", weight="weight", value="value"
)

Rows = Sequence[Mapping[str, Any]]


def judged(rows: Rows, types: Mapping[str, pa.DataType] | None = None) -> Performance:
    """The performance of rows given as mappings from role to value."""
    ledger = Ledger()
    ledger.take(len(rows), columns(rows, types), [])
    return ledger.finish()[0]


def columns(rows: Rows, types: Mapping[str, pa.DataType] | None = None) -> dict[str, pa.Array]:
    """Rows as columns by role."""
    roles = dict.fromkeys(role for row in rows for role in row)
    return {role: pa.array([row.get(role) for row in rows], (types or {}).get(role)) for role in roles}


LABELS = {"prediction": pa.string(), "target": pa.string(), "score": pa.float64(), "value": pa.float64()}

classified = st.lists(
    st.fixed_dictionaries(
        {
            "prediction": st.sampled_from(["a", "b", "c", None]),
            "target": st.sampled_from(["a", "b", "c", None]),
            "score": st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.1, 0.2, 0.3])),
            "value": st.one_of(st.none(), st.integers(-100, 100).map(float)),
        }
    ),
    max_size=30,
)
