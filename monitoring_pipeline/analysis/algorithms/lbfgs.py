"""The optimiser L-BFGS-B without bounds, on many functions at once, step for step the way SciPy takes it for one.

Where an optimiser ends before the minimum, its answer depends on the way there. So this follows `fmin_l_bfgs_b` in
everything that decides about the way: forward differences for the gradient, ten corrections (Byrd, Lu, Nocedal and Zhu
1995), the line search of Moré and Thuente (1994), and when it stops or starts afresh. Only rounding differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
Bools = NDArray[np.bool_]

Function = Callable[[Rows, Floats], Floats]
"""Values (n_rows, n_points) of the functions with these numbers at points (n_rows, n_points, n_parameters)."""

_CORRECTIONS = 10
_STEEP = 1e-5
"""No element of the gradient is larger than that at the end."""
_EPSILON = float(np.finfo(np.float64).eps)
_REDUCTION = 1e7 * _EPSILON
"""Nor does the last iteration lower the function by a larger part than that, unless the gradient has ended it."""
_EVALUATIONS = 20
"""How often one line search may evaluate the function."""
_DECREASE, _CURVATURE, _INTERVAL = 1e-3, 0.9, 0.1
_LONGEST = 1e10
_SHRINK = 0.66
_NEAR, _FAR = 1.1, 4.0
"""Without a bracket the next step is from so many to so many times as far as this one has come."""


def minimise(function: Function, start: Floats, *, difference: float, iterations: int) -> Floats:
    """Where the optimiser ends from `start` (n, k), (n, k); a row is NaN where its function was not finite.

    `difference` is the step of the gradient's forward differences, `iterations` how many there are at most.
    """
    # Points where the function overflows, and slopes of nothing, are part of the game.
    with np.errstate(all="ignore"):
        search = _Search.of(function, start, difference)
        rows = search.set_out(np.flatnonzero(search.is_steep(slice(None))))
        while len(rows):
            rows = search.advance(rows, iterations)
    return np.where(np.isfinite(search.value)[:, None], search.point, np.nan)


@dataclass
class _Search:
    """Where every row is: its last iterate, the corrections until then, and the line search from there."""

    function: Function
    difference: float
    point: Floats
    value: Floats
    gradient: Floats
    iteration: NDArray[np.int64]
    moves: Floats
    turns: Floats
    """The last differences of points and of gradients, (n, _CORRECTIONS, k), newest last; zero where there is none."""
    products: Floats
    """Their inner products, (n, _CORRECTIONS)."""
    direction: Floats
    line: _Line

    @classmethod
    def of(cls, function: Function, start: Floats, difference: float) -> _Search:
        n, k = start.shape
        search = cls(
            function=function,
            difference=difference,
            point=start.copy(),
            value=np.empty(n),
            gradient=np.empty((n, k)),
            iteration=np.zeros(n, dtype=np.int64),
            moves=np.zeros((n, _CORRECTIONS, k)),
            turns=np.zeros((n, _CORRECTIONS, k)),
            products=np.zeros((n, _CORRECTIONS)),
            direction=np.empty((n, k)),
            line=_Line.of(n),
        )
        search.value, search.gradient = search.evaluated(np.arange(n), start)
        return search

    def evaluated(self, rows: Rows, points: Floats) -> tuple[Floats, Floats]:
        """Values (n_rows,) and gradients (n_rows, k) by forward differences."""
        k = points.shape[1]
        nearby = np.repeat(points[:, None, :], k + 1, axis=1)
        at = np.arange(k)
        nearby[:, at + 1, at] += self.difference
        step = nearby[:, at + 1, at] - points
        values = self.function(rows, nearby)
        return values[:, 0], (values[:, 1:] - values[:, :1]) / step

    def is_steep(self, rows: Rows | slice) -> Bools:
        """Whether the gradient does not end the search."""
        return np.abs(self.gradient[rows]).max(axis=1) > _STEEP

    def set_out(self, rows: Rows) -> Rows:
        """Begin a line search from the last iterate, afresh where the corrections do not lead downhill.

        Returns the rows where something does.
        """
        self.direct(rows)
        slope = _dot(self.gradient[rows], self.direction[rows])
        uphill = rows[slope >= 0]
        if len(uphill):
            self.forget(uphill)
            self.direct(uphill)
            slope = _dot(self.gradient[rows], self.direction[rows])
            rows, slope = rows[slope < 0], slope[slope < 0]
        length = np.sqrt(_dot(self.direction[rows], self.direction[rows]))
        first = np.where(self.iteration[rows] == 0, np.minimum(1 / length, _LONGEST), 1.0)
        self.line.begin(rows, first, self.value[rows], slope)
        return rows

    def forget(self, rows: Rows) -> None:
        """Drop the corrections."""
        self.moves[rows], self.turns[rows], self.products[rows] = 0.0, 0.0, 0.0

    def direct(self, rows: Rows) -> None:
        """The direction that the gradient and the corrections give (the two loops of Nocedal 1980)."""
        point, moves, turns, products = (
            one[rows] for one in (self.point, self.moves, self.turns, self.products)
        )
        towards = -self.gradient[rows]
        there = products > 0
        inverse = np.where(there, 1 / np.where(there, products, 1.0), 0.0)
        shares = np.zeros_like(products)
        for at in range(_CORRECTIONS - 1, -1, -1):
            shares[:, at] = inverse[:, at] * _dot(moves[:, at], towards)
            towards = towards - shares[:, at, None] * turns[:, at]
        newest = _dot(turns[:, -1], turns[:, -1])
        towards = (
            towards
            * np.where(there[:, -1], products[:, -1] / np.where(newest > 0, newest, 1.0), 1.0)[:, None]
        )
        for at in range(_CORRECTIONS):
            back = inverse[:, at] * _dot(turns[:, at], towards)
            towards = towards + (shares[:, at] - back)[:, None] * moves[:, at]
        self.direction[rows] = (point + towards) - point

    def advance(self, rows: Rows, iterations: int) -> Rows:
        """Evaluate the functions once more, and return the rows that go on."""
        line = self.line
        step = line.step[rows]
        whole = self.point[rows] + self.direction[rows]
        points = np.where(
            (step == 1)[:, None], whole, step[:, None] * self.direction[rows] + self.point[rows]
        )
        values, gradients = self.evaluated(rows, points)
        lost = ~(np.isfinite(values) & np.isfinite(gradients).all(axis=1))
        self.value[rows[lost]] = np.nan
        slopes = _dot(gradients, self.direction[rows])
        arrived = line.advance(rows, values, slopes) & ~lost
        on = rows[~arrived & ~lost]
        spent = line.evaluations[on] >= _EVALUATIONS
        # Without corrections there is nothing left to drop, and the last iterate stays.
        again = on[spent & (self.products[on] > 0).any(axis=1)]
        if len(again):
            self.forget(again)
            again = self.set_out(again)
        new = rows[arrived]
        going = self.arrive(new, points[arrived], values[arrived], gradients[arrived])
        following = new[going & (self.iteration[new] < iterations)]
        if len(following):
            following = self.set_out(following)
        return np.sort(np.concatenate([on[~spent], again, following]))

    def arrive(self, rows: Rows, points: Floats, values: Floats, gradients: Floats) -> Bools:
        """Make these the last iterates, keep the corrections, and return whether the search goes on."""
        before, slope, step = self.value[rows], self.line.slope[rows], self.line.step[rows]
        turn = gradients - self.gradient[rows]
        product = (_dot(gradients, self.direction[rows]) - slope) * step
        kept = product > _EPSILON * -slope * step
        new = rows[kept]
        for memory, one in (
            (self.moves, self.direction[rows] * step[:, None]),
            (self.turns, turn),
            (self.products, product),
        ):
            memory[new] = np.concatenate([memory[new, 1:], one[kept][:, None]], axis=1)
        self.point[rows], self.value[rows], self.gradient[rows] = points, values, gradients
        self.iteration[rows] += 1
        size = np.maximum(np.maximum(np.abs(before), np.abs(values)), 1.0)
        return self.is_steep(rows) & (before - values > _REDUCTION * size)


@dataclass
class _Line:
    """The line searches of all rows: the interval that holds a good step, and what is known at its ends."""

    step: Floats
    evaluations: NDArray[np.int64]
    value: Floats
    slope: Floats
    """Of the function where the search begins."""
    has_bracket: Bools
    is_late: Bools
    """Whether a step has been seen that lowers the function enough and climbs."""
    best: Floats
    other: Floats
    """Ends of the interval, (n, 3): step, value and slope there; the first is the best step so far."""
    low: Floats
    high: Floats
    width: Floats
    width_before: Floats

    @classmethod
    def of(cls, n: int) -> _Line:
        step, value, slope, low, high, width, width_before = np.zeros((7, n))
        return cls(
            step=step,
            evaluations=np.zeros(n, dtype=np.int64),
            value=value,
            slope=slope,
            has_bracket=np.zeros(n, dtype=np.bool_),
            is_late=np.zeros(n, dtype=np.bool_),
            best=np.zeros((n, 3)),
            other=np.zeros((n, 3)),
            low=low,
            high=high,
            width=width,
            width_before=width_before,
        )

    def begin(self, rows: Rows, step: Floats, value: Floats, slope: Floats) -> None:
        """Try this step first."""
        self.step[rows], self.value[rows], self.slope[rows] = step, value, slope
        self.evaluations[rows] = 0
        self.has_bracket[rows], self.is_late[rows] = False, False
        here = np.stack([np.zeros(len(rows)), value, slope], axis=1)
        self.best[rows], self.other[rows] = here, here
        self.low[rows], self.high[rows] = 0.0, step + _FAR * step
        self.width[rows], self.width_before[rows] = _LONGEST, 2 * _LONGEST

    def advance(self, rows: Rows, values: Floats, slopes: Floats) -> Bools:
        """Take in the function at the steps, and return where the step is taken; elsewhere another is tried."""
        self.evaluations[rows] += 1
        step, low, high = self.step[rows], self.low[rows], self.high[rows]
        enough = _DECREASE * self.slope[rows]
        limit = self.value[rows] + step * enough
        bracket = self.has_bracket[rows]
        self.is_late[rows] |= (values <= limit) & (slopes >= 0)
        arrived = (values <= limit) & (np.abs(slopes) <= _CURVATURE * -self.slope[rows])
        arrived |= bracket & ((step <= low) | (step >= high) | (high - low <= _INTERVAL * high))
        arrived |= (step == _LONGEST) & (values <= limit) & (slopes <= enough)
        arrived |= (step == 0) & ((values > limit) | (slopes >= enough))
        on = ~arrived
        if on.any():
            self.narrow(rows[on], values[on], slopes[on], limit=limit[on], enough=enough[on])
        return arrived

    def narrow(self, rows: Rows, values: Floats, slopes: Floats, *, limit: Floats, enough: Floats) -> None:
        """Draw the interval together around a good step, and choose the next one."""
        best, other = self.best[rows], self.other[rows]
        here = np.stack([self.step[rows], values, slopes], axis=1)
        # Early on, the function less what the search asks for guides better where it has not come down enough.
        tilt = np.where(~self.is_late[rows] & (values <= best[:, 1]) & (values > limit), enough, 0.0)
        for end in (best, other, here):
            end[:, 1] -= end[:, 0] * tilt
            end[:, 2] -= tilt
        best, other, step, bracket = _narrowed(
            best, other, here, self.has_bracket[rows], self.low[rows], self.high[rows]
        )
        for end in (best, other):
            end[:, 1] += end[:, 0] * tilt
            end[:, 2] += tilt
        reach = np.abs(other[:, 0] - best[:, 0])
        halved = best[:, 0] + 0.5 * (other[:, 0] - best[:, 0])
        step = np.where(bracket & (reach >= _SHRINK * self.width_before[rows]), halved, step)
        self.width_before[rows] = np.where(bracket, self.width[rows], self.width_before[rows])
        self.width[rows] = np.where(bracket, reach, self.width[rows])
        come = step - best[:, 0]
        low = np.where(bracket, np.minimum(best[:, 0], other[:, 0]), step + _NEAR * come)
        high = np.where(bracket, np.maximum(best[:, 0], other[:, 0]), step + _FAR * come)
        step = np.clip(step, 0.0, _LONGEST)
        stuck = bracket & ((step <= low) | (step >= high) | (high - low <= _INTERVAL * high))
        self.step[rows] = np.where(stuck, best[:, 0], step)
        self.best[rows], self.other[rows], self.has_bracket[rows] = best, other, bracket
        self.low[rows], self.high[rows] = low, high


def _narrowed(
    best: Floats, other: Floats, here: Floats, bracket: Bools, low: Floats, high: Floats
) -> tuple[Floats, Floats, Floats, Bools]:
    """The ends of the interval after the step `here`, the next step, and whether there is a bracket (dcstep)."""
    (at_best, _, slope_best), (at, value, slope) = best.T, here.T
    rises = value > best[:, 1]
    turns = ~rises & (np.sign(slope) * np.sign(slope_best) < 0)
    slackens = ~rises & ~turns & (np.abs(slope) < np.abs(slope_best))
    far = np.where(at > at_best, high, low)

    # The value rises: between the lowest points of a cubic and of a parabola through both ends.
    cubic = _lowest_of_cubic(best, here)
    chord = (best[:, 1] - value) / (at - at_best)
    parabola = at_best + slope_best / (chord + slope_best) / 2 * (at - at_best)
    closer = np.abs(cubic - at_best) <= np.abs(parabola - at_best)
    if_rises = np.where(closer, cubic, cubic + (parabola - cubic) / 2)

    # The slope turns: whichever of cubic and secant is further away.
    cubic = _lowest_of_cubic(here, best)
    secant = at + slope / (slope - slope_best) * (at_best - at)
    further = np.abs(cubic - at) > np.abs(secant - at)
    if_turns = np.where(further, cubic, secant)

    # The slope slackens: the cubic may have no lowest point beyond.
    cubic = _lowest_of_cubic(here, best, beyond=far)
    further = np.abs(cubic - at) > np.abs(secant - at)
    outside = np.clip(np.where(further, cubic, secant), low, high)
    nearer = np.where(np.abs(cubic - at) < np.abs(secant - at), cubic, secant)
    stop = at + _SHRINK * (other[:, 0] - at)
    inside = np.where(at > at_best, np.minimum(stop, nearer), np.maximum(stop, nearer))
    if_slackens = np.where(bracket, inside, outside)

    # The slope does not: the cubic through the other end, or as far as may be.
    otherwise = np.where(bracket, _lowest_of_cubic(here, other), far)

    step = np.where(rises, if_rises, np.where(turns, if_turns, np.where(slackens, if_slackens, otherwise)))
    new_other = np.where(rises[:, None], here, np.where(turns[:, None], best, other))
    new_best = np.where(rises[:, None], best, here)
    return new_best, new_other, step, bracket | rises | turns


def _lowest_of_cubic(one: Floats, two: Floats, *, beyond: Floats | None = None) -> Floats:
    """Where the cubic with values and slopes of both points is lowest; `beyond` where that is not past `one`."""
    (at, value, slope), (there, value_there, slope_there) = one.T, two.T
    theta = 3 * (value - value_there) / (there - at) + slope + slope_there
    size = np.maximum(np.maximum(np.abs(theta), np.abs(slope)), np.abs(slope_there))
    square = (theta / size) ** 2 - slope / size * (slope_there / size)
    root = size * np.sqrt(square if beyond is None else np.maximum(square, 0.0))
    root = np.where(there < at, -root, root)
    if beyond is None:
        return at + (root - slope + theta) / (root - slope + root + slope_there) * (there - at)
    share = (root - slope + theta) / (root + (slope_there - slope) + root)
    return np.where((share < 0) & (root != 0), at + share * (there - at), beyond)


def _dot(one: Floats, two: Floats) -> Floats:
    return (one * two).sum(axis=-1)
