"""What a platform answered for each day, by metric: the figures that levels are compared by."""

from collections.abc import Mapping
from datetime import date
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from liftos_mapping.entry_fields import ADDITIVE_METRICS, NATURAL_KEY

_KEY: Final = [name for name in NATURAL_KEY if name not in ("platform", "level", "account_id")]

_Keys: TypeAlias = npt.NDArray[np.uint64]


def row_keys(rows: pa.Table) -> _Keys:
    """Return a number for what identifies each row within its lane; equal ones are one entry."""
    keys = pd.util.hash_pandas_object(rows.select(_KEY).to_pandas(), index=False)
    return np.asarray(keys, dtype=np.uint64)


def last_of_each(keys: _Keys) -> npt.NDArray[np.bool_]:
    """Tell which rows no later row of the same page repeats."""
    return ~pd.Series(keys).duplicated(keep="last").to_numpy()


class DaySums:
    """Sums the rows of one lane, page by page.

    A row that comes again on a later page counts once: pages of a list that changes while it is
    read overlap.
    """

    def __init__(self) -> None:
        # Sorted, eight bytes a row; each at least twice as long as the next, so that few are asked.
        self._seen: list[_Keys] = []
        self._sums: dict[date, dict[str, int]] = {}

    def add(self, rows: pa.Table, keys: _Keys) -> None:
        """Add the rows of a page, by the schema of entries, with their `row_keys`."""
        fresh = self._fresh(keys)
        if not fresh.all():
            rows = rows.filter(pa.array(fresh))
        self._see(keys[fresh])
        metrics = [name for name in ADDITIVE_METRICS if rows[name].null_count < rows.num_rows]
        if not metrics:
            return
        summed = rows.group_by("date", use_threads=False).aggregate(
            [(name, "sum") for name in metrics]
        )
        for row in summed.to_pylist():
            day = self._sums.setdefault(row["date"], {})
            for name in metrics:
                value = row[f"{name}_sum"]
                if value is not None:
                    day[name] = day.get(name, 0) + value

    def _fresh(self, keys: _Keys) -> npt.NDArray[np.bool_]:
        """Tell which keys no earlier page had."""
        fresh = np.ones(len(keys), np.bool_)
        for seen in self._seen:
            places = np.searchsorted(seen, keys)
            fresh &= seen[np.minimum(places, len(seen) - 1)] != keys
        return fresh

    def _see(self, keys: _Keys) -> None:
        if not len(keys):
            return
        merged = np.sort(keys)
        while self._seen and len(self._seen[-1]) < 2 * len(merged):
            # Two sorted halves are merged by this kind, and not sorted again.
            merged = np.sort(np.concatenate([self._seen.pop(), merged]), kind="stable")
        self._seen.append(merged)

    def by_day(self) -> Mapping[date, Mapping[str, int]]:
        """Return the sums; a metric that no row of the day has is left out."""
        return self._sums
