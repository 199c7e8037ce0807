"""The same rows loaded by dlt, the peer for loading rows into Postgres by primary key."""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

_KEY: Final = ("date", "platform", "level", "account_id", "campaign_id")
_ROWS_PER_YIELD: Final = 10_000


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
    seconds = time.perf_counter() - started
    with pipeline.sql_client() as client:
        assert client.execute_sql("select count(*) from entries") == [(rows.num_rows,)]
    return seconds
