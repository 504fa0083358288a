"""What `_kernels.c` does with many sketches at once, in numpy: the same results, byte for byte.

Arrays come back as bytes, because the compiled functions know nothing of numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


def find_components(
    containers: Sequence[bytes],
    magic: bytes,  # noqa: ARG001  the compiled function's
    name: bytes,  # noqa: ARG001
    limit: int,  # noqa: ARG001
) -> tuple[bytes, bytes, list[int]]:
    """The component `name` of sealed containers (`wire.seal_parts`) of at most `limit` bytes.

    Returns the components one after the other, the size of each (int64; -1: there is none, -2: not opened), and the
    places of those that were not opened, because they need Python or because they are damaged. Here that is all.
    """
    return b"", np.full(len(containers), -2, np.int64).tobytes(), list(range(len(containers)))


def gather(data: NDArray[np.uint8], starts: Indices, sizes: Indices) -> bytes:
    """Parts of some bytes, one after the other. Raises ValueError for a part that is not within them."""
    if ((starts < 0) | (sizes < 0) | (starts > len(data)) | (sizes > len(data) - starts)).any():
        raise ValueError("a part that is not within the data")
    whole = memoryview(data.tobytes())
    return b"".join(
        [whole[start : start + size] for start, size in zip(starts.tolist(), sizes.tolist(), strict=True)]
    )


def text_places(
    data: NDArray[np.uint8], at: Indices, ends: Indices, counts: Indices
) -> tuple[bytes, bytes] | None:
    """Where the texts of images start and stop in `data`, (sum of counts,) int64 each.

    `at`, `ends`, `counts`: (n,), where the texts of each image begin and its bytes end, and how many there are. Every
    text has its length before it. None when one is not within its image.
    """
    if (counts < 0).any() or (counts > len(data) // 4).any():
        return None
    total = int(counts.sum())
    starts, stops = np.zeros(total, np.int64), np.zeros(total, np.int64)
    slot, place = np.cumsum(counts) - counts, at.copy()
    active = np.arange(len(counts))
    for step in range(int(counts.max(initial=0))):
        active = active[counts[active] > step]
        begins, limits = place[active], ends[active]
        if ((begins < 0) | (begins > limits - 4) | (limits > len(data))).any():
            return None
        length = data[begins[:, None] + np.arange(4)].reshape(-1).view("<u4").astype(np.int64)
        begins = begins + 4
        if (begins + length > limits).any():
            return None
        starts[slot[active] + step], stops[slot[active] + step] = begins, begins + length
        place[active] = begins + length
    return starts.tobytes(), stops.tobytes()


def masses(
    values: Floats,
    weights: Floats,
    sizes: Indices,
    rows: Indices,
    low: Floats,
    width: Floats,
    regular: NDArray[np.bool_],
    n_rows: int,
    bins: int,
) -> bytes:
    """Weights of every row's values by bin, (n_rows, bins + 1) float64: bin b holds the values that are not below b of
    the edges low + k · width, k from 0 to `bins` - 1.

    `values`, `weights`: of all sketches, one after the other, no NaN; `sizes`, `rows`, `low`, `width`: of each sketch.
    `regular` says that its edges are further apart than rounding moves them, so that dividing finds the bin.
    """
    if n_rows < 0 or bins < 1 or ((sizes < 0) | (rows < 0) | (rows >= n_rows)).any():
        raise ValueError("sizes that are not those of the values, or a row that does not exist")
    if sizes.sum() != len(values):
        raise ValueError("sizes that are not those of the values, or a row that does not exist")
    lows, widths, by_division = np.repeat(low, sizes), np.repeat(width, sizes), np.repeat(regular, sizes)
    found = np.zeros(len(values), np.int64)
    found[by_division] = _by_division(values[by_division], lows[by_division], widths[by_division], bins)
    odd = ~by_division
    with np.errstate(invalid="ignore", over="ignore"):
        for edge in range(bins if odd.any() else 0):
            found[odd] += lows[odd] + edge * widths[odd] <= values[odd]
    found += np.repeat(rows * (bins + 1), sizes)
    return np.bincount(found, weights, minlength=n_rows * (bins + 1)).astype(np.float64).tobytes()


def _by_division(values: Floats, low: Floats, width: Floats, bins: int) -> Indices:
    """By division, then put right where rounding has moved a value over an edge."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = np.clip(np.nan_to_num((values - low) / width, nan=0.0, posinf=np.inf), 0, bins - 1)
        np.floor(found, out=found)
        found -= values < low + found * width
        above = found + 1
        found += (values >= low + above * width) & (above < bins)
    return np.where(values >= low, found + 1, 0).astype(np.int64)
