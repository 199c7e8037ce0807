"""Rows of the truth as rows of Insights: every number a string, and nothing that is zero.

A row of several days sums what can be summed; people are estimated anew, as for a level. Rows of
breakdowns split a row so that their sum is exact.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Final

from liftos_platforms.meta.queries import (
    BREAKDOWN_VALUES,
    OPT_IN_BREAKDOWNS,
    Report,
    months_before,
)
from liftos_platforms.truth import (
    GRAIN_METRICS,
    Account,
    Entity,
    EntityState,
    Level,
    Metric,
    Row,
    World,
    at,
    draw_of,
    local_day,
    minor_unit_micros,
    rows,
    split,
)

JsonRow = dict[str, object]

OBJECTIVE: Final = "OUTCOME_SALES"
OPTIMIZATION_GOAL: Final = "OFFSITE_CONVERSIONS"
ATTRIBUTION_SETTING: Final = "7d_click_1d_view"
PURCHASES: Final = ("omni_purchase", "purchase", "offsite_conversion.fb_pixel_purchase")
"""One and the same sale under three names."""

_COUNTS: Final[Mapping[str, Metric]] = {
    "impressions": Metric.IMPRESSIONS,
    "clicks": Metric.CLICKS,
    "inline_link_clicks": Metric.LINK_CLICKS,
    "unique_clicks": Metric.UNIQUE_CLICKS,
    "reach": Metric.REACH,
}
_ACTION_COUNTS: Final[Mapping[str, tuple[str, Metric]]] = {
    "outbound_clicks": ("outbound_click", Metric.LINK_CLICKS),
    "video_play_actions": ("video_view", Metric.VIDEO_VIEWS),
    "video_thruplay_watched_actions": ("video_view", Metric.VIDEO_THRUPLAYS),
    "video_p25_watched_actions": ("video_view", Metric.VIDEO_25_PERCENT),
    "video_p50_watched_actions": ("video_view", Metric.VIDEO_50_PERCENT),
    "video_p75_watched_actions": ("video_view", Metric.VIDEO_75_PERCENT),
    "video_p100_watched_actions": ("video_view", Metric.VIDEO_COMPLETIONS),
}
_REACH_MONTHS: Final = 13


@dataclass(frozen=True, slots=True)
class _Span:
    """What is known of one entity over the days of a row."""

    first: date
    last: date
    entity: Entity | None
    campaign_id: str
    ad_group_id: str
    metrics: Mapping[Metric, int]
    breakdown: Mapping[str, str]


def render(world: World, account: Account, report: Report, now: datetime) -> list[JsonRow]:
    """The rows of a report as they stand at `now`."""
    today = local_day(account, now)
    renderer = _Renderer(
        report=report,
        account_attributes={
            "account_id": account.account_id,
            "account_name": account.name,
            "account_currency": account.currency_code,
            "attribution_setting": ATTRIBUTION_SETTING,
            "objective": OBJECTIVE,
            "optimization_goal": OPTIMIZATION_GOAL,
            "buying_type": "AUCTION",
        },
        entities={entity.entity_id: entity for entity in world.entities.get(account.key, ())},
        today=today,
        has_reach=not report.breakdowns or report.first_day >= months_before(today, _REACH_MONTHS),
    )
    found = [
        renderer.row(part)
        for span in _spans(world, account, report, now)
        for part in _broken_down(account, report, span)
    ]
    if report.sort is not None:
        field, is_descending = report.sort
        found.sort(key=lambda row: Decimal(str(row.get(field, 0))), reverse=is_descending)
    return found


def render_summary(report: Report, found: Iterable[JsonRow], fields: Iterable[str]) -> JsonRow:
    """Totals of what can be summed over all rows of a report."""
    summary: JsonRow = {
        "account_id": report.account_id,
        "date_start": report.first_day.isoformat(),
        "date_stop": report.last_day.isoformat(),
    }
    for field in fields:
        if field in {"spend", "impressions", "clicks", "inline_link_clicks"}:
            summary[field] = _number(sum(Decimal(str(row.get(field, 0))) for row in found))
    return summary


def _spans(world: World, account: Account, report: Report, now: datetime) -> Iterator[_Span]:
    # Reading an entity by its own id shows it even where lists hide it.
    by_id = report.states is None and report.node_id != report.account_id
    states = frozenset(EntityState) if by_id else report.states
    today = local_day(account, now)
    for first, last in report.ranges:
        groups: dict[tuple[str, str, str], list[Row]] = {}
        day = first
        while day <= min(last, today):
            for row in rows(world, account, level=report.level, day=day, now=now, states=states):
                if _is_asked(report, row):
                    entity_id = row.entity.entity_id if row.entity else ""
                    groups.setdefault((row.campaign_id, row.ad_group_id, entity_id), []).append(row)
            day += timedelta(days=1)
        for (campaign_id, ad_group_id, entity_id), members in groups.items():
            yield _Span(
                first=first,
                last=last,
                entity=members[0].entity,
                campaign_id=campaign_id,
                ad_group_id=ad_group_id,
                metrics=_summed(entity_id, members),
                breakdown={},
            )


def _is_asked(report: Report, row: Row) -> bool:
    ids = {
        "campaign.id": row.campaign_id,
        "adset.id": row.ad_group_id,
        "ad.id": row.ad_id,
    }
    if report.node_id != report.account_id and report.node_id not in ids.values():
        return False
    for condition in report.filters:
        if condition.field in ids:
            is_in = ids[condition.field] in condition.values
            if is_in == (condition.operator == "NOT_IN"):
                return False
        elif condition.field in {"impressions", "spend"}:
            metric = Metric.IMPRESSIONS if condition.field == "impressions" else Metric.SPEND_MICROS
            scale = 1 if metric is Metric.IMPRESSIONS else 1_000_000
            bound = Decimal(condition.values[0]) * scale
            value = row.metrics[metric]
            if not (value > bound if condition.operator == "GREATER_THAN" else value < bound):
                return False
    return True


def _summed(entity_id: str, members: list[Row]) -> Mapping[Metric, int]:
    if len(members) == 1:
        return members[0].metrics
    total: dict[Metric, int] = {}
    for row in members:
        for metric, value in row.metrics.items():
            total[metric] = total.get(metric, 0) + value
    for metric in GRAIN_METRICS & total.keys():
        largest = max(row.metrics.get(metric, 0) for row in members)
        overlap = 550 + draw_of(entity_id, metric.value, members[0].date) % 300
        total[metric] = max(largest, total[metric] * overlap // 1000)
    return total


def _broken_down(account: Account, report: Report, span: _Span) -> Iterator[_Span]:
    """Split a span over all values of its breakdowns, in the smallest unit of each metric."""
    if not report.breakdowns:
        yield span
        return
    if OPT_IN_BREAKDOWNS & set(report.breakdowns):
        return
    keys = list(product(*(BREAKDOWN_VALUES[name] for name in report.breakdowns)))
    entity_id = span.entity.entity_id if span.entity else account.account_id
    parts: dict[Metric, tuple[int, ...]] = {}
    for metric, value in span.metrics.items():
        unit = 1
        if metric is Metric.SPEND_MICROS or "revenue" in metric:
            unit = minor_unit_micros(account.currency_code)
        elif metric.endswith("_micros"):
            unit = 1_000_000
        draw = draw_of(entity_id, metric.value, span.first, *report.breakdowns)
        parts[metric] = tuple(part * unit for part in split(value // unit, len(keys), draw))
    for place, key in enumerate(keys):
        metrics = {metric: values[place] for metric, values in parts.items() if values[place]}
        if metrics:
            yield _Span(
                first=span.first,
                last=span.last,
                entity=span.entity,
                campaign_id=span.campaign_id,
                ad_group_id=span.ad_group_id,
                metrics=metrics,
                breakdown=dict(zip(report.breakdowns, key, strict=True)),
            )


@dataclass(frozen=True, slots=True)
class _Renderer:
    """Makes the rows of one report."""

    report: Report
    account_attributes: Mapping[str, str]
    entities: Mapping[str, Entity]
    today: date
    has_reach: bool

    def row(self, span: _Span) -> JsonRow:
        """A row with the fields that are asked for, as far as the span has them."""
        attributes = self._attributes(span)
        row: JsonRow = {}
        for field in self.report.fields:
            value = attributes.get(field) or self._figure(span, field)
            if value is not None:
                row[field] = value
        row["date_start"] = span.first.isoformat()
        row["date_stop"] = span.last.isoformat()
        row.update(span.breakdown)
        return row

    def _figure(self, span: _Span, field: str) -> object:
        """A figure; None where it does not apply or is zero, which Meta does not tell apart."""
        metrics = span.metrics
        if field in {"reach", "frequency"} and not self.has_reach:
            return None
        if field == "spend":
            return _money(metrics.get(Metric.SPEND_MICROS, 0))
        if field in _COUNTS:
            value = metrics.get(_COUNTS[field])
            return None if value is None else str(value)
        if field in _RATIOS:
            above, below, scale = _RATIOS[field]
            return _ratio(metrics.get(above, 0), metrics.get(below, 0), scale)
        return self._list(metrics, field) or None

    def _list(self, metrics: Mapping[Metric, int], field: str) -> list[JsonRow]:
        if field in _ACTION_COUNTS:
            action_type, metric = _ACTION_COUNTS[field]
            count = metrics.get(metric, 0)
            return [{"action_type": action_type, "value": str(count)}] if count else []
        if field in _LISTS:
            return _LISTS[field](self.report, metrics)
        return []

    def _attributes(self, span: _Span) -> dict[str, str]:
        """What describes a row; today's names, whatever the day."""
        entity, entities, today = span.entity, self.entities, self.today
        found = dict(self.account_attributes)
        if span.campaign_id:
            found["campaign_id"] = span.campaign_id
            found["campaign_name"] = at(entities[span.campaign_id].name, today)
        if span.ad_group_id:
            found["adset_id"] = span.ad_group_id
            found["adset_name"] = at(entities[span.ad_group_id].name, today)
        if entity is not None:
            found["created_time"] = entity.created_on.isoformat()
            found["updated_time"] = entity.changed_on(today).isoformat()
            if entity.level is Level.AD:
                found["ad_id"] = entity.entity_id
                found["ad_name"] = at(entity.name, today)
        return found


_RATIOS: Final[Mapping[str, tuple[Metric, Metric, Decimal]]] = {
    "frequency": (Metric.IMPRESSIONS, Metric.REACH, Decimal(1)),
    "ctr": (Metric.CLICKS, Metric.IMPRESSIONS, Decimal(100)),
    "cpc": (Metric.SPEND_MICROS, Metric.CLICKS, Decimal("0.000001")),
    "cpm": (Metric.SPEND_MICROS, Metric.IMPRESSIONS, Decimal("0.001")),
}
"""Numerator, denominator and what their quotient is multiplied with."""


def _ratio(above: int, below: int, scale: Decimal) -> str | None:
    if not below or not above:
        return None
    return _number(round(above * scale / below, 6))


def _actions(report: Report, metrics: Mapping[Metric, int]) -> list[JsonRow]:
    found: list[JsonRow] = []
    clicks = metrics.get(Metric.LINK_CLICKS, 0)
    if clicks:
        found.append({"action_type": "link_click", "value": str(clicks)})
    plays = metrics.get(Metric.VIDEO_VIEWS, 0)
    if plays:
        found.append({"action_type": "video_view", "value": str(plays)})
    if report.action_breakdowns != ("action_type",):
        # With any further breakdown of actions Meta leaves out what it cannot place.
        return [{**item, "action_destination": "website"} for item in found]
    return [*found, *_by_window(report, metrics, "conversions", PURCHASES)]


def _action_values(report: Report, metrics: Mapping[Metric, int]) -> list[JsonRow]:
    if report.action_breakdowns != ("action_type",):
        return []
    return _by_window(report, metrics, "revenue", PURCHASES)


def _purchase_roas(_: Report, metrics: Mapping[Metric, int]) -> list[JsonRow]:
    spend = metrics.get(Metric.SPEND_MICROS, 0)
    value = _ratio(metrics.get(Metric.REVENUE_MICROS, 0), spend, Decimal(1))
    return [{"action_type": "omni_purchase", "value": value}] if value else []


_LISTS: Final = {
    "actions": _actions,
    "action_values": _action_values,
    "purchase_roas": _purchase_roas,
}


def _by_window(
    report: Report, metrics: Mapping[Metric, int], stem: str, action_types: Iterable[str]
) -> list[JsonRow]:
    values = {"value": metrics.get(Metric(f"{stem}_micros"), 0)}
    values |= {
        window: metrics.get(Metric(f"{stem}_{window}_micros"), 0) for window in report.windows
    }
    shown = {name: _money(value) for name, value in values.items() if value}
    return [{"action_type": name, **shown} for name in action_types] if shown else []


def _money(micros: int) -> str:
    return _number(Decimal(micros) / 1_000_000)


def _number(value: Decimal | int) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
