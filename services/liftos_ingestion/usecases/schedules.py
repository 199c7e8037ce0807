"""Schedules as people make and change them."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from liftos_ingestion.domain.schedules import fire_times, zone_problem
from liftos_ingestion.schedule_ports import ScheduleSpec, ScheduleStore, StoredSchedule
from liftos_kit.core.clock import Clock
from liftos_kit.core.cron import cron_problem
from liftos_kit.core.errors import (
    EtagMismatchError,
    FieldViolation,
    InvalidFieldsError,
    NotFoundError,
)
from liftos_kit.core.filters import Filter
from liftos_kit.core.paging import JsonValue
from liftos_kit.core.repeatable import AnsweredBeforeError, Repeatable

_SHOWN_TIMES: Final = 5


class Schedules:
    """Makes, changes and shows schedules.

    Args:
        store: Where they are.
        clock: Now.
    """

    def __init__(self, store: ScheduleStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(
        self,
        org: str,
        schedule: str,
        spec: ScheduleSpec,
        *,
        validate_only: bool,
        repeatable: Repeatable[StoredSchedule] | None,
    ) -> StoredSchedule | bytes:
        """Store a schedule, or only check it.

        Returns:
            The schedule, or the answer that the same request was given before.

        Raises:
            AlreadyExistsError: The id is taken.
            InvalidFieldsError: The cron or the zone is none.
            NotFoundError: Its connection does not exist.
        """
        _check(spec)
        if validate_only:
            now = self._clock.now()
            return StoredSchedule(schedule, spec, now, None, None, 0, now, now)
        try:
            return await self._store.create(org, schedule, spec, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def update(
        self,
        org: str,
        schedule: str,
        spec: ScheduleSpec,
        *,
        fields: Collection[str],
        revision: int | None,
        repeatable: Repeatable[StoredSchedule] | None,
    ) -> StoredSchedule | bytes:
        """Change fields of a schedule.

        Args:
            org: Whose.
            schedule: Its id.
            spec: The new values.
            fields: Which of them are meant.
            revision: As it was read; None takes the newest.
            repeatable: The request, where it has an id.

        Returns:
            The schedule, or the answer that the same request was given before.

        Raises:
            EtagMismatchError: It was changed since it was read.
            InvalidFieldsError: The cron or the zone is none.
            NotFoundError: There is none, or its connection does not exist.
        """

        def changed(before: StoredSchedule) -> ScheduleSpec:
            _check_revision(org, before, revision)
            after = replace(before.spec, **{name: getattr(spec, name) for name in fields})
            _check(after)
            return after

        try:
            return await self._store.change(org, schedule, changed, repeatable)
        except AnsweredBeforeError as answered:
            return answered.response

    async def delete(
        self, org: str, schedule: str, *, revision: int | None, repeatable: Repeatable[None] | None
    ) -> None:
        """Remove a schedule.

        Raises:
            EtagMismatchError: It was changed since it was read.
            NotFoundError: There is none.
        """
        with suppress(AnsweredBeforeError):
            await self._store.delete(
                org, schedule, lambda stored: _check_revision(org, stored, revision), repeatable
            )

    async def get(self, org: str, schedule: str) -> StoredSchedule:
        """Return a schedule.

        Raises:
            NotFoundError: There is none.
        """
        stored = await self._store.get(org, schedule)
        if stored is None:
            raise NotFoundError(_name(org, schedule))
        return stored

    async def list_page(
        self, org: str, *, where: Filter | None, cursor: JsonValue, limit: int
    ) -> tuple[Sequence[StoredSchedule], JsonValue]:
        """Return a page of schedules by id."""
        return await self._store.list_page(org, where=where, cursor=cursor, limit=limit)

    def next_times(self, schedule: StoredSchedule) -> Sequence[datetime]:
        """Return the next moments at which a schedule fires; none where it is paused."""
        spec = schedule.spec
        if spec.paused:
            return ()
        times = fire_times(spec.cron, spec.time_zone, after=self._clock.now())
        return list(islice(times, _SHOWN_TIMES))


def _name(org: str, schedule: str) -> str:
    return f"orgs/{org}/schedules/{schedule}"


def _check_revision(org: str, stored: StoredSchedule, revision: int | None) -> None:
    if revision is not None and revision != stored.revision:
        raise EtagMismatchError(_name(org, stored.schedule))


def _check(spec: ScheduleSpec) -> None:
    violations = [
        FieldViolation(f"schedule.{field}", problem, field)
        for field, problem in (
            ("cron", cron_problem(spec.cron)),
            ("time_zone", zone_problem(spec.time_zone)),
        )
        if problem is not None
    ]
    if violations:
        raise InvalidFieldsError(violations)
