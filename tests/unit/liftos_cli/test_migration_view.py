"""The line that people follow a migration by."""

from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from liftos.migration.v1.ledger_pb2 import Step
from liftos.migration.v1.migration_pb2 import (
    Budgets,
    Migration,
    MigrationProgress,
    MigrationState,
    TableProgress,
)
from liftos_cli.migration_view import has_reached, has_stopped, progress_line, share

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def _migration(state: str, progress: MigrationProgress | None = None) -> Migration:
    return Migration(
        name="orgs/acme/migrations/causal",
        state=MigrationState.Value(f"MIGRATION_STATE_{state}"),
        progress=progress,
        budgets=Budgets(
            maximum_downtime=Duration(seconds=7_200), maximum_rollback=Duration(seconds=1_800)
        ),
    )


def test_the_line_says_how_far_everything_is() -> None:
    """Copy, catch-up, verification, what slows it down, the time that is left, the budgets."""
    end = Timestamp()
    end.FromDatetime(NOW)
    end.seconds += 192
    progress = MigrationProgress(
        tables=[
            TableProgress(
                table="public.orders",
                row_count=752_865,
                exact=True,
                copied_count=460_900,
                applied_count=1_200,
                chunk_count=391,
                verified_chunk_count=388,
                dirty_chunk_count=1,
                bad_chunk_count=2,
            )
        ],
        rows_per_second=84_100,
        lag=Duration(nanos=300_000_000),
        retained_bytes=12 * 2**20,
        throttle_reason="source p95 31 > 25 ms",
        waits_for="the search index, which has 3 of 9 documents of a sample",
        open_reject_count=1,
        estimated_end_time=end,
        downtime=Duration(),
        estimated_rollback=Duration(nanos=400_000_000),
    )
    line = progress_line(_migration("COPYING", progress), Step(title="copy public.orders"), NOW)
    assert line == (
        "causal copying (copy public.orders)"
        " | copy 460,900/752,865 61.2% (exact) 84.1k rows/s in orders"
        " | applied 1,200 lag 0.3 s log 12 MiB"
        " | verify 388/391 ok 1 dirty 2 bad"
        " | 1 row refused"
        " | throttled: source p95 31 > 25 ms"
        " | waits for the search index, which has 3 of 9 documents of a sample"
        " | eta 3 min 12 s"
        " | downtime 0.0 s/7200.0 s"
        " | rollback est 0.4 s/1800.0 s"
    )


def test_what_is_not_known_is_not_said() -> None:
    """A migration that has just begun has no figures."""
    assert progress_line(_migration("PREFLIGHT"), Step(), NOW) == "causal preflight"


def test_a_stopped_one_says_why() -> None:
    """The reason stands at the end, with what to do."""
    migration = _migration("PAUSED")
    migration.state_reason = "the source does not answer; resume it when it does"
    line = progress_line(migration, Step(), NOW)
    assert line == "causal paused | the source does not answer; resume it when it does"


@pytest.mark.parametrize(
    ("state", "reached", "stopped"),
    [
        ("COPYING", False, False),
        ("VERIFIED", True, False),
        ("SOAKING", True, False),
        ("PAUSED", False, True),
        ("CANCELLED", False, True),
        ("ROLLING_BACK", False, False),
    ],
)
def test_a_watch_ends_where_it_should(state: str, *, reached: bool, stopped: bool) -> None:
    """At the state or beyond it, or where only a person goes on."""
    migration = _migration(state)
    assert has_reached(migration, MigrationState.MIGRATION_STATE_VERIFIED) is reached
    assert has_stopped(migration) is stopped


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "100 %"), (0.999, "99.9 %"), (1 - 1e-9, "99.9999 %"), (0.0, "0 %"), (0.5, "50 %")],
)
def test_only_all_is_a_hundred_percent(value: float, text: str) -> None:
    """One row of a billion that differs does not read as none."""
    assert share(value) == text
