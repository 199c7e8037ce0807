"""What a platform answered for each day, by metric: the figures that levels are compared by."""

from collections.abc import Mapping
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from liftos_mapping.entry_fields import ADDITIVE_METRICS, NATURAL_KEY

_KEY: Final = tuple(name for name in NATURAL_KEY if name not in ("platform", "level"))


class DaySums:
    """Sums the rows of one lane, page by page.

    A row that comes twice counts once: pages of a list that changes while it is read overlap.
    """

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._sums: dict[date, dict[str, int]] = {}

    def add(self, rows: pa.Table) -> None:
        """Add the rows of a page, by the schema of entries."""
        fresh = self._fresh(rows)
        if not fresh.all():
            rows = rows.filter(pa.array(fresh))
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

    def _fresh(self, rows: pa.Table) -> npt.NDArray[np.bool_]:
        """Tell which rows have not been added before."""
        varying = [name for name in _KEY if pc.count_distinct(rows[name]).as_py() > 1]
        keys = pd.util.hash_pandas_object(rows.select(["date", *varying]).to_pandas(), index=False)
        fresh = ~keys.duplicated().to_numpy()
        for position, key in enumerate(keys.tolist()):
            if key in self._seen:
                fresh[position] = False
            else:
                self._seen.add(key)
        return np.asarray(fresh, dtype=np.bool_)
