"""Questions about sums, each as a request and as SQL written by hand, and their answers as rows."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from benchmarks.results import DifferenceError
from liftos.common.v1 import marketing_pb2
from liftos.memory.v1 import entry_pb2
from liftos.memory.v1 import memory_service_pb2 as pb
from liftos_mapping.entry_fields import DATE_BASES

_SQL: Final = Path(__file__).parent / "sql"


def queries() -> dict[str, pb.QueryMetricsRequest]:
    """Return the questions by name."""

    def query(
        start: str, end: str, granularity: str, *group_by: str, where: str = ""
    ) -> pb.QueryMetricsRequest:
        return pb.QueryMetricsRequest(
            parent="orgs/bench",
            date_range=marketing_pb2.DateRange(start_date=start, end_date=end),
            level=entry_pb2.ENTRY_LEVEL_CAMPAIGN,
            granularity=pb.Granularity.Value(f"GRANULARITY_{granularity}"),
            group_by=group_by,
            filter=where,
            page_size=5_000,
        )

    return {
        "daily_by_account_and_platform": query(
            "2025-01-01", "2025-07-19", "DAY", "platform", "account_id"
        ),
        "half_year_total_by_campaign": query(
            "2025-01-01", "2025-06-30", "TOTAL", "campaign_id", where='platform = "meta"'
        ),
        "weekday_by_account": query(
            "2025-01-01", "2025-07-19", "QUARTER", "account_id", "day_of_week"
        ),
    }


def statement(name: str) -> str:
    """Return the SQL that answers a question by hand, with the same columns in the same order."""
    return (_SQL / f"{name}.sql").read_text()


def check_equal(answer: pb.QueryMetricsResponse, rows: Sequence[Mapping[str, Any]]) -> None:
    """Compare the service's answer with the rows of the SQL, in order and to the last bit.

    Raises:
        DifferenceError: They differ.
    """
    if answer.next_page_token or len(answer.rows) != len(rows):
        raise DifferenceError(f"{len(answer.rows)} rows of the service, {len(rows)} of the SQL")
    for number, (message, row) in enumerate(zip(answer.rows, rows, strict=True)):
        ours = _set_values(message)
        theirs = {name: value for name, value in row.items() if value is not None}
        if ours != theirs:
            differing = sorted(dict(ours.items() ^ theirs.items()))
            found = "; ".join(
                f"{name} {ours.get(name)!r} and {theirs.get(name)!r}" for name in differing
            )
            raise DifferenceError(f"row {number} of the service and of the SQL: {found}")


def _set_values(message: pb.MetricsRow) -> dict[str, Any]:
    """Return what is set in a row, by column."""
    values: dict[str, Any] = dict(message.group)
    if "day_of_week" in values:
        values["day_of_week"] = int(values["day_of_week"])
    for part in (message.metrics, message.derived_metrics):
        values |= {field.name: value for field, value in part.ListFields()}
    return values | {
        "date_basis": DATE_BASES.index(message.date_basis) + 1,
        "breakdown": message.breakdown,
        "period_start_date": date.fromisoformat(message.period_start_date),
        "currency_code": message.metrics.currency_code,
        "entry_count": message.entry_count,
        "quality_score": message.quality_score,
        "final": message.final,
    }
