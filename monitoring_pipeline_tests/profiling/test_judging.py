"""Outcomes that come with the rows, and outcomes that come later and look their rows up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring_pipeline.config.dataset import ColumnRoles
from monitoring_pipeline.profiling import DatasetProfile, judging
from monitoring_pipeline.profiling.performance import Performance
from monitoring_pipeline.profiling.profiler import Profiler
from monitoring_pipeline_tests.profiling.judged import ROLES
from monitoring_pipeline_tests.profiling.test_performance import close, confusion

ROWS = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "region": ["EU", "EU", "US", "US"],
        "prediction": [True, True, False, False],
        "score": [0.9, 0.6, 0.4, 0.1],
    }
)
OUTCOMES = pa.table({"id": ["d", "b", "a", "x"], "target": [True, False, True, True]})


def profiled(*parts: tuple[pa.Table, bool], roles: ColumnRoles = ROLES) -> DatasetProfile:
    """Rows (True) and later outcomes (False), in this order."""
    profiler = Profiler([["region"]], roles=roles, late=True)
    for table, adds_rows in parts:
        profiler.update(table, adds_rows=adds_rows)
    return profiler.finish()


def performance(profile: DatasetProfile, segment: str = "") -> Performance:
    found = profile.performance(segment)
    assert found is not None
    return found


def test_outcomes_find_their_rows_by_id() -> None:
    found = performance(profiled((ROWS, True), (OUTCOMES, False)))
    assert confusion(found) == {("True", "True"): 1, ("True", "False"): 1, ("False", "True"): 1}
    assert [found.total(name) for name in ("rows", "waiting", "orphans")] == [3, 1, 1]


def test_outcomes_belong_to_the_segments_of_their_rows() -> None:
    profile = profiled((ROWS, True), (OUTCOMES, False))
    assert confusion(performance(profile, "region=EU")) == {("True", "True"): 1, ("True", "False"): 1}
    assert confusion(performance(profile, "region=US")) == {("False", "True"): 1}
    assert performance(profile, "region=US").total("waiting") == 1


def test_it_does_not_matter_which_come_first() -> None:
    expected = performance(profiled((ROWS, True), (OUTCOMES, False)))
    close(performance(profiled((OUTCOMES, False), (ROWS, True))), expected)
    close(
        performance(
            profiled((ROWS[:2], True), (OUTCOMES[:1], False), (ROWS[2:], True), (OUTCOMES[1:], False))
        ),
        expected,
    )


def test_the_id_is_profiled_with_the_rows_and_not_again_with_the_outcomes() -> None:
    profile = profiled((ROWS, True), (OUTCOMES, False))
    assert profile.columns[""]["id"].n == 4
    assert profile.columns[""]["target"].n == 4


def test_before_any_outcome_every_row_waits() -> None:
    found = performance(profiled((ROWS, True)))
    assert [found.total(name) for name in ("rows", "waiting", "orphans")] == [0, 4, 0]


def test_the_later_outcome_of_an_id_counts() -> None:
    corrected = pa.table({"id": ["a"], "target": [False]})
    found = performance(profiled((ROWS, True), (OUTCOMES, False), (corrected, False)))
    assert confusion(found)["True", "False"] == 2
    assert found.total("unusable") == 1


def test_rows_with_one_id_all_get_its_outcome() -> None:
    found = performance(profiled((pa.concat_tables([ROWS[:1]] * 3), True), (OUTCOMES, False)))
    assert confusion(found) == {("True", "True"): 3}


def test_missing_ids_find_nothing() -> None:
    rows = ROWS.set_column(0, "id", pa.array([None, "b", None, "d"]))
    found = performance(
        profiled((rows, True), (OUTCOMES.set_column(0, "id", pa.array([None, "b", None, "x"])), False))
    )
    assert [found.total(name) for name in ("rows", "waiting", "orphans", "unusable")] == [1, 3, 1, 2]


def test_ids_of_another_type_are_compared_as_texts() -> None:
    rows = ROWS.set_column(0, "id", pa.array([1, 2, 3, 4]))
    outcomes = pa.table({"id": ["1", "4"], "target": [True, False]})
    assert performance(profiled((rows, True), (outcomes, False))).total("rows") == 2


def test_outcomes_that_bring_their_predictions_along_need_no_rows() -> None:
    roles = ColumnRoles(id="id", prediction="prediction", target="target")
    whole = pa.table({"id": ["a", "b"], "prediction": [True, False], "target": [True, True]})
    found = performance(profiled((ROWS.drop_columns("prediction"), True), (whole, False), roles=roles))
    assert confusion(found) == {("True", "True"): 1, ("False", "True"): 1}


def test_what_the_outcomes_say_goes_before_what_the_rows_say() -> None:
    rows = ROWS.append_column("value", pa.array([1.0, 1.0, 1.0, 1.0]))
    outcomes = OUTCOMES.append_column("value", pa.array([None, 20.0, 30.0, 40.0]))
    found = performance(profiled((rows, True), (outcomes, False)))
    assert (found.total("value_rows"), found.total("value")) == (3, 1 + 20 + 30)


def test_nothing_is_judged_without_roles_or_without_their_columns() -> None:
    assert profiled((ROWS, True), (OUTCOMES, False), roles=ColumnRoles(id="id")).performance() is None
    assert profiled((ROWS.select(["id", "region"]), True)).performance() is None


def test_a_frame_of_pandas_is_judged_like_a_table() -> None:
    rows = pd.DataFrame({"id": [1, 2], "prediction": pd.Series(["x", 7], dtype=object), "target": ["x", "y"]})
    profiler = Profiler(roles=ROLES)
    profiler.update(rows)
    assert confusion(performance(profiler.finish())) == {("x", "x"): 1, ("7", "y"): 1}


def test_more_rows_than_fit_in_memory_wait_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    rows = pa.table(
        {
            "id": random.permutation(5_000),
            "region": random.choice(["EU", "US"], 5_000),
            "prediction": random.random(5_000) < 0.5,
            "score": random.random(5_000),
        }
    )
    outcomes = pa.table({"id": random.permutation(4_000), "target": random.random(4_000) < 0.5})
    pieces = [
        *((rows.slice(at, 500), True) for at in range(0, 5_000, 500)),
        *((outcomes.slice(at, 500), False) for at in range(0, 4_000, 500)),
    ]
    in_memory = profiled(*pieces)
    monkeypatch.setattr(judging, "_IN_MEMORY", 1_000)
    monkeypatch.setattr(judging, "_CHUNK_ROWS", 700)
    on_disk = profiled(*pieces)
    for segment in ("", "region=EU", "region=US"):
        close(performance(on_disk, segment), performance(in_memory, segment))
    assert performance(on_disk).total("rows") == 4_000


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.sampled_from(["EU", "US"])), max_size=30),
    st.dictionaries(st.integers(0, 20), st.booleans(), max_size=15),
    st.integers(0, 30),
)
def test_a_join_gives_what_rows_with_their_outcomes_give(
    rows: list[tuple[int, bool, str]], outcomes: dict[int, bool], cut: int
) -> None:
    table = pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.int64()),
            "prediction": pa.array([row[1] for row in rows], pa.bool_()),
            "region": pa.array([row[2] for row in rows], pa.string()),
        }
    )
    later = pa.table(
        {"id": pa.array(list(outcomes), pa.int64()), "target": pa.array(list(outcomes.values()), pa.bool_())}
    )
    joined = profiled((table[:cut], True), (later, False), (table[cut:], True))
    targets = pa.array([outcomes.get(row[0]) for row in rows], pa.bool_())
    expected = Profiler([["region"]], roles=ROLES)
    expected.update(table.append_column("target", targets))
    whole = expected.finish()
    for segment in whole.rows:
        if whole.rows[segment]:
            ours, theirs = performance(joined, segment), performance(whole, segment)
            assert confusion(ours) == confusion(theirs)
            assert ours.total("rows") == theirs.total("rows")
            assert ours.total("waiting") == theirs.total("waiting")
