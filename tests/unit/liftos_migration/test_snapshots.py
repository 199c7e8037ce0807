"""Which snapshot a step may rest on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from liftos_migration.domain.snapshots import Snapshot, Wanted, best

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
WANTED = Wanted("schema", "plan", timedelta(hours=6))
FITTING = Snapshot(
    id="b",
    tables=("public.a",),
    row_count=1,
    size_bytes=1,
    sha256="cd",
    schema_sha256="schema",
    plan_sha256="plan",
    lsn="0/1",
    create_time=NOW - timedelta(hours=2),
    restore_seconds=0.5,
)
NEWER = replace(FITTING, id="c", create_time=NOW - timedelta(hours=1))


def test_the_newest_that_counts_is_taken() -> None:
    """Also where an untested one is newer."""
    untested = replace(NEWER, id="d", create_time=NOW, restore_seconds=None)
    assert best([FITTING, NEWER, untested], WANTED, NOW) == NEWER
    assert best([untested], WANTED, NOW) == untested
    assert not untested.counts


@pytest.mark.parametrize(
    "other",
    [
        replace(NEWER, schema_sha256="another"),
        replace(NEWER, plan_sha256="another"),
        replace(NEWER, create_time=NOW - timedelta(hours=7)),
    ],
)
def test_one_of_another_schema_or_plan_or_too_old_is_not(other: Snapshot) -> None:
    """However well it was tested."""
    assert best([other], WANTED, NOW) is None
    assert best([other, FITTING], WANTED, NOW) == FITTING
