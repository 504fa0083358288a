"""What a profile holds of private columns, and that both engines and all merges hold the same."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from monitoring_pipeline.config.dataset import ColumnRoles, ProfileSettings
from monitoring_pipeline.config.privacy import PrivacySpec
from monitoring_pipeline.profiling import engine, fallback
from monitoring_pipeline.profiling.bulk_merging import merge_groups
from monitoring_pipeline.profiling.merging import ProfileMerger
from monitoring_pipeline.profiling.privacy import Privacy, is_hashed
from monitoring_pipeline.profiling.profile import (
    PRIVACY,
    SCALARS,
    ColumnProfile,
    DatasetProfile,
    merge_profiles,
)
from monitoring_pipeline.profiling.profiler import Profiler
from monitoring_pipeline.profiling.sketches import Kll

KEY = "a key of some length for tests"


def _privacy(roles: ColumnRoles | None = None, **columns: object) -> Privacy:
    found = Privacy.of(PrivacySpec.model_validate({"columns": columns}), key=KEY, roles=roles)
    assert found is not None
    return found


def _profile(table: pa.Table, privacy: Privacy | None, *, roles: ColumnRoles | None = None) -> DatasetProfile:
    profiler = Profiler(privacy=privacy, roles=roles)
    profiler.update(table)
    return profiler.finish()


def _column(values: pa.Array | list[object], **rule: object) -> ColumnProfile:
    return _profile(pa.table({"x": values}), _privacy(x=rule)).columns[""]["x"]


def test_off_keeps_no_value_and_counts_all_the_same() -> None:
    found = _column(["a", "b", "a", None], frequent_items="off")
    assert (found.frequent_items, found.n, found.n_null, found.t_string) == (None, 4, 1, 3)
    assert found.distinct()[0] == pytest.approx(2, abs=0.01)


def test_hashed_values_are_hmacs_with_their_counts() -> None:
    found = _column(["a", "b", "a"], frequent_items="hashed")
    hashes = {
        text: "#" + hmac.new(KEY.encode(), text.encode(), hashlib.sha256).hexdigest()[:16] for text in "ab"
    }
    assert found.top_items(9) == [(hashes["a"], 2, 2, 2), (hashes["b"], 1, 1, 1)]
    assert all(map(is_hashed, hashes.values()))


def test_another_key_gives_other_hashes() -> None:
    spec = PrivacySpec.model_validate({"columns": {"x": {"frequent_items": "hashed"}}})
    one, other = (
        _profile(pa.table({"x": ["a"]}), Privacy.of(spec, key=key)).columns[""]["x"].top_items(1)
        for key in (KEY, KEY[::-1])
    )
    assert one != other


def test_hashed_values_of_two_days_add_up() -> None:
    days = [_column(["a"] * 3 + ["b"], frequent_items="hashed"), _column(["a"], frequent_items="hashed")]
    assert [count for _, count, _, _ in merge_profiles(days).top_items(9)] == [4, 1]


def test_at_least_keeps_what_the_batch_holds_so_often() -> None:
    found = _column(["a"] * 5 + ["b"] * 4 + ["c"], frequent_items={"at_least": 4})
    assert found.top_items(9) == [("a", 5, 5, 5), ("b", 4, 4, 4)]
    nothing = _column(["a", "b"], frequent_items={"at_least": 2})
    assert nothing.top_items(9) == []


def test_masked_numbers_lose_their_ends_and_their_last_digits() -> None:
    values = np.arange(1, 1_001, dtype=np.float64) * 12.3456
    values[0], values[-1] = -1e12, 123_456_789_012_345.0
    exact = ProfileSettings(kll_k=2_048)  # keeps every value
    profiler = Profiler(privacy=_privacy(x={"extremes": "masked"}), settings=exact)
    profiler.update(pa.table({"x": values}))
    found = profiler.finish().columns[""]["x"]
    # 1 % of 1,000 values lie below the 11th (11 · 12.3456) and above the 990th.
    assert (found.min, found.max) == (136.0, 12_200.0)
    kll = Kll.from_image(found.kll or b"")
    items = np.concatenate(kll.levels)
    assert (items.min(), items.max(), kll.minimum, kll.maximum) == (136.0, 12_200.0, 136.0, 12_200.0)
    assert all(float(f"{item:.2e}") == item for item in items.tolist())
    assert found.quantiles([0.5])[0] == pytest.approx(500 * 12.3456, rel=0.02)
    assert found.mean == pytest.approx(values.mean())


def test_at_least_five_values_lie_at_each_end() -> None:
    found = _column(pa.array([*map(float, range(101, 113))]), extremes="masked")
    assert (found.min, found.max) == (105.0, 108.0)


def test_of_fewer_than_ten_numbers_nothing_is_kept_but_their_count() -> None:
    found = _column(pa.array([1.5] * 9), extremes="masked")
    assert (found.n, found.t_fractional, found.m_n, found.mean, found.m2) == (9, 9, 0, 0.0, 0.0)
    assert (found.min, found.max, found.kll) == (None, None, None)
    assert found.scalars()["quantile_50"] is None


def test_masked_times_are_whole_days() -> None:
    start = datetime(2026, 3, 1, 5, tzinfo=UTC)
    times = pa.array([start + timedelta(hours=7 * at) for at in range(100)], pa.timestamp("us", tz="UTC"))
    found = _column(times, extremes="masked")
    day = 86_400_000_000
    assert found.min is not None
    assert found.min % day == 0
    assert not any(item % day for item in np.concatenate(Kll.from_image(found.kll or b"").levels).tolist())


def test_columns_without_a_rule_are_the_same_to_the_last_byte() -> None:
    table = pa.table({"x": ["a", "b"], "y": [1.5, 2.5]})
    with_rule = _profile(table, _privacy(x={"frequent_items": "off"}))
    assert with_rule.columns[""]["y"].to_bytes() == _profile(table, None).columns[""]["y"].to_bytes()


def _table(seed: int) -> pa.Table:
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "text": random.choice([f"v{at}" for at in range(40)], 5_000),
            "rare": random.choice([f"v{at}" for at in range(2_000)], 5_000),
            "whole": random.integers(-(10**12), 10**12, 5_000),
            "number": random.lognormal(3, 2, 5_000),
        }
    )


_RULES = {
    "text": {"frequent_items": "hashed"},
    "rare": {"frequent_items": {"at_least": 4}},
    "whole": {"frequent_items": "off"},
    "number": {"extremes": "masked"},
}


def test_both_engines_keep_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = _profile(_table(1), _privacy(**_RULES)).to_bytes()
    monkeypatch.setattr(engine, "Cells", fallback.Cells)
    assert hashlib.sha256(_profile(_table(1), _privacy(**_RULES)).to_bytes()).digest() == (
        hashlib.sha256(compiled).digest()
    )


def test_merges_in_bulk_and_one_by_one_are_the_same_and_say_what_was_kept_back() -> None:
    days = [_profile(_table(seed), _privacy(**_RULES)).columns[""] for seed in range(3)]
    days.append(_profile(_table(9), None).columns[""])
    for name in _RULES:
        for parts in ([day[name] for day in days[:3]], [day[name] for day in days]):
            rows = np.array(
                [
                    [np.nan if (one := part.scalars()[key]) is None else one for key in SCALARS]
                    for part in parts
                ]
            )
            [bulk] = merge_groups(np.array([len(parts)]), rows, [part.components() for part in parts])
            single = merge_profiles(parts)
            assert hashlib.sha256(bulk.to_bytes()).digest() == hashlib.sha256(single.to_bytes()).digest()
            assert (b"open" in single.extra[PRIVACY]) == (len(parts) == 4)
            again = merge_profiles([merge_profiles(parts[:2]), *parts[2:]])
            assert again.extra == single.extra


def test_derived_numbers_are_those_that_the_store_would_read_again() -> None:
    for column in _profile(_table(2), _privacy(**_RULES)).columns[""].values():
        read = ColumnProfile.from_parts(column.scalars(), column.components())
        assert [*map(str, read.derived[3:])] == [*map(str, column.derived[3:])]


def test_profiles_made_elsewhere_are_held_to_the_same_rules() -> None:
    merger = ProfileMerger(privacy=_privacy(**_RULES))
    merger.update(_profile(_table(3), None))
    own = _profile(_table(3), _privacy(**_RULES))
    found = merger.finish()
    assert {name: hash(one.to_bytes()) for name, one in found.columns[""].items()} == {
        name: hash(one.to_bytes()) for name, one in own.columns[""].items()
    }


def test_a_name_that_the_data_does_not_have_is_a_warning() -> None:
    found = _profile(pa.table({"x": ["a"]}), _privacy(emial={"frequent_items": "off"}))
    assert [str(one) for one in found.warnings] == [
        "column 'emial': privacy names it, and the data has no such column"
    ]


def test_the_key_is_not_shown() -> None:
    assert KEY not in repr(_privacy(x={"frequent_items": "hashed"}))


ROLES = ColumnRoles(prediction="p", target="t")
LABELS = pa.table({"p": ["yes", "no", "yes", "no"] * 3, "t": ["yes", "no", "no", "rare"] + ["yes", "no"] * 4})


@pytest.mark.parametrize(
    ("rule", "labels"),
    [("off", ("(other)",)), ({"at_least": 2}, ("no", "yes", "(other)")), ("on", ("no", "rare", "yes"))],
)
def test_labels_of_predictions_follow_the_rules_of_their_columns(
    rule: object, labels: tuple[str, ...]
) -> None:
    privacy = _privacy(ROLES, t={"frequent_items": rule}, other={"frequent_items": "off"})
    found = _profile(LABELS, privacy, roles=ROLES).performance()
    plain = _profile(LABELS, None, roles=ROLES).performance()
    assert found is not None
    assert plain is not None
    assert found.labels == labels
    assert (found.sums.sum(axis=0) == plain.sums.sum(axis=0)).all()


def test_the_label_that_the_description_names_stays() -> None:
    roles = ROLES.model_copy(update={"positive": "yes"})
    found = _profile(LABELS, _privacy(roles, t={"frequent_items": "off"}), roles=roles).performance()
    assert found is not None
    assert (found.labels, found.positive) == (("yes", "(other)"), "yes")


def test_hashed_labels_keep_the_positive_one_among_them() -> None:
    roles = ROLES.model_copy(update={"positive": "yes"})
    found = _profile(LABELS, _privacy(roles, t={"frequent_items": "hashed"}), roles=roles).performance()
    assert found is not None
    assert all(map(is_hashed, found.labels))
    assert found.positive in found.labels
