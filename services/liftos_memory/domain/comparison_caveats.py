"""What to mind when reading a comparison, and what the shop says beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from liftos_memory.domain.calendar import CalendarDay, breaks_for
from liftos_memory.domain.comparison_findings import period_rows
from liftos_memory.domain.comparison_statistics import Booleans
from liftos_memory.domain.comparison_sums import ComparedSums, DailySums
from liftos_memory.domain.comparisons import ComparisonQuestion, Period

_NAMED_MEMBERS: Final = 20
_SOURCES: Final = frozenset({"platform", "account_id"})
"""Dimensions whose members have numbers on every day that was read; a campaign may rest."""


class CaveatKind(Enum):
    """Why to read with care, in the order of the contract's numbers, which start at 1."""

    ATTRIBUTION_DIFFERS = "ATTRIBUTION_DIFFERS"
    ATTRIBUTION_MIXED = "ATTRIBUTION_MIXED"
    NOT_FINAL = "NOT_FINAL"
    STRUCTURAL_BREAK = "STRUCTURAL_BREAK"
    CURRENCIES = "CURRENCIES"
    BASELINE_EMPTY = "BASELINE_EMPTY"
    ASKED_EMPTY = "ASKED_EMPTY"
    DAYS_MISSING = "DAYS_MISSING"
    DATE_BASIS = "DATE_BASIS"


@dataclass(frozen=True, slots=True)
class Caveat:
    """A reason to read with care; no metrics or members are all of them."""

    kind: CaveatKind
    message: str
    metrics: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


def caveats(
    question: ComparisonQuestion, sums: ComparedSums, calendar: Sequence[CalendarDay]
) -> list[Caveat]:
    """Return what to mind when reading the findings; arguments as of `findings`."""
    found: list[Caveat] = []
    members = sums.together.members
    facts = sums.facts
    credited = tuple(metric.name for metric in question.metrics if metric.is_credited)
    settings = {facts[name].attribution_settings for name in members}
    if credited and question.daily.level != "OUTCOME" and len(settings) > 1:
        words = "; ".join(
            f"{name or '(none)'}: {', '.join(facts[name].attribution_settings)}"
            for name in members[:_NAMED_MEMBERS]
        )
        found.append(
            Caveat(
                CaveatKind.ATTRIBUTION_DIFFERS,
                "Conversions are credited by different attribution, so the order of members may"
                f" be that of their windows ({words}).",
                credited,
            )
        )
    mixed = tuple(name for name in members if len(facts[name].attribution_settings) > 1)
    if mixed:
        found.append(
            Caveat(
                CaveatKind.ATTRIBUTION_MIXED,
                "Members have entries of several attributions, and a day may count more than once;"
                " choose one with a filter such as attribution_key = '…'.",
                (),
                mixed[:_NAMED_MEMBERS],
            )
        )
    if sums.twice_dated:
        found.append(
            Caveat(
                CaveatKind.DATE_BASIS,
                f"Conversions of {', '.join(sums.twice_dated)} count on the day of the click or"
                " view; entries by the day of the conversion, which hold the same, are left out."
                " The filter date_basis = CONVERSION asks for those.",
            )
        )
    unfinished = tuple(name for name in members if not facts[name].final)
    if unfinished:
        found.append(
            Caveat(
                CaveatKind.NOT_FINAL,
                "Entries of these days are not final: their platforms may still restate them, or"
                " whoever imported them did not say that they are.",
                (),
                unfinished[:_NAMED_MEMBERS],
            )
        )
    return found + _caveats_of_days(question, sums, calendar)


def _caveats_of_days(
    question: ComparisonQuestion, sums: ComparedSums, calendar: Sequence[CalendarDay]
) -> list[Caveat]:
    found = []
    # On the very first day all numbers lie behind it.
    for day in (it for it in calendar if it.date > question.daily.start_date):
        concerned: dict[str, list[str]] = {}
        for metric in question.metrics:
            for name in breaks_for(day, sums.platforms, metric.columns):
                concerned.setdefault(name, []).append(metric.name)
        found += [
            Caveat(
                CaveatKind.STRUCTURAL_BREAK,
                f"Numbers before and from {day.date.isoformat()} on are not the same measure:"
                f" {name}.",
                # All of them need no naming.
                tuple(metrics) if len(metrics) < len(question.metrics) else (),
            )
            for name, metrics in concerned.items()
        ]
    if len(sums.by_currency) > 1:
        money = tuple(metric.name for metric in question.metrics if metric.has_money)
        currencies = ", ".join(currency or "(none)" for currency in sums.by_currency)
        found.append(
            Caveat(
                CaveatKind.CURRENCIES,
                f"Entries have several currencies ({currencies}), which are compared apart; name a"
                " currency_code to convert them.",
                money,
            )
        )
    for words, period, kind in (
        ("", question.asked, CaveatKind.ASKED_EMPTY),
        (" of the baseline", question.baseline, CaveatKind.BASELINE_EMPTY),
    ):
        found += _caveats_of_period(question, sums.together, words, period, kind)
    return found


def _caveats_of_period(
    question: ComparisonQuestion,
    together: DailySums,
    words: str,
    period: Period,
    empty_kind: CaveatKind,
) -> list[Caveat]:
    """Return what is not stored of a period: all of it, some days, or days of some sources."""
    rows = period_rows(question, period)
    is_set = together.reported(rows)
    count, days = period.day_count, f"{period.start.isoformat()} to {period.end.isoformat()}"
    stored = int(is_set.any(axis=1).sum())
    if not stored:
        return [
            Caveat(
                empty_kind,
                f"No numbers{words} ({days}) are stored, so there is no change to tell.",
            )
        ]
    found = []
    if stored < count:
        found.append(
            Caveat(
                CaveatKind.DAYS_MISSING,
                f"Only {stored} of {count} days{words} ({days}) have numbers, so that sums are not"
                " of whole periods.",
            )
        )
    by_member = is_set.sum(axis=0)
    reports: Booleans = np.any(together.reported(slice(None)), axis=0)
    lacking = [
        (name, int(by_member[place]))
        for place, name in enumerate(together.members)
        if reports[place] and by_member[place] < stored
    ]
    if lacking and question.dimension in _SOURCES:
        told = ", ".join(f"{name or '(none)'}: {has}" for name, has in lacking[:_NAMED_MEMBERS])
        found.append(
            Caveat(
                CaveatKind.DAYS_MISSING,
                f"Some have numbers on fewer than {stored} days{words} ({days}): {told}.",
                (),
                tuple(name for name, _ in lacking[:_NAMED_MEMBERS]),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Revenue of the shop per amount spent in one currency; amounts are micros."""

    currency_code: str
    value: float
    baseline: float
    revenue_micros: int | None
    spend_micros: int | None


def efficiencies(
    question: ComparisonQuestion, spend: ComparedSums, outcomes: ComparedSums
) -> list[Efficiency]:
    """Return revenue of outcomes divided by spend, where both are of one currency."""
    found = []
    asked, before = period_rows(question, question.asked), period_rows(question, question.baseline)
    for currency, earned in outcomes.by_currency.items():
        spent = spend.by_currency.get(currency)
        if spent is None or not earned.is_set["revenue_micros"].any():
            continue
        value, revenue, cost = _efficiency(earned, spent, asked)
        baseline, _, _ = _efficiency(earned, spent, before)
        found.append(Efficiency(currency, value, baseline, revenue, cost))
    return found


def _efficiency(
    earned: DailySums, spent: DailySums, rows: slice
) -> tuple[float, int | None, int | None]:
    revenue = _total(earned, "revenue_micros", rows)
    cost = _total(spent, "spend_micros", rows)
    value = revenue / cost if revenue is not None and cost else float("nan")
    return value, revenue, cost


def _total(daily: DailySums, column: str, rows: slice) -> int | None:
    if not daily.is_set[column][rows].any():
        return None
    return int(daily.sums[column][rows].sum())
