"""Objects in Postgres: what they are like among their like, and where relations lead."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import asyncpg
import numpy as np

from liftos_kit.core.filters import to_sql
from liftos_mapping.entry_fields import LEVELS
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.object_keys import KEY, key_values, same_object
from liftos_memory.domain.concepts import DIMENSIONS, Concept, Targets, percentiles
from liftos_memory.domain.documents import DocumentKind, ObjectKey, document_id
from liftos_memory.domain.fusion import LegHit
from liftos_memory.domain.knowledge import (
    MAXIMUM_BEGINNINGS,
    MAXIMUM_RELATED,
    DescribedObject,
    Path,
    Relation,
    Step,
)
from liftos_memory.object_ports import Related
from liftos_memory.search_ports import SearchScope

_DIGITS: Final = 4
"""Of percentiles: finer differences would have every object written anew with each write."""
_KINDS: Final = tuple(DocumentKind)
_KINDS_OF_OBJECTS: Final = frozenset(
    {DocumentKind.PROFILE, DocumentKind.WEEKLY_DIGEST, DocumentKind.INSIGHT}
)

_COLUMNS: Final = (
    *("org", "object_id", *KEY, "title", "name_key", "name_terms", "name_words"),
    *("channel", "parent_id", "grandparent_id", "measures", "bases"),
)

_SAVE: Final = f"""/* save_objects */
insert into objects ({", ".join(_COLUMNS)})
values ({", ".join(f"${place}" for place in range(1, len(_COLUMNS) + 1))})
on conflict (org, object_id) do update
set title = excluded.title, name_key = excluded.name_key, name_terms = excluded.name_terms,
    name_words = excluded.name_words, channel = excluded.channel, measures = excluded.measures,
    bases = excluded.bases
"""  # noqa: S608 - column names are ours

_RANK: Final = """/* rank_objects */
update objects o set percentiles = r.percentiles::real[]
from unnest($2::text[], $3::text[]) as r (object_id, percentiles)
where o.org = $1 and o.object_id = r.object_id
"""

# A full join, since that alone is never done by comparing each word with each other.
_COUNT_NAMES: Final = """/* count_names */
with counted as (
    select word collate "C" as word, count(*) as object_count
    from objects o cross join lateral unnest(o.name_words) as w (word)
    where o.org = $1 group by 1
),
changed as materialized (
    select word, c.object_count
    from counted c full join (select * from name_words where org = $1) n using (word)
    where c.object_count is distinct from n.object_count
),
gone as (
    delete from name_words
    where org = $1 and word = any(array(select word from changed where object_count is null))
)
insert into name_words as n (org, word, object_count)
select $1, word, object_count from changed where object_count is not null
on conflict (org, word) do update set object_count = excluded.object_count
"""

# One slip leaves either the first half of a word as it is, or what follows the middle letter. With
# an offset each word is looked up by itself, where a join would read all words of the org.
_SIMILAR_NAMES: Final = """/* similar_names */
select asked.word as asked, n.word, n.object_count
from (
    select word, left(word, 1) as initial, length(word) as letters
    from unnest($2::text[]) as word
) asked
cross join lateral (
    select n.word, n.object_count from name_words n
    where n.org = $1 and n.initial = asked.initial
      and n.letters between asked.letters - 1 and asked.letters + 1
      and (left(n.word, asked.letters / 2) = left(asked.word, asked.letters / 2)
           or right(n.word, asked.letters - asked.letters / 2 - 1)
              = right(asked.word, asked.letters - asked.letters / 2 - 1))
    offset 0
) n
"""

# The beginnings: objects with the most of the query's words, words weighed by their rarity. From
# each of them and from what the first step reached, a step leads along the four relations. Objects
# that are reached without entries of their own, such as an account, lead on to what is below them.
_STEP: Final = """
    select f.parent_id as object_id, f.nearness / 2 as nearness, f.object_id as via,
           'above' as relation
    from {source} f where f.parent_id <> ''
    union all
    select o.object_id, f.nearness / 2, f.object_id, 'below'
    from {source} f join objects o on o.org = $1 and o.parent_id = f.object_id
    union all
    select o.object_id, f.nearness / 2, f.object_id, 'called'
    from (select distinct on (name_key) * from {source} where name_key <> ''
          order by name_key, nearness desc, object_id) f
    join objects o on o.org = $1 and o.name_key = f.name_key and o.object_id <> f.object_id
    union all
    select o.object_id, f.nearness / 2, f.object_id, 'channel'
    from (select distinct on (channel, level) * from {source} where channel <> ''
          order by channel, level, nearness desc, object_id) f
    join objects o on o.org = $1 and o.channel = f.channel and o.level = f.level
                  and o.object_id <> f.object_id
"""
_KNOWLEDGE: Final = f"""
matches as (
    select o.object_id, q.term
    from objects o cross join lateral unnest(o.name_terms) t (term)
    join unnest($2::text[]) q (term) on q.term = t.term
    where o.org = $1
),
words as (
    select term, ln(1 + ((select count(*) from objects where org = $1) - count(*) + 0.5)
                        / (count(*) + 0.5)) as weight
    from matches group by term
),
scored as materialized (
    select m.object_id, sum(w.weight) / (select sum(weight) from words) as nearness
    from matches m join words w on w.term = m.term group by m.object_id
),
beginnings as materialized (
    select o.object_id, o.title, o.level, o.name_key, o.channel, o.parent_id, o.grandparent_id,
           s.nearness
    from scored s join objects o on o.org = $1 and o.object_id = s.object_id
    where s.nearness >= (select max(nearness) / 2 from scored)
    order by s.nearness desc, s.object_id limit {MAXIMUM_BEGINNINGS}
),
first_steps as materialized (
    select * from (
        select distinct on (object_id) * from ({_STEP.format(source="beginnings")}) step
        order by object_id, nearness desc, relation, via
    ) each_once
    order by nearness desc, object_id limit {MAXIMUM_RELATED} + 1
),
reached as materialized (
    select s.object_id, s.nearness, s.via, s.relation, coalesce(o.title, '') as title,
           coalesce(o.level, 0) as level, coalesce(o.name_key, '') as name_key,
           coalesce(o.channel, '') as channel, coalesce(o.parent_id, '') as parent_id
    from first_steps s left join objects o on o.org = $1 and o.object_id = s.object_id
),
second_steps as materialized (
    select * from (
        select distinct on (object_id) * from (
            {_STEP.format(source="reached")}
            union all
            -- What is above something without entries is known from below.
            select b.grandparent_id, b.nearness / 4, b.parent_id, 'above'
            from beginnings b where b.grandparent_id <> ''
        ) step
        order by object_id, nearness desc, relation, via
    ) each_once
    order by nearness desc, object_id limit {MAXIMUM_RELATED} + 1
),
related as materialized (
    select distinct on (object_id) * from (
        select object_id, nearness, 0 as steps, object_id as beginning, '' as first_relation,
               '' as between_title, '' as second_relation
        from beginnings
        union all
        select object_id, nearness, 1, via, relation, '', '' from reached
        union all
        select s.object_id, s.nearness, 2, r.via, r.relation, r.title, s.relation
        from second_steps s join reached r on r.object_id = s.via
    ) ways
    order by object_id, nearness desc, steps, beginning, between_title
)
"""  # noqa: S608 - constants are ours


async def save_objects(
    connection: asyncpg.Connection, org: str, objects: Sequence[DescribedObject]
) -> None:
    """Store objects; their percentiles stay as they are until `rank_objects`."""
    await connection.executemany(_SAVE, [_values(org, each) for each in objects])


async def rank_objects(connection: asyncpg.Connection, org: str) -> None:
    """Compare all objects of an org with each other, and store where they stand.

    The words of their names are counted anew as well.
    """
    await connection.execute(_COUNT_NAMES, org)
    rows = await connection.fetch(
        "/* objects_to_rank */ select object_id, level, bases, measures, percentiles from objects"
        " where org = $1",
        org,
    )
    if rows:
        changed = await asyncio.to_thread(_changed_places, rows)
        await connection.execute(_RANK, org, list(changed.keys()), list(changed.values()))


def _changed_places(rows: Sequence[asyncpg.Record]) -> Mapping[str, str]:
    """Return percentiles that are not what is stored, as literals of arrays, by object."""
    places = np.round(
        percentiles(
            [row["level"] for row in rows],
            [row["bases"] for row in rows],
            np.array([row["measures"] for row in rows], dtype=np.float64),
        ),
        _DIGITS,
    )
    stored = np.array(
        [row["percentiles"] or [None] * len(DIMENSIONS) for row in rows], dtype=np.float64
    )
    is_same = np.isclose(places, stored, rtol=0, atol=10.0**-_DIGITS / 2, equal_nan=True)
    return {
        rows[place]["object_id"]: "{"
        + ",".join("null" if np.isnan(each) else f"{each:.{_DIGITS}f}" for each in places[place])
        + "}"
        for place in np.flatnonzero(~is_same.all(axis=1)).tolist()
    }


class PostgresObjectStore:
    """Objects in Postgres; see `liftos_memory.object_ports.ObjectStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def concepts(
        self, org: str, object_ids: Collection[str]
    ) -> Mapping[str, Sequence[Concept]]:
        """Return where objects stand."""
        if not object_ids:
            return {}
        async with self._database.read(org) as connection:
            rows = await connection.fetch(
                "/* concepts */ select object_id, percentiles, bases from objects"
                " where org = $1 and object_id = any($2) and percentiles is not null",
                org,
                list(object_ids),
            )
        return {
            row["object_id"]: [
                Concept(dimension, float(place), basis)
                for dimension, place, basis in zip(
                    DIMENSIONS, row["percentiles"], row["bases"], strict=True
                )
                if place is not None
            ]
            for row in rows
        }

    async def is_known(self, org: str, object_id: str) -> bool:
        """Tell whether an object has entries."""
        async with self._database.read(org) as connection:
            return bool(
                await connection.fetchval(
                    "/* object_is_known */ select exists"
                    " (select from objects where org = $1 and object_id = $2)",
                    org,
                    object_id,
                )
            )

    async def similar_names(
        self, org: str, words: Collection[str]
    ) -> Mapping[str, Mapping[str, int]]:
        """Return words of names that may be meant."""
        found: dict[str, dict[str, int]] = {}
        if words:
            async with self._database.read(org) as connection:
                rows = await connection.fetch(_SIMILAR_NAMES, org, list(words))
            for row in rows:
                found.setdefault(row["asked"], {})[row["word"]] = row["object_count"]
        return found

    async def search_conceptual(
        self,
        scope: SearchScope,
        targets: Targets,
        limit: int,
        *,
        also: Collection[str],
        like: ObjectKey | None,
    ) -> Sequence[LegHit]:
        """Return documents of the objects closest to a wish."""
        values: list[Any] = [scope.org]
        places = {
            f"o.percentiles[{DIMENSIONS.index(dimension) + 1}]": _parameter(
                values, target, "float8"
            )
            for dimension, target in targets.items()
        }
        distance = " + ".join(
            f"power(coalesce(abs({place}::float8 - {target}), 1), 2)"
            for place, target in places.items()
        )
        is_other = (
            "true"
            if like is None
            else f"o.level = {_parameter(values, LEVELS.index(like.level) + 1, 'smallint')}"
            " and o.object_id <> "
            + _parameter(values, document_id(DocumentKind.PROFILE, like), "text")
        )
        objects = f"""
            related as materialized (
                select o.object_id, 1 - sqrt(({distance}) / {len(targets)}) as nearness
                from objects o
                where o.org = $1 and {is_other} and coalesce({", ".join(places)}) is not null
            )
        """  # noqa: S608 - column names are ours, values are parameters
        statement = _documents_of_related(
            objects, scope, columns="", limit=limit, also=also, values=values
        )
        async with self._database.read(scope.org) as connection:
            rows = await connection.fetch(f"/* search_conceptual */ {statement}", *values)
        return [
            LegHit(row["document_id"], float(row["nearness"]))
            for row in rows
            if row["document_id"] is not None
        ]

    async def search_knowledge(
        self, scope: SearchScope, terms: Collection[str], limit: int, *, also: Collection[str]
    ) -> Related:
        """Return documents of objects that are named, and of those related to them."""
        values: list[Any] = [scope.org, sorted(terms)]
        columns = f"""
            , r.steps, b.title as beginning_title, r.first_relation, r.between_title,
            r.second_relation,
            array(select title from beginnings order by nearness desc, object_id) as beginnings,
            greatest((select count(*) from first_steps), (select count(*) from second_steps))
            > {MAXIMUM_RELATED} as is_cut
        """  # noqa: S608 - constants are ours
        statement = _documents_of_related(
            _KNOWLEDGE, scope, columns=columns, limit=limit, also=also, values=values
        )
        async with self._database.read(scope.org) as connection:
            rows = await connection.fetch(f"/* search_knowledge */ {statement}", *values)
        found = [row for row in rows if row["document_id"] is not None]
        return Related(
            hits=[LegHit(row["document_id"], float(row["nearness"])) for row in found],
            paths={row["document_id"]: _path(row) for row in found},
            beginnings=rows[0]["beginnings"],
            is_cut=rows[0]["is_cut"],
        )


def _documents_of_related(
    objects: str,
    scope: SearchScope,
    *,
    columns: str,
    limit: int,
    also: Collection[str],
    values: list[Any],
) -> str:
    """Return a statement that gives the best document in scope of each related object.

    Its last row has no document where there is none at all.

    Args:
        objects: Common table expressions that end with `related`, of object_id and nearness; the
            first value of the statement is the org.
        scope: What may be seen.
        columns: What else to give of `related` as r, with the beginning's object as b.
        limit: How many objects at most.
        also: Documents that are given beside them.
        values: Values of the statement so far; more are added.
    """
    org = "$1"
    object_condition = _of_objects(scope, values)
    condition = _of_documents(scope, values)
    found = _parameter(values, list(also), "text[]")
    beginning = (
        f"left join objects b on b.org = {org} and b.object_id = r.beginning" if columns else ""
    )
    return f"""
        with {objects},
        ordered as (
            select r.*, {", ".join(f"o.{column}" for column in KEY if column != "level")},
                   o.level as object_level
            from related r join objects o on o.org = {org} and o.object_id = r.object_id
            where {object_condition}
            order by r.nearness desc, r.object_id
        ),
        best as (
            select d.document_id, r.*
            from ordered r cross join lateral (
                select d.document_id from documents d
                where d.org = {org} and {_same_key("d", "r")} and {condition}
                order by d.kind, d.end_date desc, d.document_id limit 1
            ) d
            order by r.nearness desc, r.object_id
            limit {_parameter(values, limit, "int")}
        ),
        beside as (
            select d.document_id, r.*
            from documents d join ordered r on {_same_key("d", "r")}
            where d.org = {org} and d.document_id = any({found})
        )
        select r.document_id, r.nearness {columns}
        from (values (1)) as one (row)
        left join (select * from best union select * from beside) r on true
        {beginning}
    """  # noqa: S608 - column names are ours, values are parameters


def _same_key(documents: str, ordered: str) -> str:
    return same_object(documents, ordered).replace(f"{ordered}.level", f"{ordered}.object_level")


def _of_objects(scope: SearchScope, values: list[Any]) -> str:
    """Return the condition that documents of an object o may be seen, as far as o tells."""
    if scope.kinds and not _KINDS_OF_OBJECTS.intersection(scope.kinds):
        return "false"
    levels = [LEVELS.index(level) + 1 for level in scope.levels]
    conditions = _chosen(
        values,
        ("o.platform", scope.platforms, "text[]"),
        ("o.level", levels, "smallint[]"),
        ("o.account_id", scope.account_ids, "text[]"),
        ("o.campaign_id", scope.campaign_ids, "text[]"),
    )
    names = ", ".join(f"'{level}'" for level in LEVELS)
    where, parameters = to_sql(
        scope.where,
        columns={column: f"o.{column}" for column in KEY}
        | {"level": f"(array[{names}])[o.level]", "scope": "''"},
        first_parameter=len(values) + 1,
    )
    values += parameters
    return " and ".join([*conditions, where])


def _of_documents(scope: SearchScope, values: list[Any]) -> str:
    """Return the condition that a document d of an object in scope may be seen."""
    kinds = [_KINDS.index(kind) + 1 for kind in scope.kinds]
    conditions = _chosen(
        values,
        ("d.kind", kinds, "smallint[]"),
        ("d.document_id", scope.document_ids, "text[]"),
    )
    if scope.start_date is not None:
        conditions.append(f"d.end_date >= {_parameter(values, scope.start_date, 'date')}")
    if scope.end_date is not None:
        conditions.append(f"d.start_date <= {_parameter(values, scope.end_date, 'date')}")
    if scope.minimum_quality is not None:
        minimum = _parameter(values, float(scope.minimum_quality), "float8")
        conditions.append(f"d.quality_score >= {minimum}")
    return " and ".join(["true", *conditions])


def _chosen(values: list[Any], *chosen: tuple[str, Collection[Any], str]) -> list[str]:
    return [
        f"{column} = any({_parameter(values, list(wanted), sql_type)})"
        for column, wanted, sql_type in chosen
        if wanted
    ]


def _parameter(values: list[Any], value: object, sql_type: str) -> str:
    values.append(value)
    return f"${len(values)}::{sql_type}"


def _values(org: str, described: DescribedObject) -> tuple[Any, ...]:
    measures = [described.measures.get(dimension) for dimension in DIMENSIONS]
    return (
        *(org, described.object_id, *key_values(described.key), described.title),
        *(described.name_key, list(described.name_terms), list(described.name_words)),
        *(described.channel, described.parent_id, described.grandparent_id),
        [None if each is None else each.value for each in measures],
        ["" if each is None else each.basis for each in measures],
    )


def _path(row: asyncpg.Record) -> Path:
    steps = []
    if row["steps"] == 2:
        steps = [
            Step(Relation(row["first_relation"]), row["between_title"]),
            Step(Relation(row["second_relation"]), ""),
        ]
    elif row["steps"] == 1:
        steps = [Step(Relation(row["first_relation"]), "")]
    return Path(row["beginning_title"] or "", tuple(steps))
