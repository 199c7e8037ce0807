"""Documents on Postgres: what changed, what is known of it, and what was written about it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Collection as Ids
from contextlib import asynccontextmanager, suppress
from datetime import date, timedelta
from itertools import islice
from typing import Any, Final

import asyncpg
import numpy as np
from asyncpg import Record

from liftos_kit import postgres, telemetry
from liftos_kit.core.errors import StoreUnavailableError
from liftos_mapping.entry_fields import ADDITIVE_METRICS, ENTRY_FIELDS, FieldKind
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.date_bases import basis_order
from liftos_memory.adapters.postgres.object_keys import KEY, key_of, key_values, same_object
from liftos_memory.adapters.postgres.objects import rank_objects, save_objects
from liftos_memory.document_ports import (
    Facts,
    IndexLag,
    ObjectMetrics,
    PendingOrg,
    Work,
)
from liftos_memory.domain.documents import (
    Document,
    DocumentKind,
    ObjectKey,
    ObjectNames,
    ObjectProfileFacts,
    WeeklyFacts,
)
from liftos_memory.domain.knowledge import DescribedObject
from liftos_memory.domain.records import Collection
from liftos_memory.search_ports import Vectors

_SQL: Final = postgres.load_queries("liftos_memory", "sql/documents.sql")

_NAMES: Final = tuple(ObjectNames.__dataclass_fields__)
_MONEY: Final = {field.name for field in ENTRY_FIELDS if field.kind is FieldKind.MONEY}
_KINDS: Final = tuple(DocumentKind)
_ENTRIES_PER_OBJECT: Final = 10
_WEEKS_OF_VARIATION: Final = 26
_DOCUMENTS_PER_PAGE: Final = 500
_FEW_OBJECTS: Final = 16
_LEADER_POLL_SECONDS: Final = 0.5
_WEEK: Final = timedelta(days=7)
_LEADER_LOCK: Final = "liftos memory index writer"


def _listed(alias: str, columns: Sequence[str] = KEY) -> str:
    return ", ".join(f"{alias}.{column}" for column in columns)


def _number(kind: DocumentKind) -> int:
    return _KINDS.index(kind) + 1


_SUMS: Final = ", ".join(
    # Amounts of several currencies have no sum.
    f"case when count(distinct e.currency_code) <= 1 then sum(e.{name})::bigint end as {name}"
    if name in _MONEY
    else f"sum(e.{name})::bigint as {name}"
    for name in ADDITIVE_METRICS
)
_CURRENCY: Final = (
    "case when count(distinct e.currency_code) = 1 then max(e.currency_code) else '' end"
    " as currency_code"
)
_NEWEST_NAMES: Final = ", ".join(
    f"coalesce((array_agg(e.{name} order by e.date desc)"
    f" filter (where e.{name} is not null))[1], '') as {name}"
    for name in (*_NAMES, "channel")
)

# An object's day counts once: rows that split it, date it or credit it otherwise are left aside.
_PROFILE_DAYS: Final = f"""
select distinct on ({_listed("e")}, e.date) e.*
from based w
join entries e on e.org = $1 and {same_object("e", "w")}
where e.breakdown_key = '' and {basis_order("e")} = w.basis
order by {_listed("e")}, e.date, e.attribution_key
"""  # noqa: S608 - column names are ours

_ENQUEUE: Final = f"""/* enqueue */
insert into outbox as b (org, {", ".join(KEY)}, week, first_version, last_version)
select $1, {_listed("t")}, affected.week, min(t.version), max(t.version)
from (
    select c.version, {_listed("e")}, e.date
    from commits c join entries e on e.org = c.org and e.tx = c.tx
    where c.org = $1 and c.version > $2 and c.version <= $3
    union all
    select c.version, {_listed("h")}, h.date
    from commits c join entry_history h on h.org = c.org and h.superseded_tx = c.tx
    where c.org = $1 and c.version > $2 and c.version <= $3
    union all
    -- Written between the two versions, and again since.
    select c.version, {_listed("h")}, h.date
    from commits c join entry_history h on h.org = c.org and h.tx = c.tx
    where c.org = $1 and c.version > $2 and c.version <= $3
) t
cross join lateral (
    values (date_trunc('week', t.date)::date), (date_trunc('week', t.date)::date + 7)
) as affected (week)
group by {_listed("t")}, affected.week
on conflict (org, {", ".join(KEY)}, week) do update set last_version = excluded.last_version
"""  # noqa: S608 - column names are ours

_ENQUEUE_RECORDS: Final = f"""/* enqueue_records */
insert into record_outbox as b (org, kind, record_id, first_version, last_version)
select $1, case t.collection when {int(Collection.ARTIFACTS)} then {_number(DocumentKind.ARTIFACT)}
                             else {_number(DocumentKind.NOTE)} end,
       t.record_id, min(t.version), max(t.version)
from (
    select c.version, r.collection, r.record_id
    from commits c join records r on r.org = c.org and r.tx = c.tx
    where c.org = $1 and c.version > $2 and c.version <= $3
    union all
    select c.version, h.collection, h.record_id
    from commits c join record_history h on h.org = c.org and c.tx in (h.tx, h.superseded_tx)
    where c.org = $1 and c.version > $2 and c.version <= $3
) t
group by t.collection, t.record_id
on conflict (org, kind, record_id) do update set last_version = excluded.last_version
"""  # noqa: S608 - numbers are ours

# No commit has changed anything, so these weeks wait behind the newest version that is indexed. A
# round that began before midnight may have saved a little after it.
_ENQUEUE_ENDED_WEEKS: Final = f"""/* enqueue_ended_weeks */
insert into outbox (org, {", ".join(KEY)}, week, first_version, last_version)
select $1, {_listed("d")}, d.week_start, p.version + 1, p.version
from documents d join index_positions p on p.org = d.org
where d.org = $1 and d.week_start + 7 <= $2
  and d.update_time at time zone 'UTC' < d.week_start + 7 + interval '5 minutes'
on conflict do nothing
"""  # noqa: S608 - column names are ours

_TAKE_OLDEST: Final = f"""/* take_oldest */
select {", ".join(KEY)}, week, last_version from outbox
where org = $1 order by first_version, {", ".join(KEY)}, week limit $2
"""  # noqa: S608 - column names are ours

# By the last version: what a small commit changed again counts as its own.
_TAKE_SMALLEST: Final = f"""/* take_smallest */
with commits_left as (
    select last_version, count(*) as size from outbox where org = $1 group by last_version
    order by size, last_version desc limit $2
)
select {_listed("b")}, b.week, b.last_version
from outbox b join commits_left c using (last_version)
where b.org = $1 order by c.size, b.last_version desc, {_listed("b")}, b.week limit $2
"""  # noqa: S608 - column names are ours

_TAKE_RECORDS: Final = """/* take_records */
with commits_left as (
    select last_version, count(*) as size from record_outbox where org = $1 group by last_version
    order by size, last_version desc limit $2
),
smallest as (
    select b.kind, b.record_id, b.last_version
    from record_outbox b join commits_left c using (last_version)
    where b.org = $1 order by c.size, b.last_version desc, b.kind, b.record_id limit $2 / 2
),
oldest as (
    select kind, record_id, last_version from record_outbox
    where org = $1 order by first_version, kind, record_id limit $2
)
select kind, record_id, last_version from (
    select *, 0 as part from smallest union all select *, 1 from oldest
) taken
group by kind, record_id, last_version order by min(part), kind, record_id limit $2
"""

_TAKE_OUT_RECORDS: Final = """/* take_out_records */
delete from record_outbox b
using unnest($2::smallint[], $3::text[], $4::bigint[]) as w (kind, record_id, last_version)
where b.org = $1 and b.kind = w.kind and b.record_id = w.record_id
  and b.last_version = w.last_version
"""

_WANTED: Final = f"""/* wanted */
create temp table wanted on commit drop as select {", ".join(KEY)}, week from outbox with no data
"""  # noqa: S608 - column names are ours

_BASED: Final = f"""/* based */
create temp table based on commit drop as
select {_listed("e")}, min({basis_order("e")}) as basis
from (select distinct {", ".join(KEY)} from wanted) w
join entries e on e.org = $1 and {same_object("e", "w")}
where e.breakdown_key = ''
group by {_listed("e")}
"""  # noqa: S608 - column names are ours

_PROFILES: Final = f"""/* profiles */
with days as ({_PROFILE_DAYS})
select {_listed("e")}, {_NEWEST_NAMES}, {_CURRENCY}, {_SUMS}, min(e.date) as first_date,
       max(e.date) as last_date, count(distinct e.date) as days_with_data,
       min(e.quality_score) as quality_score
from days e group by {_listed("e")}
"""  # noqa: S608 - column names are ours

_ACTIVITY: Final = (
    "coalesce(sum(e.spend_micros), sum(e.revenue_micros), sum(e.delivered), sum(e.impressions),"
    " sum(e.value_micros), 0)::bigint as activity"
)

_MONTHS: Final = f"""/* months */
with days as ({_PROFILE_DAYS})
select {_listed("e")}, extract(month from e.date)::int as month, {_ACTIVITY}
from days e group by {_listed("e")}, 10
"""  # noqa: S608 - column names are ours

# Weeks are counted back from an object's last day, so that none is unfinished.
_MOVEMENT: Final = f"""/* movement */
with days as ({_PROFILE_DAYS}),
dated as (select e.*, max(e.date) over (partition by {_listed("e")}) as last_date from days e),
weekly as (
    select {_listed("e")}, (e.last_date - e.date) / 7 as weeks_ago, {_ACTIVITY}
    from dated e where e.date > e.last_date - {7 * _WEEKS_OF_VARIATION}
    group by {_listed("e")}, 10
)
select {_listed("e")},
       sum(e.activity) filter (where e.weeks_ago < 4)::float8 as recent_activity,
       sum(e.activity) filter (where e.weeks_ago between 4 and 7)::float8 as prior_activity,
       (stddev_samp(e.activity) / nullif(avg(e.activity), 0))::float8 as weekly_variation
from weekly e group by {_listed("e")}
"""  # noqa: S608 - column names are ours

# A week has a basis of its own, so that its digest follows from its own days and those of the week
# before alone.
_WEEKS: Final = f"""/* weeks */
with affected as (
    select {", ".join(KEY)}, week from wanted
    union
    select {", ".join(KEY)}, week - 7 from wanted
),
rows as (
    select e.*, w.week, {basis_order("e")} as basis,
           min({basis_order("e")}) over (partition by {_listed("e")}, w.week) as chosen
    from affected w join entries e on e.org = $1 and {same_object("e", "w")}
         and e.date between w.week and w.week + 6
    where e.breakdown_key = ''
),
days as (
    select distinct on ({_listed("e")}, e.date) e.*
    from rows e where e.basis = e.chosen
    order by {_listed("e")}, e.date, e.attribution_key
)
select {_listed("e")}, e.week, {_NEWEST_NAMES}, {_CURRENCY},
       {_SUMS}, min(e.quality_score) as quality_score, min(e.date_basis) as date_basis
from days e group by {_listed("e")}, 10
"""  # noqa: S608 - column names are ours

_TAKE_OUT: Final = f"""/* take_out */
delete from outbox b using unnest($2::text[], $3::smallint[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::text[], $10::text[], $11::date[], $12::bigint[])
    as w ({", ".join(KEY)}, week, last_version)
where b.org = $1 and {same_object("b", "w")} and b.week = w.week
  and b.last_version = w.last_version
"""  # noqa: S608 - column names are ours

# What is added up is of one basis and one attribution, and so equals a query that names both. Of
# attributions the one with most of the days, lest a change of the setting hides them.
_OBJECT_METRICS: Final = f"""/* object_metrics */
with wanted as (
    select row_number() over () as place, {", ".join(KEY)}, start_date, end_date
    from unnest($2::text[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::text[], $11::date[], $12::date[])
         as t ({", ".join(KEY)}, start_date, end_date)
),
rows as materialized (
    select w.place, {basis_order("e")} as basis, e.*
    from wanted w join entries e on e.org = $1 and {same_object("e", "w")}
         and e.date between w.start_date and w.end_date
    where e.breakdown_key = ''
),
chosen as (
    select distinct on (place) place, basis, date_basis, attribution_key
    from rows group by place, basis, date_basis, attribution_key
    order by place, basis, count(*) desc, attribution_key
)
select e.place, e.date_basis, e.attribution_key, {_CURRENCY}, {_SUMS}, count(*) as entry_count,
       (array_agg(e.date order by e.date desc))[1:{_ENTRIES_PER_OBJECT}] as entry_dates,
       (array_agg(e.entry_key order by e.date desc))[1:{_ENTRIES_PER_OBJECT}] as entry_keys
from rows e join chosen using (place, basis, attribution_key)
group by e.place, e.date_basis, e.attribution_key
"""  # noqa: S608 - column names are ours


async def _take_leader_lock(connection: asyncpg.Connection) -> None:
    try:
        while not await connection.fetchval(  # noqa: ASYNC110 - nobody tells us
            "/* leader_lock */ select pg_try_advisory_lock(hashtextextended($1, 0))", _LEADER_LOCK
        ):
            await asyncio.sleep(_LEADER_POLL_SECONDS)
    except asyncpg.InterfaceError as error:  # lost while it was idle
        raise StoreUnavailableError(postgres.STORE) from error


class PostgresDocumentStore:
    """Documents in Postgres; see `liftos_memory.document_ports.DocumentStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def lead(self) -> AsyncIterator[asyncio.Event]:
        """Hold the lock of the index writer; its connection's end gives it back."""
        lost = asyncio.Event()
        with postgres.translate_errors():
            connection = await self._database.pool.acquire()
        try:
            with postgres.translate_errors():
                await _take_leader_lock(connection)
            connection.add_termination_listener(lambda _: lost.set())
            yield lost
        finally:
            # The lock lives with the session, and a pooled session would keep it. One that was
            # lost has left the pool by itself.
            with suppress(asyncpg.InterfaceError):
                connection.terminate()
            await self._database.pool.release(connection)

    async def pending(self) -> Sequence[PendingOrg]:
        """Return the orgs that are behind."""
        async with postgres.transaction(
            self._database.pool, org=None, read_only=True
        ) as connection:
            return [
                PendingOrg(row["org"], row["last_version"], row["enqueued_version"])
                async for row in _SQL.pending(connection)
            ]

    async def lag(self) -> IndexLag:
        """Return how far the index is behind."""
        async with postgres.transaction(
            self._database.pool, org=None, read_only=True
        ) as connection:
            row = await connection.fetchrow(
                "/* index_lag */ select commits, oldest_seconds from index_lag()"
            )
        return IndexLag(row["commits"], row["oldest_seconds"])

    async def enqueue(self, org: str, *, after_version: int, through_version: int) -> None:
        """Put what changed into the outbox."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await connection.execute(_ENQUEUE, org, after_version, through_version)
            await connection.execute(_ENQUEUE_RECORDS, org, after_version, through_version)
            await _SQL.advance(connection, org=org, version=through_version)

    async def enqueue_ended_weeks(self, org: str, *, today: date) -> None:
        """Put weeks into the outbox that have ended since they were described."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await connection.execute(_ENQUEUE_ENDED_WEEKS, org, today)

    async def take(self, org: str, *, limit: int, records: int) -> Work:
        """Return what has waited longest, and what is left of the smallest commits."""
        async with self._database.read(org) as connection:
            smallest = await connection.fetch(_TAKE_SMALLEST, org, limit // 2)
            # One more than is taken tells whether any is left.
            oldest = await connection.fetch(_TAKE_OLDEST, org, limit + 1)
            taken = await connection.fetch(_TAKE_RECORDS, org, records + 1)
        # Some may be in both, so the oldest are as many as would do alone.
        weeks = {(key_of(row), row["week"]): row["last_version"] for row in (*smallest, *oldest)}
        return Work(
            dict(islice(weeks.items(), limit)),
            {
                (_KINDS[row["kind"] - 1], row["record_id"]): row["last_version"]
                for row in taken[:records]
            },
            leaves_some=len(weeks) > limit or len(taken) > records,
        )

    async def trace_parent(self, org: str) -> str | None:
        """Return the trace of the oldest change that waits."""
        async with self._database.read(org) as connection:
            trace_parent: str | None = await _SQL.origin_of_work(connection, org=org)
        return trace_parent

    async def facts(self, org: str, work: Work, *, today: date) -> Facts:
        """Return what is known of objects and weeks."""
        async with postgres.transaction(
            self._database.pool, org=org, isolation="repeatable read"
        ) as connection:
            await connection.execute(_WANTED)
            with telemetry.postgres_span("COPY", "wanted"):
                await connection.copy_records_to_table(
                    "wanted",
                    schema_name="pg_temp",
                    records=[(*key_values(key), week) for key, week in work.weeks],
                    columns=[*KEY, "week"],
                )
            await connection.execute("/* analyze_wanted */ analyze wanted")
            if len(work.keys) > _FEW_OBJECTS:
                # Before the first statistics of a bulk load, Postgres expects a single entry, and
                # would compare each of them with each object.
                await connection.execute("/* hash_joins */ set local enable_nestloop = off")
            await connection.execute(_BASED, org)
            months: dict[ObjectKey, dict[int, int]] = {}
            for row in await connection.fetch(_MONTHS, org):
                months.setdefault(key_of(row), {})[row["month"]] = row["activity"]
            movements = {key_of(row): row for row in await connection.fetch(_MOVEMENT, org)}
            profiles = await connection.fetch(_PROFILES, org)
            rows = await connection.fetch(_WEEKS, org)
        by_week = {(key_of(row), row["week"]): row for row in rows}
        return Facts(
            profiles=[
                _profile(row, months.get(key_of(row), {}), movements[key_of(row)])
                for row in profiles
            ],
            weeks=[
                _weekly(key, week, row, by_week.get((key, week - _WEEK)), today)
                for key, week in work.weeks
                if (row := by_week.get((key, week))) is not None
            ],
        )

    async def load_vectors(self, model_id: str, text_hashes: Ids[str]) -> Mapping[str, Vectors]:
        """Return the vectors of known texts."""
        async with postgres.transaction(
            self._database.pool, org=None, read_only=True
        ) as connection:
            return {
                row["text_hash"]: np.frombuffer(row["vector"], np.float32)
                async for row in _SQL.load_vectors(
                    connection, model_id=model_id, text_hashes=list(text_hashes)
                )
            }

    async def keep_vectors(self, model_id: str, vectors: Mapping[str, Vectors]) -> None:
        """Keep vectors by the hash of their text."""
        async with postgres.transaction(self._database.pool, org=None) as connection:
            await _SQL.keep_vectors(
                connection,
                [
                    {
                        "model_id": model_id,
                        "text_hash": text_hash,
                        "vector": np.asarray(vector, np.float32).tobytes(),
                    }
                    for text_hash, vector in vectors.items()
                ],
            )

    async def save(
        self,
        org: str,
        work: Work,
        *,
        documents: Sequence[Document],
        objects: Sequence[DescribedObject],
        gone: Ids[str],
        compare_now: bool,
    ) -> None:
        """Store documents and take their work out of the outbox."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            if documents:
                rows = [_document_values(org, document) for document in documents]
                await _SQL.upsert_documents(connection, rows)
            await save_objects(connection, org, objects)
            if gone:
                await _SQL.delete_documents(connection, org=org, document_ids=list(gone))
            if work.weeks:
                columns = zip(
                    *(
                        (*key_values(key), week, version)
                        for (key, week), version in work.weeks.items()
                    ),
                    strict=True,
                )
                await connection.execute(_TAKE_OUT, org, *map(list, columns))
                if compare_now or not await _SQL.waits(connection, org=org):
                    await rank_objects(connection, org)
            if work.records:
                await connection.execute(
                    _TAKE_OUT_RECORDS,
                    org,
                    [_number(kind) for kind, _ in work.records],
                    [record_id for _, record_id in work.records],
                    list(work.records.values()),
                )

    async def indexed_version(self, org: str) -> int:
        """Return how far the index has followed."""
        async with self._database.read(org) as connection:
            return int(await _SQL.indexed_version(connection, org=org))

    async def raise_index_revision(self, org: str) -> None:
        """Make kept answers of searches void."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await _SQL.raise_index_revision(connection, org=org)

    async def fetch(self, org: str, document_ids: Ids[str]) -> Mapping[str, Document]:
        """Return documents by id."""
        async with self._database.read(org) as connection:
            return {
                row["document_id"]: _document(row)
                async for row in _SQL.fetch_documents(
                    connection, org=org, document_ids=list(document_ids)
                )
            }

    async def metrics(
        self, org: str, wanted: Sequence[tuple[ObjectKey, date, date]]
    ) -> Sequence[ObjectMetrics]:
        """Return the sums of objects over days."""
        if not wanted:
            return []
        columns = zip(*(key_values(key) for key, _, _ in wanted), strict=True)
        async with self._database.read(org) as connection:
            rows = await connection.fetch(
                _OBJECT_METRICS,
                org,
                *map(list, columns),
                [start for _, start, _ in wanted],
                [end for _, _, end in wanted],
            )
        found = {row["place"]: row for row in rows}
        return [_metrics(found.get(place)) for place in range(1, len(wanted) + 1)]

    async def all_documents(self, org: str) -> AsyncIterator[Sequence[Document]]:
        """Yield an org's documents in groups."""
        after = ""
        while True:
            async with self._database.read(org) as connection:
                rows = [
                    row
                    async for row in _SQL.page_documents(
                        connection, org=org, after=after, limit=_DOCUMENTS_PER_PAGE
                    )
                ]
            if not rows:
                return
            after = rows[-1]["document_id"]
            yield [_document(row) for row in rows]

    async def orgs_with_documents(self) -> Sequence[str]:
        """Return every org that has documents."""
        async with postgres.transaction(
            self._database.pool, org=None, read_only=True
        ) as connection:
            return [row["org"] async for row in _SQL.orgs_with_documents(connection)]


def _names(row: Record) -> ObjectNames:
    return ObjectNames(**{name: row[name] for name in _NAMES})


def _sums(row: Record) -> dict[str, int | None]:
    return {name: row[name] for name in ADDITIVE_METRICS}


def _profile(
    row: Record, activity_by_month: Mapping[int, int], movement: Record
) -> ObjectProfileFacts:
    return ObjectProfileFacts(
        key=key_of(row),
        names=_names(row),
        channel=row["channel"],
        currency_code=row["currency_code"],
        first_date=row["first_date"],
        last_date=row["last_date"],
        days_with_data=row["days_with_data"],
        sums=_sums(row),
        activity_by_month=activity_by_month,
        quality_score=row["quality_score"],
        recent_activity=movement["recent_activity"],
        prior_activity=movement["prior_activity"],
        weekly_variation=movement["weekly_variation"],
    )


def _weekly(
    key: ObjectKey, week: date, row: Record, prior: Record | None, today: date
) -> WeeklyFacts:
    return WeeklyFacts(
        key=key,
        names=_names(row),
        channel=row["channel"],
        currency_code=row["currency_code"],
        week_start=week,
        sums=_sums(row),
        prior_sums=_sums(prior) if prior and prior["date_basis"] == row["date_basis"] else None,
        is_complete=week + _WEEK <= today,
        quality_score=row["quality_score"],
    )


def _metrics(row: Record | None) -> ObjectMetrics:
    if row is None:
        return ObjectMetrics(0, "", "", dict.fromkeys(ADDITIVE_METRICS), 0, [])
    return ObjectMetrics(
        row["date_basis"],
        row["attribution_key"],
        row["currency_code"],
        _sums(row),
        row["entry_count"],
        list(zip(row["entry_dates"], row["entry_keys"], strict=True)),
    )


def _document_values(org: str, document: Document) -> dict[str, Any]:
    key = document.key
    values = key_values(key) if key else ("", 0, *[""] * (len(KEY) - 2))
    return {
        "org": org,
        "document_id": document.document_id,
        "kind": _KINDS.index(document.kind) + 1,
        **dict(zip(KEY, values, strict=True)),
        "week_start": document.week_start,
        "start_date": document.start_date,
        "end_date": document.end_date,
        "title": document.title,
        "text": document.text,
        "lexical_text": document.lexical_text,
        "content_hash": document.content_hash,
        "quality_score": document.quality_score,
        "scope": document.scope,
        "record": document.record,
    }


def _document(row: Record) -> Document:
    return Document(
        document_id=row["document_id"],
        kind=_KINDS[row["kind"] - 1],
        key=key_of(row) if row["level"] else None,
        week_start=row["week_start"],
        start_date=row["start_date"],
        end_date=row["end_date"],
        title=row["title"],
        text=row["text"],
        lexical_text=row["lexical_text"],
        content_hash=row["content_hash"],
        quality_score=row["quality_score"],
        scope=row["scope"],
        record=row["record"],
    )
