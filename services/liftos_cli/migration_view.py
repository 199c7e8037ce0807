"""Migrations as people follow them: one line while they work, a table of their parts."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeAlias

from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.live import Live
from rich.text import Text

from liftos.migration.v1.ledger_pb2 import Step
from liftos.migration.v1.migration_pb2 import (
    Migration,
    MigrationProgress,
    MigrationState,
    TableProgress,
)
from liftos_cli.figures import counted, enum_word_of, length, short_name
from liftos_cli.message_view import print_fields
from liftos_cli.output import Column, print_table, say

_STOPPED: Final = (
    MigrationState.MIGRATION_STATE_PAUSED,
    MigrationState.MIGRATION_STATE_HELD,
    MigrationState.MIGRATION_STATE_RESNAPSHOT_REQUIRED,
    MigrationState.MIGRATION_STATE_ROLLED_BACK,
    MigrationState.MIGRATION_STATE_CANCELLED,
)
_THOUSAND: Final = 1_000
_SHOWN_TABLES: Final = 3

ShowMigration: TypeAlias = Callable[[Migration, Step], None]
"""Shows a migration as it is now, and the step that runs."""


def has_stopped(migration: Migration) -> bool:
    """Tell whether a migration goes no further without a person."""
    return migration.state in _STOPPED


def has_reached(migration: Migration, state: int) -> bool:
    """Tell whether a migration is at a state of its life, or beyond it."""
    return not has_stopped(migration) and state <= migration.state < _STOPPED[0]


def progress_line(migration: Migration, step: Step, now: datetime) -> str:
    """Return how far a migration is, in one line.

    Args:
        migration: As it is now.
        step: That runs; without a name where none does.
        now: For how long it still takes.
    """
    progress = migration.progress
    parts = [f"{short_name(migration.name)} {_state_text(migration)}"]
    if step.title and step.title.lower() != _state_text(migration):
        parts[0] += f" ({step.title})"
    parts += filter(None, (_copied(migration), _applied(progress), _verified(progress)))
    if progress.open_reject_count:
        parts.append(f"{counted(progress.open_reject_count, 'row')} refused")
    if progress.throttle_reason:
        parts.append(f"throttled: {progress.throttle_reason}")
    if progress.waits_for:
        parts.append(f"waits for {progress.waits_for}")
    if progress.HasField("estimated_end_time"):
        seconds = (progress.estimated_end_time.ToDatetime(tzinfo=UTC) - now).total_seconds()
        parts.append(f"eta {length(Duration(seconds=max(0, round(seconds))))}")
    if progress.HasField("downtime"):
        budget = migration.budgets.maximum_downtime
        parts.append(f"downtime {_seconds(progress.downtime)}/{_seconds(budget)}")
    if progress.HasField("estimated_rollback"):
        budget = migration.budgets.maximum_rollback
        parts.append(f"rollback est {_seconds(progress.estimated_rollback)}/{_seconds(budget)}")
    if migration.state_reason:
        parts.append(migration.state_reason)
    return " | ".join(parts)


@contextmanager
def migration_line() -> Iterator[ShowMigration]:
    """Show a line that changes in place on a terminal; elsewhere one when its state changes."""
    if not sys.stderr.isatty():
        yield _told_when_changed()
        return
    with Live(console=Console(stderr=True), refresh_per_second=4) as live:
        yield lambda migration, step: live.update(
            Text(progress_line(migration, step, datetime.now(UTC)))
        )


def print_migration(migration: Migration) -> None:
    """Print a migration: its fields, then each of its tables."""
    print_fields(migration, without=("progress", "mapping", "triggers", "plan_sha256"))
    if migration.progress.tables:
        print()
        print_table(
            [
                Column("table"),
                Column("rows", number=True),
                Column("copied", number=True),
                Column("applied", number=True),
                Column("chunks", number=True),
                Column("verified", number=True),
                Column("dirty", number=True),
                Column("bad", number=True),
                Column("refused", number=True),
            ],
            map(_table_row, migration.progress.tables),
        )
    print()
    print(progress_line(migration, Step(), datetime.now(UTC)))


def tell(migration: Migration) -> None:
    """Print where a migration is, in one sentence."""
    reason = f": {migration.state_reason}".rstrip(".") if migration.state_reason else ""
    print(f"{short_name(migration.name)}: {enum_word_of(migration, 'state')}{reason}.")


def share(value: float) -> str:
    """Return a share as a percentage that is 100 % for what is whole and for nothing else."""
    if value >= 1:
        return "100 %"
    text = f"{value * 100:.4f}"
    return "99.9999 %" if float(text) >= 100 else f"{text.rstrip('0').rstrip('.')} %"


def _told_when_changed() -> ShowMigration:
    told: tuple[object, ...] = ()

    def show(migration: Migration, step: Step) -> None:
        nonlocal told
        now = (
            migration.state,
            migration.state_reason,
            step.name,
            migration.progress.throttle_reason.partition(" ")[0],
            migration.progress.waits_for,
        )
        if now != told:
            told = now
            say(progress_line(migration, step, datetime.now(UTC)))

    return show


def _state_text(migration: Migration) -> str:
    return enum_word_of(migration, "state").lower().replace("_", " ")


def _copied(migration: Migration) -> str:
    progress = migration.progress
    total = sum(table.row_count for table in progress.tables)
    copied = sum(table.copied_count for table in progress.tables)
    if not total or not copied:
        return ""
    exact = "exact" if all(table.exact for table in progress.tables) else "estimated"
    text = f"copy {copied:,}/{total:,} {min(1.0, copied / total):.1%} ({exact})"
    if progress.rows_per_second:
        text += f" {_rate(progress.rows_per_second)} rows/s"
    working = [
        short_table(table.table)
        for table in progress.tables
        if 0 < table.copied_count < table.row_count
        # Later they have fewer records than rows, and nothing is copied any more.
        and migration.state == MigrationState.MIGRATION_STATE_COPYING
    ]
    if working:
        more = f" +{len(working) - _SHOWN_TABLES}" if len(working) > _SHOWN_TABLES else ""
        text += f" in {', '.join(working[:_SHOWN_TABLES])}{more}"
    return text


def _applied(progress: MigrationProgress) -> str:
    parts = []
    if applied := sum(table.applied_count for table in progress.tables):
        parts.append(f"applied {applied:,}")
    if progress.HasField("lag"):
        parts.append(f"lag {_seconds(progress.lag)}")
    if progress.retained_bytes:
        parts.append(f"log {progress.retained_bytes / 2**20:,.0f} MiB")
    return " ".join(parts)


def _verified(progress: MigrationProgress) -> str:
    chunks = sum(table.chunk_count for table in progress.tables)
    good, dirty, bad = (
        sum(getattr(table, name) for table in progress.tables)
        for name in ("verified_chunk_count", "dirty_chunk_count", "bad_chunk_count")
    )
    if not (good or dirty or bad):
        return ""
    text = f"verify {good:,}/{chunks:,} ok"
    text += f" {dirty:,} dirty" if dirty else ""
    return text + (f" {bad:,} bad" if bad else "")


def short_table(table: str) -> str:
    """Return the name of a table without its schema."""
    return table.rpartition(".")[2]


def _rate(per_second: float) -> str:
    return f"{per_second / _THOUSAND:.1f}k" if per_second >= _THOUSAND else f"{per_second:.0f}"


def _seconds(duration: Duration) -> str:
    return f"{duration.ToTimedelta().total_seconds():.1f} s"


def _table_row(table: TableProgress) -> list[str]:
    return [
        table.table,
        f"{table.row_count:,}" if table.exact else f"~{table.row_count:,}",
        *(
            f"{getattr(table, name):,}"
            for name in (
                *("copied_count", "applied_count", "chunk_count", "verified_chunk_count"),
                *("dirty_chunk_count", "bad_chunk_count", "reject_count"),
            )
        ),
    ]
