"""Snapshots of a source: what each holds, and which one a step may rest on."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A point that a source can be restored to.

    Attributes:
        id: Its name, which sorts by time.
        tables: What it holds, as schema.table.
        row_count: Rows.
        size_bytes: Of its files.
        sha256: Digest of its manifest, in hex, and so of all that it holds.
        schema_sha256: Digest of the definitions of the source as they were, in hex.
        plan_sha256: Digest of the plan of the migration as it was, in hex.
        lsn: Where the log of the source was.
        create_time: When the data was as in the snapshot.
        restore_seconds: What its restore test took; None where it has passed none, and does not
            count.
    """

    id: str
    tables: tuple[str, ...]
    row_count: int
    size_bytes: int
    sha256: str
    schema_sha256: str
    plan_sha256: str
    lsn: str
    create_time: datetime
    restore_seconds: float | None

    @property
    def counts(self) -> bool:
        """Whether it was restored, and gave what it holds."""
        return self.restore_seconds is not None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step asks of the snapshot that it rests on.

    Attributes:
        schema_sha256: Digest of the definitions of the source as they are, in hex.
        plan_sha256: Digest of the plan, in hex.
        maximum_age: How old it may be.
    """

    schema_sha256: str
    plan_sha256: str
    maximum_age: timedelta


def best(snapshots: Iterable[Snapshot], wanted: Wanted, now: datetime) -> Snapshot | None:
    """Return the snapshot to rest on: one that counts, else one that is still to be tested.

    The newest of each kind is taken.

    Args:
        snapshots: Those that there are.
        wanted: What is asked of it.
        now: The time.
    """
    fitting = [
        each
        for each in snapshots
        if each.schema_sha256 == wanted.schema_sha256
        and each.plan_sha256 == wanted.plan_sha256
        and now - each.create_time <= wanted.maximum_age
    ]
    return max(fitting, key=lambda each: (each.counts, each.create_time), default=None)
