"""Insights in Postgres; see `liftos_memory.insight_ports`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import date
from typing import Any, Final

from asyncpg import Connection, Record

from liftos_kit import postgres
from liftos_kit.core.filters import Filter, to_sql
from liftos_mapping.entry_fields import DATE_BASES, LEVELS
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.insight_quality import insight_quality_statement
from liftos_memory.adapters.postgres.level_mismatches import WITHOUT_LOOPS
from liftos_memory.adapters.postgres.writes import PostgresWrite, begin
from liftos_memory.document_ports import RecordDocuments
from liftos_memory.domain.documents import Document, DocumentKind, ObjectKey, ObjectNames
from liftos_memory.domain.insight_document import insight_document
from liftos_memory.domain.insights import (
    Contributor,
    Evidence,
    Insight,
    InsightDirection,
    InsightKind,
    InsightPattern,
    InsightRating,
    InsightState,
    Subject,
)
from liftos_memory.domain.metrics_query import Granularity
from liftos_memory.domain.quality import decode_issues, encode_issues
from liftos_memory.domain.quality_summary import ScoredEntries
from liftos_memory.insight_ports import (
    InsightWrite,
    KnownSummary,
    StoredInsight,
    WordedInsight,
)
from liftos_memory.ports import WriteContext

_SQL: Final = postgres.load_queries("liftos_memory", "sql/insights.sql")
_DOCUMENT_KIND: Final = tuple(DocumentKind).index(DocumentKind.INSIGHT) + 1
_IDS: Final = tuple(
    field.name for field in fields(ObjectKey) if field.name not in ("platform", "level")
)
_NUMBERS: Final = (
    "observed",
    "expected",
    "expected_low",
    "expected_high",
    "change",
    "change_low",
    "change_high",
    "sample_count",
    "percentile",
    "p_value",
    "q_value",
    "p_limit",
)
_LEASE_SECONDS: Final = 900.0
_RETRY_SECONDS: Final = 300.0


def _word(column: str, words: Sequence[str], *, first: int = 1) -> str:
    listed = ", ".join(f"'{word}'" for word in words)
    return f"(array[{listed}])[{column} + {1 - first}]"


_FILTER_COLUMNS: Final = {
    "kind": _word("kind", [it.name for it in InsightKind]),
    "pattern": _word("pattern", [it.name for it in InsightPattern]),
    "direction": _word("direction", [it.name for it in InsightDirection]),
    "state": _word("state", [it.name for it in InsightState]),
    "rating": _word("rating", [it.name for it in InsightRating], first=0),
    "level": _word("level", LEVELS),
    "date_basis": _word("date_basis", DATE_BASES),
    "whole": "whole_id",
    **{
        name: name
        for name in (
            "metric",
            "platform",
            "account_id",
            "campaign_id",
            "ad_group_id",
            "ad_id",
            "flow_id",
            "message_id",
            "channel",
            "attribution_key",
            "currency_code",
            "severity",
            "quality_score",
            "start_date",
            "end_date",
        )
    },
}


class PostgresInsightStore:
    """Insights; see `liftos_memory.insight_ports.InsightStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def write(self, org: str, context: WriteContext) -> AsyncIterator[InsightWrite]:
        """Begin a write."""
        async with begin(self._database, org, context) as write:
            yield _PostgresInsightWrite(write)

    async def get(self, org: str, insight_id: str) -> StoredInsight | None:
        """Return an insight."""
        async with self._database.read(org) as connection:
            row = await _SQL.get_insight(connection, org=org, insight_id=insight_id)
        return None if row is None else _stored(row)

    async def fetch(self, org: str, insight_ids: Sequence[str]) -> Sequence[StoredInsight]:
        """Return insights in the order asked."""
        async with self._database.read(org) as connection:
            return await fetch_insights(connection, org, insight_ids)

    async def list_page(
        self, org: str, *, where: Filter | None, after: tuple[float, str] | None, limit: int
    ) -> Sequence[StoredInsight]:
        """Return insights by falling severity."""
        values: list[Any] = [org, limit]
        condition = "true"
        if after is not None:
            values += after
            condition = "(-severity, insight_id) > (-$3::double precision, $4::text)"
        if where is not None:
            sql, own = to_sql(where, columns=_FILTER_COLUMNS, first_parameter=len(values) + 1)
            condition += f" and ({sql})"
            values += own
        statement = f"""/* list_insights */
select * from insights where org = $1 and {condition}
order by severity desc, insight_id limit $2"""  # noqa: S608 - names are ours
        async with self._database.read(org) as connection:
            return [_stored(row) for row in await connection.fetch(statement, *values)]

    async def newest_day(self, org: str, *, today: date) -> date | None:
        """Return the newest day before today that has entries."""
        async with self._database.read(org) as connection:
            day: date | None = await _SQL.newest_day(connection, org=org, today=today)
        return day

    async def names(
        self, org: str, objects: Sequence[ObjectKey], *, days: tuple[date, date]
    ) -> Sequence[ObjectNames]:
        """Return the newest names of objects."""
        async with self._database.read(org) as connection:
            return [
                ObjectNames(**{name: value or "" for name, value in row.items()})
                async for row in _SQL.object_names(
                    connection,
                    org=org,
                    start_date=days[0],
                    end_date=days[1],
                    platforms=[it.platform for it in objects],
                    levels=[LEVELS.index(it.level) + 1 for it in objects],
                    **{f"{name}s": [getattr(it, name) for it in objects] for name in _IDS},
                )
            ]

    async def qualities(
        self, org: str, insights: Sequence[Insight], *, where: Filter
    ) -> Sequence[Sequence[ScoredEntries]]:
        """Return what was found about the entries behind insights."""
        found: list[list[ScoredEntries]] = [[] for _ in insights]
        if insights:
            statement = insight_quality_statement(org, insights, where)
            async with self._database.read(org) as connection:
                await connection.execute(WITHOUT_LOOPS.format("off"))
                for row in await connection.fetch(statement.sql, *statement.values):
                    found[row["place"] - 1].append(
                        ScoredEntries(row["issues"], row["mismatched"], row["entry_count"])
                    )
        return found

    async def known_summaries(
        self, org: str, insight_ids: Sequence[str]
    ) -> Mapping[str, KnownSummary]:
        """Return the words that insights have."""
        async with self._database.read(org) as connection:
            return {
                row["insight_id"]: KnownSummary(row["template"], row["summary"])
                async for row in _SQL.known_summaries(
                    connection, org=org, insight_ids=list(insight_ids)
                )
            }


class _PostgresInsightWrite(PostgresWrite):
    """One write; see `liftos_memory.insight_ports.InsightWrite`."""

    async def active(
        self, kinds: Sequence[InsightKind], levels: Sequence[str]
    ) -> Sequence[Insight]:
        """Return the insights that hold."""
        return [
            _insight(row)
            async for row in _SQL.active_insights(
                self._connection,
                org=self._write.org,
                kinds=[int(kind) for kind in kinds],
                levels=[LEVELS.index(level) + 1 for level in levels],
            )
        ]

    async def store(self, insights: Sequence[WordedInsight], resolved: Sequence[str]) -> None:
        """Store insights that hold, resolve others, and have both told."""
        org, connection = self._write.org, self._connection
        anew = [
            row["insight_id"]
            async for row in _SQL.upsert_insights(
                connection, org=org, insights=[_columns(it) for it in insights]
            )
        ]
        await _SQL.resolve_insights(connection, org=org, insight_ids=list(resolved))
        freed = [
            row["insight_id"]
            async for row in _SQL.free_insights(connection, org=org, insight_ids=list(resolved))
        ]
        messages: dict[str, tuple[list[str], list[str]]] = {}
        async for row in _SQL.tell_of_found(connection, org=org, insight_ids=anew + freed):
            messages.setdefault(row["insight_route"], ([], []))[0].append(row["insight_id"])
        async for row in _SQL.tell_of_resolved(connection, org=org, insight_ids=list(resolved)):
            messages.setdefault(row["insight_route"], ([], []))[1].append(row["insight_id"])
        for route, (found_ids, resolved_ids) in messages.items():
            await _SQL.write_message(
                connection,
                org=org,
                insight_route=route,
                found_ids=found_ids,
                resolved_ids=resolved_ids,
            )
        changed = [it.insight.insight_id for it in insights] + list(resolved)
        await self._queue_documents(changed)

    async def fetch(self, insight_ids: Sequence[str]) -> Sequence[StoredInsight]:
        """Return insights as this write leaves them."""
        return await fetch_insights(self._connection, self._write.org, insight_ids)

    async def rate(
        self, insight_id: str, rating: InsightRating, *, comment: str, subject: str
    ) -> StoredInsight | None:
        """Keep a rating."""
        row = await _SQL.rate_insight(
            self._connection,
            org=self._write.org,
            insight_id=insight_id,
            rating=rating,
            comment=comment,
            subject=subject,
        )
        return None if row is None else _stored(row)

    async def _queue_documents(self, insight_ids: Sequence[str]) -> None:
        version = await self.finish()
        await _SQL.queue_documents(
            self._connection,
            org=self._write.org,
            kind=_DOCUMENT_KIND,
            insight_ids=list(insight_ids),
            version=version,
        )


class InsightDocuments:
    """Documents of insights; see `liftos_memory.document_ports.RecordDocuments`."""

    def __init__(self, store: PostgresInsightStore) -> None:
        self._store = store

    async def documents(self, org: str, record_ids: Sequence[str]) -> Sequence[Document]:
        """Return the documents of insights that hold; those that do not are found no more."""
        return [
            insight_document(it.insight)
            for it in await self._store.fetch(org, record_ids)
            if it.insight.state is InsightState.ACTIVE
        ]


def documents_of_insights(database: Database) -> Mapping[DocumentKind, RecordDocuments]:
    """Return what writes the documents of insights."""
    return {DocumentKind.INSIGHT: InsightDocuments(PostgresInsightStore(database))}


class PostgresInsightSchedule:
    """Orgs to look at; see `liftos_memory.insight_ports.InsightSchedule`.

    Args:
        database: Where they are.
        quiet_seconds: How long nothing is written before a look.
        wait_seconds: How long a write waits for quiet, at most.
        every_seconds: How long a look lasts where nothing is written.
    """

    def __init__(
        self,
        database: Database,
        *,
        quiet_seconds: float,
        wait_seconds: float,
        every_seconds: float,
    ) -> None:
        self._database = database
        self._seconds = {
            "quiet_seconds": quiet_seconds,
            "wait_seconds": wait_seconds,
            "every_seconds": every_seconds,
        }

    async def awaiting(self) -> Sequence[str]:
        """Return orgs whose time has come."""
        with postgres.translate_errors():
            async with self._database.pool.acquire() as connection:
                return [row["org"] async for row in _SQL.orgs_awaiting(connection, **self._seconds)]

    async def take(self, org: str) -> bool:
        """Take an org."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            row = await _SQL.take_org(connection, org=org, lease_seconds=_LEASE_SECONDS)
        return row is not None

    async def done(self, org: str, version: int) -> None:
        """Record that an org was looked at."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await _SQL.org_done(connection, org=org, version=version)

    async def failed(self, org: str) -> None:
        """Give an org back."""
        async with postgres.transaction(self._database.pool, org=org) as connection:
            await _SQL.org_failed(connection, org=org, retry_seconds=_RETRY_SECONDS)


async def fetch_insights(
    connection: Connection, org: str, insight_ids: Sequence[str]
) -> list[StoredInsight]:
    """Return insights in the order asked; those that are not there are left out."""
    found = {
        row["insight_id"]: _stored(row)
        async for row in _SQL.insights_by_id(connection, org=org, insight_ids=list(insight_ids))
    }
    return [found[insight_id] for insight_id in insight_ids if insight_id in found]


def _columns(worded: WordedInsight) -> dict[str, object]:
    insight = worded.insight
    subject, evidence = insight.subject, insight.evidence
    return {
        "insight_id": insight.insight_id,
        "kind": insight.kind,
        "pattern": insight.pattern,
        "direction": insight.direction,
        "metric": insight.metric,
        "platform": subject.key.platform,
        "level": LEVELS.index(subject.key.level) + 1,
        **{name: getattr(subject.key, name) for name in _IDS},
        "channel": subject.channel,
        "attribution_key": subject.attribution_key,
        "date_basis": subject.date_basis,
        "currency_code": subject.currency_code,
        "start_date": insight.start_date.isoformat(),
        "end_date": insight.end_date.isoformat(),
        "severity": insight.severity,
        "quality_score": insight.quality_score,
        "whole_id": insight.whole_id,
        "details": {
            **{name: getattr(insight, name) for name in _NUMBERS},
            "context": list(insight.context),
            "quality_issues": encode_issues(insight.quality_issues),
            "names": _set_fields(insight.names),
            **(_whole(insight) if subject.is_whole else {}),
            "evidence": {
                "level": evidence.level,
                "filter": evidence.filter,
                "start_date": evidence.start_date.isoformat(),
                "end_date": evidence.end_date.isoformat(),
                "granularity": evidence.granularity.value,
                "group_by": list(evidence.group_by),
                "entry_count": evidence.entry_count,
                "version": evidence.version,
            },
        },
        "template": worded.template,
        "summary": insight.summary,
    }


def _whole(insight: Insight) -> dict[str, object]:
    return {
        "whole": {
            "object_count": insight.object_count,
            "moved_count": insight.moved_count,
            "contributors": [
                {
                    "key": _set_fields(it.key),
                    "names": _set_fields(it.names),
                    "before": it.before,
                    "after": it.after,
                    "share": it.share,
                    "insight_id": it.insight_id,
                }
                for it in insight.contributors
            ],
        }
    }


def _set_fields(record: ObjectKey | ObjectNames) -> dict[str, str]:
    return {field.name: value for field in fields(record) if (value := getattr(record, field.name))}


def _stored(row: Record) -> StoredInsight:
    return StoredInsight(
        insight=_insight(row),
        rating=InsightRating(row["rating"]),
        rating_comment=row["rating_comment"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )


def _insight(row: Record) -> Insight:
    details = row["details"]
    evidence = details["evidence"]
    # Insights from before there were wholes, and those of objects, have none.
    whole = details.get("whole")
    return Insight(
        insight_id=row["insight_id"],
        kind=InsightKind(row["kind"]),
        pattern=InsightPattern(row["pattern"]),
        direction=InsightDirection(row["direction"]),
        state=InsightState(row["state"]),
        metric=row["metric"],
        subject=Subject(
            key=ObjectKey(
                platform=row["platform"],
                level=LEVELS[row["level"] - 1],
                **{name: row[name] for name in _IDS},
            ),
            channel=row["channel"],
            attribution_key=row["attribution_key"],
            date_basis=row["date_basis"],
            currency_code=row["currency_code"],
            is_whole=whole is not None,
        ),
        names=ObjectNames(**details["names"]),
        start_date=row["start_date"],
        end_date=row["end_date"],
        **{name: details[name] for name in _NUMBERS},
        severity=row["severity"],
        quality_score=row["quality_score"],
        context=tuple(details["context"]),
        # Insights from before issues were listed have none.
        quality_issues=decode_issues(details.get("quality_issues")),
        evidence=Evidence(
            level=evidence["level"],
            filter=evidence["filter"],
            start_date=date.fromisoformat(evidence["start_date"]),
            end_date=date.fromisoformat(evidence["end_date"]),
            granularity=Granularity(evidence["granularity"]),
            group_by=tuple(evidence["group_by"]),
            entry_count=evidence["entry_count"],
            version=evidence["version"],
        ),
        summary=row["summary"],
        whole_id=row["whole_id"],
        object_count=whole["object_count"] if whole else 0,
        moved_count=whole["moved_count"] if whole else 0,
        contributors=tuple(map(_contributor, whole["contributors"])) if whole else (),
    )


def _contributor(stored: Mapping[str, Any]) -> Contributor:
    return Contributor(
        key=ObjectKey(**{"account_id": "", **stored["key"]}),
        names=ObjectNames(**stored["names"]),
        before=stored["before"],
        after=stored["after"],
        share=stored["share"],
        insight_id=stored["insight_id"],
    )
