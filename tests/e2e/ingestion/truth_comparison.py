"""What Memory stores against what a simulated platform knows, to the micro."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from liftos.memory.v1.entry_pb2 import DateBasis as EntryBasis
from liftos.memory.v1.entry_pb2 import Entry, EntryLevel
from liftos_client import Client
from liftos_mapping.entry_fields import ADDITIVE_METRICS, GRAIN_METRICS
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import (
    COHORT_BASIS,
    DateBasis,
    EntityState,
    Level,
    Metric,
    Platform,
    Row,
    at,
    local_day,
)

_IDS = ("campaign_id", "ad_group_id", "ad_id", "flow_id", "message_id")
_NAMES = {
    Level.CAMPAIGN: "campaign_name",
    Level.AD_GROUP: "ad_group_name",
    Level.AD: "ad_name",
    Level.FLOW: "flow_name",
    Level.MESSAGE: "message_name",
}
_STORED_METRICS = frozenset({*ADDITIVE_METRICS, *GRAIN_METRICS})

Key = tuple[str, ...]
"""Level, date basis, account, the ids of objects in the order of the entry, and the day."""

Figures = dict[str, object]
"""What an entry says, by field; what it does not say is not in it."""


def no_actions(entry: Entry) -> Figures:
    """Compare no actions."""
    return {}


def every_level_has_the_same(level: Level, metric: Metric) -> bool:
    """Compare a metric at every level."""
    return True


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which part of the truth is compared, and how an entry shows it.

    Attributes:
        platform: Whose truth.
        account_ids: Of which accounts.
        levels: Of which levels.
        days: In each account's zone.
        date_basis: None for the platform's cohort basis.
        states: Entities in these states; a connector reads all of them.
        is_stored: Which of the platform's figures have to be stored at a level, beyond the rule
            that an entry has a field of that name.
        actions: Figures that an entry holds as actions, by the name of their metric.
        has_names: Whether the name of the entry's own object is compared too.
        absent: Figures of entries that the truth has no metric for.
    """

    platform: Platform
    account_ids: Sequence[str]
    levels: Sequence[Level]
    days: Sequence[date]
    date_basis: DateBasis | None = None
    states: Collection[EntityState] = frozenset(EntityState)
    is_stored: Callable[[Level, Metric], bool] = every_level_has_the_same
    actions: Callable[[Entry], Mapping[str, object]] = no_actions
    has_names: bool = True
    absent: Collection[str] = field(default=frozenset({"frequency"}))

    @property
    def basis(self) -> DateBasis:
        """What the dates stand for."""
        return self.date_basis or COHORT_BASIS[self.platform]


def days_from(first: date, count: int) -> tuple[date, ...]:
    """So many days in a row."""
    return tuple(first + timedelta(days=step) for step in range(count))


def true_figures(
    simulation: Simulation, comparison: Comparison, *, extra: Collection[Metric] = ()
) -> dict[Key, Figures]:
    """What the platform knows now.

    Args:
        simulation: The truth.
        comparison: Which part of it.
        extra: Metrics that are no fields of an entry and are compared by `Comparison.actions`.
    """
    found: dict[Key, Figures] = {}
    now = simulation.clock.now()
    for account_id in comparison.account_ids:
        account = simulation.account(comparison.platform, account_id)
        for level in comparison.levels:
            for day in comparison.days:
                rows = simulation.rows(
                    comparison.platform,
                    account_id,
                    level=level,
                    day=day,
                    date_basis=comparison.date_basis,
                    states=frozenset(comparison.states),
                )
                for row in rows:
                    figures: Figures = {
                        metric.value: value
                        for metric, value in row.metrics.items()
                        if (metric.value in _STORED_METRICS or metric in extra)
                        and comparison.is_stored(level, metric)
                    }
                    figures["currency_code"] = account.currency_code
                    figures["time_zone"] = account.time_zone
                    if comparison.has_names and row.entity is not None:
                        figures["name"] = at(row.entity.name, local_day(account, now))
                    found[_key_of_row(row, comparison.basis)] = figures
    return found


async def stored_figures(memory: Client, comparison: Comparison) -> dict[Key, Figures]:
    """What Memory holds of the same part, and of nothing but the platform's accounts."""
    found: dict[Key, Figures] = {}
    wanted = {level.value for level in comparison.levels}
    days = {day.isoformat() for day in comparison.days}
    async for entry in memory.memory.list_entries(
        filter=f'platform = "{comparison.platform.value}"'
    ):
        level = EntryLevel.Name(entry.level).removeprefix("ENTRY_LEVEL_")
        basis = EntryBasis.Name(entry.date_basis).removeprefix("DATE_BASIS_")
        if (
            level not in wanted
            or basis != comparison.basis.value
            or entry.date not in days
            or entry.account_id not in comparison.account_ids
        ):
            continue
        key = (level, basis, entry.account_id, *(getattr(entry, i) for i in _IDS), entry.date)
        assert key not in found, f"two entries of {key}"
        found[key] = _figures_of_entry(entry, level, comparison)
    return found


def differences(true: Mapping[Key, Figures], stored: Mapping[Key, Figures]) -> list[str]:
    """Say where the two differ, a line for each row."""
    lines = [f"missing: {key}" for key in sorted(true.keys() - stored.keys())]
    lines += [f"too much: {key}" for key in sorted(stored.keys() - true.keys())]
    for key in sorted(true.keys() & stored.keys()):
        names = true[key].keys() | stored[key].keys()
        wrong = [
            f"{name} is {stored[key].get(name)!r} instead of {true[key].get(name)!r}"
            for name in sorted(names)
            if stored[key].get(name) != true[key].get(name)
        ]
        if wrong:
            lines.append(f"{key}: {', '.join(wrong)}")
    return lines


async def assert_truth_is_stored(
    memory: Client,
    simulation: Simulation,
    comparison: Comparison,
    *,
    extra: Collection[Metric] = (),
) -> int:
    """Compare every figure of every row in both directions; return how many rows there are."""
    true = true_figures(simulation, comparison, extra=extra)
    stored = await stored_figures(memory, comparison)
    found = differences(true, stored)
    assert not found, "\n".join(_shortened(found))
    return len(true)


def _shortened(lines: Sequence[str], count: int = 20) -> Iterable[str]:
    yield from lines[:count]
    if len(lines) > count:
        yield f"and {len(lines) - count} more"


def _key_of_row(row: Row, basis: DateBasis) -> Key:
    return (
        row.level.value,
        basis.value,
        row.account.account_id,
        row.campaign_id,
        row.ad_group_id,
        row.ad_id,
        row.flow_id,
        row.message_id,
        row.date.isoformat(),
    )


def _figures_of_entry(entry: Entry, level: str, comparison: Comparison) -> Figures:
    figures: Figures = {"time_zone": entry.time_zone}
    for numbers in (entry.metrics, entry.grain_metrics):
        for descriptor, value in numbers.ListFields():
            if descriptor.name not in comparison.absent:
                figures[descriptor.name] = value
    figures.update(comparison.actions(entry))
    name = _NAMES.get(Level(level))
    if comparison.has_names and name is not None:
        figures["name"] = getattr(entry, name)
    return figures
