"""What happened in an account, day by day: counts of the truth, laid out over each day."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from liftos_platforms import truth
from liftos_platforms.klaviyo.library import Library
from liftos_platforms.klaviyo.metrics import MetricDefinition, event_count
from liftos_platforms.klaviyo.timeframes import Span, seconds_between
from liftos_platforms.truth import DateBasis, Entity, Level, Row, draw_of, zone


def known_days(library: Library, span: Span) -> Iterator[date]:
    """Yield the days of a span, in the account's zone, that the world and the present hold."""
    first = library.world.first_day
    last = truth.local_day(library.account, library.now)
    for day in span.days(zone(library.account.time_zone)):
        if first <= day <= last:
            yield day


def message_rows(library: Library, day: date, basis: DateBasis) -> tuple[Row, ...]:
    """Return what is known now of each message on a day."""
    return truth.rows(
        library.world,
        library.account,
        level=Level.MESSAGE,
        day=day,
        now=library.now,
        date_basis=basis,
    )


@dataclass(frozen=True, slots=True)
class Happening:
    """The events of one metric and one message on one day of the account.

    Event number k happens in second `k * day_seconds // final_count` of the day.

    Attributes:
        message: Whose events.
        count: How many have happened.
        final_count: How many there are when the day is over.
        people: How many different people did it.
        value_micros: What all of them are worth; also on a day that counts money and no event.
    """

    row: Row
    message: Entity
    definition: MetricDefinition
    count: int
    final_count: int
    people: int
    value_micros: int
    day: Span

    @property
    def day_seconds(self) -> int:
        """How long the day is."""
        return seconds_between(self.day.start, self.day.end)

    def values_micros(self) -> tuple[int, ...]:
        """Return what each event is worth; empty where there is none."""
        if not self.count:
            return ()
        return truth.split(self.value_micros, self.count, draw_of(self.message.draw, self.row.date))

    def within(self, part: Span) -> tuple[int, int, int]:
        """Return the events, the people and the money of a part of time."""
        if part.start <= self.day.start and self.day.end <= part.end:
            return self.count, self.people, self.value_micros
        first, after = self._before(part.start), self._before(part.end)
        if first == after:
            return 0, 0, 0
        value = sum(self.values_micros()[first:after]) if self.value_micros else 0
        return after - first, min(after - first, self.people), value

    def _before(self, moment: datetime) -> int:
        """Return how many events happened before a moment."""
        length = self.day_seconds
        second = min(max(seconds_between(self.day.start, moment), 0), length)
        return min(self.count, -(-second * self.final_count // length))


def happenings(
    library: Library, span: Span, definitions: tuple[MetricDefinition, ...]
) -> Iterator[Happening]:
    """Yield what happened on the days of a span, whole days, in order."""
    account = library.account
    today = truth.local_day(account, library.now)
    for day in known_days(library, span):
        begin, end = truth.day_bounds(account, day)
        finals: dict[str, Row] = {}
        if day == today:
            over = Library(library.world, account, end - timedelta(microseconds=1), library.base)
            finals = {row.message_id: row for row in message_rows(over, day, DateBasis.EVENT)}
        for row in message_rows(library, day, DateBasis.EVENT):
            message = row.entity
            if message is None:
                continue
            final = finals.get(row.message_id, row)
            for definition in definitions:
                happening = _happening(row, message, definition, final, Span(begin, end))
                if happening.count or happening.people or happening.value_micros:
                    yield happening


def _happening(
    row: Row, message: Entity, definition: MetricDefinition, final: Row, day: Span
) -> Happening:
    is_about = definition.channel in {None, message.channel}
    count = event_count(row.metrics, definition, message.channel)
    value, unique = definition.value_micros, definition.unique
    return Happening(
        row=row,
        message=message,
        definition=definition,
        count=count,
        final_count=max(count, event_count(final.metrics, definition, message.channel)),
        people=count if unique is None or not is_about else row.metrics.get(unique, 0),
        value_micros=0 if value is None or not is_about else row.metrics.get(value, 0),
        day=day,
    )
