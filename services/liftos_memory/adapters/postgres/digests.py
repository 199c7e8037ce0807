"""Row hashes, computed by the database from one state of it.

The hash of an entry is the md5 of the texts of all columns that a writer gives, so that any store
with the same columns can compute it; see the contract's `DigestEntriesRequest`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from asyncpg import Record

from liftos_kit.core.filters import Filter
from liftos_kit.deadline import remaining_seconds
from liftos_mapping.entry_digests import (
    DIGEST_SETTINGS,
    bucket_number_sql,
    bucket_sums_sql,
    key_md5_sql,
    row_md5_sql,
    unsigned,
)
from liftos_mapping.entry_id import format_entry_id, parse_entry_id
from liftos_memory.adapters.postgres.database import Database
from liftos_memory.adapters.postgres.entry_columns import entry_condition
from liftos_memory.domain.records import Collection
from liftos_memory.replication_ports import Bucketing, BucketSum, DigestSource, RowHash

_LONGEST_SECONDS: Final = 3_600.0
_SETTINGS: Final = "; ".join(
    f"set local {name} = {value}" for name, value in DIGEST_SETTINGS.items()
)


@dataclass(frozen=True, slots=True)
class _Table:
    """How rows of a table are hashed and put into buckets.

    Attributes:
        name: The table.
        md5: SQL of a row's hash, in hex.
        bucket_number: SQL of the number that the bucket is taken from.
        id: Columns of the id.
        read_id: Their values in an id.
        format_id: The id of a row.
    """

    name: str
    md5: str
    bucket_number: str
    id: tuple[str, ...]
    read_id: Callable[[str], tuple[object, ...]]
    format_id: Callable[[Record], str]


def _entries(bucket_digest: str) -> _Table:
    return _Table(
        name="entries",
        md5=row_md5_sql(),
        bucket_number=bucket_number_sql(bucket_digest),
        id=("date", "entry_key"),
        read_id=parse_entry_id,
        format_id=lambda row: format_entry_id(row["date"], row["entry_key"]),
    )


_ENTRIES: Final = {
    Bucketing.ENTRY_ID: _entries("encode(entry_key, 'hex')"),
    Bucketing.KEY_MD5: _entries(key_md5_sql()),
}


def _records(*described_by: str) -> _Table:
    texts = ", ".join(["record_id", "scope", *described_by, "encode(sha256, 'hex')"])
    return _Table(
        name="records",
        md5=f"md5(array_to_string(array[{texts}], chr(31)))",
        bucket_number=bucket_number_sql("md5(record_id)"),
        id=("record_id",),
        read_id=lambda record_id: (record_id,),
        format_id=lambda row: str(row["record_id"]),
    )


_RECORDS: Final = {
    Collection.ARTIFACTS: _records("kind::text", "title"),
    Collection.NOTES: _records("title", "labels::text"),
}


@dataclass(frozen=True, slots=True)
class _Digests:
    """Digests of the rows of a table that meet a condition; its parameters begin at 2."""

    database: Database
    table: _Table
    condition: str
    values: Sequence[object]

    async def sums(self, org: str, *, bucket_count: int) -> tuple[Sequence[BucketSum], int]:
        """Return the sums of all buckets."""
        parameters = [org, *self.values, bucket_count]
        sums = bucket_sums_sql(
            f"{self.table.name} where org = $1 and {self.condition}",
            row_md5=self.table.md5,
            bucket_number=self.table.bucket_number,
            bucket_count=f"${len(parameters)}::int",
        )
        statement = f"/* digest_sums_of_{self.table.name} */ {sums}"
        rows, version = await self._fetch(org, statement, parameters)
        return [
            BucketSum(
                row["bucket"],
                row["row_count"],
                unsigned(row["hash_xor"]),
                unsigned(row["hash_sum"]),
            )
            for row in rows
        ], version

    async def hashes(
        self,
        org: str,
        *,
        bucket_count: int,
        buckets: Sequence[int],
        after: str | None,
        limit: int,
    ) -> tuple[Sequence[RowHash], int]:
        """Return hashes of the rows of some buckets, by id."""
        table = self.table
        parameters = [org, *self.values, bucket_count, list(buckets), limit]
        count, chosen, most = (f"${len(parameters) - back}" for back in (2, 1, 0))
        beyond = "true"
        if after is not None:
            key = table.read_id(after)
            places = ", ".join(f"${len(parameters) + place}" for place in range(1, len(key) + 1))
            beyond = f"({', '.join(table.id)}) > ({places})"
            parameters += key
        columns = ", ".join(table.id)
        statement = f"""/* digest_hashes_of_{table.name} */
select {columns}, {table.md5} as h from {table.name}
where org = $1 and {self.condition} and {beyond}
  and ({table.bucket_number} % {count}::int) = any({chosen}::int[])
order by {columns} limit {most}
"""  # noqa: S608 - names are ours, values are parameters
        rows, version = await self._fetch(org, statement, parameters)
        return [RowHash(table.format_id(row), bytes.fromhex(row["h"])) for row in rows], version

    async def _fetch(
        self, org: str, statement: str, parameters: Sequence[object]
    ) -> tuple[Sequence[Record], int]:
        """Run a statement that may take as long as the caller waits, and tell the org's version."""
        remaining = remaining_seconds()
        seconds = _LONGEST_SECONDS if remaining is None else min(remaining, _LONGEST_SECONDS)
        # At least one, because none at all is no limit.
        milliseconds = max(1, round(seconds * 1_000))
        async with self.database.read(org, snapshot=True) as connection:
            version = await connection.fetchval(
                "/* last_version */ select last_version from orgs where org = $1", org
            )
            await connection.execute(
                f"/* digest_settings */ set local statement_timeout = {milliseconds}; {_SETTINGS}"
            )
            rows = await connection.fetch(statement, *parameters, timeout=milliseconds / 1_000)
        return rows, version or 0


class PostgresDigestStore:
    """Digests in Postgres; see `liftos_memory.replication_ports.DigestStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entry_digests(self, where: Filter | None, bucketing: Bucketing) -> DigestSource:
        """Return the digests of the entries that match."""
        condition, values = entry_condition(where, first_parameter=2)
        return _Digests(self._database, _ENTRIES[bucketing], condition, values)

    def record_digests(self, collection: Collection, scope: str) -> DigestSource:
        """Return the digests of the records of a scope."""
        return _Digests(
            self._database,
            _RECORDS[collection],
            "collection = $2 and ($3 = '' or scope = $3)",
            [int(collection), scope],
        )
