"""Tables that look like entries: a day, something that it is about, and numbers."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from liftos_migration.domain.inventory import Column
from liftos_migration.domain.mapping import Rounding, Rule
from liftos_migration.domain.sql_text import literal, quoted

_DAYS: Final = ("date", "day", "date_start", "stat_date", "report_date", "ds")
_IDS: Final = {
    "account_id": ("account_id", "ad_account_id", "customer_id", "account"),
    "campaign_id": ("campaign_id", "campaign"),
    "ad_group_id": ("ad_group_id", "adset_id", "ad_set_id"),
    "ad_id": ("ad_id",),
}
_NAMES: Final = {
    "account_name": ("account_name",),
    "campaign_name": ("campaign_name",),
    "ad_group_name": ("ad_group_name", "adset_name", "ad_set_name"),
    "ad_name": ("ad_name",),
    "currency_code": ("currency_code", "currency"),
    "time_zone": ("time_zone", "timezone"),
}
_LEVELS: Final = (
    ("ad_id", "AD"),
    ("ad_group_id", "AD_GROUP"),
    ("campaign_id", "CAMPAIGN"),
    ("account_id", "ACCOUNT"),
)
_MONEY: Final = {
    "spend_micros": ("spend", "cost", "amount_spent", "spent"),
    "revenue_micros": ("revenue", "conversions_value", "conversion_value", "sales", "turnover"),
}
_FRACTIONS: Final = {"conversions_micros": ("conversions", "purchases")}
_COUNTS: Final = (
    "impressions", "clicks", "link_clicks", "orders", "video_views", "sent", "delivered", "opened",
    "clicked", "bounced", "spam_complaints", "unsubscribed", "reach",
)  # fmt: skip
_SERIES: Final = ("factor", "series", "metric", "variable", "city", "indicator")
_VALUES: Final = ("value", "impact", "measurement", "celsius", "level")
_PLATFORMS: Final = ("platform", "channel", "source", "network")
_KNOWN: Final = ("meta", "google_ads", "klaviyo", "offline", "commerce")
_WORDS: Final = (
    ("meta", re.compile(r"meta|facebook|fb_")),
    ("google_ads", re.compile(r"google|adwords")),
    ("klaviyo", re.compile(r"klaviyo")),
)
_UNITS: Final = (("_micros", 1), ("_cents", 10_000))
_INTEGERS: Final = ("smallint", "integer", "bigint")
_ACCOUNT: Final = "default"


@dataclass(frozen=True, slots=True)
class EntryColumns:
    """How a table's columns make an entry.

    Attributes:
        rules: Of its fields.
        key_columns: What identifies it.
        read: Columns that rules read.
        questions: What is not clear, each with what it could be.
    """

    rules: tuple[Rule, ...]
    key_columns: tuple[str, ...]
    read: frozenset[str]
    questions: tuple[tuple[str, tuple[str, ...]], ...]


def entry_columns(
    table: str, columns: Sequence[Column], samples: Sequence[Mapping[str, Any]]
) -> EntryColumns | None:
    """Return how a table makes entries; None where it does not look so.

    Args:
        table: Its name without schema.
        columns: Its columns.
        samples: Some of its rows.
    """
    reading = _Reading(table, {column.name: column for column in columns}, samples)
    return reading.entries()


class _Reading:
    """Finds the fields of an entry among columns."""

    def __init__(
        self, table: str, columns: Mapping[str, Column], samples: Sequence[Mapping[str, Any]]
    ) -> None:
        self._table = table
        self._columns = columns
        self._samples = samples
        self._rules: list[Rule] = []
        self._read: dict[str, None] = {}
        self._identity: list[str] = []
        self._questions: list[tuple[str, tuple[str, ...]]] = []

    def entries(self) -> EntryColumns | None:
        """Return the fields, where there are a day and numbers."""
        day = self._day()
        if day is None:
            return None
        metrics = list(self._metrics())
        series = None if metrics else self._series()
        if not (metrics or series):
            return None
        self._add("date", day, quoted(day), identifies=True)
        ids = {} if series else self._object(day)
        self._level(ids, metrics, series)
        self._platform(series)
        for rule, column in metrics:
            self._rules.append(rule)
            self._read[column] = None
        self._described()
        return EntryColumns(
            tuple(self._rules), tuple(self._identity), frozenset(self._read), tuple(self._questions)
        )

    def _ask(self, question: str, *choices: str) -> None:
        self._questions.append((question, choices))

    def _add(self, field: str, column: str, sql: str, *, identifies: bool = False) -> None:
        self._rules.append(Rule(field, sql))
        self._read[column] = None
        if identifies:
            self._identity.append(column)

    def _named(self, names: Sequence[str]) -> str | None:
        by_name = {name.lower(): name for name in self._columns}
        return next((by_name[name] for name in names if name in by_name), None)

    def _day(self) -> str | None:
        days = [name for name, column in self._columns.items() if column.type == "date"]
        likely = self._named(_DAYS)
        chosen = likely if likely in days else next(iter(days), None)
        if chosen is not None and len(days) > 1:
            others = [name for name in days if name != chosen]
            self._ask(f"which of {', '.join(days)} is the day of the numbers?", chosen, *others)
        return chosen

    def _object(self, day: str) -> Mapping[str, str]:
        """Find what the numbers are about."""
        found = {}
        for field, names in _IDS.items():
            column = self._named(names)
            if column is not None and column != day:
                found[field] = column
                self._add(field, column, quoted(column), identifies=True)
        return found

    def _level(
        self,
        ids: Mapping[str, str],
        metrics: Sequence[tuple[Rule, str]],
        series: tuple[str, str] | None,
    ) -> None:
        fields = {rule.field for rule, _ in metrics}
        level = next((level for field, level in _LEVELS if field in ids), "")
        if series is not None:
            level = "CONTROL"
            name, value = series
            self._add("series_id", name, quoted(name), identifies=True)
            self._rules.append(
                Rule("value_micros", f"{quoted(value)}::numeric * 1000000", Rounding.HALF_EVEN)
            )
            self._read[value] = None
        elif not ids or (level == "ACCOUNT" and "spend_micros" not in fields):
            level = "OUTCOME"
        self._rules.append(Rule("level", literal(level)))
        self._ask(f"are these numbers of level {level}?", level, *self._other_levels(level))
        if "account_id" not in ids:
            self._rules.append(Rule("account_id", literal(_ACCOUNT)))
            self._ask("no column names the account; what is its id?", _ACCOUNT)

    def _other_levels(self, level: str) -> Sequence[str]:
        every = [*(each for _, each in reversed(_LEVELS)), "OUTCOME", "CONTROL"]
        return [each for each in every if each != level][:3]

    def _platform(self, series: tuple[str, str] | None) -> None:
        column = self._named(_PLATFORMS)
        if column is not None and column not in self._read:
            values = sorted({str(row[column]) for row in self._samples if row.get(column)})
            unknown = [value for value in values if value not in _KNOWN]
            self._add("platform", column, f"{quoted(column)}::text", identifies=True)
            if unknown:
                self._ask(
                    f"{column} holds {', '.join(unknown[:5])}; what are they on Core?",
                    "register them as sources",
                    "map them with case when ... end",
                )
            return
        word = next((word for word, names in _WORDS if names.search(self._table)), "")
        chosen = word or ("offline" if series or self._has_spend() else "commerce")
        self._rules.append(Rule("platform", literal(chosen)))
        others = [each for each in _KNOWN if each != chosen]
        self._ask("which platform are these numbers of?", chosen, *others)

    def _has_spend(self) -> bool:
        return any(rule.field == "spend_micros" for rule in self._all_rules())

    def _all_rules(self) -> Iterator[Rule]:
        yield from self._rules
        yield from (rule for rule, _ in self._metrics(ask=False))

    def _metrics(self, *, ask: bool = True) -> Iterator[tuple[Rule, str]]:
        """Yield rules of numbers with the column of each."""
        for field, names in _MONEY.items():
            yield from self._amounts(field, names, ask=ask)
        for field, names in _FRACTIONS.items():
            column = self._named(names)
            if column is not None:
                sql = f"{quoted(column)}::numeric * 1000000"
                yield Rule(field, sql, Rounding.HALF_EVEN), column
        for field in _COUNTS:
            column = self._named((field,))
            if column is not None:
                whole = self._columns[column].type in _INTEGERS
                rounding = Rounding.NONE if whole else Rounding.HALF_EVEN
                sql = quoted(column) if whole else f"{quoted(column)}::numeric"
                yield Rule(field, sql, rounding), column

    def _amounts(
        self, field: str, names: Sequence[str], *, ask: bool
    ) -> Iterator[tuple[Rule, str]]:
        """Yield the rule of an amount; several columns take turns, the first that is set counts."""
        parts = []
        for name in names:
            for suffix, factor in (*_UNITS, ("", 1_000_000)):
                column = self._named((name + suffix,))
                if column is None:
                    continue
                times = "" if factor == 1 else f" * {factor}"
                parts.append((column, f"{quoted(column)}::numeric{times}"))
                if ask and not suffix and self._columns[column].type in _INTEGERS:
                    self._ask(
                        f"{column} is a whole number; of which unit?",
                        "whole units of the currency",
                        "cents: * 10000",
                        "micros: as it is",
                    )
        if not parts:
            return
        for column, _ in parts[1:]:
            self._read[column] = None
        sql = parts[0][1] if len(parts) == 1 else f"coalesce({', '.join(s for _, s in parts)})"
        if ask and len(parts) > 1:
            told = ", ".join(column for column, _ in parts)
            self._ask(f"{told} all look like {field}; which counts?", "the first that is set", told)
        yield Rule(field, sql, Rounding.HALF_EVEN), parts[0][0]

    def _series(self) -> tuple[str, str] | None:
        """Find an outside series: what is measured, and its value."""
        name, value = self._named(_SERIES), self._named(_VALUES)
        return None if name is None or value is None else (name, value)

    def _described(self) -> None:
        for field, names in _NAMES.items():
            column = self._named(names)
            if column is not None and column not in self._read:
                self._add(field, column, quoted(column))
        given = {rule.field for rule in self._rules}
        if given & {"spend_micros", "revenue_micros"} and "currency_code" not in given:
            self._rules.append(Rule("currency_code", literal("USD")))
            self._ask("no column names the currency; which one is it?", "USD", "EUR")
