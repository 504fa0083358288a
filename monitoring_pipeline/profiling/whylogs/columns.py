"""One column of a whylogs profile as a `ColumnProfile`, and back.

Where the two differ:

- whylogs counts a NaN as missing, and among its types not at all; what its files say is kept, so that
  `count_null` and `count_fractional` are the figures that its users know. Our own profiler counts a NaN of an Arrow
  column as a fractional number that is not missing. Written to whylogs, either is what whylogs would say.
- whylogs keeps infinities in its distribution, which leaves it without mean or variance: neither is read there,
  and the extreme on that side is the greatest finite value that the sketch still holds.
- Distinct values are estimated from the registers of the sketch, the same for every profile, merged or not. whylogs
  uses a better estimator while a sketch has not been merged, so its figure may be a few per cent from ours (within
  the bounds), and never more than there are values. Quantiles follow Apache's rule, within the rank
  error of whylogs' figure.
- Booleans have a mean in whylogs, and so when read from there; our own profiler only counts them.
"""

from __future__ import annotations

import math
from dataclasses import replace

from monitoring_pipeline.errors import ProfileError
from monitoring_pipeline.profiling.profile import ColumnProfile
from monitoring_pipeline.profiling.sketches import Hll, Kll
from monitoring_pipeline.profiling.whylogs.messages import (
    COUNTS,
    HLL,
    INTS_MAX,
    INTS_MIN,
    ITEMS,
    KLL,
    M2,
    MEAN,
    TYPES,
    Components,
)
from monitoring_pipeline.profiling.whylogs.protobuf import within
from monitoring_pipeline.profiling.whylogs.sketches import (
    MOST_VALUES,
    items_from_whylogs,
    kll_from_whylogs,
    kll_to_whylogs,
    without_infinities,
)

_KLL_K = 1024
_NO_NUMBERS = Kll(_KLL_K, _KLL_K, 0, math.nan, math.nan, ()).to_image()
_LONG = 1 << 63


def column_from_whylogs(column: Components) -> ColumnProfile:
    """The profile of a column. Raises ProfileError that names the component and what is wrong with it."""
    counts = {name: _count(column, f"counts/{name}") for name in COUNTS}
    types = {name: _count(column, f"types/{name}") for name in TYPES}
    if counts["null"] > counts["n"]:
        raise ProfileError(f"component 'counts/null': {counts['null']} of {counts['n']} values")
    profile = ColumnProfile(
        n=counts["n"],
        n_null=counts["null"],
        n_nan=counts["nan"],
        n_true=counts["true"],
        t_bool=types["boolean"],
        t_integral=types["integral"],
        t_fractional=types["fractional"],
        t_string=types["string"],
        t_object=types["object"] + types["tensor"],
    )
    if HLL in column.sketches:
        with within(f"component {HLL!r}"):
            profile = replace(profile, hll=Hll.from_image(column.sketches[HLL]).to_image())
    if ITEMS in column.sketches:
        with within(f"component {ITEMS!r}"):
            items = items_from_whylogs(column.sketches[ITEMS])
        # The older format has an empty one where values are fractional, of which none are kept.
        if items.counts or profile.t_fractional < profile.n - profile.n_null or profile.n == profile.n_null:
            profile = replace(profile, frequent_items=items.to_image())
    return _with_numbers(profile, column, infinite=counts["inf"])


def column_to_whylogs(profile: ColumnProfile) -> Components:
    """What whylogs would keep of a column."""
    n_inf = profile.n_pos_inf + profile.n_neg_inf
    numbers = profile.t_integral + profile.t_fractional
    kll = None if profile.kll is None or not (numbers or profile.m_n) else Kll.from_image(profile.kll)
    summed = profile.m_n or kll is None or not kll.n
    # The moments are of all numbers but infinities and those NaNs that do not count as missing.
    present_nan = min(max(numbers - profile.m_n - n_inf, 0), profile.n_nan) if summed else 0
    column = Components()
    column.whole.update(
        {
            "counts/n": profile.n,
            "counts/null": profile.n_null + present_nan,
            "counts/nan": profile.n_nan,
            "counts/inf": n_inf,
            "counts/true": profile.n_true,
            "types/integral": profile.t_integral,
            "types/fractional": profile.t_fractional - min(present_nan, profile.t_fractional),
            "types/boolean": profile.t_bool,
            "types/string": profile.t_string,
            "types/object": profile.t_object,
            "types/tensor": 0,
        }
    )
    column.sketches[KLL] = kll_to_whylogs(_NO_NUMBERS if kll is None else kll.to_image())
    moments = (profile.mean, profile.m2) if profile.m_n else (0.0, 0.0) if summed else (math.nan, math.nan)
    column.real.update(zip((MEAN, M2), moments, strict=True))
    if (
        profile.t_integral
        and not profile.t_fractional
        and profile.min is not None
        and profile.max is not None
    ):
        column.whole.update({INTS_MIN: _whole(profile.min), INTS_MAX: _whole(profile.max)})
    if profile.hll is not None:
        column.sketches[HLL] = profile.hll
    if profile.frequent_items is not None:
        column.sketches[ITEMS] = profile.frequent_items
    return column


def _count(column: Components, path: str) -> int:
    count = column.whole.get(path, 0)
    if not 0 <= count <= MOST_VALUES:
        raise ProfileError(f"component {path!r}: a count of {count}")
    return count


def _with_numbers(profile: ColumnProfile, column: Components, *, infinite: int) -> ColumnProfile:
    with within(f"component {KLL!r}"):
        image = column.sketches.get(KLL)
        found = Kll.from_image(_NO_NUMBERS) if image is None else kll_from_whylogs(image)
        kll, negative, positive = without_infinities(found)
    if negative or positive:
        infinite = infinite or negative + positive
        below = round(infinite * negative / (negative + positive))
        profile = replace(profile, n_neg_inf=below, n_pos_inf=infinite - below)
    elif infinite:
        profile = replace(profile, n_pos_inf=infinite)
    if kll.n:
        profile = replace(profile, min=kll.minimum, max=kll.maximum, kll=kll.to_image())
    mean, m2 = column.real.get(MEAN, math.nan), column.real.get(M2, math.nan)
    if not kll.n or negative or positive or not math.isfinite(mean) or math.isnan(m2):
        return profile
    if m2 < 0:
        raise ProfileError(f"component {M2!r}: {m2}, although it is a sum of squares")
    return replace(profile, m_n=kll.n, mean=mean, m2=m2)


def _whole(value: float) -> int:
    return min(max(int(value), 1 - _LONG), _LONG - 1)
