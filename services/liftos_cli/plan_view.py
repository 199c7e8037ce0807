"""What a backfill would take, as people read it."""

from collections.abc import Sequence

from liftos.common.v1.marketing_pb2 import DateRange
from liftos.ingestion.v1.schedule_pb2 import BackfillPlan, BackfillWindow
from liftos_cli.figures import UNSET, enum_word_of
from liftos_cli.message_view import days_text
from liftos_cli.output import Column, print_table


def print_plan(plan: BackfillPlan, *, each_window: bool) -> None:
    """Print a plan, one line for each level of an account and what its dates stand for.

    Args:
        plan: What would be read.
        each_window: One line for each range of days as well, in the order of reading.
    """
    groups: dict[tuple[str, str, str, str], list[BackfillWindow]] = {}
    for window in plan.windows:
        days = days_text(window.date_range) if each_window else ""
        words = enum_word_of(window, "level"), enum_word_of(window, "date_basis")
        key = (window.account_id, *words, days)
        groups.setdefault(key, []).append(window)
    print_table(
        [
            Column("account"),
            Column("level"),
            Column("dates"),
            Column("days"),
            Column("windows", number=True),
            Column("calls", number=True),
            Column("rows", number=True),
            Column("committed", number=True),
        ],
        [_row(what, windows) for (*what, _), windows in groups.items()],
    )


def _row(what: Sequence[str], windows: Sequence[BackfillWindow]) -> list[str]:
    days = DateRange(
        start_date=min(each.date_range.start_date for each in windows),
        end_date=max(each.date_range.end_date for each in windows),
    )
    rows = sum(each.row_count for each in windows)
    committed = sum(each.committed for each in windows)
    return [
        *what,
        days_text(days),
        f"{len(windows):,}",
        f"{sum(each.call_count for each in windows):,}",
        f"{rows:,}" if rows else UNSET,
        f"{committed:,}",
    ]
