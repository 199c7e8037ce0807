"""What a platform answered for each day, by metric: the figures that levels are compared by."""

from collections.abc import Mapping
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from liftos_mapping.entry_fields import ADDITIVE_METRICS, NATURAL_KEY

_KEY: Final = [name for name in NATURAL_KEY if name not in ("platform", "level", "account_id")]


def row_keys(rows: pa.Table) -> npt.NDArray[np.uint64]:
    """Return a number for what identifies each row within its lane; equal ones are one entry."""
    keys = pd.util.hash_pandas_object(rows.select(_KEY).to_pandas(), index=False)
    return np.asarray(keys, dtype=np.uint64)


def last_of_each(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Tell which rows no later row of the same page repeats."""
    return ~pd.Series(keys).duplicated(keep="last").to_numpy()


class DaySums:
    """Sums the rows of one lane, page by page.

    A row that comes again on a later page counts once: pages of a list that changes while it is
    read overlap.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._sums: dict[date, dict[str, int]] = {}

    def add(self, rows: pa.Table, keys: npt.NDArray[np.uint64]) -> None:
        """Add the rows of a page, by the schema of entries, with their `row_keys`."""
        fresh = [key not in self._seen for key in keys.tolist()]
        self._seen.update(keys.tolist())
        if not all(fresh):
            rows = rows.filter(pa.array(fresh, pa.bool_()))
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

    def by_day(self) -> Mapping[date, Mapping[str, int]]:
        """Return the sums; a metric that no row of the day has is left out."""
        return self._sums
