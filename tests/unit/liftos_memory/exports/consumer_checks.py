"""What the libraries that take a data set refuse, as checks of their own.

Meridian refuses geos with other times than their neighbours, times that are not spaced regularly,
missing numbers, negative media and spend, and rows that are there twice. Robyn refuses columns that
never change. Both are loaded for real by `benchmarks/consumers`; these are quick enough for every
test.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

TIME = {"long": "date_day", "meridian": "time", "pymc": "date", "robyn": "DATE"}
UNIT = {"long": "unit", "meridian": "geo", "pymc": "unit"}


def problems(frame: pd.DataFrame, sidecar: Mapping[str, Any]) -> list[str]:
    """Return all that a consumer would refuse."""
    format_, time = sidecar["format"], TIME[sidecar["format"]]
    keys = [UNIT[format_]] if sidecar["unit"] else []
    if format_ == "long":
        keys += ["platform", "channel"]
    found = []
    if frame.duplicated([*keys, time]).any():
        found.append("duplicates")
    times = [tuple(rows[time]) for _, rows in frame.groupby(keys)] if keys else [tuple(frame[time])]
    if len(set(times)) > 1:
        found.append("unbalanced")
    if not _is_regular(list(times[0]), sidecar["granularity"]):
        found.append("irregular")
    # Where a channel never reports a metric, long rows have none.
    needed = [name for name in numbers(frame, sidecar) if format_ != "long" or name == "kpi_value"]
    if frame[needed].isna().any(axis=None) or not np.isfinite(frame[needed]).all(axis=None):
        found.append("missing")
    if (frame[treatments(frame, sidecar)].fillna(0) < 0).any(axis=None):
        found.append("negative")
    if format_ == "robyn" and (frame[needed].nunique() < 2).any():
        found.append("constant")
    return found


def numbers(frame: pd.DataFrame, sidecar: Mapping[str, Any]) -> list[str]:
    """Return the columns of numbers."""
    aside = {TIME[sidecar["format"]], UNIT.get(sidecar["format"])}
    aside |= {"platform", "channel", "currency_code", "kpi"}
    return [name for name in frame.columns if name not in aside]


def treatments(frame: pd.DataFrame, sidecar: Mapping[str, Any]) -> list[str]:
    """Return the columns of channels."""
    named = {one[role] for one in sidecar["channels"] for role in ("spend", "exposure")}
    return [name for name in frame.columns if name in named]


def _is_regular(times: list[pd.Timestamp], granularity: str) -> bool:
    """Whether times follow one another by a step; months are as long as they are."""
    frequency = {"day": "D", "week": "W-MON", "month": "MS"}[granularity]
    return times == list(pd.date_range(times[0], periods=len(times), freq=frequency))
