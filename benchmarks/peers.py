"""The same rows loaded by dlt, the peer for loading rows into Postgres by primary key."""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Final

import asyncpg
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.results import DifferenceError
from liftos_mapping.entry_fields import LEVELS

_KEY: Final = ("date", "platform", "level", "account_id", "campaign_id")
_ROWS_PER_YIELD: Final = 10_000
_LEVEL: Final = f"(array[{', '.join(map(repr, LEVELS))}])[level]"


def load_with_dlt(url: str, rows: pa.Table, *, dataset: str, as_arrow: bool, folder: str) -> float:
    """Merge rows into a table of their own; return the seconds it took.

    dlt declares a primary key but creates none. As a store that answers by key needs the index,
    the table gets it before the time starts, after a load of one row has made the table.

    Args:
        url: Postgres of a role that may create schemas.
        rows: The rows.
        dataset: Schema to load into.
        as_arrow: Yield Arrow tables; otherwise Python rows, as dlt's sources do.
        folder: Where dlt keeps its working files.
    """
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    logging.getLogger("dlt").setLevel(logging.ERROR)
    import dlt  # noqa: PLC0415 - heavy, and configured by the environment above

    def batches(table: pa.Table) -> Iterator[Any]:
        for batch in table.to_batches(max_chunksize=_ROWS_PER_YIELD):
            yield pa.Table.from_batches([batch]) if as_arrow else batch.to_pylist()

    pipeline = dlt.pipeline(
        pipeline_name=dataset,
        destination=dlt.destinations.postgres(url),
        dataset_name=dataset,
        pipelines_dir=folder,
    )

    def load(table: pa.Table) -> None:
        resource = dlt.resource(
            batches(table), name="entries", write_disposition="merge", primary_key=_KEY
        )
        pipeline.run(resource).raise_on_failed_jobs()

    load(rows.slice(0, 1))
    with pipeline.sql_client() as client:
        client.execute_sql(f"alter table entries add primary key ({', '.join(_KEY)})")
    started = time.perf_counter()
    load(rows)
    return time.perf_counter() - started


async def check_equal(owner: asyncpg.Connection, rows: pa.Table, *, dataset: str) -> None:
    """Compare what dlt and Memory have stored, row by row, and both with what was sent.

    Args:
        owner: A connection that sees Memory's tables, and those of dlt.
        rows: What both were given.
        dataset: Schema that dlt has loaded into.

    Raises:
        DifferenceError: They differ in any column that the rows have.
    """
    peer, ours = f"{dataset}.entries", "entries"
    columns = ", ".join(rows.column_names)
    of_ours = f"select {columns.replace('level', _LEVEL)} from {ours}"
    of_peer = f"select {columns} from {peer}"
    for label, statement in (
        ("only dlt has", f"{of_peer} except all {of_ours}"),
        ("only Memory has", f"{of_ours} except all {of_peer}"),
    ):
        found = await owner.fetch(f"select *, count(*) over () from ({statement}) rows limit 1")
        if found:
            raise DifferenceError(f"{label} {found[0]['count']:,} rows, such as {found[0]}")
    numbers = [field.name for field in rows.schema if pa.types.is_integer(field.type)]
    sums = ", ".join(f"sum({name})::bigint as {name}" for name in numbers)
    sent = {name: pc.sum(rows[name]).as_py() for name in numbers} | {"rows": rows.num_rows}
    for table in (peer, ours):
        stored = dict(await owner.fetchrow(f"select {sums}, count(*) as rows from {table}"))
        if stored != sent:
            raise DifferenceError(f"{table} sums up to {stored}, and what was sent to {sent}")
