"""Which entries a panel is made of: one level and one way of counting per account, and its days.

An account was connected on a day where it has an entry of that day at its level, or where a slice
of that level that was committed covers it and nothing was taken out since. That is all that the
store knows: a day without either may have had no advertising, or may never have been read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from liftos_kit.core.errors import DataInsufficientError, FieldViolation, InvalidFieldsError
from liftos_memory.domain.dataset_request import ACCOUNT_UNIT, DatasetRequest

OUTCOME: Final = "OUTCOME"

SURVEY_COLUMNS: Final = (
    "platform",
    "account_id",
    "level",
    "attribution_key",
    "date_basis",
    "breakdown",
    "currency_code",
    "time_zone",
    "date",
    "entry_count",
    "matching_count",
    "kpi_count",
)
"""What a survey says of each day of each account: how many entries, how many of them the filter of
their level takes, and how many of those have the outcome. Names of breakdowns are joined by &."""

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """The entries of an account that are read.

    Attributes:
        platform: Its platform.
        account_id: Its id.
        level: The one level.
        attribution_key: The one way of attribution.
        date_basis: What its dates stand for.
        breakdown: Names of the breakdowns over which it is summed, joined by &.
    """

    platform: str
    account_id: str
    level: str
    attribution_key: str
    date_basis: str
    breakdown: str

    @property
    def is_outcome(self) -> bool:
        """Whether it says what happened, not what was done."""
        return self.level == OUTCOME

    @property
    def account(self) -> tuple[str, str]:
        """Platform and account id."""
        return self.platform, self.account_id


def choose_series(survey: pd.DataFrame, request: DatasetRequest) -> list[Series]:
    """Return what is read of each account, in order; treatments and outcomes.

    Args:
        survey: Rows with `SURVEY_COLUMNS`.
        request: What is asked.

    Raises:
        InvalidFieldsError: An account counts in several ways, so that sums would count twice, or
            lacks the breakdown that is asked for; or several platforms report the outcome.
        DataInsufficientError: There are no treatments, or no outcomes.
    """
    matching = survey[survey["matching_count"] > 0]
    treatments = matching[matching["level"] != OUTCOME]
    outcomes = matching[(matching["level"] == OUTCOME) & (matching["kpi_count"] > 0)]
    if treatments.empty:
        raise DataInsufficientError(
            "accounts with treatments in these days", found="0", required="1"
        )
    violations: list[FieldViolation] = []
    series = []
    for _, rows in treatments.groupby(["platform", "account_id"], sort=True):
        present = set(rows["level"])
        level = next(level for level in request.levels if level in present)
        found = _one_way(rows[rows["level"] == level], request, "filter", violations)
        series += [found] if found else []
    if request.kpi.attributed:
        outcomes = treatments[treatments["kpi_count"] > 0]
    else:
        platforms = sorted(set(outcomes["platform"]))
        if len(platforms) > 1 and request.kpi_where is None:
            violations.append(
                FieldViolation(
                    "kpi_filter",
                    f"{', '.join(platforms)} each report {request.kpi.value}, which may be the "
                    f'same orders; choose, for example with platform = "{platforms[0]}"',
                    "export_dataset.kpi_platforms",
                )
            )
        for _, rows in outcomes.groupby(["platform", "account_id"], sort=True):
            found = _one_way(rows, request, "kpi_filter", violations)
            series += [found] if found else []
        violations += _without_common_accounts(request, treatments, outcomes)
    if violations:
        raise InvalidFieldsError(violations)
    if outcomes.empty:
        raise DataInsufficientError(
            f"entries with {request.kpi.value} in these days", found="0", required="1"
        )
    return sorted(series)


def _without_common_accounts(
    request: DatasetRequest, treatments: pd.DataFrame, outcomes: pd.DataFrame
) -> list[FieldViolation]:
    """Return why accounts cannot be the units, where a shop's are none of those that advertise."""
    if request.unit != ACCOUNT_UNIT or outcomes.empty:
        return []
    of_shops, of_ads = (sorted(set(rows["account_id"])) for rows in (outcomes, treatments))
    if set(of_shops) & set(of_ads):
        return []
    return [
        FieldViolation(
            "unit",
            f"no account has both treatments and {request.kpi.value}: the shop's are"
            f" {', '.join(of_shops):.200}, those that advertise {', '.join(of_ads):.200}; leave"
            " unit empty, or name a breakdown that both have, such as country",
            "export_dataset.unit",
        )
    ]


def _one_way(
    rows: pd.DataFrame, request: DatasetRequest, field: str, violations: list[FieldViolation]
) -> Series | None:
    """Return the series of one account at one level; None after saying what is wrong with it."""
    first = rows.iloc[0]
    who = f"account {first['account_id']} of {first['platform']} has {first['level']} entries"
    before = len(violations)
    for name in ("attribution_key", "date_basis"):
        ways = sorted(set(rows[name]))
        if len(ways) > 1:
            example = (
                f'{name} = "{ways[-1]}"' if name == "attribution_key" else f"{name} = {ways[0]}"
            )
            violations.append(
                FieldViolation(
                    field,
                    f"{who} with {len(ways)} values of {name} ({_shown(ways)}), whose sums would "
                    f"count twice; choose one, for example {example}",
                    f"export_dataset.{name}",
                )
            )
    names = _breakdown(sorted(set(rows["breakdown"])), request.unit)
    if names is None:
        ways = sorted(set(rows["breakdown"]))
        wanted = request.unit if request.unit != ACCOUNT_UNIT else ""
        violations.append(
            FieldViolation(
                field,
                f"{who} by {_shown(ways)}, of which none is by {wanted} alone; leave it out"
                if wanted
                else f"{who} by {_shown(ways)} and no totals; leave all but one out",
                "export_dataset.breakdown",
            )
        )
    if len(violations) > before or names is None:
        return None
    return Series(
        str(first["platform"]),
        str(first["account_id"]),
        str(first["level"]),
        str(first["attribution_key"]),
        str(first["date_basis"]),
        names,
    )


def _breakdown(ways: Sequence[str], unit: str) -> str | None:
    """Return over which breakdown to sum: the exact one, or the only one that holds the unit's."""
    wanted = "" if unit == ACCOUNT_UNIT else unit
    if wanted in ways:
        return wanted
    holding = [way for way in ways if not wanted or wanted in way.split("&")]
    return holding[0] if len(holding) == 1 else None


def _shown(words: Sequence[str]) -> str:
    shown = ", ".join(word or "none" for word in words[:_SHOWN])
    return shown if len(words) <= _SHOWN else f"{shown} and {len(words) - _SHOWN} more"


@dataclass(frozen=True, slots=True)
class Days:
    """A run of days, for arrays with one place a day."""

    start: date
    count: int

    def place(self, day: date) -> int:
        """Return the place of a day, which may lie outside."""
        return (day - self.start).days

    def day(self, place: int) -> date:
        """Return the day of a place."""
        return self.start + timedelta(days=place)


def connected_days(
    series: Series,
    survey: pd.DataFrame,
    slices: pd.DataFrame,
    removals: pd.DataFrame,
    days: Days,
) -> npt.NDArray[np.bool_]:
    """Return on which days an account was connected.

    Args:
        series: What is read of the account.
        survey: Rows with `SURVEY_COLUMNS`; entries that the filter leaves out count too.
        slices: platform, account_id, level, attribution_key, date_basis, start_date, end_date and
            version of committed slices.
        removals: platform, account_id, level, date and version of what was taken out otherwise
            than by a slice.
        days: The days in question.
    """
    covered = np.zeros(days.count, np.int64)
    own = _of(slices, series, "level", "attribution_key", "date_basis")
    for start_date, end_date, version in zip(
        own["start_date"], own["end_date"], own["version"], strict=True
    ):
        here = slice(max(0, days.place(start_date)), max(0, days.place(end_date) + 1))
        covered[here] = np.maximum(covered[here], version)
    taken_out = np.zeros(days.count, np.int64)
    removed = _of(removals, series, "level")
    np.maximum.at(taken_out, _places(removed, days), removed["version"].to_numpy(np.int64))
    connected: npt.NDArray[np.bool_] = covered > taken_out
    connected[_places(_of(survey, series, "level"), days)] = True
    return connected


def _of(frame: pd.DataFrame, series: Series, *names: str) -> pd.DataFrame:
    keep = np.ones(len(frame), np.bool_)
    for name in ("platform", "account_id", *names):
        keep &= (frame[name] == getattr(series, name)).to_numpy(np.bool_)
    return frame[keep]


def _places(rows: pd.DataFrame, days: Days) -> npt.NDArray[np.int64]:
    start = np.datetime64(days.start, "D")
    dates = rows["date"].to_numpy().astype("datetime64[D]")
    places: npt.NDArray[np.int64] = (dates - start).astype(np.int64)
    return places


def runs(places: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last of each run of places that follow one another; they are in order."""
    first = last = None
    for place in places:
        if last is not None and place == last + 1:
            last = place
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = place
    if first is not None and last is not None:
        yield first, last


def rows_of(survey: pd.DataFrame, series: Iterable[Series]) -> pd.DataFrame:
    """Return the rows of a survey that series are made of: those that the filters take."""
    keys = ("platform", "account_id", "level", "attribution_key", "date_basis", "breakdown")
    wanted = pd.DataFrame([[getattr(one, key) for key in keys] for one in series], columns=keys)
    matching = survey[survey["matching_count"] > 0]
    return matching.merge(wanted.astype(object), on=list(keys), how="inner")
