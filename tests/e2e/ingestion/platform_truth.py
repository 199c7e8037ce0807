"""What each simulated platform can tell of the truth, to compare what is stored with."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from tests.e2e.ingestion.truth_comparison import (
    Comparison,
    Figures,
    Key,
    differences,
    stored_figures,
    true_figures,
)

from liftos.memory.v1.entry_pb2 import Entry
from liftos_client import Client
from liftos_platforms.simulation import Simulation
from liftos_platforms.truth import (
    ARRIVAL_BASIS,
    COHORT_BASIS,
    LEVELS,
    Channel,
    DateBasis,
    Level,
    Metric,
    Platform,
)

META_ACTIONS: Final = MappingProxyType(
    {
        Metric.VIDEO_25_PERCENT: (
            "video_p25_watched_actions.video_view",
            "default",
            "count_micros",
        ),
        Metric.VIDEO_50_PERCENT: (
            "video_p50_watched_actions.video_view",
            "default",
            "count_micros",
        ),
        Metric.VIDEO_75_PERCENT: (
            "video_p75_watched_actions.video_view",
            "default",
            "count_micros",
        ),
        Metric.VIDEO_THRUPLAYS: (
            "video_thruplay_watched_actions.video_view",
            "default",
            "count_micros",
        ),
    }
    | {
        Metric(f"{stem}_{window}_micros"): ("omni_purchase", window, field)
        for stem, field in (("conversions", "count_micros"), ("revenue", "value_micros"))
        for window in ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev")
    }
)
"""Figures of Meta that are no fields of an entry and stand among its actions."""

KLAVIYO_LEVELS: Final = (Level.CAMPAIGN, Level.FLOW, Level.MESSAGE)
_NEVER_OF_TEXTS: Final = frozenset({"opened", "unique_opened", "spam_complaints"})
_NEVER_BY_EVENT: Final = frozenset({"sent", "spend_micros"})
_PEOPLE: Final = frozenset({"unique_opened", "unique_clicked"})


def meta_actions(entry: Entry) -> Figures:
    """Return the figures that an entry has among its actions."""
    found: Figures = {}
    actions = {(it.action_type, it.window): it for it in entry.actions}
    for metric, (action_type, window, field) in META_ACTIONS.items():
        action = actions.get((action_type, window))
        numbers = {} if action is None else {it.name: value for it, value in action.ListFields()}
        if field in numbers:
            scale = 1 if metric.value.endswith("_micros") else 1_000_000
            found[metric.value] = int(str(numbers[field])) // scale
    return found


def is_read_from_google(_: Level, metric: Metric) -> bool:
    """Whether the connector asks Google for a figure: all but the number of people."""
    return metric is not Metric.REACH


@dataclass(frozen=True, slots=True)
class Reported:
    """A part of what a platform reports.

    Attributes:
        comparison: The part of Memory to compare it with.
        figures: What is true there.
    """

    comparison: Comparison
    figures: dict[Key, Figures]


def reported(
    simulation: Simulation,
    platform: Platform,
    *,
    account_ids: Sequence[str],
    days: Sequence[date],
) -> Sequence[Reported]:
    """Return all that a connector can know of these days, by each basis of its dates."""
    bases = [COHORT_BASIS[platform], *filter(None, [ARRIVAL_BASIS.get(platform)])]
    return [_reported(simulation, platform, basis, account_ids, days) for basis in bases]


def _reported(
    simulation: Simulation,
    platform: Platform,
    basis: DateBasis,
    account_ids: Sequence[str],
    days: Sequence[date],
) -> Reported:
    match platform:
        case Platform.META:
            comparison = Comparison(
                platform, account_ids, LEVELS[platform], days, actions=meta_actions
            )
            return Reported(comparison, true_figures(simulation, comparison, extra=META_ACTIONS))
        case Platform.GOOGLE_ADS:
            comparison = Comparison(
                platform,
                account_ids,
                LEVELS[platform],
                days,
                date_basis=basis,
                is_stored=is_read_from_google,
            )
            return Reported(comparison, true_figures(simulation, comparison))
        case Platform.KLAVIYO:
            comparison = Comparison(platform, account_ids, KLAVIYO_LEVELS, days, date_basis=basis)
            true = true_figures(simulation, comparison)
            return Reported(comparison, klaviyo_figures(simulation, true, basis, account_ids))


def klaviyo_figures(
    simulation: Simulation,
    true: dict[Key, Figures],
    basis: DateBasis,
    account_ids: Collection[str],
) -> dict[Key, Figures]:
    """Return what Klaviyo's API can tell of the truth.

    By event there are no sendings and no spend, nor what has no metric in a channel. Levels that
    sum messages know how many people opened or clicked only where one message alone was.
    """
    channels = {
        entity.entity_id: entity.channel
        for account_id in account_ids
        for entity in simulation.world.entities[(Platform.KLAVIYO, account_id)]
    }
    counts = Counter(
        (key[2], key[3] or key[6], key[-1], name)
        for key, figures in true.items()
        for name in _PEOPLE
        if key[0] == "MESSAGE" and figures.get(name)
    )
    found = {}
    for key, figures in true.items():
        level, _, account_id, campaign_id, *_, flow_id, message_id, day = key
        owner = campaign_id or flow_id
        hidden = {name for name in _PEOPLE if counts[account_id, owner, day, name] > 1}
        hidden = set() if level == "MESSAGE" else hidden
        if basis is DateBasis.EVENT:
            hidden |= _NEVER_BY_EVENT
            if channels[message_id or owner] is Channel.SMS:
                hidden |= _NEVER_OF_TEXTS
        kept = {name: value for name, value in figures.items() if name not in hidden}
        if any(value for value in kept.values() if isinstance(value, int)):
            found[key] = kept
    return found


async def differences_of(
    memory: Client,
    simulation: Simulation,
    platform: Platform,
    *,
    account_ids: Sequence[str],
    days: Sequence[date],
    levels: Collection[Level] = frozenset(Level),
) -> list[str]:
    """Say where Memory differs from the truth, at each of these levels and by every basis.

    Raises:
        AssertionError: There is nothing to compare.
    """
    parts = reported(simulation, platform, account_ids=account_ids, days=days)
    assert all(part.figures for part in parts), "nothing is true of these days"
    wanted = {level.value for level in levels}
    found = []
    for part in parts:
        stored = await stored_figures(memory, part.comparison)
        found += differences(_of_levels(part.figures, wanted), _of_levels(stored, wanted))
    return found


def _of_levels(figures: dict[Key, Figures], levels: Collection[str]) -> dict[Key, Figures]:
    return {key: value for key, value in figures.items() if key[0] in levels}
