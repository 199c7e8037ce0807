"""The rows that answer a query, from what is known at a moment."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from liftos_platforms import truth
from liftos_platforms.google_ads.attributes import (
    attributes_of,
    change_attributes,
    client_attributes,
    customers_below,
)
from liftos_platforms.google_ads.catalogue import FieldCategory
from liftos_platforms.google_ads.dates import segment_value
from liftos_platforms.google_ads.metrics import METRICS, Figures, Number, Sums, added
from liftos_platforms.google_ads.plan import Plan, SortKey
from liftos_platforms.google_ads.predicates import Predicate, Value, matches
from liftos_platforms.truth import (
    Account,
    DateBasis,
    Entity,
    Level,
    World,
)

RETENTION_MONTHS: Final = 37
"""How far back days are kept."""

LEVEL_OF_RESOURCE: Final[Mapping[str, Level]] = {
    "customer": Level.ACCOUNT,
    "campaign": Level.CAMPAIGN,
    "ad_group": Level.AD_GROUP,
    "ad_group_ad": Level.AD,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row is about: the values of its resources' fields, by name; missing is unset."""

    attributes: Mapping[str, Value]


class Line(NamedTuple):
    """A row before it is rendered.

    Attributes:
        subject: What it is about.
        segments: Values of the plan's segments, in their order.
        metrics: Values of the plan's metrics, in their order.
        figures: What the metrics follow from.
    """

    subject: Subject
    segments: tuple[Value, ...]
    metrics: tuple[Number | None, ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class _Known:
    """Figures of one object on one day."""

    subject: Subject
    day: date
    figures: Figures


_NOTHING: Final[Sums] = {}


def lines_of(plan: Plan, world: World, account: Account, *, now: datetime) -> Iterator[Line]:
    """Yield the rows of a plan, in the order that it asks for."""
    source = _Source(plan, world, account, now)
    lines = source.lines()
    if plan.order_by and not _is_natural(plan):
        lines = iter(_sorted(lines, plan))
    if plan.limit is None:
        yield from lines
        return
    for count, line in enumerate(lines, start=1):
        yield line
        if count == plan.limit:
            return


def days_of(plan: Plan, world: World, account: Account, *, now: datetime) -> list[date]:
    """Return the days that count, oldest first: those that are kept, until today."""
    today = truth.local_day(account, now)
    month = today.year * 12 + today.month - 1 - RETENTION_MONTHS
    oldest = max(date(month // 12, month % 12 + 1, 1), world.first_day)
    first = oldest if plan.first_day is None else max(oldest, plan.first_day)
    last = today if plan.last_day is None else min(today, plan.last_day)
    return [first + timedelta(days=place) for place in range((last - first).days + 1)]


def _is_natural(plan: Plan) -> bool:
    """Whether rows come in the asked order by themselves: by day, as days are gone through."""
    return (
        len(plan.order_by) == 1
        and plan.order_by[0].field.name == "segments.date"
        and not plan.order_by[0].descending
    )


def _sorted(lines: Iterable[Line], plan: Plan) -> list[Line]:
    ordered = list(lines)
    for key in reversed(plan.order_by):
        ordered.sort(key=_sort_value(key, plan), reverse=key.descending)
    return ordered


def _sort_value(key: SortKey, plan: Plan) -> Callable[[Line], tuple[bool, Number, str]]:
    """Return what a line sorts by; what is unset comes first."""
    value: Callable[[Line], Value]
    if key.field.category is FieldCategory.SEGMENT:
        segment = plan.segments.index(key.field)
        value = lambda line: line.segments[segment]  # noqa: E731
    elif key.field.category is FieldCategory.METRIC:
        metric = plan.metrics.index(key.field)
        value = lambda line: line.metrics[metric]  # noqa: E731
    else:
        value = lambda line: line.subject.attributes.get(key.field.name)  # noqa: E731

    def comparable(line: Line) -> tuple[bool, Number, str]:
        found = value(line)
        if isinstance(found, str):
            return True, 0, found
        return found is not None, found or 0, ""

    return comparable


class _Source:
    """Makes the rows of one query."""

    __slots__ = (
        "_account",
        "_entities",
        "_metrics",
        "_now",
        "_plan",
        "_predicates",
        "_subjects",
        "_world",
    )

    def __init__(self, plan: Plan, world: World, account: Account, now: datetime) -> None:
        self._plan = plan
        self._world = world
        self._account = account
        self._now = now
        self._metrics = tuple(METRICS[field.path[-1]].value for field in plan.metrics)
        self._predicates = {
            category: tuple(p for p in plan.predicates if p.field.category is category)
            for category in FieldCategory
        }
        self._entities = {
            entity.entity_id: entity for entity in truth.entities_of(world, account, now=now)
        }
        self._subjects: dict[tuple[str, str, str], Subject | None] = {}

    def lines(self) -> Iterator[Line]:
        """Yield the rows that meet all conditions, oldest day first."""
        plan = self._plan
        if plan.resource == "customer_client":
            return self._of_subjects(self._clients())
        if plan.resource == "change_status":
            return self._of_subjects(self._changes())
        if not plan.metrics and not plan.segments and not self._predicates[FieldCategory.METRIC]:
            return self._of_subjects(self._everything())
        if any(field.name == "segments.date" for field in plan.segments):
            return self._by_day()
        return self._by_period()

    def _of_subjects(self, subjects: Iterable[Subject]) -> Iterator[Line]:
        nothing = Figures(_NOTHING, _NOTHING)
        return (Line(subject, (), (), nothing) for subject in subjects)

    def _by_day(self) -> Iterator[Line]:
        """Yield a row for each object and day that has anything."""
        day = None
        segments: tuple[Value, ...] = ()
        fits = True
        for known in self._known():
            if known.day != day:
                day = known.day
                segments = self._segments(day)
                fits = self._meets(FieldCategory.SEGMENT, self._segment_of(day))
            if fits:
                line = self._line(known.subject, segments, known.figures, may_be_zero=False)
                if line is not None:
                    yield line

    def _by_period(self) -> Iterator[Line]:
        """Yield a row for each object and period; without a period also objects without figures."""
        is_segmented = bool(self._plan.segments)
        groups: dict[tuple[int, tuple[Value, ...]], list[_Known]] = {}
        for known in self._known():
            if self._meets(FieldCategory.SEGMENT, self._segment_of(known.day)):
                key = id(known.subject), self._segments(known.day)
                groups.setdefault(key, []).append(known)
        busy = set()
        for (_, segments), members in groups.items():
            subject = members[0].subject
            busy.add(id(subject))
            figures = Figures(
                added(member.figures.by_interaction for member in members),
                added(member.figures.by_conversion for member in members),
            )
            line = self._line(subject, segments, figures, may_be_zero=not is_segmented)
            if line is not None:
                yield line
        if not is_segmented:
            for subject in self._everything():
                if id(subject) not in busy:
                    nothing = Figures(_NOTHING, _NOTHING)
                    line = self._line(subject, (), nothing, may_be_zero=True)
                    if line is not None:
                        yield line

    def _line(
        self,
        subject: Subject,
        segments: tuple[Value, ...],
        figures: Figures,
        *,
        may_be_zero: bool,
    ) -> Line | None:
        """Return the row, or None where a condition or the rule about zeros removes it."""
        metrics = tuple(value(figures) for value in self._metrics)
        if metrics and not may_be_zero and not any(metrics):
            return None
        for predicate in self._predicates[FieldCategory.METRIC]:
            if not matches(predicate, METRICS[predicate.field.path[-1]].value(figures)):
                return None
        return Line(subject, segments, metrics, figures)

    def _known(self) -> Iterator[_Known]:
        """Yield what is known, day by day, of the objects that meet the conditions on them."""
        bases = self._bases()
        for day in days_of(self._plan, self._world, self._account, now=self._now):
            yield from self._on(day, bases)

    def _bases(self) -> frozenset[DateBasis]:
        plan = self._plan
        fields = (*plan.metrics, *(p.field for p in self._predicates[FieldCategory.METRIC]))
        rules = [METRICS[field.path[-1]] for field in fields]
        bases = {
            DateBasis.CONVERSION if rule.is_by_conversion else DateBasis.INTERACTION
            for rule in rules
        }
        return frozenset(bases or {DateBasis.INTERACTION})

    def _on(self, day: date, bases: frozenset[DateBasis]) -> Iterator[_Known]:
        interactions = self._rows(day, DateBasis.INTERACTION, bases)
        conversions = self._rows(day, DateBasis.CONVERSION, bases)
        # Creation order of whatever has a row on either basis.
        keys = interactions if not conversions else {**interactions, **conversions}
        for key in keys:
            subject = self._subject(key)
            if subject is not None:
                figures = Figures(interactions.get(key, _NOTHING), conversions.get(key, _NOTHING))
                yield _Known(subject, day, figures)

    def _rows(
        self, day: date, basis: DateBasis, bases: frozenset[DateBasis]
    ) -> dict[tuple[str, str, str], Sums]:
        if basis not in bases:
            return {}
        rows = truth.rows(
            self._world,
            self._account,
            level=LEVEL_OF_RESOURCE[self._plan.resource],
            day=day,
            now=self._now,
            date_basis=basis,
        )
        return {
            (
                "" if row.entity is None else row.entity.entity_id,
                row.campaign_id,
                row.ad_group_id,
            ): row.metrics
            for row in rows
        }

    def _subject(self, key: tuple[str, str, str]) -> Subject | None:
        """Return what a row is about, or None where a condition on it is not met."""
        if key not in self._subjects:
            entity_id, campaign_id, ad_group_id = key
            subject = Subject(self._attributes(entity_id, campaign_id, ad_group_id))
            fits = self._meets(FieldCategory.ATTRIBUTE, subject.attributes.get)
            self._subjects[key] = subject if fits else None
        return self._subjects[key]

    def _attributes(
        self, entity_id: str, campaign_id: str, ad_group_id: str
    ) -> Mapping[str, Value]:
        return attributes_of(
            self._account,
            campaign=self._entities.get(campaign_id),
            ad_group=self._entities.get(ad_group_id),
            ad=self._entities.get(entity_id) if ad_group_id != entity_id else None,
            today=truth.local_day(self._account, self._now),
        )

    def _everything(self) -> Iterator[Subject]:
        """Yield all objects of the resource that meet the conditions, whatever their state."""
        level = LEVEL_OF_RESOURCE[self._plan.resource]
        today = truth.local_day(self._account, self._now)
        if level is Level.ACCOUNT:
            keys: Sequence[tuple[str, str, str]] = [("", "", "")]
        else:
            members = (e for e in self._entities.values() if e.level is level)
            keys = [self._key(entity, today) for entity in members]
        for key in keys:
            subject = self._subject(key)
            if subject is not None:
                yield subject

    def _key(self, entity: Entity, today: date) -> tuple[str, str, str]:
        parent = truth.at(entity.parent, today) or ""
        if entity.level is Level.CAMPAIGN:
            return entity.entity_id, entity.entity_id, ""
        if entity.level is Level.AD_GROUP:
            return entity.entity_id, parent, entity.entity_id
        campaign = truth.at(self._entities[parent].parent, today) or ""
        return entity.entity_id, campaign, parent

    def _clients(self) -> Iterator[Subject]:
        own = attributes_of(self._account, today=truth.local_day(self._account, self._now))
        for client, distance in customers_below(self._world, self._account):
            subject = Subject({**own, **client_attributes(self._account, client, distance)})
            if self._meets(FieldCategory.ATTRIBUTE, subject.attributes.get):
                yield subject

    def _changes(self) -> Iterator[Subject]:
        today = truth.local_day(self._account, self._now)
        for entity in self._entities.values():
            own = self._attributes(*self._key(entity, today))
            change = change_attributes(self._account, entity, today=today)
            subject = Subject({**own, **change})
            if self._meets(FieldCategory.ATTRIBUTE, subject.attributes.get):
                yield subject

    def _segments(self, day: date) -> tuple[Value, ...]:
        return tuple(segment_value(field.name, day) for field in self._plan.segments)

    def _segment_of(self, day: date) -> Callable[[str], Value]:
        return lambda name: segment_value(name, day)

    def _meets(self, category: FieldCategory, value_of: Callable[[str], Value]) -> bool:
        predicates: tuple[Predicate, ...] = self._predicates[category]
        return all(matches(predicate, value_of(predicate.field.name)) for predicate in predicates)
