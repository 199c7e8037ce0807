"""Reports that Meta makes in the background: asked for, waited for, read, and cut smaller.

A report is one run, or several where one day is too much for one. Each run is a `Part`. A part is
cut into those rows that have one of some ids and those that have none of them, so that together
they hold what the whole held, also objects that nobody knew of when it was cut. Where a single
object is left, it is cut by its fields; one that Meta cannot report by itself is left out, and the
rows that lack it say so.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from liftos_ingestion.adapters.sources.meta.client import ListPage, MetaClient
from liftos_ingestion.adapters.sources.meta.errors import (
    MetaError,
    Remedy,
    classified,
    malformed,
    run_error,
)
from liftos_ingestion.domain.failures import ErrorClass, Failure, NotReadyError, ReadingError
from liftos_ingestion.domain.platform_limits import meta_jobs
from liftos_ingestion.domain.rate_limits import Limit
from liftos_ingestion.source_ports import JsonObject, PlatformJob, ReadRequest, query_hash
from liftos_kit.core.clock import Clock

FIRST_WAIT_SECONDS: Final = 2.0
LONGEST_WAIT_SECONDS: Final = 60.0

VISIBLE_SECONDS: Final = 10.0
"""How long a new run may be unknown to Meta's other servers; an older one that is, is lost."""

START_SECONDS: Final = 30 * 60.0
"""How long a run may be at 0 %."""

FINISH_SECONDS: Final = 4 * 60 * 60.0
"""How long a run may take, the time in which its rows are not ready yet included."""

STALE_SECONDS: Final = 6 * 60 * 60.0
"""Older runs are made again: their rows are those of the moment at which they were made."""

WINDOWS: Final = ("1d_click", "7d_click", "28d_click", "1d_view", "1d_ev")
"""Attribution windows that Meta still answers, beside each ad set's own."""

_LEVELS: Final[Mapping[str, str]] = {
    "ACCOUNT": "account",
    "CAMPAIGN": "campaign",
    "AD_GROUP": "adset",
    "AD": "ad",
}
_BELOW_ACCOUNT: Final = ("CAMPAIGN", "AD_GROUP", "AD")
_FIELDS: Final[Mapping[str, str]] = {
    "account_id": "ACCOUNT",
    "account_name": "ACCOUNT",
    "account_currency": "ACCOUNT",
    "campaign_id": "CAMPAIGN",
    "campaign_name": "CAMPAIGN",
    "adset_id": "AD_GROUP",
    "adset_name": "AD_GROUP",
    "ad_id": "AD",
    "ad_name": "AD",
    "objective": "CAMPAIGN",
    "optimization_goal": "AD_GROUP",
    "attribution_setting": "ACCOUNT",
    "date_start": "ACCOUNT",
    "date_stop": "ACCOUNT",
    "spend": "ACCOUNT",
    "impressions": "ACCOUNT",
    "reach": "ACCOUNT",
    "frequency": "ACCOUNT",
    "clicks": "ACCOUNT",
    "inline_link_clicks": "ACCOUNT",
    "outbound_clicks": "ACCOUNT",
    "unique_clicks": "ACCOUNT",
    "actions": "ACCOUNT",
    "action_values": "ACCOUNT",
    "purchase_roas": "ACCOUNT",
    "video_play_actions": "ACCOUNT",
    "video_thruplay_watched_actions": "ACCOUNT",
    "video_p25_watched_actions": "ACCOUNT",
    "video_p50_watched_actions": "ACCOUNT",
    "video_p75_watched_actions": "ACCOUNT",
    "video_p100_watched_actions": "ACCOUNT",
}
"""Fields that are asked for, and the level from which on Meta has them."""

_KEYS: Final = ("account_id", "campaign_id", "adset_id", "ad_id", "date_start", "date_stop")
"""Fields that say what a row is of; every part has them."""

_CAMPAIGN_STATES: Final = ("ACTIVE", "PAUSED", "ARCHIVED", "DELETED", "IN_PROCESS", "WITH_ISSUES")
STATES: Final[Mapping[str, Sequence[str]]] = {
    "CAMPAIGN": _CAMPAIGN_STATES,
    "AD_GROUP": (*_CAMPAIGN_STATES, "CAMPAIGN_PAUSED"),
    "AD": (
        *_CAMPAIGN_STATES,
        "CAMPAIGN_PAUSED",
        "ADSET_PAUSED",
        "DISAPPROVED",
        "PENDING_BILLING_INFO",
        "PENDING_REVIEW",
        "PREAPPROVED",
    ),
}
"""Every `effective_status`; what is not named is left out by Meta."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Which rows a part has.

    Attributes:
        level: CAMPAIGN, AD_GROUP or AD.
        ids: Rows of these objects of that level, or all but theirs.
        is_excluded: Whether it is all but theirs.
    """

    level: str
    ids: tuple[str, ...]
    is_excluded: bool = False

    def as_filter(self) -> JsonObject:
        """Return it in Meta's words."""
        return {
            "field": f"{_LEVELS[self.level]}.id",
            "operator": "NOT_IN" if self.is_excluded else "IN",
            "value": self.ids,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """One run of a report.

    Attributes:
        run_id: Meta's id; empty until it is asked for.
        start_time: When it was asked for, in seconds since 1970.
        conditions: Its rows fulfil all of them.
        fields: Beside the keys; empty for all that there are.
        is_unreadable: Whether Meta cannot report its one field, so that it is not asked for.
    """

    run_id: str = ""
    start_time: float = 0.0
    conditions: tuple[Condition, ...] = ()
    fields: tuple[str, ...] = ()
    is_unreadable: bool = False

    def may_have(self, level: str, object_id: str) -> bool:
        """Whether no condition rules an object out."""
        return all(
            (object_id in it.ids) is not it.is_excluded
            for it in self.conditions
            if it.level == level
        )

    def halves(self, level: str, ids: Sequence[str]) -> "tuple[Part, Part]":
        """Cut it in two: rows of the first half of some objects, and all others."""
        first = tuple(ids[: len(ids) // 2])
        return (
            Part(conditions=(*self.conditions, Condition(level, first))),
            Part(conditions=(*self.conditions, Condition(level, first, is_excluded=True))),
        )

    def by_fields(self, level: str) -> "Sequence[Part]":
        """Cut it in two by its fields; one of a single field becomes unreadable."""
        fields = self.fields or tuple(it for it in _fields_of(level) if it not in _KEYS)
        if len(fields) == 1:
            return (replace(self, run_id="", is_unreadable=True),)
        middle = len(fields) // 2
        return [
            Part(conditions=self.conditions, fields=half)
            for half in (fields[:middle], fields[middle:])
        ]


def job_of(parts: Sequence[Part]) -> PlatformJob:
    """Return what is kept of a report, to go on with it after a crash."""
    state = [
        {
            "run_id": part.run_id,
            "start_time": part.start_time,
            "conditions": [
                {"level": it.level, "ids": list(it.ids), "is_excluded": it.is_excluded}
                for it in part.conditions
            ],
            "fields": list(part.fields),
            "is_unreadable": part.is_unreadable,
        }
        for part in parts
    ]
    return PlatformJob(",".join(part.run_id for part in parts if part.run_id), {"parts": state})


def parts_of(job: PlatformJob | None) -> list[Part]:
    """Return the parts of a report that was kept; a whole new one where it cannot be read."""
    kept = job.state.get("parts") if job is not None else None
    if not isinstance(kept, list):
        return [Part()]
    try:
        parts = [
            Part(
                run_id=str(part["run_id"]),
                start_time=float(part["start_time"]),
                conditions=tuple(
                    Condition(str(it["level"]), tuple(map(str, it["ids"])), bool(it["is_excluded"]))
                    for it in part["conditions"]
                ),
                # What was kept before there were such parts has neither.
                fields=tuple(map(str, part.get("fields", ()))),
                is_unreadable=bool(part.get("is_unreadable", False)),
            )
            for part in kept
        ]
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return [Part()]
    return parts or [Part()]


class _RunEndedError(Exception):
    """A run will not give rows any more.

    Attributes:
        error: Why.
    """

    def __init__(self, error: ReadingError) -> None:
        super().__init__(str(error))
        self.error: Final = error


class Report:
    """One report on its way from being asked for to its rows.

    Args:
        client: The Graph API.
        request: What it is about.
        job: What was kept of it; None for a new one.
        org: Whose limits it falls under.
        clock: Now.
    """

    def __init__(
        self,
        client: MetaClient,
        request: ReadRequest,
        job: PlatformJob | None,
        *,
        org: str,
        clock: Clock,
    ) -> None:
        self._client = client
        self._request = request
        self._account_id = request.account.account_id
        self._clock = clock
        self._parts = parts_of(job)
        # Taken with the first call, and kept until the reading ends.
        self._place: tuple[Limit, ...] = (meta_jobs(org, account_id=self._account_id),)

    async def read(self) -> AsyncGenerator[ListPage | PlatformJob, None]:
        """Yield what is to be kept of it and, once all of it is made, its pages.

        Raises:
            NotReadyError: It is being made, or a limit is reached.
            ReadingError: It cannot be made. TOO_LARGE: in no piece that can be cut.
        """
        async with aclosing(self._made()) as jobs:
            async for job in jobs:
                yield job
        async with aclosing(self._rows()) as items:
            async for item in items:
                yield item

    @property
    def query_hash(self) -> str:
        """Of all that Meta is asked for the rows, in as many parts as they come in."""
        return query_hash(
            self._account_id,
            *(report_form(self._request, it) for it in self._parts if not it.is_unreadable),
        )

    async def _made(self) -> AsyncGenerator[PlatformJob, None]:
        """Ask for what is not asked for yet, and end once all of it is made.

        Raises:
            NotReadyError, ReadingError: As in `read`.
        """
        parts = self._parts
        new = 0
        for place, part in enumerate(parts):
            is_asked_for = part.run_id and self._age_seconds(part) < STALE_SECONDS
            if is_asked_for or part.is_unreadable:
                continue
            try:
                parts[place] = await self._asked_for(part)
            except MetaError as error:
                trouble = await self._after(place, error)
                yield job_of(parts)
                raise trouble from error
            yield job_of(parts)
            new += 1
        if new:
            raise NotReadyError("Meta makes the report", seconds=FIRST_WAIT_SECONDS)
        cut: NotReadyError | None = None
        for part in list(parts):
            if part.is_unreadable or part not in parts:
                continue
            try:
                await self._wait_for(part)
            except _RunEndedError as ended:
                trouble = await self._after(parts.index(part), ended.error)
                yield job_of(parts)
                if not isinstance(trouble, NotReadyError):
                    raise trouble from ended
                cut = trouble
        if cut is not None:
            raise cut

    async def _rows(self) -> AsyncGenerator[ListPage | PlatformJob, None]:
        """Yield the pages of all runs.

        Raises:
            NotReadyError, ReadingError: As in `read`.
        """
        parts = self._parts
        # The fields of the same rows lie beside one another.
        for _, group in groupby(enumerate(parts), key=lambda it: it[1].conditions):
            of_same_rows: list[ListPage] = []
            lacks: tuple[str, ...] = ()
            for place, part in group:
                if part.is_unreadable:
                    lacks += part.fields
                    continue
                try:
                    listing = self._client.pages(
                        f"{part.run_id}/insights", account_id=self._account_id, limits=self._taken()
                    )
                    async with aclosing(listing) as pages:
                        async for page in pages:
                            if part.fields:
                                of_same_rows.append(page)
                            else:
                                yield page
                except ReadingError as error:
                    trouble = await self._after_results(place, error)
                    yield job_of(parts)
                    raise trouble from error
            if of_same_rows:
                yield _merged(of_same_rows, lacks)

    async def _asked_for(self, part: Part) -> Part:
        answer = await self._client.post(
            f"act_{self._account_id}/insights",
            report_form(self._request, part),
            account_id=self._account_id,
            limits=self._taken(),
        )
        run_id = answer.get("report_run_id")
        if not isinstance(run_id, str) or not run_id.isalnum():
            raise malformed("a report without its id")
        return replace(part, run_id=run_id, start_time=self._clock.now().timestamp())

    async def _wait_for(self, part: Part) -> None:
        """Return once a run is done.

        Raises:
            NotReadyError: It is not.
            _RunEndedError: It never will be.
        """
        age = self._age_seconds(part)
        wait = min(LONGEST_WAIT_SECONDS, max(FIRST_WAIT_SECONDS, age / 2))
        try:
            run = await self._client.get(
                part.run_id, account_id=self._account_id, limits=self._taken(), is_poll=True
            )
        except MetaError as error:
            if error.remedy is not Remedy.LOOK_AGAIN:
                raise
            if age < VISIBLE_SECONDS:
                raise NotReadyError("Meta does not show the report yet", seconds=wait) from error
            raise _RunEndedError(_lost(error)) from error
        status, percent = run.get("async_status"), run.get("async_percent_completion")
        match status:
            case "Job Completed":
                return
            case "Job Failed":
                raise _RunEndedError(classified(run_error(run)))
            case "Job Skipped":
                raise _RunEndedError(_given_up("Meta skipped the report"))
        has_begun = status != "Job Not Started" or percent not in (0, None)
        if age >= (FINISH_SECONDS if has_begun else START_SECONDS):
            where = f"{percent} %" if has_begun else "its beginning"
            raise _RunEndedError(_given_up(f"The report is stuck at {where}"))
        raise NotReadyError(f"Meta makes the report ({percent} %)", seconds=wait)

    async def _after_results(self, place: int, error: ReadingError) -> Exception:
        """Return what follows from an error of a run's rows."""
        remedy = error.remedy if isinstance(error, MetaError) else Remedy.NONE
        if remedy is Remedy.WAIT and self._age_seconds(self._parts[place]) < FINISH_SECONDS:
            return NotReadyError("Meta has not yet stored the report", seconds=FIRST_WAIT_SECONDS)
        if remedy is Remedy.LOOK_AGAIN:
            return await self._after(place, _lost(error))
        if remedy is Remedy.WAIT or error.failure.error_class is ErrorClass.TOO_LARGE:
            return await self._after(place, error)
        # The run is as good as before, and is read again.
        return error

    async def _after(self, place: int, error: ReadingError) -> Exception:
        """Return what follows from a run that ended, or that could not be asked for.

        A day that is too large is cut in two by its objects, then by fields; days are cut by the
        caller.
        """
        part = self._parts[place]
        self._parts[place] = replace(part, run_id="")
        if error.failure.error_class is not ErrorClass.TOO_LARGE or self._request.day_count > 1:
            return error
        halves = await self._halves(part)
        self._parts[place : place + 1] = halves or part.by_fields(self._request.level)
        of_same_rows = [it for it in self._parts if it.conditions == part.conditions]
        if of_same_rows and all(it.is_unreadable for it in of_same_rows):
            # As a whole again: nothing of it could be read, and a later try must not miss it.
            first = self._parts.index(of_same_rows[0])
            self._parts[first : first + len(of_same_rows)] = [Part(conditions=part.conditions)]
            return error
        return NotReadyError("The report is cut in two", seconds=0.0)

    async def _halves(self, part: Part) -> tuple[Part, Part] | None:
        """Cut a part by its campaigns; one of a single campaign by its ad sets, then by its ads.

        Returns:
            None where it has a single object and cannot be cut so.
        """
        if part.fields or self._request.level == "ACCOUNT":
            return None
        parent: tuple[Condition, ...] = ()
        for level in _BELOW_ACCOUNT[: _BELOW_ACCOUNT.index(self._request.level) + 1]:
            ids = [it for it in await self._ids(level, parent) if part.may_have(level, it)]
            if len(ids) > 1:
                return part.halves(level, ids)
            if not ids:
                break
            parent = tuple(Condition(level, (it,)) for it in ids)
        return None

    async def _ids(self, level: str, parent: Sequence[Condition]) -> Sequence[str]:
        """Return the objects that have rows, from a small report that is answered at once."""
        name = f"{_LEVELS[level]}_id"
        params = {
            "level": _LEVELS[level],
            "fields": name,
            "time_range": _time_range(self._request),
            "filtering": json.dumps([*_all_states(level), *(it.as_filter() for it in parent)]),
        }
        found: dict[str, None] = {}
        async for page in self._client.pages(
            f"act_{self._account_id}/insights", account_id=self._account_id, params=params
        ):
            found.update((str(it[name]), None) for it in page.items if name in it)
        return tuple(found)

    def _taken(self) -> tuple[Limit, ...]:
        taken, self._place = self._place, ()
        return taken

    def _age_seconds(self, part: Part) -> float:
        return max(0.0, self._clock.now().timestamp() - part.start_time)


def report_form(request: ReadRequest, part: Part) -> Mapping[str, str]:
    """Return the parameters of a report, or of one of its parts."""
    chosen = {*_KEYS, *part.fields} if part.fields else _FIELDS
    form = {
        "level": _LEVELS[request.level],
        "fields": ",".join(it for it in _fields_of(request.level) if it in chosen),
        "time_range": _time_range(request),
        "time_increment": "1",
        "action_attribution_windows": json.dumps(WINDOWS),
    }
    filters = [*_all_states(request.level), *(it.as_filter() for it in part.conditions)]
    return {**form, "filtering": json.dumps(filters)} if filters else form


def _fields_of(level: str) -> Sequence[str]:
    levels = tuple(_LEVELS)
    depth = levels.index(level)
    return [name for name, since in _FIELDS.items() if levels.index(since) <= depth]


def _merged(pages: Sequence[ListPage], lacks: tuple[str, ...]) -> ListPage:
    """Return one page of rows whose fields came in several."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for item in (item for page in pages for item in page.items):
        rows.setdefault(tuple(item.get(name) for name in _KEYS), {}).update(item)
    raw = b"\n".join(page.raw for page in pages)
    return ListPage(list(rows.values()), None, raw, pages[0].request_id, lacks)


def _all_states(level: str) -> Sequence[JsonObject]:
    """Return the filter without which Meta leaves out what is archived or deleted."""
    if level not in {"AD_GROUP", "AD"}:
        return ()
    name = f"{_LEVELS[level]}.effective_status"
    return ({"field": name, "operator": "IN", "value": STATES[level]},)


def _time_range(request: ReadRequest) -> str:
    return json.dumps(
        {"since": request.start_date.isoformat(), "until": request.end_date.isoformat()}
    )


def _given_up(message: str) -> ReadingError:
    return ReadingError(Failure(ErrorClass.TRANSIENT, f"{message}; it is asked for again."))


def _lost(error: ReadingError) -> ReadingError:
    failure = replace(
        error.failure,
        error_class=ErrorClass.TRANSIENT,
        message="Meta no longer has the report; it is asked for again.",
    )
    return ReadingError(failure)
