"""Every metric: its name, its formula on numbers checked by hand, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring_pipeline.errors import UnknownMetricError, UsageError
from monitoring_pipeline.metrics import Metric, catalog, metric
from monitoring_pipeline.metrics.operational import BATCH_SCALARS, COLUMN_SUMS, OUTLIER_SCALARS
from monitoring_pipeline.metrics.performance import PERFORMANCE_SCALARS
from monitoring_pipeline.profiling import SCALARS

NAN = np.nan


def scalars(**values: object) -> dict[str, NDArray[np.float64]]:
    """All scalars missing but the given ones, shaped like them."""
    arrays = {name: np.asarray(value, np.float64) for name, value in values.items()}
    shape = next(iter(arrays.values())).shape
    return {name: np.full(shape, NAN) for name in SCALARS} | arrays


def value(name: str, **values: object) -> NDArray:
    return metric(name).formula(scalars(**values))


@pytest.mark.parametrize(
    "name", ["median", "MEDIAN", "Count.Null.Ratio", "count_null_ratio", " missingdatapoint "]
)
def test_case_and_dots_in_a_name_do_not_matter(name: str) -> None:
    assert metric(name).name.lower() == name.strip().replace(".", "_").lower()


def test_an_unknown_metric_names_its_neighbours() -> None:
    with pytest.raises(UnknownMetricError, match=r"'count_nul'; near: count_null"):
        metric("count_nul")
    with pytest.raises(UnknownMetricError, match=r"there are: classification.accuracy, classification"):
        metric("zzz")


def test_the_reference_metrics_that_scalars_can_tell_are_there() -> None:
    kinds = ("null", "bool", "integral", "fractional", "string")
    names = [f"count_{kind}{ratio}" for kind in kinds for ratio in ("", "_ratio")]
    names += [f"unique_{bound}{ratio}" for bound in ("est", "lower", "upper") for ratio in ("", "_ratio")]
    names += [f"quantile_{rank}" for rank in (5, 25, 75, 90, 95, 99)]
    names += ["count", "mean", "median", "stddev", "variance", "min", "max", "inferred_data_type", "discrete"]
    names += ["histogram", "frequent_items", "shape_row_count", "shape_column_count", "column_row_count_sum"]
    names += ["missingDatapoint", "secondsSinceLastUpload"]
    assert [name for name in names if name not in catalog()] == []


@pytest.mark.parametrize("found", catalog().values(), ids=lambda found: found.name)
def test_every_metric_says_what_it_needs_and_keeps_the_shape(found: Metric) -> None:
    told = {*SCALARS, *PERFORMANCE_SCALARS, *BATCH_SCALARS, *COLUMN_SUMS, *OUTLIER_SCALARS}
    assert set(found.needs) <= told
    assert found.description
    if not found.needs:
        assert found.kind == "distribution" or found.source == "batch"
        with pytest.raises(UsageError, match=found.name):
            found.formula({})
        return
    for shape in ((), (3,), (2, 3), (0,)):
        missing = found.formula({name: np.full(shape, NAN) for name in found.needs})
        assert missing.shape == shape
        assert np.all(missing == "" if found.kind == "text" else np.isnan(missing))
        there = found.formula({name: np.full(shape, 2.0) for name in found.needs})
        assert there.shape == shape
        assert (there.dtype == np.float64) == (found.kind == "number")


def test_counts_add_up_over_buckets_and_ratios_do_not() -> None:
    assert metric("count").additive
    assert metric("count_null").additive
    assert metric("shape_row_count").additive
    assert not metric("count_null_ratio").additive
    assert not metric("unique_est").additive
    assert not metric("mean").additive


def test_ratios_are_shares_of_all_values_and_missing_where_there_are_none() -> None:
    found = value("count_null_ratio", n_null=[1, 0, 0, NAN, 2], n=[4, 4, 0, 4, NAN])
    np.testing.assert_array_equal(found, [0.25, 0, NAN, NAN, NAN])
    np.testing.assert_array_equal(value("unique_est_ratio", unique_est=[2, 2], n=[8, -1]), [0.25, NAN])
    np.testing.assert_array_equal(value("count_true_ratio", n_true=[3], n=[4]), [0.75])
    np.testing.assert_array_equal(value("count_inf", n_pos_inf=[3, 1], n_neg_inf=[4, NAN]), [7, NAN])


def test_the_standard_deviation_is_that_of_a_sample() -> None:
    data = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    m2 = ((data - data.mean()) ** 2).sum()
    np.testing.assert_allclose(value("stddev", m_n=[8, 1, 0], m2=[m2, 0, NAN]), [data.std(ddof=1), NAN, NAN])
    np.testing.assert_allclose(value("variance", m_n=8, m2=m2), data.var(ddof=1))


def test_the_median_is_the_middle_quantile() -> None:
    assert value("median", quantile_50=3.5) == value("quantile_50", quantile_50=3.5) == 3.5


@pytest.mark.parametrize(
    ("counts", "label"),
    [
        ({"t_integral": 8, "t_string": 2}, "INTEGRAL"),  # above 0.7
        ({"t_string": 5, "t_integral": 4, "t_bool": 1}, "STRING"),  # strings outnumber numbers
        ({"t_string": 4, "t_integral": 2, "t_fractional": 1, "t_bool": 3}, "STRING"),
        ({"t_bool": 5, "t_integral": 3, "t_string": 2}, "BOOLEAN"),  # half
        ({"t_string": 4, "t_integral": 3, "t_fractional": 3}, "FRACTIONAL"),  # numbers together
        ({"t_bool": 4, "t_integral": 3, "t_string": 3}, "BOOLEAN"),  # nothing else applies
        ({"t_object": 3}, "UNKNOWN"),
        ({"n_null": 3}, "NULL"),
        ({"n_null": 0}, "UNKNOWN"),
    ],
)
def test_the_type_of_most_values_is_inferred_by_the_rules_in_their_order(
    counts: dict[str, int], label: str
) -> None:
    zero = dict.fromkeys(("t_object", "t_fractional", "t_integral", "t_bool", "t_string", "n_null"), 0)
    assert value("inferred_data_type", **{**zero, **counts}) == label


@pytest.mark.parametrize(
    ("counts", "n", "unique", "discrete"),
    [
        ({"t_fractional": 100}, 100, 2, 0),
        ({"t_string": 100}, 100, 99, 1),
        ({"t_integral": 100}, 100, 14, 1),  # 15 / 100 is still few
        ({"t_integral": 100}, 100, 15, 0),
        ({"t_integral": 100}, 100, 100, 0),
        ({"t_bool": 100}, 100, NAN, NAN),
        ({"n_null": 100}, 100, 0, 1),
    ],
)
def test_a_column_is_discrete_when_it_has_few_distinct_values(
    counts: dict[str, int], n: int, unique: float, discrete: float
) -> None:
    zero = dict.fromkeys(("t_object", "t_fractional", "t_integral", "t_bool", "t_string", "n_null"), 0)
    found = value("discrete", **{**zero, **counts}, n=n, unique_est=unique)
    np.testing.assert_array_equal(found, discrete)


def test_dataset_metrics_read_the_dataset_row() -> None:
    assert value("shape_row_count", n=10, n_columns=3) == 10
    assert value("shape_column_count", n=10, n_columns=3) == 3
    assert value("column_row_count_sum", n=10, n_columns=3) == 30
    assert metric("missingDatapoint").source == "batch"
    assert metric("shape_row_count").level == "dataset"
    assert metric("histogram").sketch == "kll.v1"
