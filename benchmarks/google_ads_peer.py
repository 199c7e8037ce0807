"""The same reports pulled by a dlt source that knows nothing of us, and what both have stored."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

import asyncpg
import grpc

from benchmarks.results import DifferenceError
from liftos_ingestion.adapters.sources.google_ads.queries import report
from liftos_ingestion.source_ports import PlatformAccount, ReadRequest
from liftos_mapping.entry_fields import DATE_BASES

_KEY: Final = ("date", "date_basis", "account_id", "campaign_id", "ad_group_id", "ad_id")
_UNLIMITED: Final = [("grpc.max_receive_message_length", -1)]
_COLUMNS: Final = {
    "segments.date": "date",
    "customer.id": "account_id",
    "customer.descriptive_name": "account_name",
    "customer.currency_code": "currency_code",
    "customer.time_zone": "time_zone",
    "campaign.id": "campaign_id",
    "campaign.name": "campaign_name",
    "ad_group.id": "ad_group_id",
    "ad_group.name": "ad_group_name",
    "ad_group_ad.ad.id": "ad_id",
    "ad_group_ad.ad.name": "ad_name",
    "metrics.cost_micros": "spend_micros",
    "metrics.impressions": "impressions",
    "metrics.clicks": "clicks",
    "metrics.conversions": "conversions",
    "metrics.conversions_value": "revenue",
    "metrics.all_conversions": "all_conversions",
    "metrics.view_through_conversions": "view_through_conversions",
    "metrics.video_trueview_views": "video_views",
    "metrics.conversions_by_conversion_date": "conversions",
    "metrics.conversions_value_by_conversion_date": "revenue",
    "metrics.all_conversions_by_conversion_date": "all_conversions",
}
"""Columns of the peer's table by the fields that they come from."""

_SAME: Final = ("date", "account_name", "currency_code", "time_zone", "campaign_name")
_SAME_NAMES: Final = (*_SAME, "ad_group_name", "ad_name")
_IDS: Final = ("account_id", "campaign_id", "ad_group_id", "ad_id")
_COUNTS: Final = ("spend_micros", "impressions", "clicks", "video_views")
_DECIMALS: Final = ("conversions", "revenue", "all_conversions", "view_through_conversions")


@dataclass(frozen=True, slots=True)
class Report:
    """One question to Google Ads.

    Attributes:
        customer_id: Whose report.
        date_basis: What dates stand for.
        start_date, end_date: Both included.
    """

    customer_id: str
    date_basis: str
    start_date: date
    end_date: date

    @property
    def query(self) -> str:
        """The query that the connector sends too, so that both are given the same bytes."""
        account = PlatformAccount(self.customer_id, "", "", "")
        return report(
            ReadRequest(account, "AD", self.date_basis, "", self.start_date, self.end_date)
        ).text


class GoogleAds:
    """The API with a credential, called as plainly as can be.

    Args:
        address: Where it answers.
        token_url: Where access tokens are bought.
        credential: The fields that buy one.
        managers: For each customer, the one by which it is reached.
    """

    def __init__(
        self,
        address: str,
        token_url: str,
        credential: dict[str, str],
        managers: dict[str, str],
    ) -> None:
        from liftos_ingestion.adapters.sources.google_ads import (  # noqa: PLC0415 - a second
            messages,
        )

        self._messages = messages
        self._channel = grpc.insecure_channel(address, _UNLIMITED)
        self._stream: Any = self._channel.unary_stream(messages.SEARCH_STREAM)
        form = {**credential, "grant_type": "refresh_token"}
        with urlopen(token_url, urlencode(form).encode()) as answer:
            self._token = json.load(answer)["access_token"]
        self._managers = managers

    def chunks(self, asked: Report) -> Iterator[Any]:
        """Yield the parsed messages of a report."""
        metadata = (
            ("authorization", f"Bearer {self._token}"),
            ("login-customer-id", self._managers[asked.customer_id]),
        )
        request = self._messages.StreamRequest(customer_id=asked.customer_id, query=asked.query)
        for message in self._stream(request.SerializeToString(), metadata=metadata):
            yield self._messages.StreamResponse.FromString(message)

    def warm(self, reports: Sequence[Report]) -> int:
        """Let the simulation render and keep reports; return how many rows they have."""
        return sum(len(chunk.results) for it in reports for chunk in self.chunks(it))

    def rows(self, asked: Report) -> Iterator[list[dict[str, object]]]:
        """Yield the rows of a report, a list for each message."""
        fields = tuple(asked.query.removeprefix("SELECT ").partition(" FROM ")[0].split(", "))
        read = {_COLUMNS[it]: _reader(it) for it in fields if it in _COLUMNS}
        for chunk in self.chunks(asked):
            yield [
                {"date_basis": asked.date_basis}
                | {column: value(row) for column, value in read.items()}
                for row in chunk.results
            ]


def _reader(name: str) -> Callable[[Any], object]:
    """Return what reads a field of a row; None where a metric is not set."""
    parent, _, leaf = name.rpartition(".")
    value = attrgetter(name)
    if parent != "metrics":
        return value
    return lambda row: value(row) if row.metrics.HasField(leaf) else None


def load_with_dlt(url: str, google_ads: GoogleAds, reports: Sequence[Report], folder: str) -> float:
    """Pull reports and merge them into a table of their own; return the seconds it took.

    The primary key is created before the time starts: dlt declares one and makes no index.

    Args:
        url: Postgres of a role that may create schemas.
        google_ads: The API.
        reports: What is pulled.
        folder: Where dlt keeps its working files.
    """
    os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    logging.getLogger("dlt").setLevel(logging.ERROR)
    import dlt  # noqa: PLC0415 - heavy, and configured by the environment above

    pipeline = dlt.pipeline(
        pipeline_name="dlt_google_ads",
        destination=dlt.destinations.postgres(url),
        dataset_name="dlt_google_ads",
        pipelines_dir=folder,
    )

    def load(batches: Iterator[list[dict[str, object]]]) -> None:
        resource = dlt.resource(
            batches, name="entries", write_disposition="merge", primary_key=_KEY
        )
        pipeline.run(resource).raise_on_failed_jobs()

    firsts = [next(google_ads.rows(it))[:1] for it in reports[:2]]
    load(iter(firsts))
    with pipeline.sql_client() as client:
        client.execute_sql(f"alter table entries add primary key ({', '.join(_KEY)})")
    started = time.perf_counter()
    load(batch for it in reports for batch in google_ads.rows(it))
    return time.perf_counter() - started


async def check_equal(owner: asyncpg.Connection, row_count: int, *, first_day: date) -> None:
    """Compare what dlt and Ingestion have stored, row by row.

    Args:
        owner: A connection that sees Memory's tables, and those of dlt.
        row_count: How many rows the platform has.
        first_day: Of what both have read; Memory holds earlier days too.

    Raises:
        DifferenceError: They differ in any column that both have, or rows are missing.
    """
    basis = f"(array[{', '.join(map(repr, DATE_BASES))}])[date_basis]"
    micros = tuple(f"{name}_micros" for name in _DECIMALS)
    of_ours = ", ".join((*_SAME_NAMES, *_IDS, *_COUNTS, *micros, basis))
    of_peer = ", ".join(
        (
            "date::date",
            *_SAME_NAMES[1:],
            *(f"{name}::text" for name in _IDS),
            *_COUNTS,
            *(f"round({name}::numeric * 1000000)::bigint" for name in _DECIMALS),
            "date_basis",
        )
    )
    stored = f"memory.entries where date >= '{first_day}'"
    ours = f"select {of_ours} from {stored}"
    peer = f"select {of_peer} from dlt_google_ads.entries"
    for label, statement in (
        ("only dlt has", f"{peer} except all {ours}"),
        ("only Memory has", f"{ours} except all {peer}"),
    ):
        found = await owner.fetch(f"select *, count(*) over () from ({statement}) rows limit 1")
        if found:
            raise DifferenceError(f"{label} {found[0]['count']:,} rows, such as {found[0]}")
    count = await owner.fetchval(f"select count(*) from {stored}")
    if count != row_count:
        raise DifferenceError(f"{count:,} rows are stored, and the platform has {row_count:,}")
